"""The arguments, the state and the result of a collection job: plain values, which the job's row stores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from app.jobs.running_job import Progress, RunningJob
from app.json_models import from_json
from app.store.posts import PostsToCollect
from app.vk.comment_pager import CommentPager, StoredPager
from app.vk.wall_pager import PostsById, WallPager

LISTING = "listing posts"
READING = "reading comments"
CONFIRMING = "confirming deletions"
DONE = "done"


@dataclass(frozen=True, slots=True)
class CollectionRequest:
    """Which posts a collection reads.

    `wall_ids` are the owner ids of communities to collect completely, `post_ids`
    single posts of other communities, by owner id. For complete communities, `since`
    selects only posts published after it and `max_posts` at most that many of the
    newest. `full` reads all comments again, including posts and threads that have not grown.
    """

    wall_ids: tuple[int, ...]
    post_ids: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    since: datetime | None = None
    max_posts: int | None = None
    full: bool = False

    @property
    def owner_ids(self) -> list[int]:
        """All communities of the request."""
        return list(dict.fromkeys([*self.wall_ids, *self.post_ids]))


@dataclass(slots=True)
class OpenPost:
    """A post whose comments are being read.

    `comment_count` is the lowest and `highest_count` the highest number that VK has
    stated since the post was listed. `received` counts the comments that were received
    or are known to be unchanged. `calls` counts the VK calls for the post, `saved_calls`
    those that were skipped because threads had not grown. `was_read`: comments of it
    were stored before. `is_unconfirmed`: so many of them would be marked as deleted that
    a second read must confirm it. `is_second_read`: this is that second read. `shrunken`
    are threads that were read completely and lacked replies that are stored.
    """

    owner_id: int
    id: int
    comment_count: int
    was_read: bool
    highest_count: int = 0
    received: int = 0
    calls: int = 0
    saved_calls: int = 0
    has_failed: bool = False
    has_broken: bool = False
    is_contradicted: bool = False
    is_unconfirmed: bool = False
    is_second_read: bool = False
    shrunken: list[int] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, int]:
        """The post's key (owner id, post id)."""
        return self.owner_id, self.id

    @property
    def is_settled(self) -> bool:
        """Whether all comments that VK states were received and usable: only then absent ones were deleted."""
        return not (self.has_failed or self.has_broken or self.is_contradicted or self.received < self.comment_count)

    @property
    def is_incomplete(self) -> bool:
        """Whether VK contradicts itself: it keeps stating more comments than it shows.

        If the stated number changed meanwhile, comments may have been added or deleted: no contradiction.
        """
        has_changed = self.comment_count != self.highest_count
        return self.is_contradicted or (self.received < self.comment_count and not has_changed)


@dataclass(slots=True)
class CollectionCounts:
    """The counts of a collection over all its runs.

    `comments` were read; `new_comments` of them were not stored before. Of the stored
    ones, `changed_comments` were edited and `deleted_comments` were deleted. For incomplete
    posts VK states more comments than it shows; `broken_items` in replies
    could not be used. `requests` (HTTP) and `calls` were made; `saved_calls` were skipped
    because nothing had changed.
    """

    posts: int = 0
    failed_posts: int = 0
    incomplete_posts: int = 0
    broken_items: int = 0
    comments: int = 0
    new_comments: int = 0
    changed_comments: int = 0
    deleted_comments: int = 0
    requests: int = 0
    calls: int = 0
    saved_calls: int = 0


