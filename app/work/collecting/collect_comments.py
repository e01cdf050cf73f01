"""Collects the comments of communities: lists their posts, then reads the comments of those that have new ones."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.jobs.definitions import JobDefinition
from app.jobs.running_job import Progress
from app.store import authors, comments, groups, posts
from app.store.collections import begin_collection
from app.store.comments import ReadThread
from app.vk.batch import Batch
from app.vk.comment_pager import CommentPager
from app.vk.pager import PageRequest
from app.vk.pipeline import next_requests, ordered_answers
from app.vk.replies import read_comment_page, read_post_page
from app.vk.wall_pager import PostsById, WallPager
from app.vk.wire import VkFault, VkUnavailable, kind_of_fault, known_shape, may_be_about_wall, wall_probe
from app.wall import VkCommentPage
from app.work.collecting.collection import (
    DONE,
    CollectionJob,
    CollectionRequest,
    CollectionState,
    CollectionSummary,
    OpenPost,
)
from app.work.collecting.collection_events import CollectionEvents
from app.work.collecting.mark_deleted import mark_absent_comments, mark_absent_posts
from app.work.collecting.page_results import CommentResults, PostResults
from app.work.kinds import JobKind
from app.work.matching.known_keywords import KnownKeywords, SearchOutdated

Page = TypeVar("Page")

CONFIRMED: Final = math.inf
"""The share of a wall that may be marked as deleted after a second read: no limit."""
MANY_WALKS = 250
"""With more open levels than this, threads are read before top comments, to keep the checkpoint small."""


async def collect_comments(job: CollectionJob) -> CollectionSummary:
    """Collect the posts and comments that the job's arguments select; return the counts. Resume from the checkpoint.

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
            result = None if fault.is_transient else collection.result()
            await job.report(connection, state.progress(), None, result)
        raise fault
    async with job.step() as connection:
        await collection.report(connection, Progress(DONE, state.counts.comments, state.counts.comments))
    return collection.result()


async def _state_of(job: CollectionJob) -> CollectionState:
    if job.checkpoint:
        return job.checkpoint
    # in a step, so that a run whose lease is lost does not begin
    async with job.step() as connection:
        return CollectionState.new(job.arguments, await begin_collection(connection))


