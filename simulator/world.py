"""Walls: compact records of posts and comments, generated from a seed, and changed on demand by tests."""

import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from simulator import phrases, texts
from simulator.attachments import COMMENT_KINDS, POST_KINDS, WORDLESS
from simulator.gc_pause import paused_gc
from simulator.options import SimulatorOptions, WallState
from simulator.people import Community, Person, Population, theme_of
from simulator.strange_texts import is_strange, strange_text

REPLY_SHARE: Final = 0.35
STUB_SHARE: Final = 0.03  # of the top comments that have replies
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_LOCAL_TIME: Final = 3 * _HOUR  # Moscow time, for fewer comments at night
_LONGEST_DELAY: Final = 45 * _DAY
_LARGE_WALL: Final = 200_000  # comments; the memory of a larger wall is not freed before the process ends


@dataclass(slots=True, eq=False)
class Comment:
    """A comment or a reply; `top` is the top comment of a reply's thread, `answers` the comment it answers.

    `attachment` is one of `COMMENT_KINDS` or empty.
    """

    post: "Post"
    author: int
    date: int
    seed: int
    likes: int
    top: "Comment | None" = None
    answers: "Comment | None" = None
    attachment: str = ""
    id: int = 0
    deleted: bool = False
    text: str | None = None
    replies: "list[Comment]" = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Post:
    """A post with its top comments by id; `comment_count` includes replies and stubs.

    `reposted` is the positive id of the community that the post was reposted from, or 0. A `donut` post is for paying
    readers only. `attachments` are of `POST_KINDS`; a post without any may still have a photo.
    """

    author: int
    date: int
    seed: int
    topic: texts.Topic
    reposted: int = 0
    id: int = 0
    pinned: bool = False
    comments_closed: bool = False
    donut: bool = False
    attachments: tuple[str, ...] = ()
    comment_count: int = 0
    comments: list[Comment] = field(default_factory=list)

    def all_comments(self) -> Iterator[Comment]:
        """Yield the top comments, each followed by its replies; deleted stubs are included."""
        for comment in self.comments:
            yield comment
            yield from comment.replies


