"""Collects the comments of communities: lists their posts, then reads the comments of those that have new ones."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from sqlalchemy.ext.asyncio import AsyncConnection

from app.jobs.definitions import JobDefinition
from app.jobs.running_job import Progress
from app.store import comments, posts
from app.store.collections import begin_collection
from app.store.comments import ReadThread
from app.vk.batch import Batch
from app.vk.comment_pager import CommentPager
from app.vk.pager import PageRequest
from app.vk.pipeline import next_requests, ordered_answers
from app.vk.wire import VkFault, VkUnavailable, kind_of_fault, may_be_about_wall, wall_probe
from app.work.collecting.collection import (
    DONE,
    CollectionJob,
    CollectionRequest,
    CollectionState,
    CollectionSummary,
    OpenPost,
)
from app.work.collecting.collection_events import CollectionEvents
from app.work.collecting.page_results import CommentResults, PostResults, comment_answers, top_comments_to_know
from app.work.collecting.write_results import CollectionWriter
from app.work.kinds import JobKind
from app.work.matching.known_keywords import KnownKeywords, SearchOutdated

MANY_LEVELS = 250
"""With more open levels than this, threads are read before top comments, to keep the checkpoint small."""


async def collect_comments(job: CollectionJob) -> CollectionSummary:
    """Collect the posts and comments that the job's arguments select; return the counts. Resume from the checkpoint.

        list the posts of all communities
            for each pack of pages: store its posts; record what VK refuses, contradicts or omits
            mark the posts that VK no longer shows as deleted
        read the comments of the posts that are new or have changed
            for each pack of pages: decide how posts and threads continue; store comments and keyword matches;
            close the posts that were read to the end, and mark their absent comments as deleted
        if too large a share of a wall would be marked as deleted: list and read that once more, then mark it

    A post that cannot be read is recorded as an event; so is a community, unless it is the only one.

    Raises:
        VkFault: VK failed in a way that is not specific to one post, or refused every community.
        GroupNotFound, PostNotFound: a community was removed meanwhile.
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
    """
    collection = Collection(job, await _state_of(job))
    state = collection.state
    if not state.is_listed:
        await collection.list_posts()
    await collection.read_comments()
    if state.is_confirming or state.unconfirmed_walls or state.unconfirmed_posts:
        await collection.confirm_deletions()
    if len(state.refusals) == len(collection.request.owner_ids):
        last = state.refusals[-1]
        kind = VkUnavailable if last.vk_code is None else kind_of_fault(last.vk_code)
        fault = kind(last.message, last.vk_code, last.method)
        async with job.step() as connection:
            # a retry starts from the beginning; without one, the counts of what was stored are the result
            result = None if fault.is_transient else state.summary(job.arguments)
            await job.report(connection, state.progress(), None, result)
        raise fault
    async with job.step() as connection:
        await collection.report(connection, Progress(DONE, state.counts.comments, state.counts.comments))
    return state.summary(job.arguments)


async def _state_of(job: CollectionJob) -> CollectionState:
    if job.checkpoint:
        return job.checkpoint
    # in a step, so that a run whose lease is lost does not begin
    async with job.step() as connection:
        return CollectionState.new(job.arguments, await begin_collection(connection))


class Collection:
    """One run of a collection job: reads pages from VK, and stores each pack of them in one step.

    `CollectionState` and `app.work.collecting.page_results` decide, `CollectionWriter` writes.
    """

    def __init__(self, job: CollectionJob, state: CollectionState) -> None:
        self.request = job.arguments
        self.state = state
        self._job = job
        self._database = job.resources.database
        self._batch = Batch(job.resources.vk)
        self._keywords = KnownKeywords()
        share = job.resources.settings.confirm_deletion_share
        self._writer = CollectionWriter(self.request, state, CollectionEvents(job, state), share)
        self._former_requests, self._former_calls = state.counts.requests, state.counts.calls

    async def report(self, connection: AsyncConnection, progress: Progress | None = None) -> None:
        """Write progress and checkpoint inside a step."""
        self.state.counts.requests = self._former_requests + self._batch.usage.requests
        self.state.counts.calls = self._former_calls + self._batch.usage.calls
        await self._job.report(connection, progress or self.state.progress(), self.state)

    # the stages

    async def list_posts(self) -> None:
        """Store the requested posts of all communities, and count the posts and comments to read."""
        state = self.state
        await self._list_posts()
        async with self._job.step() as connection:
            await self._writer.mark_deleted_posts(connection)
            to_read = await posts.count_to_collect(connection, state.posts_to_collect(self.request))
            state.total_posts, state.total_comments = to_read.posts, to_read.comments
            state.counts.saved_calls = to_read.saved_calls
            state.is_listed = True
            await self.report(connection)

    async def read_comments(self) -> None:
        """Read and store the comments of the listed posts that have changed."""
        await self._read_comments()
        async with self._job.step() as connection:
            await self._writer.finish_groups(connection)
            await self.report(connection)

    async def confirm_deletions(self) -> None:
        """Read again what lacks a large share of a wall, and mark as deleted what was absent both times."""
        if not self.state.is_confirming:
            self.state.begin_confirming(self.request)
            async with self._job.step() as connection:
                await self.report(connection)
        await self._list_posts()
        async with self._job.step() as connection:
            await self._writer.mark_deleted_posts(connection)
            self.state.unconfirmed_walls = []
            await self.report(connection)
        await self._read_comments()

    # pages of posts

    async def _list_posts(self) -> None:
        async with aclosing(ordered_answers(self._batch, self._plan_posts)) as packs:
            async for pack in packs:
                results = PostResults.of(self.state, pack)
                async with self._job.step() as connection:
                    await self._writer.store_posts(connection, results)
                    await self.report(connection)

    async def _plan_posts(self, most: int) -> list[PageRequest]:
        return next_requests([*self.state.walls, *self.state.named], most)

    # pages of comments

    async def _read_comments(self) -> None:
        async with aclosing(ordered_answers(self._batch, self._plan_comments)) as packs:
            async for pack in packs:
                answers = comment_answers(pack)
                known = await self._known_threads(top_comments_to_know(self.state, answers))
                results = CommentResults.of(self.state, answers, known, is_full=self.request.full)
                await self._store_comments(results, await self._closed_walls(results))

    async def _plan_comments(self, most: int) -> list[PageRequest]:
        """Return page requests of open levels, top comments first because they reveal threads; then open more posts."""
        state = self.state
        threads_first = len(state.pagers) > MANY_LEVELS
        by_level = sorted(state.pagers, key=lambda pager: (pager.thread_id is None) is threads_first)
        page_requests = next_requests(by_level, most)
        remaining = most - len(page_requests)
        opened = await self._open_posts(remaining) if remaining > 0 else []
        if opened:
            state.posts |= {post.key: post for post in opened}
            pagers = [CommentPager(post.owner_id, post.id, stated_count=post.comment_count) for post in opened]
            state.pagers += pagers
            page_requests += next_requests(pagers, remaining)
        return page_requests

    async def _open_posts(self, most: int) -> list[OpenPost]:
        """Return the next posts to read: first the listed ones; in the confirming stage those to confirm."""
        state = self.state
        if state.is_confirming:
            keys, state.unconfirmed_posts = state.unconfirmed_posts[:most], state.unconfirmed_posts[most:]
            async with self._database.connect() as connection:
                found = await posts.posts_by_key(connection, keys)
            return [
                OpenPost(
                    row.owner_id,
                    row.id,
                    row.comment_count,
                    was_read=True,
                    highest_count=row.comment_count,
                    is_second_read=True,
                )
                for row in found.values()
            ]
        if state.are_all_open:
            return []
        async with self._database.connect() as connection:
            rows = await posts.posts_to_collect(connection, state.posts_to_collect(self.request), state.after, most)
        state.are_all_open = len(rows) < most
        state.after = (rows[-1].owner_id, rows[-1].id) if rows else state.after
        return [
            OpenPost(row.owner_id, row.id, row.comment_count, row.has_comments, highest_count=row.comment_count)
            for row in rows
        ]

    async def _known_threads(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], ReadThread]:
        """Return those of these threads (keys of their top comments) that an earlier collection has read completely."""
        if not keys:
            return {}
        async with self._database.connect() as connection:
            return await comments.read_threads(connection, keys)

    async def _closed_walls(self, results: CommentResults) -> dict[int, VkFault]:
        """Return the walls that VK has closed while they were being read: owner id -> VK's refusal."""
        suspects = sorted({post.owner_id for post, fault in results.refused if may_be_about_wall(fault)})
        answers = await self._batch.answers([wall_probe(owner_id) for owner_id in suspects])
        return {
            owner_id: answer
            for owner_id, answer in zip(suspects, answers, strict=True)
            if isinstance(answer, VkFault) and may_be_about_wall(answer)
        }

    async def _store_comments(self, results: CommentResults, closed_walls: Mapping[int, VkFault]) -> None:
        """Store a pack; search its texts outside the transaction, and again if keywords or texts change meanwhile."""
        is_stored = False
        while not is_stored:
            await self._keywords.search(self._database, results.comments)
            with suppress(SearchOutdated):
                async with self._job.step() as connection:
                    stored = await self._writer.store_comments(connection, results, self._keywords)
                    # this changes the state of the collection, so the transaction must not be repeated after this line
                    await self._writer.apply_results(connection, results, stored, closed_walls)
                    await self._writer.finish_groups(connection)
                    await self.report(connection)
                is_stored = True


COLLECT_COMMENTS = JobDefinition(
    kind=JobKind.COLLECT_COMMENTS,
    description="It collects the comments of communities.",
    handler=collect_comments,
    arguments=CollectionRequest,
    checkpoint=CollectionState,
    result=CollectionSummary,
    groups=lambda request: request.owner_ids,
    claims=lambda request: request.wall_ids,
)
