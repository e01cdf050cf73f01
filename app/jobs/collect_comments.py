"""Collects the comments of communities: lists their posts, then reads the comments of those that have new ones."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ErrorCode
from app.jobs.collection import DONE, OpenPost, Request, State
from app.jobs.known_keywords import KnownKeywords
from app.jobs.progress import Progress, RunningJob
from app.jobs.states import JobEventKind
from app.store import authors, comments, groups, posts
from app.store.comments import ReadThread
from app.store.jobs import current_time
from app.vk.batch import Batch
from app.vk.comment_walk import CommentWalk, page_count
from app.vk.pipeline import next_asks, ordered_answers
from app.vk.walk import Ask
from app.vk.wall_walk import NamedPosts
from app.vk.wire import VkFault, VkUnavailable, kind_of_fault, known_shape, read_comment_page, read_post_page
from app.wall import VkAuthor, VkComment, VkCommentPage, VkPost

MANY_WALKS = 250
"""With more open levels than this, threads are read before more of them are found, so the checkpoint stays small."""


async def collect_comments(job: RunningJob) -> dict[str, Any]:
    """Collect what the job's arguments ask for and return the counts; goes on from the job's checkpoint.

    A post that cannot be read is an event, and so is a community unless it is the only one.

    Raises:
        VkFault: VK failed in a way that is not about one post, or refused every community.
        GroupNotFound, PostNotFound: a community was removed meanwhile.
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
    """
    collection = Collection(job, await _state_of(job))
    state = collection.state
    if not state.is_listed:
        await collection.list_posts()
    await collection.read_comments()
    if len(state.refusals) == len(collection.request.owner_ids):
        async with job.step() as connection:
            # should somebody try again, there is nothing to go on from
            await job.report(connection, state.progress(), None)
        last = state.refusals[-1]
        raise kind_of_fault(last["vkCode"])(last["message"], last["vkCode"], last["method"])
    async with job.step() as connection:
        await collection.report(connection, Progress(DONE, state.counts.comments, state.counts.comments))
    return collection.result()


async def _state_of(job: RunningJob) -> State:
    if job.checkpoint:
        return State.of(job.checkpoint)
    async with job.resources.database.connect() as connection:
        return State.new(Request.of(job.arguments), await current_time(connection))


@dataclass(slots=True)
class Findings:
    """What a pack of pages brought: to be stored in one step."""

    people: list[VkAuthor] = field(default_factory=list)
    comments: list[VkComment] = field(default_factory=list)
    read_threads: list[ReadThread] = field(default_factory=list)
    whole_threads: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[OpenPost, VkFault]] = field(default_factory=list)
    touched: set[tuple[int, int]] = field(default_factory=set)


class Collection:
    """One run of one collection."""

    def __init__(self, job: RunningJob, state: State) -> None:
        self.request = Request.of(job.arguments)
        self.state = state
        self._job = job
        self._batch = Batch(job.resources.vk)
        self._keywords = KnownKeywords()
        counts = self.state.counts
        self._former_requests, self._former_calls = counts.requests, counts.calls
        self._to_collect = posts.PostsToCollect(
            self.request.owner_ids, self.request.post_ids, listed_since=state.begun_at, full=self.request.full
        )

    def result(self) -> dict[str, Any]:
        """Return what the collection has brought."""
        counts = self.state.counts
        refused = len(self.state.refusals)
        groups_read = {"groups": len(self.request.owner_ids) - refused, "failed_groups": refused}
        return groups_read | {name: getattr(counts, name) for name in counts.__slots__}

    async def report(self, connection: AsyncConnection, progress: Progress | None = None) -> None:
        """Write progress and checkpoint in a step."""
        self.state.counts.requests = self._former_requests + self._batch.usage.requests
        self.state.counts.calls = self._former_calls + self._batch.usage.calls
        await self._job.report(connection, progress or self.state.progress(), self.state.checkpoint())

    # posts

    async def list_posts(self) -> None:
        """Store the posts that are asked for, of all communities, and count what is to be read."""
        state = self.state
        async with aclosing(ordered_answers(self._batch, self._plan_posts)) as packs:
            async for pack in packs:
                await self._take_posts(pack)
        async with self._job.step() as connection:
            await self._mark_deleted_posts(connection)
            to_read = await posts.count_to_collect(connection, self._to_collect)
            state.total_posts, state.total_comments = to_read.posts, to_read.comments
            state.counts.saved_calls = to_read.saved_calls
            state.is_listed = True
            await self.report(connection)

    async def _plan_posts(self, most: int) -> list[Ask]:
        return next_asks([*self.state.walls, *self.state.named], most)

    async def _take_posts(self, pack: Sequence[tuple[Ask, Any]]) -> None:
        state = self.state
        people: list[VkAuthor] = []
        found: list[VkPost] = []
        missing: list[tuple[int, int]] = []
        refused: dict[int, VkFault] = {}
        for ask, answer in pack:
            if not ask.is_wanted:
                continue
            owner_id = ask.walk.owner_id
            if isinstance(answer, VkFault):
                ask.walk.close()
                refused[owner_id] = answer
                continue
            with known_shape(ask.call):
                page = read_post_page(answer)
            found += ask.walk.take(ask, page)
            people += page.authors
            if isinstance(ask.walk, NamedPosts):
                missing += [(owner_id, post_id) for post_id in ask.walk.missing(ask, page)]
        state.walls = [wall for wall in state.walls if not wall.is_closed]
        state.named = [named for named in state.named if not named.is_closed]
        state.listed += len(found)
        state.missing += missing
        async with self._job.step() as connection:
            await groups.lock_walls(connection, {post.owner_id for post in found})
            # somebody may have removed one of them while its single posts were collected
            await groups.require_groups(connection, sorted({post.owner_id for post in found}))
            await authors.upsert_authors(connection, people)
            await posts.upsert_posts(connection, found)
            for owner_id, post_id in missing:
                await self._record_missing_post(connection, owner_id, post_id)
            for owner_id, fault in refused.items():
                await self._record_refusal(connection, owner_id, fault)
            await self.report(connection)

    async def _mark_deleted_posts(self, connection: AsyncConnection) -> None:
        """Mark the posts that VK no longer shows: where a wall was listed as a whole, and those that were named."""
        request, state = self.request, self.state
        refused = {refusal["vkOwnerId"] for refusal in state.refusals}
        is_whole = request.since is None and request.max_posts is None
        walls = [owner_id for owner_id in request.wall_ids if is_whole and owner_id not in refused]
        await groups.lock_walls(connection, {*walls, *(owner_id for owner_id, _ in state.missing)})
        state.counts.deleted_comments += await posts.mark_posts_deleted(
            connection, walls, state.missing, state.begun_at
        )

    # comments

    async def read_comments(self) -> None:
        """Read and store the comments of the posts that were listed and have changed."""
        async with aclosing(ordered_answers(self._batch, self._plan_comments)) as packs:
            async for pack in packs:
                await self._take_comments(pack)
        async with self._job.step() as connection:
            await self._finish_groups(connection)
            await self.report(connection)

    async def _plan_comments(self, most: int) -> list[Ask]:
        """Ask for pages of open levels, top comments first, as these tell of threads; then open further posts."""
        state = self.state
        threads_first = len(state.walks) > MANY_WALKS
        by_level: list[CommentWalk] = sorted(state.walks, key=lambda walk: (walk.thread_id is None) is threads_first)
        asks = next_asks(by_level, most)
        room = most - len(asks)
        if room > 0 and not state.are_all_open:
            async with self._job.resources.database.connect() as connection:
                rows = await posts.posts_to_collect(connection, self._to_collect, state.after, room)
            opened = [OpenPost(row.owner_id, row.id, row.comment_count, row.has_comments) for row in rows]
            state.posts |= {(post.owner_id, post.id): post for post in opened}
            walks = [CommentWalk(post.owner_id, post.id) for post in opened]
            state.walks += walks
            state.are_all_open = len(rows) < room
            state.after = (rows[-1].owner_id, rows[-1].id) if rows else state.after
            asks += next_asks(walks, room)
        return asks

    async def _take_comments(self, pack: Sequence[tuple[Ask, Any]]) -> None:
        pages: list[tuple[Ask, VkCommentPage | VkFault]] = []
        for ask, answer in pack:
            pages.append((ask, _page_of(ask, answer)))
        known = await self._known_threads(page for page in pages if not isinstance(page[1], VkFault))
        findings = Findings()
        for ask, page in pages:
            if ask.is_wanted:
                self._take_page(ask, page, known, findings)
        self.state.walks = [walk for walk in self.state.walks if not walk.is_closed]
        async with self._job.step() as connection:
            await self._store(connection, findings)
            await self._finish_groups(connection)
            await self.report(connection)

    def _take_page(
        self,
        ask: Ask,
        page: VkCommentPage | VkFault,
        known: dict[tuple[int, int], ReadThread],
        findings: Findings,
    ) -> None:
        """Go on by one page of one level."""
        walk: CommentWalk = ask.walk
        post = self.state.posts[walk.owner_id, walk.post_id]
        findings.touched.add((walk.owner_id, walk.post_id))
        post.calls += 1
        if isinstance(page, VkFault):
            walk.close()
            self._fail(post, page, findings)
            return
        # a number that is too low only has the post, or the thread, read again
        if walk.thread_id is None and page.count is not None:
            # the larger one: a recorded reply of 2019 has the two the other way round
            post.comment_count = min(post.comment_count, max(page.count, page.level_count or 0))
        elif page.level_count is not None:
            walk.thread_count = min(walk.thread_count, page.level_count)
        new = walk.take(ask, page)
        findings.people += page.authors
        findings.comments += page.items
        self.state.counts.comments += len(new)
        for top in new:
            replies = page.replies.get(top.id, [])
            findings.comments += replies
            self.state.counts.comments += len(replies)
            if walk.thread_id is None:
                self._take_thread(post, top, replies, known.get((walk.owner_id, top.id)), findings)
        if walk.is_incomplete:
            self._fail(post, VkUnavailable("Too many comments were deleted while it was read."), findings)
        elif walk.is_closed and walk.thread_id is not None:
            findings.read_threads.append(ReadThread(walk.owner_id, walk.thread_id, walk.thread_count, walk.last_id))
            if walk.is_from_start and post.was_read:
                findings.whole_threads.append((walk.owner_id, walk.thread_id))

    def _fail(self, post: OpenPost, fault: VkFault, findings: Findings) -> None:
        if not post.has_failed:
            findings.refused.append((post, fault))
        post.has_failed = True

    def _take_thread(
        self, post: OpenPost, top: VkComment, replies: Sequence[VkComment], known: ReadThread | None, findings: Findings
    ) -> None:
        """Decide what is to be read of the thread of a top comment, beyond the first replies that came inside it."""
        count, shown = top.thread_count, len(replies)
        last_id = max((reply.id for reply in replies), default=0)
        if count <= shown:
            if known and known.count != count:
                findings.read_threads.append(ReadThread(top.owner_id, top.id, count, last_id))
            if post.was_read:
                findings.whole_threads.append((top.owner_id, top.id))
            return
        walk = CommentWalk(top.owner_id, top.post_id, top.id, shown, last_id, level_count=count, thread_count=count)
        if known and not self.request.full and shown < known.count <= count:
            # ids ascend, so what is new in a thread that has grown comes behind what is known
            walk.position, walk.last_id, walk.is_from_start = known.count, known.last_id, False
            saved = page_count(count, shown) - page_count(count, known.count)
            post.saved_calls += saved
            self.state.counts.saved_calls += saved
            self.state.total_comments -= known.count - shown
            if known.count == count:
                return
        self.state.walks.append(walk)

    async def _known_threads(self, pages: Iterator[tuple[Ask, Any]]) -> dict[tuple[int, int], ReadThread]:
        """Return the long threads on these pages that an earlier collection has read to the end."""
        keys = [
            (top.owner_id, top.id)
            for ask, page in pages
            if ask.walk.thread_id is None and self._was_read(ask.walk)
            for top in page.items
        ]
        if not keys:
            return {}
        async with self._job.resources.database.connect() as connection:
            return await comments.read_threads(connection, keys)

    def _was_read(self, walk: CommentWalk) -> bool:
        post = self.state.posts.get((walk.owner_id, walk.post_id))
        return post is not None and post.was_read

    async def _store(self, connection: AsyncConnection, findings: Findings) -> None:
        """Store what a pack brought, and close the posts of which nothing is left to read."""
        counts, since = self.state.counts, self.state.begun_at
        await groups.lock_walls(connection, {owner_id for owner_id, _ in findings.touched})
        await authors.upsert_authors(connection, findings.people)
        stored = await comments.upsert_comments(connection, findings.comments, since)
        counts.new_comments += stored.new
        counts.changed_comments += stored.changed
        counts.deleted_comments += stored.deleted
        await self._keywords.match_stored(connection, stored)
        await comments.mark_threads_read(connection, findings.read_threads)
        counts.deleted_comments += await comments.mark_deleted_replies(connection, findings.whole_threads, since)
        for post, fault in findings.refused:
            await self._record_failed_post(connection, post, fault)
        still_open = {(walk.owner_id, walk.post_id) for walk in self.state.walks}
        closed = [self.state.posts.pop(key) for key in sorted(findings.touched - still_open)]
        read = [post for post in closed if not post.has_failed]
        again = [(post.owner_id, post.id) for post in read if post.was_read]
        counts.deleted_comments += await comments.mark_deleted(connection, again, since, whole=self.request.full)
        counts.deleted_comments += await comments.mark_of_deleted_posts(connection, sorted(findings.touched))
        await posts.mark_posts_collected(
            connection,
            [
                posts.ReadPost(post.owner_id, post.id, post.comment_count, post.calls + post.saved_calls)
                for post in read
            ],
        )
        counts.posts += len(read)

    async def _finish_groups(self, connection: AsyncConnection) -> None:
        whole = set(self.request.wall_ids)
        await groups.mark_groups_collected(connection, [each for each in self.state.finished() if each in whole])

    # what cannot be read

    async def _record_failed_post(self, connection: AsyncConnection, post: OpenPost, fault: VkFault) -> None:
        self.state.counts.failed_posts += 1
        facts = {"vkOwnerId": post.owner_id, "vkPostId": post.id, "code": fault.code.value, **fault.facts()}
        message = f"Post {post.owner_id}_{post.id} could not be read to the end. {fault.message}"
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def _record_missing_post(self, connection: AsyncConnection, owner_id: int, post_id: int) -> None:
        self.state.counts.failed_posts += 1
        facts = {"vkOwnerId": owner_id, "vkPostId": post_id, "code": ErrorCode.POST_NOT_FOUND.value}
        message = f"Post {owner_id}_{post_id} does not exist, or VK does not show it."
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def _record_refusal(self, connection: AsyncConnection, owner_id: int, fault: VkFault) -> None:
        facts = {"vkOwnerId": owner_id, "code": fault.code.value, "message": fault.message, **fault.facts()}
        self.state.refusals.append(facts)
        self.state.unfinished.remove(owner_id)
        message = f"Community {-owner_id} could not be read. {fault.message}"
        await self._job.event(connection, JobEventKind.GROUP_FAILED, message, facts)


def _page_of(ask: Ask, answer: Any) -> VkCommentPage | VkFault:
    """Return the page that was asked for, or why there is none: one that cannot be read is about its post only."""
    if isinstance(answer, VkFault):
        return answer
    try:
        with known_shape(ask.call):
            return read_comment_page(answer, ask.walk.owner_id, ask.walk.post_id, ask.walk.thread_id)
    except VkUnavailable as fault:
        return fault