class Wall:
    """The wall of one community: its posts by id, and the one counter that numbers both posts and comments.

    `gone` contains the comments that vanished, by id; `hidden` and `hidden_posts` those that VK does not show or count
    until `show_hidden`; `former_texts` the former texts of edited comments, oldest first.
    """

    def __init__(self, community: Community, population: Population, options: SimulatorOptions) -> None:
        self.community = community
        self.owner_id = -community.id
        self.posts: dict[int, Post] = {}
        self.comments: dict[int, Comment] = {}
        self.gone: dict[int, Comment] = {}
        self.hidden: dict[int, Comment] = {}
        self.hidden_posts: dict[int, Post] = {}
        self.former_texts: dict[int, list[str]] = {}
        self.last_id = 0
        self.last_date = 0
        self._population = population
        self._options = options
        self._speakers = community.speaker(0), community.speaker(1)
        self._random = random.Random(f"{options.seed}:{community.id}:additions")  # noqa: S311 - simulated data, not a secret

    @property
    def theme(self) -> texts.Theme:
        """The subject of this community."""
        return theme_of(self.community.id)

    def newest_first(self) -> list[Post]:
        """Return all posts in the order of wall.get: the pinned one first whatever its date, then from new to old."""
        posts = [*reversed(self.posts.values())]
        posts.sort(key=lambda post: not post.pinned)
        return posts

    def truth(self) -> dict[str, list[int]]:
        """Return post id -> the ids of its comments and replies, ascending, deleted stubs included."""
        return {str(post.id): sorted(comment.id for comment in post.all_comments()) for post in self.posts.values()}

    def add(self, entry: Post | Comment, entry_id: int) -> None:
        """Number a post or a comment and add it to its list; call it in the order of ids."""
        entry.id = self.last_id = entry_id
        self.last_date = max(self.last_date, entry.date)
        if isinstance(entry, Post):
            self.posts[entry_id] = entry
            return
        self.comments[entry_id] = entry
        entry.post.comment_count += 1
        (entry.post.comments if entry.top is None else entry.top.replies).append(entry)

    def text_of(self, comment: Comment) -> str:
        """Return the text of a comment as a reader sees it; it is generated on first use, and kept."""
        if comment.post.donut and is_hidden(comment):
            return ""
        if comment.text is None:
            comment.text = self._write(comment, comment.seed)
        return comment.text

    def post_text(self, post: Post) -> str:
        """Return the text of a post as a reader sees it."""
        if post.donut:
            return ""
        if is_strange(post.seed, self._options.nasty):
            return strange_text(post.seed, self._mention_writer(post.seed))
        dice = phrases.Dice(post.seed)
        speaker = self._speakers[self._gender(post.author)]
        return phrases.post_text(dice, post.topic, speaker, visitor=post.author > 0)

    def add_comments(self, post: Post, count: int, answers: Comment | None = None, author: int = 0) -> list[int]:
        """Append new comments to a post, or replies to the thread of `answers`; return their ids, ascending.

        Authors are drawn, unless `author` is the signed id of one.
        """
        draw = _Draw(self._random, self._population, self.community.id, self._options)
        for _ in range(count):
            top = None if answers is None else answers.top or answers
            comment = draw.comment(post, self.last_date + self._random.randrange(1, 120), top, answers)
            comment.author = author or comment.author
            self.add(comment, self.last_id + 1)
        return list(range(self.last_id - count + 1, self.last_id + 1))

    def add_post(self) -> Post:
        """Append a new post by the community itself."""
        draw = _Draw(self._random, self._population, self.community.id, self._options)
        self.add(post := draw.post(self.last_date + _HOUR), self.last_id + 1)
        return post

    def pin(self, post: Post | None) -> None:
        """Pin this post instead of the pinned one; None: pin no post."""
        for each in self.posts.values():
            each.pinned = each is post

    def set_donut(self, post: Post, *, donut: bool) -> None:
        """Restrict a post to paying readers, or open it to all; record texts that change by this as edits."""
        before = [(comment, self.text_of(comment)) for comment in post.all_comments() if is_hidden(comment)]
        post.donut = donut
        for comment, text in before:
            self._remember(comment, text)

    def edit_comment(self, comment: Comment, text: str) -> None:
        """Change the text of a comment. VK's schema has no mark of an edit: only a comparison of texts detects it."""
        before = self.text_of(comment)
        comment.text = text
        self._remember(comment, before)

    def _remember(self, comment: Comment, before: str) -> None:
        if self.text_of(comment) != before:
            self.former_texts.setdefault(comment.id, []).append(before)

    def rewrite_comment(self, comment: Comment, seed: int) -> bool:
        """Replace a comment's text by one that is generated from another seed; return whether the text changed."""
        before = self.text_of(comment)
        self.edit_comment(comment, self._write(comment, seed))
        return self.text_of(comment) != before

    def delete_comment(self, comment: Comment) -> None:
        """Delete a comment as VK does: one with replies stays as a stub, a leaf vanishes and later offsets shift.

        A stub vanishes with its last reply (inferred: no recorded stub is without replies). Replies to a comment that
        vanished still contain its id, as VK cannot omit their `reply_to_comment` (inferred, too).
        """
        comment.deleted = True
        if comment.replies:
            return
        level = comment.post.comments if comment.top is None else comment.top.replies
        del level[bisect_left(level, comment.id, key=lambda each: each.id)]
        self.gone[comment.id] = self.comments.pop(comment.id)
        comment.post.comment_count -= 1
        if comment.top is not None and comment.top.deleted:
            self.delete_comment(comment.top)

    def delete_post(self, post: Post) -> None:
        """Delete a post with all its comments."""
        for comment in post.all_comments():
            self.gone[comment.id] = self.comments.pop(comment.id)
        del self.posts[post.id]

    def hide_comment(self, comment: Comment) -> None:
        """Make VK neither show nor count a comment and its replies, as if they had been deleted."""
        for each in (*comment.replies, comment):
            level = each.post.comments if each.top is None else each.top.replies
            del level[bisect_left(level, each.id, key=lambda one: one.id)]
            self.hidden[each.id] = self.comments.pop(each.id)
            each.post.comment_count -= 1

    def hide_post(self, post: Post) -> None:
        """Make VK not show a post and all its comments, as if it had been deleted."""
        for comment in post.all_comments():
            self.hidden[comment.id] = self.comments.pop(comment.id)
        self.hidden_posts[post.id] = self.posts.pop(post.id)

    def show_hidden(self) -> None:
        """Show and count hidden items again; those whose post or top comment was deleted meanwhile are gone."""
        self.posts = dict(sorted({**self.posts, **self.hidden_posts}.items()))
        for comment_id in sorted(self.hidden):
            comment = self.hidden[comment_id]
            level = comment.post.comments if comment.top is None else comment.top.replies
            is_there = comment.post.id in self.posts and (comment.top is None or comment.top.id in self.comments)
            (self.comments if is_there else self.gone)[comment_id] = comment
            comment.deleted = comment.deleted or not is_there
            place = bisect_left(level, comment_id, key=lambda each: each.id)
            # comments that were hidden with their post are still in their list
            if is_there and level[place : place + 1] != [comment]:
                level.insert(place, comment)
                comment.post.comment_count += 1
        self.comments = dict(sorted(self.comments.items()))
        self.hidden, self.hidden_posts = {}, {}

    def _write(self, comment: Comment, seed: int) -> str:
        if comment.attachment in WORDLESS:
            return ""
        if is_strange(seed, self._options.nasty):
            return strange_text(seed, self._mention_writer(seed))
        dice = phrases.Dice(seed)
        speaker = self._speakers[self._gender(comment.author)]
        theme, topic = self.theme, comment.post.topic
        if comment.author == self.owner_id:
            text = phrases.answer_text(dice, theme, topic, speaker)
        else:
            write = phrases.comment_text if comment.top is None else phrases.reply_text
            text = write(dice, theme, topic, speaker, lambda: self._friend(dice))
        return text if comment.answers is None else f"{self._mention(comment.answers.author)}, {text}"

    def _mention_writer(self, seed: int) -> Callable[[], str]:
        dice = phrases.Dice(seed)
        return lambda: self._friend(dice)

    def _friend(self, dice: phrases.Dice) -> str:
        return self._mention(self._population.person_id(dice.below(self._population.size)))

    def _mention(self, author: int) -> str:
        return self._author(author).mention

    def _gender(self, author: int) -> int:
        person = self._author(author)
        return person.gender if isinstance(person, Person) else 1

    def _author(self, author: int) -> Person | Community:
        found = self._population.person(author) if author > 0 else self._population.community(-author)
        if found is None:  # authors are drawn from the population
            raise LookupError(f"no author has the id {author}")
        return found


