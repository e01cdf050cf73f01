"""Writes the results of a collection's pages, and what follows from them, inside a step of the job."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import authors, comments, groups, locks, posts
from app.vk.wire import VkFault
from app.work.collecting.collection import CollectionRequest, CollectionState, OpenPost
from app.work.collecting.collection_events import CollectionEvents
from app.work.collecting.mark_deleted import mark_absent_comments, mark_absent_posts
from app.work.collecting.page_results import CommentResults, PostResults
from app.work.matching.known_keywords import KnownKeywords

CONFIRMED: Final = math.inf
"""The share of a wall that may be marked as deleted after a second read: no limit."""


class CollectionWriter:
    """Writes for one run of a collection. Each method also updates the state and its counts.

    `share` is the share of a wall that may be marked as deleted before a second read confirms it.
    """

    def __init__(
        self, request: CollectionRequest, state: CollectionState, events: CollectionEvents, share: float
    ) -> None:
        self._request = request
        self._state = state
        self._events = events
        self._share = share

    # posts

    async def store_posts(self, connection: AsyncConnection, results: PostResults) -> None:
        """Store the posts of a pack, and record what is missing, refused or unusable.

        Raises:
            GroupNotFound: a community was removed meanwhile.
        """
        walls = {post.owner_id for post in results.posts}
        await locks.lock_walls(connection, walls)
        # a community may have been removed while its requested posts were being collected
        await groups.require_groups(connection, sorted(walls))
        await authors.upsert_authors(connection, results.people)
        await posts.upsert_posts(connection, results.posts)
        for owner_id, post_id in results.missing:
            await self._events.missing_post(connection, owner_id, post_id)
        for owner_id, fault in results.refused.items():
            await self._events.refusal(connection, owner_id, fault)
        for wall in results.contradicted:
            await self._events.incomplete_wall(connection, wall)
        for owner_id, items in results.broken.items():
            if any(each.is_content for each in items):
                self._events.note_incomplete(owner_id)
            await self._events.broken_items(connection, {"vkOwnerId": owner_id}, f"community {-owner_id}", items)

    async def mark_deleted_posts(self, connection: AsyncConnection) -> None:
        """Mark posts that VK no longer shows: those of completely listed walls, and those requested by id."""
        request, state = self._request, self._state
        unknown = state.refused() | set(state.incomplete)
        is_whole = request.since is None and request.max_posts is None
        walls = [owner_id for owner_id in request.wall_ids if is_whole and owner_id not in unknown]
        missing = [key for key in state.missing if key[0] not in unknown]
        share = self._share
        if state.is_confirming:
            walls = [owner_id for owner_id in walls if owner_id in state.unconfirmed_walls]
            missing = [key for key in missing if key[0] in state.unconfirmed_walls]
            share = CONFIRMED
        await locks.lock_walls(connection, {*walls, *(owner_id for owner_id, _ in missing)})
        state.counts.deleted_comments += await mark_absent_posts(connection, state, walls, missing, share)

    # comments

    async def store_comments(
        self, connection: AsyncConnection, results: CommentResults, keywords: KnownKeywords
    ) -> comments.Stored:
        """Store the comments of a pack and their keyword matches.

        Raises:
            SearchOutdated: keywords or texts have changed since they were searched.
        """
        await locks.lock_walls(connection, {owner_id for owner_id, _ in results.touched})
        await authors.upsert_authors(connection, results.people)
        stored = await comments.upsert_comments(connection, results.comments, self._state.collection)
        await keywords.write_matches(connection, stored)
        return stored

    async def apply_results(
        self,
        connection: AsyncConnection,
        results: CommentResults,
        stored: comments.Stored,
        closed_walls: Mapping[int, VkFault],
    ) -> None:
        """Count and record the results of a pack, and close the posts that are read completely."""
        counts, state = self._state.counts, self._state
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
        shrunken = await comments.shrunken_threads(connection, threads, self._state.collection)
        for post_key, thread in results.whole_threads:
            if thread in shrunken and post_key in self._state.posts:
                self._state.posts[post_key].shrunken.append(thread[1])

    async def _mark_deleted_comments(self, connection: AsyncConnection, settled: Sequence[OpenPost]) -> None:
        """Mark absent comments of completely read posts as deleted. A second read needs no confirmation."""
        state = self._state
        first = [post for post in settled if post.was_read and not post.is_second_read]
        threads = [(post.owner_id, thread_id) for post in first for thread_id in post.shrunken]
        count, too_many = await mark_absent_comments(
            connection, state, [post.key for post in first], threads, self._share, whole=self._request.full
        )
        for post in first:
            post.is_unconfirmed = post.owner_id in too_many
        second = [post.key for post in settled if post.is_second_read]
        confirmed, _ = await mark_absent_comments(connection, state, second, (), CONFIRMED, whole=True)
        state.counts.deleted_comments += count + confirmed

    async def _close_posts(self, connection: AsyncConnection, closed: Sequence[OpenPost]) -> None:
        """Store what later collections need to know about the posts that are closed."""
        state = self._state
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

    async def finish_groups(self, connection: AsyncConnection) -> None:
        """Mark the communities as collected whose last post has been read."""
        whole = set(self._request.wall_ids) - set(self._state.incomplete)
        await groups.mark_groups_collected(connection, [each for each in self._state.finished() if each in whole])