class Collection:
    """One run of a collection job."""

    def __init__(self, job: CollectionJob, state: CollectionState) -> None:
        self.request = job.arguments
        self.state = state
        self._job = job
        self._batch = Batch(job.resources.vk)
        self._keywords = KnownKeywords()
        self._events = CollectionEvents(job, state)
        counts = self.state.counts
        self._former_requests, self._former_calls = counts.requests, counts.calls
        self._share = job.resources.settings.confirm_deletion_share

    @property
    def _to_collect(self) -> posts.PostsToCollect:
        """The posts to read: the listed ones, except those of communities that VK refuses to show."""
        refused = self.state.refused()
        owner_ids = [owner_id for owner_id in self.request.owner_ids if owner_id not in refused]
        single = {owner_id: ids for owner_id, ids in self.request.post_ids.items() if owner_id not in refused}
        return posts.PostsToCollect(owner_ids, single, self.state.collection, self.request.full)

    def result(self) -> CollectionSummary:
        """Return the counts of the collection, as the job's result."""
        counts = self.state.counts
        refused = self.state.refused()
        is_incomplete = set(self.state.incomplete) - refused
        read = len(self.request.owner_ids) - len(refused) - len(is_incomplete)
        return CollectionSummary(
            **asdict(counts), groups=read, failed_groups=len(refused), incomplete_groups=len(is_incomplete)
        )

    async def report(self, connection: AsyncConnection, progress: Progress | None = None) -> None:
        """Write progress and checkpoint inside a step."""
        self.state.counts.requests = self._former_requests + self._batch.usage.requests
        self.state.counts.calls = self._former_calls + self._batch.usage.calls
        await self._job.report(connection, progress or self.state.progress(), self.state)

    # listing posts

    async def list_posts(self) -> None:
        """Store the requested posts of all communities, and count the posts and comments to read."""
        state = self.state
        await self._list()
        async with self._job.step() as connection:
            await self._mark_deleted_posts(connection)
            to_read = await posts.count_to_collect(connection, self._to_collect)
            state.total_posts, state.total_comments = to_read.posts, to_read.comments
            state.counts.saved_calls = to_read.saved_calls
            state.is_listed = True
            await self.report(connection)

    async def _list(self) -> None:
        async with aclosing(ordered_answers(self._batch, self._plan_posts)) as packs:
            async for pack in packs:
                await self._store_post_pages(pack)

    async def _plan_posts(self, most: int) -> list[PageRequest]:
        return next_requests([*self.state.walls, *self.state.named], most)

    async def _store_post_pages(self, pack: Sequence[tuple[PageRequest, Any]]) -> None:
        state, results = self.state, PostResults()
        for page_request, answer in pack:
            if not page_request.is_wanted:
                continue
            page = _read(page_request, answer, read_post_page)
            if not isinstance(page, VkFault):
                results.add_page(page_request, page)
            # repeat the request if the reply could not be parsed; a refusal would only be repeated
            elif isinstance(answer, VkFault) or not page_request.pager.request_again(page_request):
                page_request.pager.close()
                results.refused[page_request.pager.owner_id] = page
        contradicted = [wall for wall in state.walls if wall.is_closed and wall.is_contradicted]
        state.walls = [wall for wall in state.walls if not wall.is_closed]
        state.named = [named for named in state.named if not named.is_closed]
        state.listed += len(results.posts)
        async with self._job.step() as connection:
            await self._store_posts(connection, results)
            for wall in contradicted:
                await self._events.incomplete_wall(connection, wall)
            await self.report(connection)

    async def _store_posts(self, connection: AsyncConnection, results: PostResults) -> None:
        walls = {post.owner_id for post in results.posts}
        await groups.lock_walls(connection, walls)
        # a community may have been removed while its requested posts were being collected
        await groups.require_groups(connection, sorted(walls))
        await authors.upsert_authors(connection, results.people)
        await posts.upsert_posts(connection, results.posts)
        for owner_id, post_id in results.missing:
            await self._events.missing_post(connection, owner_id, post_id)
        for owner_id, fault in results.refused.items():
            await self._events.refusal(connection, owner_id, fault)
        for owner_id, items in results.broken.items():
            if any(each.is_content for each in items):
                self._events.note_incomplete(owner_id)
            await self._events.broken_items(connection, {"vkOwnerId": owner_id}, f"community {-owner_id}", items)

    async def _mark_deleted_posts(self, connection: AsyncConnection) -> None:
        """Mark posts that VK no longer shows: those of completely listed walls, and those requested by id."""
        request, state = self.request, self.state
        unknown = state.refused() | set(state.incomplete)
        is_whole = request.since is None and request.max_posts is None
        walls = [owner_id for owner_id in request.wall_ids if is_whole and owner_id not in unknown]
        missing = [key for key in state.missing if key[0] not in unknown]
        share = self._share
        if state.is_confirming:
            walls = [owner_id for owner_id in walls if owner_id in state.unconfirmed_walls]
            missing = [key for key in missing if key[0] in state.unconfirmed_walls]
            share = CONFIRMED
        await groups.lock_walls(connection, {*walls, *(owner_id for owner_id, _ in missing)})
        state.counts.deleted_comments += await mark_absent_posts(connection, state, walls, missing, share)

    # reading comments

    async def read_comments(self) -> None:
        """Read and store the comments of the listed posts that have changed."""
        await self._read()
        async with self._job.step() as connection:
            await self._finish_groups(connection)
            await self.report(connection)

    async def _read(self) -> None:
        async with aclosing(ordered_answers(self._batch, self._plan_comments)) as packs:
            async for pack in packs:
                await self._store_comment_pages(pack)

    async def confirm_deletions(self) -> None:
        """Read again what lacks a large share of a wall, and mark as deleted what was absent both times."""
        state, request = self.state, self.request
        if not state.is_confirming:
            state.is_confirming = True
            walls = state.unconfirmed_walls
            state.walls = [WallPager(owner_id) for owner_id in walls if owner_id in request.wall_ids]
            state.named = [
                PostsById(owner_id, tuple(post_id for each, post_id in state.missing if each == owner_id))
                for owner_id in walls
                if owner_id in request.post_ids
            ]
            async with self._job.step() as connection:
                await self.report(connection)
        await self._list()
        async with self._job.step() as connection:
            await self._mark_deleted_posts(connection)
            state.unconfirmed_walls = []
            await self.report(connection)
        await self._read()

    async def _plan_comments(self, most: int) -> list[PageRequest]:
        """Return page requests of open levels, top comments first because they reveal threads; then open more posts."""
        state = self.state
        threads_first = len(state.pagers) > MANY_WALKS
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
            async with self._job.resources.database.connect() as connection:
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
        async with self._job.resources.database.connect() as connection:
            rows = await posts.posts_to_collect(connection, self._to_collect, state.after, most)
        state.are_all_open = len(rows) < most
        state.after = (rows[-1].owner_id, rows[-1].id) if rows else state.after
        return [
            OpenPost(row.owner_id, row.id, row.comment_count, row.has_comments, highest_count=row.comment_count)
            for row in rows
        ]

    async def _store_comment_pages(self, pack: Sequence[tuple[PageRequest, Any]]) -> None:
        pages = [
            (page_request, _read(page_request, answer, _read_comments(page_request))) for page_request, answer in pack
        ]
        known = await self._known_threads(page for page in pages if not isinstance(page[1], VkFault))
        results = CommentResults(self.state, is_full=self.request.full)
        for page_request, page in pages:
            if not page_request.is_wanted or page_request.pager.key not in self.state.posts:
                continue
            if isinstance(page, VkUnavailable) and page_request.pager.request_again(page_request):
                continue
            results.add_page(page_request, page, known)
        self.state.pagers = [pager for pager in self.state.pagers if not pager.is_closed]
        closed_walls = await self._closed_walls(results)
        is_stored = False
        while not is_stored:
            await self._keywords.search(self._job.resources.database, results.comments)
            with suppress(SearchOutdated):
                async with self._job.step() as connection:
                    stored = await self._store_comments(connection, results)
                    # this changes the state of the collection, so the transaction must not be repeated after this line
                    await self._apply_results(connection, results, stored, closed_walls)
                    await self._finish_groups(connection)
                    await self.report(connection)
                is_stored = True

    async def _closed_walls(self, results: CommentResults) -> dict[int, VkFault]:
        """Return the walls that VK has closed while they were being read: owner id -> VK's refusal."""
        suspects = sorted({post.owner_id for post, fault in results.refused if may_be_about_wall(fault)})
        answers = await self._batch.answers([wall_probe(owner_id) for owner_id in suspects])
        return {
            owner_id: answer
            for owner_id, answer in zip(suspects, answers, strict=True)
            if isinstance(answer, VkFault) and may_be_about_wall(answer)
        }

    async def _known_threads(self, pages: Iterator[tuple[PageRequest, Any]]) -> dict[tuple[int, int], ReadThread]:
        """Return the long threads on these pages that an earlier collection has read completely."""
        keys = [
            (top.owner_id, top.id)
            for page_request, page in pages
            if page_request.pager.thread_id is None and self._was_read(page_request.pager)
            for top in page.items
        ]
        if not keys:
            return {}
        async with self._job.resources.database.connect() as connection:
            return await comments.read_threads(connection, keys)

    def _was_read(self, pager: CommentPager) -> bool:
        post = self.state.posts.get(pager.key)
        return post is not None and post.was_read and not post.is_second_read

    async def _store_comments(self, connection: AsyncConnection, results: CommentResults) -> comments.Stored:
        """Store the comments of a pack and their keyword matches.

        Raises:
            SearchOutdated: keywords or texts have changed since they were searched.
        """
        await groups.lock_walls(connection, {owner_id for owner_id, _ in results.touched})
        await authors.upsert_authors(connection, results.people)
        stored = await comments.upsert_comments(connection, results.comments, self.state.collection)
        await self._keywords.write_matches(connection, stored)
        return stored

    async def _apply_results(
        self,
        connection: AsyncConnection,
        results: CommentResults,
        stored: comments.Stored,
        closed_walls: Mapping[int, VkFault],
    ) -> None:
        """Count and record the results of a pack, and close the posts that are read completely."""
        counts, state = self.state.counts, self.state
        counts.new_comments += stored.new
        counts.changed_comments += stored.changed
        counts.deleted_comments += stored.deleted
        await comments.mark_threads_read(connection, results.read_threads)
        for post, fault in results.refused:
            if post.owner_id not in closed_walls:
                await self._events.failed_post(connection, post, fault)
        for key, items in results.broken.items():
            facts = {"vkOwnerId": key[0], "vkPostId": key[1]}
            await self._events.broken_items(connection, facts, f"post {key[0]}_{key[1]}", items)
        for owner_id, fault in closed_walls.items():
            await self._events.refusal(connection, owner_id, fault)
        await self._note_shrunken(connection, results)
        still_open = {pager.key for pager in state.pagers}
        closed = [state.posts.pop(key) for key in sorted((results.touched & state.posts.keys()) - still_open)]
        await self._mark_deleted_comments(connection, [post for post in closed if post.is_settled])
        gone = await comments.mark_of_deleted_posts(connection, sorted(results.touched))
        counts.deleted_comments += sum(gone.values())
        await self._close_posts(connection, closed)

    async def _note_shrunken(self, connection: AsyncConnection, results: CommentResults) -> None:
        """Record threads that lack replies. Deletion is decided when their post has been read completely."""
        threads = [thread for _, thread in results.whole_threads]
        shrunken = await comments.shrunken_threads(connection, threads, self.state.collection)
        for post_key, thread in results.whole_threads:
            if thread in shrunken and post_key in self.state.posts:
                self.state.posts[post_key].shrunken.append(thread[1])

    async def _mark_deleted_comments(self, connection: AsyncConnection, settled: Sequence[OpenPost]) -> None:
        """Mark absent comments of completely read posts as deleted. A second read needs no confirmation."""
        state = self.state
        first = [post for post in settled if post.was_read and not post.is_second_read]
        threads = [(post.owner_id, thread_id) for post in first for thread_id in post.shrunken]
        count, too_many = await mark_absent_comments(
            connection, state, [post.key for post in first], threads, self._share, whole=self.request.full
        )
        for post in first:
            post.is_unconfirmed = post.owner_id in too_many
        second = [post.key for post in settled if post.is_second_read]
        confirmed, _ = await mark_absent_comments(connection, state, second, (), CONFIRMED, whole=True)
        state.counts.deleted_comments += count + confirmed

    async def _close_posts(self, connection: AsyncConnection, closed: Sequence[OpenPost]) -> None:
        """Store what later collections need to know about the posts that are closed."""
        state = self.state
        for post in closed:
            if post.is_incomplete and not post.has_failed:
                await self._events.incomplete_post(connection, post)
        unconfirmed = [post for post in closed if post.is_settled and post.is_unconfirmed]
        state.unconfirmed_posts += [post.key for post in unconfirmed]
        read = [post for post in closed if post.is_settled and not post.is_unconfirmed]
        await posts.mark_posts_collected(
            connection,
            [
                posts.ReadPost(post.owner_id, post.id, post.comment_count, post.calls + post.saved_calls)
                for post in read
            ],
        )
        await posts.request_rereads(
            connection, [post.key for post in closed if post not in read and not post.has_failed]
        )
        state.counts.posts += len(read)

    async def _finish_groups(self, connection: AsyncConnection) -> None:
        whole = set(self.request.wall_ids) - set(self.state.incomplete)
        await groups.mark_groups_collected(connection, [each for each in self.state.finished() if each in whole])


def _read(page_request: PageRequest, answer: Any, read: Callable[[Any], Page]) -> Page | VkFault:
    """Return the parsed page, or the fault instead. An unreadable page affects only its own post or wall."""
    if isinstance(answer, VkFault):
        return answer
    try:
        with known_shape(page_request.call):
            return read(answer)
    except VkUnavailable as fault:
        return fault


def _read_comments(page_request: PageRequest) -> Callable[[Any], VkCommentPage]:
    pager: CommentPager = page_request.pager
    return lambda answer: read_comment_page(answer, pager.owner_id, pager.post_id, pager.thread_id)


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
