"""Collects the comments of communities: lists their posts, then reads the comments of those that have new ones."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ErrorCode
from app.jobs.progress import Progress, RunningJob
from app.jobs.states import JobEventKind
from app.store import authors, comments, groups, posts
from app.vk.batch import answers
from app.vk.walk import CommentWalk, WallWalk, wanted_posts
from app.vk.wire import (
    CALLS_PER_EXECUTE,
    POSTS_PER_CALL,
    VkAccessDenied,
    VkFault,
    VkTokenRejected,
    posts_by_id,
    read_comment_page,
    read_post_page,
)
from app.wall import VkAuthor, VkComment, VkPostPage

Part = Callable[[RunningJob, "Request", "State", int], Awaitable[None]]
"""A part of the work for one community, whose owner id comes last."""

LISTING = "listing posts"
READING = "reading comments"
DONE = "done"


@dataclass(frozen=True, slots=True)
class Request:
    """What a collection is asked for.

    `post_ids` restricts a community (owner id) to single posts. `since` is a
    time, `max_posts` a number of posts per community, newest first. `full`
    reads posts again whose number of comments has not changed.
    """

    owner_ids: Sequence[int]
    post_ids: Mapping[int, Sequence[int]] = field(default_factory=dict)
    since: datetime | None = None
    max_posts: int | None = None
    full: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the request as a job's row holds it."""
        return {
            "owner_ids": list(self.owner_ids),
            "post_ids": {str(owner_id): list(ids) for owner_id, ids in self.post_ids.items()},
            "since": self.since.isoformat() if self.since else None,
            "max_posts": self.max_posts,
            "full": self.full,
        }

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "Request":
        """Return the request that a job's row holds."""
        return cls(
            owner_ids=arguments["owner_ids"],
            post_ids={int(owner_id): ids for owner_id, ids in arguments["post_ids"].items()},
            since=datetime.fromisoformat(arguments["since"]) if arguments["since"] else None,
            max_posts=arguments["max_posts"],
            full=arguments["full"],
        )