@dataclass(slots=True)
class CollectionSummary(CollectionCounts):
    """The result: the counts, and how many communities were read completely, were refused, or are incomplete."""

    groups: int = 0
    failed_groups: int = 0
    incomplete_groups: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why VK refuses to show a community; `vk_code` is None if its reply could not be parsed."""

    owner_id: int
    message: str
    vk_code: int | None
    method: str | None


PostKey = tuple[int, int]
"""Owner id, post id."""
OpenPosts = Annotated[
    dict[PostKey, OpenPost],
    BeforeValidator(lambda posts: {post.key: post for post in from_json(list[OpenPost], posts)}),
    PlainSerializer(lambda posts: list(posts.values())),
]
"""Open posts by key; stored as a list, because keys of JSON objects are strings."""
StorablePager = Annotated[
    CommentPager,
    BeforeValidator(lambda pager: CommentPager.of(from_json(StoredPager, pager))),
    PlainSerializer(CommentPager.stored),
]


@dataclass(slots=True)
class CollectionState:
    """The state of a collection: all that a later run needs to resume. It is the checkpoint of the job.

    Rows with a number lower than `collection` were not seen by this collection (see
    `app.store.collections`). The state is written with every step, so it holds only open
    items. All communities are listed (`walls`, `named`) before any comment is read
    (`is_listed`), so that the totals are known. `after` is the last opened post
    (owner id, post id); `posts` and `pagers` are open. `missing` are posts (owner id,
    post id) that were requested by id and that VK omits. `unfinished` are the communities
    not collected completely yet, `refusals` those that VK refuses to show, `incomplete`
    those of which it showed less than it states. `present` is the number of comments of a
    wall that were not marked as deleted when this collection first marked some; `marked` is
    how many it has marked. What exceeds the allowed share is in `unconfirmed_walls` and
    `unconfirmed_posts`, and is read again at the end (`is_confirming`). `format` is the version of
    the checkpoint: a collection starts again if its checkpoint has another one.
    """

    collection: int
    walls: list[WallPager]
    named: list[PostsById]
    unfinished: list[int]
    missing: list[PostKey] = field(default_factory=list)
    is_listed: bool = False
    after: PostKey | None = None
    are_all_open: bool = False
    posts: OpenPosts = field(default_factory=dict)
    pagers: list[StorablePager] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    incomplete: list[int] = field(default_factory=list)
    present: dict[int, int] = field(default_factory=dict)
    marked: dict[int, int] = field(default_factory=dict)
    unconfirmed_walls: list[int] = field(default_factory=list)
    unconfirmed_posts: list[PostKey] = field(default_factory=list)
    is_confirming: bool = False
    listed: int = 0
    total_posts: int = 0
    total_comments: int = 0
    counts: CollectionCounts = field(default_factory=CollectionCounts)
    format: Literal[3] = 3

    @classmethod
    def new(cls, request: CollectionRequest, collection: int) -> "CollectionState":
        """Return the initial state of the collection with this number."""
        since = int(request.since.timestamp()) if request.since else None
        return cls(
            collection=collection,
            walls=[WallPager(owner_id, since, request.max_posts) for owner_id in sorted(request.wall_ids)],
            named=[PostsById(owner_id, ids) for owner_id, ids in sorted(request.post_ids.items())],
            unfinished=request.owner_ids,
        )

    def progress(self) -> Progress:
        """Return the progress that clients see."""
        if not self.is_listed:
            return Progress(LISTING, self.counts.comments, None, f"{self.listed} posts")
        if self.is_confirming:
            return Progress(CONFIRMING, self.counts.comments, None, f"{self.counts.posts} of {self.total_posts} posts")
        message = f"{self.counts.posts} of {self.total_posts} posts"
        return Progress(READING, self.counts.comments, self.total_comments, message)

    def posts_to_collect(self, request: CollectionRequest) -> PostsToCollect:
        """Return which posts to read: the listed ones, except those of communities that VK refuses to show."""
        refused = self.refused()
        owner_ids = [owner_id for owner_id in request.owner_ids if owner_id not in refused]
        single = {owner_id: ids for owner_id, ids in request.post_ids.items() if owner_id not in refused}
        return PostsToCollect(owner_ids, single, self.collection, request.full)

    def begin_confirming(self, request: CollectionRequest) -> None:
        """Have the walls listed again of which too much would be marked as deleted."""
        self.is_confirming = True
        self.walls = [WallPager(owner_id) for owner_id in self.unconfirmed_walls if owner_id in request.wall_ids]
        self.named = [
            PostsById(owner_id, tuple(post_id for each, post_id in self.missing if each == owner_id))
            for owner_id in self.unconfirmed_walls
            if owner_id in request.post_ids
        ]

    def summary(self, request: CollectionRequest) -> CollectionSummary:
        """Return the counts, as the job's result."""
        refused = self.refused()
        is_incomplete = set(self.incomplete) - refused
        read = len(request.owner_ids) - len(refused) - len(is_incomplete)
        return CollectionSummary(
            **asdict(self.counts), groups=read, failed_groups=len(refused), incomplete_groups=len(is_incomplete)
        )

    def refused(self) -> set[int]:
        """Return the communities that VK refuses to show."""
        return {refusal.owner_id for refusal in self.refusals}

    def refuse(self, refusal: Refusal) -> None:
        """Record that VK refuses to show a community, and drop its open items."""
        owner_id = refusal.owner_id
        self.refusals.append(refusal)
        self.unfinished = [each for each in self.unfinished if each != owner_id]
        self.pagers = [pager for pager in self.pagers if pager.owner_id != owner_id]
        self.posts = {key: post for key, post in self.posts.items() if post.owner_id != owner_id}
        self.unconfirmed_walls = [each for each in self.unconfirmed_walls if each != owner_id]
        self.unconfirmed_posts = [key for key in self.unconfirmed_posts if key[0] != owner_id]

    def marks_too_many(self, owner_id: int, marked: int, present: int, share: float) -> bool:
        """Return whether marking so many more comments would exceed the share of a wall that may be marked at once.

        `present` is how many comments remain unmarked after them. If the share is not exceeded, count them as marked.
        """
        total_marked = self.marked.get(owner_id, 0) + marked
        if total_marked > share * self.present.setdefault(owner_id, present + marked):
            return True
        self.marked[owner_id] = total_marked
        return False

    def finished(self) -> list[int]:
        """Return the communities that are read completely, and remove them from the unfinished ones."""
        opened = {owner_id for owner_id, _ in self.posts}
        reached = self.after[0] if self.after else None
        done = [
            owner_id
            for owner_id in self.unfinished
            if owner_id not in opened and (self.are_all_open or (reached is not None and owner_id < reached))
        ]
        self.unfinished = [owner_id for owner_id in self.unfinished if owner_id not in done]
        return done


CollectionJob = RunningJob[CollectionRequest, CollectionState]