def is_hidden(comment: Comment) -> bool:
    """Return whether a comment shows a placeholder while its post is for paying readers: one in three."""
    return comment.seed % 3 == 0


class World:
    """All walls of a simulated VK. A wall is generated on first use, and does not depend on the order of use."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.population = Population(options)
        self._walls: dict[int, Wall] = {}

    @property
    def generated(self) -> list[Wall]:
        """The walls that were generated so far, in the order of first use."""
        return [*self._walls.values()]

    def wall(self, group_id: int) -> Wall | None:
        """Return the wall of the community with this positive id; None if no community has it."""
        if group_id not in self._walls:
            community = self.population.community(group_id)
            if community is None:
                return None
            self._walls[group_id] = self._make(community)
        return self._walls[group_id]

    def _make(self, community: Community) -> Wall:
        if self.options.comments < _LARGE_WALL:
            return make_wall(community, self.population, self.options)
        with paused_gc(keep=True):
            return make_wall(community, self.population, self.options)

    def set_wall(self, group_id: int, state: WallState) -> None:
        """Close, ban or delete a community, or reopen it; "comments closed" closes the comments of all its posts.

        Raises:
            LookupError: no community has this id.
        """
        wall = self.wall(group_id)
        self.population.set_wall(group_id, state)
        for post in wall.posts.values() if wall and state == "comments closed" else ():
            post.comments_closed = True


def make_wall(community: Community, population: Population, options: SimulatorOptions) -> Wall:
    """Generate a community's wall with posts and comments. A guest's is empty, or has one post with closed comments.

    The same arguments make the same wall. Takes about 4 microseconds and 450 bytes per comment.
    """
    wall = Wall(community, population, options)
    source = random.Random(f"{options.seed}:{community.id}")  # noqa: S311 - see Wall
    draw = _Draw(source, population, community.id, options)
    if community.id > options.groups:
        if community.wall == "comments closed":
            wall.add(draw.post(options.start_of_history, comments_closed=True), 1)
        return wall
    posts = draw.posts()
    if community.wall == "comments closed":
        for post in posts:
            post.comments_closed = True
    shares = draw.shares(posts)
    biggest = shares.index(max(shares)) if shares else 0
    entries: list[Post | Comment] = [*posts]
    for number, post in enumerate(posts):
        entries += draw.comments(post, shares[number], options.longest_thread if number == biggest else 0)
    entries.sort(key=lambda entry: entry.date)  # stable: a reply never precedes the comment that it answers
    for entry in entries:
        wall.add(entry, wall.last_id + draw.step() if wall.last_id else 1)
    return wall


class _Draw:
    """Draws the records of one wall at random."""

    def __init__(self, source: random.Random, population: Population, group_id: int, options: SimulatorOptions) -> None:
        self._options = options
        self._source = source
        self._random = source.random
        self._population = population
        self._group_id = group_id

    def step(self) -> int:
        """Return the increment of the id counter: one, and sometimes two, as if an item had been deleted."""
        return 1 if self._random() < 0.99 else 2  # noqa: PLR2004 - one id in a hundred

    def post(self, date: int, *, comments_closed: bool = False) -> Post:
        """Draw a post by the community itself."""
        topic = self._source.choice(theme_of(self._group_id).topics)
        seed = self._source.getrandbits(64)
        return Post(-self._group_id, _awake(date), seed, topic, comments_closed=comments_closed)

    def posts(self) -> list[Post]:
        """Draw all posts, old to new: one in twenty by a visitor, one in twenty-five a repost, one pinned."""
        options = self._options
        gap = options.history_seconds / max(1, options.posts)
        posts = []
        for number in range(options.posts):
            post = self.post(options.start_of_history + int(gap * (number + self._random() * 0.8)))
            if number % 20 == 13:  # noqa: PLR2004 - see the docstring
                post.author = self._random_person()
            elif number % 25 == 9:  # noqa: PLR2004 - see the docstring
                post.reposted = self._population.guest_id(number)
            posts.append(post)
        for post in [post for post in posts[len(posts) // 3 :] if post.author < 0][:1]:
            post.pinned = options.pinned
        for post in posts:
            post.comments_closed = self._happens(options.closed_posts_share)
            post.donut = self._happens(options.donut_share)
            if self._happens(options.rich):
                post.attachments = tuple(self._source.sample(POST_KINDS, 1 + int(self._random() * 4)))
        return posts

    def _happens(self, share: float) -> bool:
        # a share of 0 draws nothing, so that a new option leaves the worlds without it unchanged
        return share > 0 and self._random() < share

    def shares(self, posts: list[Post]) -> list[int]:
        """Return the number of comments of each post: thousands for a few, few for most; the sum is exact.

        Posts with closed comments get none.
        """
        weights = [self._source.lognormvariate(0, 1.5) for _ in posts]
        by_weight = sorted(range(len(posts)), key=lambda number: -weights[number])
        open_posts = [number for number in by_weight if not posts[number].comments_closed]
        shares = [0] * len(posts)
        if not open_posts:
            return shares
        left = self._options.comments
        if self._options.biggest_post_share and len(open_posts) > 1:
            biggest = open_posts.pop(0)
            shares[biggest] = round(left * self._options.biggest_post_share)
            left -= shares[biggest]
        total = sum(weights[number] for number in sorted(open_posts))
        for number in open_posts:
            shares[number] = int(left * weights[number] / total)
        for extra in range(left - sum(shares[number] for number in open_posts)):
            shares[open_posts[extra % len(open_posts)]] += 1
        return shares

    def comments(self, post: Post, count: int, longest_thread: int = 0) -> list[Comment]:
        """Draw the comments of one post, each reply after what it answers; threads with replies attract more of them.

        With `longest_thread`, the `count` includes one top comment with that many replies, if it suffices.
        """
        if longest_thread and count:
            long = self._thread(post, min(longest_thread, count - 1))
            return long + self.comments(post, count - len(long))
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

    def _thread(self, post: Post, replies: int) -> list[Comment]:
        """Draw a top comment and that many replies, to it and to each other."""
        top = self.comment(post, post.date + self._delay(), None, None)
        made = [top]
        for _ in range(replies):
            answers = made[int(self._random() * len(made))]
            made.append(self.comment(post, made[-1].date + int(self._random() * 90), top, answers))
        return made

    def comment(self, post: Post, date: int, top: Comment | None, answers: Comment | None) -> Comment:
        """Draw a comment at about this time; most comments at night are moved to the morning."""
        source = self._random
        author = self._author(is_reply=top is not None)
        if answers is not None and author == answers.author:
            author = self._random_person()
        fame = source()
        likes = 0 if fame < 0.55 else min(900, int(1 / (1.001 - fame)) - 1)  # noqa: PLR2004 - most have no likes
        seed = self._source.getrandbits(64)
        return Comment(post, author, _awake(date), seed, likes, top, answers, self._attachment())

    def _reply(self, post: Post, tops: list[Comment], made: list[Comment]) -> Comment:
        answered = len(made) - len(tops)
        if answered and self._random() < 0.72:  # noqa: PLR2004 - preferential attachment: few threads get long
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
        if chance > 0.993:  # noqa: PLR2004 - seven in a thousand comments are by other communities
            return -self._population.guest_id(int(chance * 1_000_000))
        return self._random_person()

    def _random_person(self) -> int:
        # The power makes few people write much; neighbouring walls share a third of their people.
        pool = self._population.pool
        rank = int(pool * self._random() ** 2.2)
        return self._population.person_id((self._group_id - 1) * pool * 2 // 3 + (rank * 7919) % pool)

    def _attachment(self) -> str:
        chance = self._random()
        if self._happens(self._options.rich):
            return self._source.choice(COMMENT_KINDS)
        if chance > 0.065:  # noqa: PLR2004 - shares of comments
            return ""
        return "photo" if chance < 0.03 else "sticker" if chance < 0.05 else "link"  # noqa: PLR2004 - see above


def _awake(date: int) -> int:
    """Return the time itself, or for three in four night hours a time in the next morning."""
    seconds = (date + _LOCAL_TIME) % _DAY
    if _HOUR <= seconds < 7 * _HOUR and date % 4:
        return date + 8 * _HOUR - seconds + date % (2 * _HOUR)
    return date