@dataclass(slots=True)
class State:
    """How far a collection is: all that a further run needs to go on.

    Written with every page, so it holds the open levels only. All communities
    are listed before the comments of the first one are read
    (`is_listed`), so that the total is known. `group` counts those behind it. Of
    the current one: `wall` is the walk through its posts; `listed` counts the
    posts taken of it; `after_id` is the last post whose comments were begun;
    `walks` are the levels that are open; `failed_ids` the open posts that cannot
    be read. `done`, `total` (comments) and the counters of posts are of the whole job.
    """

    is_listed: bool = False
    group: int = 0
    wall: WallWalk = field(default_factory=WallWalk)
    listed: int = 0
    after_id: int = 0
    walks: list[CommentWalk] = field(default_factory=list)
    failed_ids: list[int] = field(default_factory=list)
    done: int = 0
    new: int = 0
    total: int = 0
    posts_done: int = 0
    posts_total: int = 0
    posts_failed: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any] | None) -> "State":
        """Return the state that a job's row holds, or that of a new job."""
        if checkpoint is None:
            return cls()
        return cls(
            **{
                **checkpoint,
                "wall": WallWalk(*checkpoint["wall"]),
                "walks": [CommentWalk(*walk) for walk in checkpoint["walks"]],
            }
        )

    def checkpoint(self) -> dict[str, Any]:
        """Return the state as a job's row holds it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "wall": astuple(self.wall), "walks": [astuple(walk) for walk in self.walks]}

    def progress(self, stage: str) -> Progress:
        """Return the state as clients see it."""
        total = self.total if stage == READING else None
        message = f"{self.posts_done} of {self.posts_total} posts" if self.is_listed else f"{self.listed} posts"
        return Progress(stage, self.done, total, message)

    def next_group(self) -> None:
        """Turn to the next community."""
        self.group += 1
        self.wall, self.listed, self.after_id, self.walks, self.failed_ids = WallWalk(), 0, 0, [], []

    def is_refused(self, owner_id: int) -> bool:
        """Say whether VK does not let this community be read."""
        return any(refusal["vkOwnerId"] == owner_id for refusal in self.refusals)


async def collect_comments(job: RunningJob) -> dict[str, Any]:
    """Collect what the job's arguments ask for and return the counts; goes on from the job's checkpoint.

    A post that cannot be read is an event, and so is a community unless it is the only one.

    Raises:
        VkFault: VK failed in a way that is not about one post, or refused every community.
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
    """
    request, state = Request.of(job.arguments), State.of(job.checkpoint)
    if not state.is_listed:
        await _each_group(job, request, state, _list_posts)
        state.group, state.is_listed = 0, True
    await _each_group(job, request, state, _read_comments)
    if len(state.refusals) == len(request.owner_ids):
        last = state.refusals[-1]
        raise VkAccessDenied(last["message"], last["vkCode"], last["method"])
    async with job.step() as connection:
        await job.report(connection, Progress(DONE, state.done, state.done), state.checkpoint())
    return {
        "groups": len(request.owner_ids) - len(state.refusals),
        "posts": state.posts_done,
        "failed_posts": state.posts_failed,
        "comments": state.done,
        "new_comments": state.new,
    }


async def _each_group(job: RunningJob, request: Request, state: State, do: Part) -> None:
    """Do a part of the work for each community that is left and not refused."""
    while state.group < len(request.owner_ids):
        owner_id = request.owner_ids[state.group]
        if state.is_refused(owner_id):
            state.next_group()
            continue
        try:
            await do(job, request, state, owner_id)
        except VkFault as fault:
            if fault.passes or isinstance(fault, VkTokenRejected):
                raise
            await _record_refusal(job, state, owner_id, fault)


async def _list_posts(job: RunningJob, request: Request, state: State, owner_id: int) -> None:
    """Store the posts of a community that are asked for, and count what is to be read."""
    since = int(request.since.timestamp()) if request.since else None
    group = state.group
    while state.group == group:
        wall = state.wall
        page, following, missing = await _next_posts(job, request, wall, owner_id)
        if owner_id in request.post_ids:
            wanted, goes_on = page.items, True
        else:
            room = None if request.max_posts is None else request.max_posts - state.listed
            unseen = [post for post in page.items if not 0 < wall.last_id <= post.id]
            wanted, goes_on = wanted_posts(unseen, since, room)
        async with job.step() as connection:
            await _store(connection, owner_id, page.authors, [])
            await posts.upsert_posts(connection, owner_id, wanted)
            for post_id in missing:
                await _record_missing_post(job, connection, state, owner_id, post_id)
            state.listed += len(wanted)
            if goes_on and following:
                state.wall = following
            else:
                to_read, total = await posts.count_to_collect(connection, _to_collect(job, request, owner_id))
                state.posts_total += to_read
                state.total += total
                state.next_group()
            await job.report(connection, state.progress(LISTING), state.checkpoint())


async def _next_posts(
    job: RunningJob, request: Request, wall: WallWalk, owner_id: int
) -> tuple[VkPostPage, WallWalk | None, Sequence[int]]:
    """Ask for the next page of a wall, or of the posts that were named; also returns the named ones VK left out."""
    ids = request.post_ids.get(owner_id)
    if ids is None:
        [answer] = await answers(job.resources.vk, [wall.call(owner_id)])
        page = read_post_page(_usable(answer))
        return page, wall.after(page), ()
    # single posts are asked for by id, and `position` counts those that were
    chunk = ids[wall.position : wall.position + POSTS_PER_CALL]
    [answer] = await answers(job.resources.vk, [posts_by_id(owner_id, chunk)])
    page = read_post_page(_usable(answer))
    position = wall.position + len(chunk)
    missing = sorted(set(chunk) - {post.id for post in page.items})
    return page, WallWalk(position) if position < len(ids) else None, missing


def _to_collect(job: RunningJob, request: Request, owner_id: int) -> posts.PostsToCollect:
    return posts.PostsToCollect(
        owner_id, listed_since=job.created_at, full=request.full, ids=request.post_ids.get(owner_id)
    )


async def _read_comments(job: RunningJob, request: Request, state: State, owner_id: int) -> None:
    """Read the comments of the listed posts, up to 25 pages of different levels in one request."""
    while await _open_walks(job, request, state, owner_id):
        # the newest walks first: threads are done before more of them are opened, so the list stays short
        batch, state.walks = state.walks[-CALLS_PER_EXECUTE:], state.walks[:-CALLS_PER_EXECUTE]
        replies = await answers(job.resources.vk, [walk.call(owner_id) for walk in batch])
        found: list[VkComment] = []
        people: list[VkAuthor] = []
        refused: list[tuple[CommentWalk, VkFault]] = []
        for walk, answer in zip(batch, replies, strict=True):
            if isinstance(answer, VkFault) and not answer.passes:
                refused.append((walk, answer))
                continue
            page = read_comment_page(_usable(answer), owner_id, walk.post_id, walk.thread_id)
            state.done += walk.count_new(page)
            state.walks += walk.after(page)
            found += page.items
            found += (reply for inside in page.replies.values() for reply in inside)
            people += page.authors
        async with job.step() as connection:
            state.new += await _store(connection, owner_id, people, found)
            for walk, fault in refused:
                await _record_failed_post(job, connection, state, owner_id, walk, fault)
            await _close_posts(connection, state, owner_id, {walk.post_id for walk in batch})
            await job.report(connection, state.progress(READING), state.checkpoint())
    async with job.step() as connection:
        await groups.mark_group_collected(connection, owner_id)
        state.next_group()
        await job.report(connection, state.progress(READING), state.checkpoint())


async def _open_walks(job: RunningJob, request: Request, state: State, owner_id: int) -> bool:
    """Fill up the open walks with further posts; False when nothing is left to read."""
    room = CALLS_PER_EXECUTE - len(state.walks)
    if room > 0:
        wanted = _to_collect(job, request, owner_id)
        async with job.resources.database.connect() as connection:
            ids = await posts.posts_to_collect(connection, wanted, state.after_id, room)
        state.walks = [CommentWalk(post_id) for post_id in ids] + state.walks
        state.after_id = max(ids, default=state.after_id)
    return bool(state.walks)


async def _store(
    connection: AsyncConnection, owner_id: int, people: Sequence[VkAuthor], found: Sequence[VkComment]
) -> int:
    await authors.upsert_authors(connection, people)
    return await comments.upsert_comments(connection, owner_id, found)


async def _close_posts(connection: AsyncConnection, state: State, owner_id: int, ids: Iterable[int]) -> None:
    """Note which of these posts have no open walk any more: their comments are complete."""
    closed = set(ids) - {walk.post_id for walk in state.walks}
    await posts.mark_posts_collected(connection, owner_id, sorted(closed - set(state.failed_ids)))
    state.posts_done += len(closed - set(state.failed_ids))
    state.failed_ids = [post_id for post_id in state.failed_ids if post_id not in closed]


async def _record_failed_post(
    job: RunningJob, connection: AsyncConnection, state: State, owner_id: int, walk: CommentWalk, fault: VkFault
) -> None:
    if walk.post_id in state.failed_ids:
        return
    state.failed_ids.append(walk.post_id)
    state.posts_failed += 1
    facts = {"vkOwnerId": owner_id, "vkPostId": walk.post_id, "code": fault.code.value, **fault.facts()}
    message = f"Post {owner_id}_{walk.post_id} could not be read to the end. {fault.message}"
    await job.event(connection, JobEventKind.POST_FAILED, message, facts)


async def _record_missing_post(
    job: RunningJob, connection: AsyncConnection, state: State, owner_id: int, post_id: int
) -> None:
    state.posts_failed += 1
    facts = {"vkOwnerId": owner_id, "vkPostId": post_id, "code": ErrorCode.POST_NOT_FOUND.value}
    message = f"Post {owner_id}_{post_id} does not exist, or VK does not show it."
    await job.event(connection, JobEventKind.POST_FAILED, message, facts)


async def _record_refusal(job: RunningJob, state: State, owner_id: int, fault: VkFault) -> None:
    facts = {"vkOwnerId": owner_id, "code": fault.code.value, "message": fault.message, **fault.facts()}
    async with job.step() as connection:
        message = f"Community {-owner_id} could not be read. {fault.message}"
        await job.event(connection, JobEventKind.GROUP_FAILED, message, facts)
        state.refusals.append(facts)
        state.next_group()
        await job.report(connection, state.progress(LISTING), state.checkpoint())


def _usable(answer: Any) -> Any:
    if isinstance(answer, VkFault):
        raise answer
    return answer
