"""This file makes what communities have beside their walls: topics of a board, photos and videos, with comments.

Each has ids of its own, apart from the wall's (inferred: VK does not say so). All is made when first asked for, and is
the same whatever was asked for before.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from simulator.people import Community, theme_of
from simulator.phrases import Dice, scramble, sentence_case
from simulator.render import post_json
from simulator.world import Comment, Post, Wall, World

MediaKind = Literal["photo", "video"]

# How many comments the topics of a board have, the oldest topic first: one fills several pages, one has nothing.
TOPIC_SIZES: Final = (260, 3, 41, 1, 120, 17, 8, 64)
# The numbers that VK gives to the first photo or video of an owner; so many are in a community's albums.
FIRST_MEDIA_ID: Final = 456_239_017
ALBUM_SIZE: Final = 6
_COMMENTS_SPAN: Final = 10_000
_TOPIC_GAP_SECONDS: Final = 5 * 24 * 60 * 60


@dataclass(slots=True, eq=False)
class Discussion:
    """Comments on a topic, a photo or a video: `post` holds them as a wall's post does, `wall` writes their texts.

    `id` is the topic's, photo's or video's. Topics have a `title`, and may be `fixed` above the others; in a `closed`
    one nobody may write any more, and a `closed` video shows no comments.
    """

    id: int
    wall: Wall
    post: Post
    title: str = ""
    closed: bool = False
    fixed: bool = False

    @property
    def comments(self) -> list[Comment]:
        """The comments of the top level, ascending by id."""
        return self.post.comments


class Annexes:
    """Boards by community, photos and videos by owner and id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boards: dict[int, dict[int, Discussion]] = {}
        self._media: dict[tuple[MediaKind, int, int], Discussion] = {}
        self._shown: dict[tuple[MediaKind, int], tuple[int, set[int]]] = {}

    def board(self, community: Community) -> dict[int, Discussion]:
        """The topics of a community by id, ascending; a guest has none."""
        if community.id not in self._boards:
            topics = [] if community.id > self._world.options.groups else self._topics(community)
            self._boards[community.id] = {topic.id: topic for topic in topics}
        return self._boards[community.id]

    def media(self, kind: MediaKind, wall: Wall, media_id: int) -> Discussion | None:
        """The comments on a photo or video of a wall's owner: one of the albums, or one that a post shows."""
        key = (kind, wall.community.id, media_id)
        if key not in self._media:
            in_album = FIRST_MEDIA_ID <= media_id < FIRST_MEDIA_ID + ALBUM_SIZE
            if not in_album and media_id not in self._shown_by(kind, wall):
                return None
            self._media[key] = self._made_media(kind, wall.community, media_id)
        return self._media[key]

    def _shown_by(self, kind: MediaKind, wall: Wall) -> set[int]:
        """The owner's photos or videos that its posts show; looked up anew when the wall has got new entries."""
        last_id, found = self._shown.get((kind, wall.community.id), (-1, set()))
        if last_id != wall.last_id:
            posts = [post_json(wall, post) for post in wall.posts.values()]
            own = [each[kind] for post in posts for each in post["attachments"] if each["type"] == kind]
            found = {each["id"] for each in own if each["owner_id"] == wall.owner_id}
            self._shown[kind, wall.community.id] = wall.last_id, found
        return found

    def _topics(self, community: Community) -> list[Discussion]:
        """Topics a few days apart; their ids and those of their comments share one counter."""
        aside = self._aside(community, "board")
        dice = Dice(scramble(community.id))
        topics = []
        for number, size in enumerate(TOPIC_SIZES):
            subject = theme_of(community.id).topics[number % len(theme_of(community.id).topics)]
            date = self._world.options.start_of_history + number * _TOPIC_GAP_SECONDS
            post = Post(-community.id, date, number, subject)
            aside.file(post, aside.last_id + 1 + dice.below(9))
            aside.last_date = date
            aside.add_comments(post, size)
            title = sentence_case(f"{subject.items[0].nom}: делимся опытом")
            topics.append(Discussion(post.id, aside, post, title, closed=number == 1, fixed=number == 2))  # noqa: PLR2004 - the second of a few examples
        return topics

    def _made_media(self, kind: MediaKind, community: Community, media_id: int) -> Discussion:
        aside = self._aside(community, f"{kind} {media_id}")
        dice = Dice(scramble(media_id))
        subject = theme_of(community.id).topics[dice.below(len(theme_of(community.id).topics))]
        post = Post(-community.id, self._world.options.start_of_history, media_id, subject)
        aside.file(post, media_id % 100_000 * _COMMENTS_SPAN + 1)
        aside.add_comments(post, 1 + dice.below(180))
        for top in post.comments[: 3 if kind == "video" else 0]:
            aside.add_comments(post, 1 + dice.below(30), top)
        last = kind == "video" and media_id == FIRST_MEDIA_ID + ALBUM_SIZE - 1
        return Discussion(media_id, aside, post, closed=last)

    def _aside(self, community: Community, name: str) -> Wall:
        """A wall that is nobody's page: it numbers and writes the comments of something else."""
        seed = int.from_bytes(f"{self._world.options.seed}:{name}".encode(), "big")
        return Wall(community, self._world.population, replace(self._world.options, seed=seed))
