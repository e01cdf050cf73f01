"""This file holds walls: compact records of posts and comments, made from a seed, and changed on demand by tests."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from app.simulator import phrases, texts
from app.simulator.options import SimulatorOptions
from app.simulator.people import Community, Person, Population, theme_of

AttachmentKind = Literal["", "photo", "sticker", "link"]

REPLY_SHARE: Final = 0.35
STUB_SHARE: Final = 0.03  # of the top comments that have replies
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_LOCAL_TIME: Final = 3 * _HOUR  # Moscow time, for fewer comments at night
_LONGEST_DELAY: Final = 45 * _DAY


@dataclass(slots=True, eq=False)
class Comment:
    """A comment or a reply; `top` is the comment whose thread a reply stands in, `answers` the one it answers."""

    post: "Post"
    author: int
    date: int
    seed: int
    likes: int
    top: "Comment | None" = None
    answers: "Comment | None" = None
    attachment: AttachmentKind = ""
    id: int = 0
    deleted: bool = False
    text: str | None = None
    replies: "list[Comment]" = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Post:
    """A post with its top comments by id; `comment_count` counts replies and stubs as well.

    `reposted` is the positive id of the community it was taken from, or 0.
    """

    author: int
    date: int
    seed: int
    topic: texts.Topic
    reposted: int = 0
    id: int = 0
    pinned: bool = False
    comments_closed: bool = False
    comment_count: int = 0
    comments: list[Comment] = field(default_factory=list)

    def all_comments(self) -> Iterator[Comment]:
        """Top comments each followed by its replies, deleted stubs included."""
        for comment in self.comments:
            yield comment
            yield from comment.replies


class Wall:
    """The wall of one community: its posts by id, and one counter that numbers posts and comments alike."""

    def __init__(self, community: Community, population: Population, seed: int) -> None:
        self.community = community
        self.owner_id = -community.id
        self.posts: dict[int, Post] = {}
        self.comments: dict[int, Comment] = {}
        self.last_id = 0
        self.last_date = 0
        self._population = population
        self._random = random.Random(f"{seed}:{community.id}:additions")  # noqa: S311 - a world, not a secret

    @property
    def theme(self) -> texts.Theme:
        """What this community is about."""
        return theme_of(self.community.id)

    def newest_first(self) -> list[Post]:
        """All posts as wall.get lists them: the pinned one first whatever its date, then from new to old."""
        return sorted(self.posts.values(), key=lambda post: (post.pinned, post.id), reverse=True)

    def truth(self) -> dict[str, list[int]]:
        """Post id -> the ids of its comments and replies, ascending, deleted stubs included."""
        return {str(post.id): sorted(comment.id for comment in post.all_comments()) for post in self.posts.values()}

    def file(self, entry: Post | Comment, entry_id: int) -> None:
        """Number a post or a comment and put it into its place; entries come in the order of their ids."""
        entry.id = self.last_id = entry_id
        self.last_date = max(self.last_date, entry.date)
        if isinstance(entry, Post):
            self.posts[entry_id] = entry
            return
        self.comments[entry_id] = entry
        entry.post.comment_count += 1
        (entry.post.comments if entry.top is None else entry.top.replies).append(entry)

    def text_of(self, comment: Comment) -> str:
        """The text of a comment; written when first asked for, and kept."""
        if comment.text is None:
            comment.text = self._write(comment)
        return comment.text

    def post_text(self, post: Post) -> str:
        """The text of a post."""
        dice = phrases.Dice(post.seed)
        speaker = self.community.speaker(self._gender(post.author))
        return phrases.post_text(dice, post.topic, speaker, visitor=post.author > 0)

    def add_comments(self, post: Post, count: int, answers: Comment | None = None) -> list[int]:
        """Append new comments to a post, or replies to the thread of `answers`; gives their ids, ascending."""
        draw = _Draw(self._random, self._population, self.community.id)
        for _ in range(count):
            top = None if answers is None else answers.top or answers
            comment = draw.comment(post, self.last_date + self._random.randrange(1, 120), top, answers)
            self.file(comment, self.last_id + 1)
        return list(range(self.last_id - count + 1, self.last_id + 1))

    def delete_comment(self, comment: Comment) -> None:
        """Delete a comment as VK does: with replies it stays as a stub, a leaf vanishes and later offsets shift."""
        if comment.replies:
            comment.deleted = True
            return
        (comment.post.comments if comment.top is None else comment.top.replies).remove(comment)
        del self.comments[comment.id]
        comment.post.comment_count -= 1

    def delete_post(self, post: Post) -> None:
        """Delete a post with all its comments."""
        for comment in post.all_comments():
            del self.comments[comment.id]
        del self.posts[post.id]

    def _write(self, comment: Comment) -> str:
        if comment.attachment == "sticker":
            return ""
        dice = phrases.Dice(comment.seed)
        speaker = self.community.speaker(self._gender(comment.author))
        theme, topic = self.theme, comment.post.topic
        if comment.author == self.owner_id:
            text = phrases.answer_text(dice, theme, topic, speaker)
        else:
            write = phrases.comment_text if comment.top is None else phrases.reply_text
            text = write(dice, theme, topic, speaker, lambda: self._friend(dice))
        return text if comment.answers is None else f"{self._mention(comment.answers.author)}, {text}"

    def _friend(self, dice: phrases.Dice) -> str:
        return self._mention(self._population.person_id(dice.below(self._population.size)))

    def _mention(self, author: int) -> str:
        return self._author(author).mention

    def _gender(self, author: int) -> int:
        who = self._author(author)
        return who.gender if isinstance(who, Person) else 1

    def _author(self, author: int) -> Person | Community:
        found = self._population.person(author) if author > 0 else self._population.community(-author)
        if found is None:  # pragma: no cover - authors are drawn from the population
            raise LookupError(f"nobody has the id {author}")
        return found


class World:
    """All walls of a simulated VK; a wall is made when it is first asked for, the same one in whatever order."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.population = Population(options)
        self._walls: dict[int, Wall] = {}

    def wall(self, group_id: int) -> Wall | None:
        """The wall of the community with this positive id; None where the id is nobody's."""
        if group_id not in self._walls:
            community = self.population.community(group_id)
            if community is None:
                return None
            self._walls[group_id] = make_wall(community, self.population, self.options)
        return self._walls[group_id]


