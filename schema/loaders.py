"""Dataloaders: batch the reads of one level of a query into one SQL statement.

A level is one batch, whatever its size, so nothing in it is read twice. The loaders do not
cache: one context serves a WebSocket with all its operations, and a later operation must not
get results of an earlier one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiodataloader import DataLoader

from app.analysis.keywords import KeywordMatching
from app.analysis.searches import forms_of_search
from app.db.engine import Database
from app.resources import Resources
from app.statistics import Question
from app.store import authors, comments, entries, features, groups, jobs, keywords, monitorings, posts, waves
from app.store.highlights import Span, spans_of_search
from app.store.keyset import Page, Slice, StoredRow
from app.store.statistics import counts_by_group
from schema.filters import PostFilter
from schema.findings import CommentFeatures, Wave
from schema.jobs import Job, JobEvent, JobPlace
from schema.keywords import Keyword, KeywordMatch, distinct_forms
from schema.monitoring import Monitoring
from schema.node import Key
from schema.paging import ChildrenRequest, Connection, connection_of
from schema.wall import Author, Comment, Group, Post

T = TypeVar("T")

RowLoader = DataLoader[Key, T | None]
CountLoader = DataLoader[tuple[Key, Any], int]
ChildrenLoader = DataLoader[tuple[Key, ChildrenRequest], Connection[T]]

ReadRows = Callable[[Any, Sequence[Key]], Awaitable[Mapping[Key, Any]]]
ReadPages = Callable[[Any, Sequence[Key], Any, Page], Awaitable[Mapping[Key, Slice]]]
ReadCounts = Callable[[Any, Sequence[Key], Any], Awaitable[Mapping[Key, int]]]


@dataclass(frozen=True, slots=True)
class Loaders:
    """All loaders, by the names that resolvers use. Keys are row keys: (owner_id,), (owner_id, id), (id,)."""

    groups: RowLoader[Group]
    posts: RowLoader[Post]
    comments: RowLoader[Comment]
    authors: RowLoader[Author]
    keywords: RowLoader[Keyword]
    comment_counts_by_keyword: DataLoader[Key, int]
    match_counts_by_keyword: DataLoader[Key, int]
    forms_by_keyword: DataLoader[tuple[str, KeywordMatching], list[str]]
    matches_by_comment: DataLoader[Key, list[KeywordMatch]]
    features_by_comment: RowLoader[CommentFeatures]
    waves: RowLoader[Wave]
    jobs: RowLoader[Job]
    places_by_job: RowLoader[JobPlace]
    heartbeat_ages_by_job: RowLoader[float]
    monitorings: DataLoader[Key, Monitoring]
    post_counts_by_group: DataLoader[Key, int]
    comment_counts_by_group: DataLoader[Key, int]
    posts_by_group: ChildrenLoader[Post]
    comments_by_group: ChildrenLoader[Comment]
    comments_by_post: ChildrenLoader[Comment]
    comments_by_author: ChildrenLoader[Comment]
    replies_by_comment: ChildrenLoader[Comment]
    comments_by_wave: ChildrenLoader[Comment]
    events_by_job: ChildrenLoader[JobEvent]
    statistics: DataLoader[Question, Sequence[StoredRow]]
    spans_by_search: DataLoader[tuple[Key, str], list[Span]]


def open_loaders(resources: Resources) -> Loaders:
    """Create the loaders of one HTTP request or one WebSocket. Each batch uses its own connection."""
    make = _Factory(resources.database)
    return Loaders(
        groups=make.rows(groups.groups_by_key, Group.of),
        posts=make.rows(posts.posts_by_key, Post.of),
        comments=make.rows(comments.comments_by_key, Comment.of),
        authors=make.rows(authors.authors_by_key, Author.of),
        keywords=make.rows(keywords.keywords_by_key, Keyword.of),
        comment_counts_by_keyword=make.rows_or(_zero, keywords.match_counts, lambda row: row.comments),
        match_counts_by_keyword=make.rows_or(_zero, keywords.match_counts, lambda row: row.matches),
        forms_by_keyword=DataLoader(_forms, cache=False),
        matches_by_comment=make.rows_or(lambda _: [], keywords.matches_by_comment, KeywordMatch.of),
        features_by_comment=make.rows(features.features_by_comment, CommentFeatures.of),
        waves=make.rows(waves.waves_by_key, Wave.of),
        jobs=make.rows(jobs.jobs_by_key, Job.of),
        places_by_job=make.rows(entries.places_by_job, JobPlace.of),
        heartbeat_ages_by_job=make.rows(jobs.heartbeat_ages_by_job, lambda row: round(float(row.seconds), 3)),
        monitorings=make.rows_or(Monitoring.unset, monitorings.monitorings_by_key, Monitoring.of),
        post_counts_by_group=make.plain_counts(partial(posts.count_posts_by_group, conditions=PostFilter.everything())),
        comment_counts_by_group=make.plain_counts(counts_by_group),
        posts_by_group=make.children(posts.posts_by_group, posts.count_posts_by_group, Post.of),
        comments_by_group=make.children(comments.comments_by_group, comments.count_comments_by_group, Comment.of),
        comments_by_post=make.children(comments.comments_by_post, comments.count_comments_by_post, Comment.of),
        comments_by_author=make.children(comments.comments_by_author, comments.count_comments_by_author, Comment.of),
        replies_by_comment=make.children(comments.replies_by_comment, comments.count_replies_by_comment, Comment.of),
        comments_by_wave=make.children(waves.comments_by_wave, waves.count_comments_by_wave, Comment.of),
        events_by_job=make.children(jobs.events_by_job, jobs.count_events_by_job, JobEvent.of),
        statistics=DataLoader(resources.statistics.answers, cache=False),
        spans_by_search=make.spans(),
    )


@dataclass(frozen=True, slots=True)
class _Factory:
    """Creates loaders on one database, all with `cache=False`; duplicate keys in a batch are read once."""

    database: Database

    def rows(self, read: ReadRows, wrap: Callable[[Any], T]) -> RowLoader[T]:
        """Create a loader of rows by key; None for a key without a row."""

        async def load(keys: list[Key]) -> list[T | None]:
            async with self.database.connect() as connection:
                found = await read(connection, _unique(keys))
            converted = {key: wrap(row) for key, row in found.items()}
            return [converted.get(key) for key in keys]

        return DataLoader(load, cache=False)

    def rows_or(self, default: Callable[[Key], T], read: ReadRows, wrap: Callable[[Any], T]) -> DataLoader[Key, T]:
        """Create a loader of rows by key; `default` returns the value for a key without a row."""

        async def load(keys: list[Key]) -> list[T]:
            async with self.database.connect() as connection:
                found = await read(connection, _unique(keys))
            return [wrap(found[key]) if key in found else default(key) for key in keys]

        return DataLoader(load, cache=False)

    def plain_counts(self, count: Callable[[Any, Sequence[Key]], Awaitable[Mapping[Key, int]]]) -> DataLoader[Key, int]:
        """Create a loader of the number of children of each parent."""

        async def load(keys: list[Key]) -> list[int]:
            async with self.database.connect() as connection:
                found = await count(connection, _unique(keys))
            return [found.get(key, 0) for key in keys]

        return DataLoader(load, cache=False)

    def counts(self, count: ReadCounts) -> CountLoader:
        """Create a loader of the number of children that meet conditions; the conditions are part of the key."""

        async def load(keys: list[tuple[Key, Any]]) -> list[int]:
            found: dict[tuple[Key, Any], int] = {}
            async with self.database.connect() as connection:
                for conditions, parents in _parents_by_request(keys).items():
                    numbers = await count(connection, parents, conditions)
                    found |= {(parent, conditions): number for parent, number in numbers.items()}
            return [found.get(key, 0) for key in keys]

        return DataLoader(load, cache=False)

    def spans(self) -> DataLoader[tuple[Key, str], list[Span]]:
        """Create a loader of the spans where comments match a search; the search is part of the key."""

        async def load(keys: list[tuple[Key, str]]) -> list[list[Span]]:
            found: dict[tuple[Key, str], list[Span]] = {}
            async with self.database.connect() as connection:
                for search, parents in _parents_by_request(keys).items():
                    spans = await spans_of_search(connection, parents, search, forms_of_search(search))
                    found |= {(parent, search): of_one for parent, of_one in spans.items()}
            return [found.get(key, []) for key in keys]

        return DataLoader(load, cache=False)

    def children(self, read: ReadPages, count: ReadCounts, wrap: Callable[[Any], T]) -> ChildrenLoader[T]:
        """Create a loader of a page of each parent's children; parents with the same request share one statement."""
        counts = self.counts(count)

        async def load(keys: list[tuple[Key, ChildrenRequest]]) -> list[Connection[T]]:
            found: dict[tuple[Key, ChildrenRequest], Slice] = {}
            async with self.database.connect() as connection:
                for request, parents in _parents_by_request(keys).items():
                    slices = await read(connection, parents, request.conditions, request.page)
                    found |= {(parent, request): page for parent, page in slices.items()}
            return [
                connection_of(
                    found.get((parent, request)),
                    request.page.order,
                    wrap,
                    lambda key=(parent, request.conditions): counts.load(key),  # type: ignore[misc] # the default binds the value of this iteration
                )
                for parent, request in keys
            ]

        return DataLoader(load, cache=False)


def _zero(_: Key) -> int:
    return 0


async def _forms(keys: list[tuple[str, KeywordMatching]]) -> list[list[str]]:
    # in a thread: thousands of words that are not cached take a second
    return await asyncio.to_thread(lambda: [distinct_forms(*key) for key in keys])


def _unique(keys: Sequence[Key]) -> list[Key]:
    return list(dict.fromkeys(keys))


def _parents_by_request(keys: Sequence[tuple[Key, Any]]) -> Mapping[Any, list[Key]]:
    grouped: dict[Any, dict[Key, None]] = defaultdict(dict)
    for parent, request in keys:
        grouped[request][parent] = None
    return {request: list(parents) for request, parents in grouped.items()}
