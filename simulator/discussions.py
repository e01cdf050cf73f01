"""Generates the discussions of communities apart from their walls: topics of a board, photos and videos, with comments.

Each numbers its own comments, apart from the wall (inferred: VK does not document it). All is generated on first use,
and does not depend on what was used before.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from simulator.people import Community, theme_of
from simulator.phrases import Dice, scramble, sentence_case
from simulator.render import post_json
from simulator.world import Comment, Post, Wall, World

MediaKind = Literal["photo", "video"]

# Number of comments of the topics of a board, oldest topic first: one fills several pages, one has only its opening.
TOPIC_SIZES: Final = (260, 3, 41, 1, 120, 17, 8, 64)
# VK's first number of an owner's photos or videos; a community's albums have `ALBUM_SIZE` of each.
FIRST_MEDIA_ID: Final = 456_239_017
ALBUM_SIZE: Final = 6
_COMMENTS_SPAN: Final = 10_000
_TOPIC_GAP_SECONDS: Final = 5 * 24 * 60 * 60


@dataclass(slots=True, eq=False)
class Discussion:
    """Comments on a topic, a photo or a video: `post` contains them like a wall's post, `wall` generates their texts.

    `id` is the topic's, photo's or video's. Topics have a `title`, and may be `fixed` above the others. A `closed`
    topic takes no more comments; a `closed` video shows no comments.
    """

    id: int
    wall: Wall
    post: Post
    title: str = ""
    closed: bool = False
    fixed: bool = False

    @property
    def comments(self) -> list[Comment]:
        """The top comments, ascending by id."""
        return self.post.comments


class Discussions:
    """The discussions of a world: boards by community, photos and videos by owner and id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boards: dict[int, dict[int, Discussion]] = {}
        self._media: dict[tuple[MediaKind, int, int], Discussion] = {}
        self._shown: dict[tuple[MediaKind, int], tuple[int, set[int]]] = {}

    def board(self, community: Community) -> dict[int, Discussion]:
        """Return the topics of a community by id, ascending; a guest has none."""
        if community.id not in self._boards:
            topics = [] if community.id > self._world.options.groups else self._topics(community)
            self._boards[community.id] = {topic.id: topic for topic in topics}
        return self._boards[community.id]

    def media(self, kind: MediaKind, wall: Wall, media_id: int) -> Discussion | None:
        """Return the comments on an owner's photo or video that is in an album or in a post; None if neither."""
        key = (kind, wall.community.id, media_id)
        if key not in self._media:
            in_album = FIRST_MEDIA_ID <= media_id < FIRST_MEDIA_ID + ALBUM_SIZE
            if not in_album and media_id not in self._shown_by(kind, wall):
                return None
            self._media[key] = self._made_media(kind, wall.community, media_id)
        return self._media[key]

    def _shown_by(self, kind: MediaKind, wall: Wall) -> set[int]:
        """Return the owner's photos or videos that its posts show; computed again when the wall has new entries."""
        last_id, found = self._shown.get((kind, wall.community.id), (-1, set()))
        if last_id != wall.last_id:
            posts = [post_json(wall, post) for post in wall.posts.values()]
            own = [each[kind] for post in posts for each in post["attachments"] if each["type"] == kind]
            found = {each["id"] for each in own if each["owner_id"] == wall.owner_id}
            self._shown[kind, wall.community.id] = wall.last_id, found
        return found

    def _topics(self, community: Community) -> list[Discussion]:
        """Generate topics a few days apart; one counter numbers both the topics and their comments."""
        wall = self._hidden_wall(community, "board")
        dice = Dice(scramble(community.id))
        topics = []
        for number, size in enumerate(TOPIC_SIZES):
            subject = theme_of(community.id).topics[number % len(theme_of(community.id).topics)]
            date = self._world.options.start_of_history + number * _TOPIC_GAP_SECONDS
            post = Post(-community.id, date, number, subject)
            wall.add(post, wall.last_id + 1 + dice.below(9))
            wall.last_date = date
            wall.add_comments(post, size)
            title = sentence_case(f"{subject.items[0].nom}: делимся опытом")
            is_fixed = number == 2  # noqa: PLR2004 - an example
            topics.append(Discussion(post.id, wall, post, title, closed=number == 1, fixed=is_fixed))
        return topics

    def _made_media(self, kind: MediaKind, community: Community, media_id: int) -> Discussion:
        wall = self._hidden_wall(community, f"{kind} {media_id}")
        dice = Dice(scramble(media_id))
        subject = theme_of(community.id).topics[dice.below(len(theme_of(community.id).topics))]
        post = Post(-community.id, self._world.options.start_of_history, media_id, subject)
        wall.add(post, media_id % 100_000 * _COMMENTS_SPAN + 1)
        wall.add_comments(post, 1 + dice.below(180))
        for top in post.comments[: 3 if kind == "video" else 0]:
            wall.add_comments(post, 1 + dice.below(30), top)
        last = kind == "video" and media_id == FIRST_MEDIA_ID + ALBUM_SIZE - 1
        return Discussion(media_id, wall, post, closed=last)

    def _hidden_wall(self, community: Community, name: str) -> Wall:
        """Return a wall that is not shown as one: it numbers and generates the comments of a discussion."""
        seed = int.from_bytes(f"{self._world.options.seed}:{name}".encode(), "big")
        return Wall(community, self._world.population, replace(self._world.options, seed=seed))
