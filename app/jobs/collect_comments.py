"""Collects the comments of communities: lists their posts, then reads the comments of those that have new ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ErrorCode
from app.jobs.collection import CHECKPOINT_FORMAT, DONE, OpenPost, Request, State
from app.jobs.known_keywords import KnownKeywords, SearchOutdated
from app.jobs.mark_deleted import mark_absent_comments, mark_absent_posts
from app.jobs.progress import Progress, RunningJob
from app.jobs.states import JobEventKind
from app.store import authors, comments, groups, posts
from app.store.collections import begin_collection
from app.store.comments import ReadThread
from app.vk.batch import Batch
from app.vk.comment_walk import CommentWalk, page_count
from app.vk.pipeline import next_asks, ordered_answers
from app.vk.replies import broken_facts, read_comment_page, read_post_page
from app.vk.walk import Ask
from app.vk.wall_walk import NamedPosts, WallWalk
from app.vk.wire import VkFault, VkUnavailable, kind_of_fault, known_shape, may_be_about_wall, wall_probe
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkPost, VkPostPage

Page = TypeVar("Page")

CONFIRMED: Final = 1.0
"""The share of a wall that may be marked as deleted after a second read: all of it."""
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
    if state.is_confirming or state.unconfirmed_walls or state.unconfirmed_posts:
        await collection.confirm_deletions()
    if len(state.refusals) == len(collection.request.owner_ids):
        last = state.refusals[-1]
        # only a reply that cannot be read has no code of VK's
        kind = VkUnavailable if last["vkCode"] is None else kind_of_fault(last["vkCode"])
        fault = kind(last["message"], last["vkCode"], last["method"])
        async with job.step() as connection:
            # a retry begins anew; without one, the counts of what was stored before the refusal are the result
            result = None if fault.passes else collection.result()
            await job.report(connection, state.progress(), None, result)
        raise fault
    async with job.step() as connection:
        await collection.report(connection, Progress(DONE, state.counts.comments, state.counts.comments))
    return collection.result()


async def _state_of(job: RunningJob) -> State:
    if job.checkpoint and job.checkpoint.get("format") == CHECKPOINT_FORMAT:
        return State.of(job.checkpoint)
    # written in a step, so that a job that was claimed by another worker does not begin
    async with job.step() as connection:
        return State.new(Request.of(job.arguments), await begin_collection(connection))


@dataclass(slots=True)
class Findings:
    """What a pack of pages brought, to be stored in one step; `broken` are by post (owner, id)."""

    people: list[VkAuthor] = field(default_factory=list)
    comments: list[VkComment] = field(default_factory=list)
    read_threads: list[ReadThread] = field(default_factory=list)
    whole_threads: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    refused: list[tuple[OpenPost, VkFault]] = field(default_factory=list)
    broken: dict[tuple[int, int], list[VkBrokenItem]] = field(default_factory=dict)
    closed_walls: dict[int, VkFault] = field(default_factory=dict)
    touched: set[tuple[int, int]] = field(default_factory=set)


@dataclass(slots=True)
class Listing:
    """What a pack of pages of walls brought, to be stored in one step; by owner id: refusals and broken items."""

    people: list[VkAuthor] = field(default_factory=list)
    posts: list[VkPost] = field(default_factory=list)
    missing: list[tuple[int, int]] = field(default_factory=list)
    refused: dict[int, VkFault] = field(default_factory=dict)
    broken: dict[int, list[VkBrokenItem]] = field(default_factory=dict)

    def take(self, ask: Ask, page: VkPostPage) -> None:
        """Go on by a page of a wall, or of single posts of one."""
        owner_id = ask.walk.owner_id
        self.posts += ask.walk.take(ask, page)
        self.people += page.authors
        if page.broken:
            self.broken.setdefault(owner_id, []).extend(page.broken)
        if isinstance(ask.walk, NamedPosts):
            self.missing += [(owner_id, post_id) for post_id in ask.walk.missing(ask, page)]


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
        self._share = job.resources.settings.confirm_deletion_share

    @property
    def _to_collect(self) -> posts.PostsToCollect:
        """Which posts are to be read: those that were listed, but for communities that VK keeps closed."""
        refused = self.state.refused()
        owner_ids = [owner_id for owner_id in self.request.owner_ids if owner_id not in refused]
        single = {owner_id: ids for owner_id, ids in self.request.post_ids.items() if owner_id not in refused}
        return posts.PostsToCollect(owner_ids, single, self.state.collection, self.request.full)

    def result(self) -> dict[str, Any]:
        """Return what the collection has brought."""
        counts = self.state.counts
        refused = self.state.refused()
        is_incomplete = set(self.state.incomplete) - refused
        read = len(self.request.owner_ids) - len(refused) - len(is_incomplete)
        groups_read = {"groups": read, "failed_groups": len(refused), "incomplete_groups": len(is_incomplete)}
        return {name: getattr(counts, name) for name in counts.__slots__} | groups_read

    async def report(self, connection: AsyncConnection, progress: Progress | None = None) -> None:
        """Write progress and checkpoint in a step."""
        self.state.counts.requests = self._former_requests + self._batch.usage.requests
        self.state.counts.calls = self._former_calls + self._batch.usage.calls
        await self._job.report(connection, progress or self.state.progress(), self.state.checkpoint())

    # posts

    async def list_posts(self) -> None:
        """Store the requested posts of all communities, and count what is to be read."""
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
                await self._take_posts(pack)

    async def _plan_posts(self, most: int) -> list[Ask]:
        return next_asks([*self.state.walls, *self.state.named], most)

    async def _take_posts(self, pack: Sequence[tuple[Ask, Any]]) -> None:
        state, listing = self.state, Listing()
        for ask, answer in pack:
            if not ask.is_wanted:
                continue
            page = _read(ask, answer, read_post_page)
            if not isinstance(page, VkFault):
                listing.take(ask, page)
            # a reply that cannot be read may be another one the next time; a refusal will not
            elif isinstance(answer, VkFault) or not ask.walk.request_again(ask):
                ask.walk.close()
                listing.refused[ask.walk.owner_id] = page
        contradicted = [wall for wall in state.walls if wall.is_closed and wall.is_contradicted]
        state.walls = [wall for wall in state.walls if not wall.is_closed]
        state.named = [named for named in state.named if not named.is_closed]
        state.listed += len(listing.posts)
        async with self._job.step() as connection:
            await self._store_posts(connection, listing)
            for wall in contradicted:
                await self._record_incomplete_wall(connection, wall)
            await self.report(connection)

    async def _store_posts(self, connection: AsyncConnection, listing: Listing) -> None:
        walls = {post.owner_id for post in listing.posts}
        await groups.lock_walls(connection, walls)
        # a community may have been removed while its single posts were collected
        await groups.require_groups(connection, sorted(walls))
        await authors.upsert_authors(connection, listing.people)
        await posts.upsert_posts(connection, listing.posts)
        for owner_id, post_id in listing.missing:
            await self._record_missing_post(connection, owner_id, post_id)
        for owner_id, fault in listing.refused.items():
            await self._record_refusal(connection, owner_id, fault)
        for owner_id, items in listing.broken.items():
            self._note_incomplete(owner_id)
            await self._record_broken_items(connection, {"vkOwnerId": owner_id}, f"community {-owner_id}", items)

    async def _mark_deleted_posts(self, connection: AsyncConnection) -> None:
        """Mark the posts that VK no longer shows: where a wall was listed as a whole, and those that were named."""
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

    # comments

    async def read_comments(self) -> None:
        """Read and store the comments of the posts that were listed and have changed."""
        await self._read()
        async with self._job.step() as connection:
            await self._finish_groups(connection)
            await self.report(connection)

    async def _read(self) -> None:
        async with aclosing(ordered_answers(self._batch, self._plan_comments)) as packs:
            async for pack in packs:
                await self._take_comments(pack)

    async def confirm_deletions(self) -> None:
        """Read once more what lacks a large share of a wall, and mark as deleted what was absent both times."""
        state, request = self.state, self.request
        if not state.is_confirming:
            state.is_confirming = True
            walls = state.unconfirmed_walls
            state.walls = [WallWalk(owner_id) for owner_id in walls if owner_id in request.wall_ids]
            state.named = [
                NamedPosts(owner_id, [post_id for each, post_id in state.missing if each == owner_id])
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

    async def _plan_comments(self, most: int) -> list[Ask]:
        """Ask for pages of open levels, top comments first, as these tell of threads; then open further posts."""
        state = self.state
        threads_first = len(state.walks) > MANY_WALKS
        by_level: list[CommentWalk] = sorted(state.walks, key=lambda walk: (walk.thread_id is None) is threads_first)
        asks = next_asks(by_level, most)
        room = most - len(asks)
        opened = await self._open_posts(room) if room > 0 else []
        if opened:
            state.posts |= {post.key: post for post in opened}
            walks = [CommentWalk(post.owner_id, post.id, stated_count=post.comment_count) for post in opened]
            state.walks += walks
            asks += next_asks(walks, room)
        return asks

    async def _open_posts(self, most: int) -> list[OpenPost]:
        """Return the next posts to be read: those that were listed, then those that are to be confirmed."""
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

    async def _take_comments(self, pack: Sequence[tuple[Ask, Any]]) -> None:
        pages = [(ask, _read(ask, answer, _read_comments(ask))) for ask, answer in pack]
        known = await self._known_threads(page for page in pages if not isinstance(page[1], VkFault))
        findings = Findings()
        for ask, page in pages:
            if not ask.is_wanted or ask.walk.key not in self.state.posts:
                continue
            if isinstance(page, VkUnavailable) and ask.walk.request_again(ask):
                continue
            self._take_page(ask, page, known, findings)
        self.state.walks = [walk for walk in self.state.walks if not walk.is_closed]
        findings.closed_walls = await self._closed_walls(findings)
        is_stored = False
        while not is_stored:
            await self._keywords.search(self._job.resources.database, findings.comments)
            with suppress(SearchOutdated):
                async with self._job.step() as connection:
                    stored = await self._store_comments(connection, findings)
                    # from here on the state of the collection changes, so the transaction is not begun again
                    await self._draw_conclusions(connection, findings, stored)
                    await self._finish_groups(connection)
                    await self.report(connection)
                is_stored = True

    async def _closed_walls(self, findings: Findings) -> dict[int, VkFault]:
        """Return which walls VK has closed while they were read: owner id -> its refusal."""
        suspects = sorted({post.owner_id for post, fault in findings.refused if may_be_about_wall(fault)})
        answers = await self._batch.answers([wall_probe(owner_id) for owner_id in suspects])
        return {
            owner_id: answer
            for owner_id, answer in zip(suspects, answers, strict=True)
            if isinstance(answer, VkFault) and may_be_about_wall(answer)
        }

    def _take_page(
        self,
        ask: Ask,
        page: VkCommentPage | VkFault,
        known: dict[tuple[int, int], ReadThread],
        findings: Findings,
    ) -> None:
        """Go on by one page of one level."""
        walk: CommentWalk = ask.walk
        post = self.state.posts[walk.key]
        findings.touched.add(walk.key)
        post.calls += 1
        if isinstance(page, VkFault):
            walk.close()
            self._fail(post, page, findings)
            return
        _note_stated(walk, post, page)
        new = walk.take(ask, page)
        if page.broken:
            post.has_broken = True
            findings.broken.setdefault(post.key, []).extend(page.broken)
        findings.people += page.authors
        findings.comments += page.items
        self._count(post, len(new))
        for top in new:
            replies = page.replies.get(top.id, [])
            findings.comments += replies
            self._count(post, len(replies))
            if walk.thread_id is None:
                self._take_thread(post, top, replies, known.get((walk.owner_id, top.id)), findings)
        self._close_level(walk, post, findings)

    def _close_level(self, walk: CommentWalk, post: OpenPost, findings: Findings) -> None:
        """Draw the conclusions of a level that was read to its end, if it was."""
        if walk.is_incomplete:
            self._fail(post, VkUnavailable("Too many comments were deleted while it was read."), findings)
        elif walk.is_closed and walk.lacks_items and not walk.is_from_start:
            # what was hidden when the thread was last read may be shown again, in front of where it was read from
            self.state.walks.append(CommentWalk(*walk.key, walk.thread_id, stated_count=walk.stated_count))
            post.received -= walk.received
        elif walk.is_closed and walk.lacks_items:
            post.is_contradicted = True
        elif walk.is_closed and walk.thread_id is not None and not post.has_broken:
            count = walk.stated_count or 0
            findings.read_threads.append(ReadThread(walk.owner_id, walk.thread_id, count, walk.last_id))
            if walk.is_from_start and post.was_read:
                findings.whole_threads.append((post.key, (walk.owner_id, walk.thread_id)))

    def _count(self, post: OpenPost, received: int) -> None:
        post.received += received
        self.state.counts.comments += received

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
        if count is None:
            # VK did not say how many replies there are: the thread's own first page does
            self.state.walks.append(CommentWalk(top.owner_id, top.post_id, top.id))
            return
        if count <= shown:
            if known and known.count != count:
                findings.read_threads.append(ReadThread(top.owner_id, top.id, count, last_id))
            if post.was_read:
                findings.whole_threads.append((post.key, (top.owner_id, top.id)))
            return
        walk = CommentWalk(
            top.owner_id, top.post_id, top.id, shown, last_id, level_count=count, stated_count=count, received=shown
        )
        if known and not self.request.full and shown < known.count <= count:
            # ids ascend, so what is new in a thread that has grown comes behind what is known
            walk.position, walk.last_id, walk.is_from_start = known.count, known.last_id, False
            walk.received = known.count
            post.received += known.count - shown
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
        post = self.state.posts.get(walk.key)
        return post is not None and post.was_read and not post.is_second_read

    async def _store_comments(self, connection: AsyncConnection, findings: Findings) -> comments.Stored:
        """Store the comments of a pack with what keywords match in them.

        Raises:
            SearchOutdated: keywords or texts have changed since they were searched.
        """
        await groups.lock_walls(connection, {owner_id for owner_id, _ in findings.touched})
        await authors.upsert_authors(connection, findings.people)
        stored = await comments.upsert_comments(connection, findings.comments, self.state.collection)
        await self._keywords.write_matches(connection, stored)
        return stored

    async def _draw_conclusions(self, connection: AsyncConnection, findings: Findings, stored: comments.Stored) -> None:
        """Count and record what a pack brought, and close the posts of which nothing is left to read."""
        counts, state = self.state.counts, self.state
        counts.new_comments += stored.new
        counts.changed_comments += stored.changed
        counts.deleted_comments += stored.deleted
        await comments.mark_threads_read(connection, findings.read_threads)
        for post, fault in findings.refused:
            if post.owner_id not in findings.closed_walls:
                await self._record_failed_post(connection, post, fault)
        for key, items in findings.broken.items():
            facts = {"vkOwnerId": key[0], "vkPostId": key[1]}
            await self._record_broken_items(connection, facts, f"post {key[0]}_{key[1]}", items)
        for owner_id, fault in findings.closed_walls.items():
            await self._record_refusal(connection, owner_id, fault)
        await self._note_shrunken(connection, findings)
        still_open = {walk.key for walk in state.walks}
        closed = [state.posts.pop(key) for key in sorted((findings.touched & state.posts.keys()) - still_open)]
        await self._mark_deleted_comments(connection, [post for post in closed if post.is_settled])
        gone = await comments.mark_of_deleted_posts(connection, sorted(findings.touched))
        counts.deleted_comments += sum(gone.values())
        await self._close_posts(connection, closed)

    async def _note_shrunken(self, connection: AsyncConnection, findings: Findings) -> None:
        """Note threads that lack replies; whether these were deleted is known when their post is read to the end."""
        threads = [thread for _, thread in findings.whole_threads]
        shrunken = await comments.shrunken_threads(connection, threads, self.state.collection)
        for post_key, thread in findings.whole_threads:
            if thread in shrunken and post_key in self.state.posts:
                self.state.posts[post_key].shrunken.append(thread[1])

    async def _mark_deleted_comments(self, connection: AsyncConnection, settled: Sequence[OpenPost]) -> None:
        """Mark what was not shown of posts that were read to the end; a second read is always believed."""
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
        """Note of posts that were read to the end what later collections need to know."""
        state = self.state
        for post in closed:
            if post.is_incomplete and not post.has_failed:
                await self._record_incomplete_post(connection, post)
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

    # what cannot be read

    async def _record_failed_post(self, connection: AsyncConnection, post: OpenPost, fault: VkFault) -> None:
        self.state.counts.failed_posts += 1
        facts = {"vkOwnerId": post.owner_id, "vkPostId": post.id, "code": fault.code.value, **fault.facts()}
        message = f"Post {post.owner_id}_{post.id} could not be read to the end. {fault.message}"
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def _record_missing_post(self, connection: AsyncConnection, owner_id: int, post_id: int) -> None:
        if self.state.is_confirming:
            return  # the first read has recorded it
        self.state.missing.append((owner_id, post_id))
        self.state.counts.failed_posts += 1
        facts = {"vkOwnerId": owner_id, "vkPostId": post_id, "code": ErrorCode.POST_NOT_FOUND.value}
        message = f"Post {owner_id}_{post_id} does not exist, or VK does not show it."
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def _record_incomplete_post(self, connection: AsyncConnection, post: OpenPost) -> None:
        self.state.counts.incomplete_posts += 1
        facts = {
            "vkOwnerId": post.owner_id,
            "vkPostId": post.id,
            "statedCount": post.comment_count,
            "receivedCount": post.received,
        }
        message = (
            f"Post {post.owner_id}_{post.id} is incomplete: VK contradicts itself about its comments. It states "
            f"{post.comment_count}, and {post.received} were received. The next collection reads it again."
        )
        await self._job.event(connection, JobEventKind.POST_INCOMPLETE, message, facts)

    def _note_incomplete(self, owner_id: int) -> None:
        if owner_id not in self.state.incomplete:
            self.state.incomplete.append(owner_id)

    async def _record_incomplete_wall(self, connection: AsyncConnection, wall: WallWalk) -> None:
        self._note_incomplete(wall.owner_id)
        received = wall.received + wall.has_pinned
        facts = {"vkOwnerId": wall.owner_id, "statedCount": wall.count, "receivedCount": received}
        message = (
            f"Community {-wall.owner_id} is incomplete: VK contradicts itself about its posts. It states "
            f"{wall.count}, and {received} were received. No post of it is marked as deleted."
        )
        await self._job.event(connection, JobEventKind.GROUP_INCOMPLETE, message, facts)

    async def _record_broken_items(
        self, connection: AsyncConnection, where: dict[str, Any], name: str, items: Sequence[VkBrokenItem]
    ) -> None:
        self.state.counts.broken_items += len(items)
        facts = {**where, **broken_facts(items)}
        message = (
            f"{len(items)} item(s) in VK's replies about {name} cannot be used and were left out. "
            f"The first one: {items[0].path} {items[0].reason}."
        )
        await self._job.event(connection, JobEventKind.ITEMS_BROKEN, message, facts)

    async def _record_refusal(self, connection: AsyncConnection, owner_id: int, fault: VkFault) -> None:
        facts = {"vkOwnerId": owner_id, "code": fault.code.value, "message": fault.message, **fault.facts()}
        self.state.refuse(owner_id, facts)
        message = f"Community {-owner_id} could not be read. {fault.message}"
        await self._job.event(connection, JobEventKind.GROUP_FAILED, message, facts)


def _note_stated(walk: CommentWalk, post: OpenPost, page: VkCommentPage) -> None:
    """Note how many comments VK states; a number that is too low only has the post, or the thread, read again."""
    if walk.thread_id is None and page.count is not None:
        post.comment_count = min(post.comment_count, page.count)
        post.highest_count = max(post.highest_count, page.count)
    elif page.shown and page.level_count is not None:
        stated = page.level_count if walk.stated_count is None else walk.stated_count
        walk.stated_count = min(stated, page.level_count)


def _read(ask: Ask, answer: Any, read: Callable[[Any], Page]) -> Page | VkFault:
    """Return the requested page, or why there is none. One that cannot be read is about its post or wall only."""
    if isinstance(answer, VkFault):
        return answer
    try:
        with known_shape(ask.call):
            return read(answer)
    except VkUnavailable as fault:
        return fault


def _read_comments(ask: Ask) -> Callable[[Any], VkCommentPage]:
    walk: CommentWalk = ask.walk
    return lambda answer: read_comment_page(answer, walk.owner_id, walk.post_id, walk.thread_id)