def make_wall(community: Community, population: Population, options: SimulatorOptions) -> Wall:
    """A community's wall with all its posts and comments; empty for a guest, but one post where comments are closed.

    The same arguments make the same wall. Takes about 8 microseconds a comment.
    """
    wall = Wall(community, population, options.seed)
    draw = _Draw(random.Random(f"{options.seed}:{community.id}"), population, community.id)  # noqa: S311 - see Wall
    if community.wall == "comments closed":
        wall.file(draw.post(options.start_of_history, comments_closed=True), 1)
    if community.id > options.groups:
        return wall
    posts = draw.posts(options)
    shares = draw.shares(len(posts), options.comments)
    entries: list[Post | Comment] = [*posts]
    for post, share in zip(posts, shares, strict=True):
        entries += draw.comments(post, share)
    entries.sort(key=lambda entry: entry.date)  # stable: a reply never comes before what it answers
    for entry in entries:
        wall.file(entry, wall.last_id + draw.step() if wall.last_id else 1)
    return wall


class _Draw:
    """Draws records of one wall at random."""

    def __init__(self, source: random.Random, population: Population, group_id: int) -> None:
        self._source = source
        self._random = source.random
        self._population = population
        self._group_id = group_id

    def step(self) -> int:
        """By how much the counter of ids moves on: one, and now and then two, as something was deleted."""
        return 1 if self._random() < 0.99 else 2  # noqa: PLR2004 - one id in a hundred

    def post(self, date: int, *, comments_closed: bool = False) -> Post:
        """A post by the community itself."""
        topic = self._source.choice(theme_of(self._group_id).topics)
        seed = self._source.getrandbits(64)
        return Post(-self._group_id, _awake(date), seed, topic, comments_closed=comments_closed)

    def posts(self, options: SimulatorOptions) -> list[Post]:
        """All posts, old to new: one in twenty by a visitor, one in twenty-five a repost, one pinned."""
        gap = options.history_seconds / max(1, options.posts)
        posts = []
        for number in range(options.posts):
            post = self.post(options.start_of_history + int(gap * (number + self._random() * 0.8)))
            if number % 20 == 13:  # noqa: PLR2004 - see the docstring
                post.author = self._somebody()
            elif number % 25 == 9:  # noqa: PLR2004 - see the docstring
                post.reposted = self._population.guest_id(number)
            posts.append(post)
        for post in [post for post in posts[len(posts) // 3 :] if post.author < 0][:1]:
            post.pinned = True
        return posts

    def shares(self, posts: int, comments: int) -> list[int]:
        """How many comments each post gets: a few get thousands, most get few; they add up exactly."""
        if not posts:
            return []
        weights = [self._source.lognormvariate(0, 1.5) for _ in range(posts)]
        total = sum(weights)
        shares = [int(comments * weight / total) for weight in weights]
        by_weight = sorted(range(posts), key=lambda number: -weights[number])
        for turn in range(comments - sum(shares)):
            shares[by_weight[turn % posts]] += 1
        return shares

    def comments(self, post: Post, count: int) -> list[Comment]:
        """Comments of one post, each reply after what it answers; a thread that has replies draws more of them."""
        replies = int(count * REPLY_SHARE)
        tops = [self.comment(post, post.date + self._delay(), None, None) for _ in range(count - replies)]
        made = list(tops)
        busy: set[Comment] = set()
        for _ in range(replies):
            made.append(reply := self._reply(post, tops, made))
            if reply.top is not None and reply.top not in busy:
                busy.add(reply.top)
                reply.top.deleted = self._random() < STUB_SHARE
        return made

    def comment(self, post: Post, date: int, top: Comment | None, answers: Comment | None) -> Comment:
        """A comment at about this time: one at night is put off until the morning."""
        source = self._random
        author = self._author(is_reply=top is not None)
        if answers is not None and author == answers.author:
            author = self._somebody()
        fame = source()
        likes = 0 if fame < 0.55 else min(900, int(1 / (1.001 - fame)) - 1)  # noqa: PLR2004 - most have no likes
        seed = self._source.getrandbits(64)
        return Comment(post, author, _awake(date), seed, likes, top, answers, self._attachment())

    def _reply(self, post: Post, tops: list[Comment], made: list[Comment]) -> Comment:
        answered = len(made) - len(tops)
        if answered and self._random() < 0.72:  # noqa: PLR2004 - growth by what is there: few threads get long
            target = made[len(tops) + int(self._random() * answered)]
        else:
            target = tops[int(self._random() * len(tops))]
        top = target.top or target
        kind = self._random()
        answers = None if kind < 0.2 else target if kind < 0.75 else top  # noqa: PLR2004 - shares of replies
        date = target.date + 30 + int(self._source.expovariate(1 / (3 * _HOUR)))
        return self.comment(post, date, top, answers)

    def _delay(self) -> int:
        mean = 8 * _HOUR if self._random() < 0.8 else 5 * _DAY  # noqa: PLR2004 - late comments are one in five
        return 20 + min(_LONGEST_DELAY, int(self._source.expovariate(1 / mean)))

    def _author(self, *, is_reply: bool) -> int:
        chance = self._random()
        if chance < (0.08 if is_reply else 0.005):
            return -self._group_id
        if chance > 0.993:  # noqa: PLR2004 - seven in a thousand are written by other communities
            return -self._population.guest_id(int(chance * 1_000_000))
        return self._somebody()

    def _somebody(self) -> int:
        # A power of the draw lets few people write much; neighbouring walls share a third of their people.
        pool = self._population.pool
        rank = int(pool * self._random() ** 2.2)
        return self._population.person_id((self._group_id - 1) * pool * 2 // 3 + (rank * 7919) % pool)

    def _attachment(self) -> AttachmentKind:
        chance = self._random()
        if chance > 0.065:  # noqa: PLR2004 - shares of comments
            return ""
        return "photo" if chance < 0.03 else "sticker" if chance < 0.05 else "link"  # noqa: PLR2004 - see above


def _awake(date: int) -> int:
    """The time itself, or for three in four night hours a time in the next morning."""
    seconds = (date + _LOCAL_TIME) % _DAY
    if _HOUR <= seconds < 7 * _HOUR and date % 4:
        return date + 8 * _HOUR - seconds + date % (2 * _HOUR)
    return date
