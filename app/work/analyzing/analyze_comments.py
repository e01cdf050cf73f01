"""Analyses comments: the features of each text, near-duplicates, and what is characteristic of the whole scope.

Keywords are not matched here: comments are matched in the transaction that stores them, and a job of kind
`match_keywords` matches all of them again when keywords change, so no match is ever missing.
"""

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.duplicates import near_duplicates
from app.analysis.features import Features, features_of
from app.errors import QueryTimedOut
from app.jobs.definitions import JobDefinition
from app.jobs.offload import in_process
from app.jobs.running_job import Progress, RunningJob
from app.store import features, locks, summaries, waves
from app.store.comment_conditions import CommentConditions
from app.store.features import AnalyzedComment, Most
from app.store.rows import TextToAnalyzeRow
from app.store.waves import Bands, Key
from app.work.analyzing.analysis_summary import AnalysisSummary, summary_of
from app.work.kinds import JobKind

ANALYZING, COMPARING, SUMMING, DONE = "analysing comments", "comparing comments", "summing up", "done"
BATCH_COMMENTS, BATCH_CHARACTERS = 2_000, 2_000_000
BATCH_COMPARED = 1_000
BATCH_WAVES, BATCH_IN_WAVES = 1_000, 50_000
"""How many waves, and comments in them, are counted in one step; a larger wave is counted by itself."""
FEW_CHARACTERS = 10_000
"""Up to this many are analysed in a thread of this process in milliseconds; starting another process takes longer."""
NICENESS = 10
"""A low CPU priority, so that short requests to the web process come first."""
MOST_KEYWORDS = 100
MOST_RATED_TERMS = 5_000
"""Only this many of the most frequent terms of the scope are rated by how characteristic they are."""
MAX_CACHED_TERMS = 100_000
"""The cache of term ids is cleared above this size, so that memory does not grow with the number of texts."""
BEFORE_FIRST = (-(1 << 63), 0)
"""A key before those of all comments."""


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """Which comments to analyse; `full` also selects those that were analysed before.

    `owner_ids` are the communities to analyse, None for all.
    """

    owner_ids: tuple[int, ...] | None
    conditions: CommentConditions
    full: bool = False

    def scope(self) -> CommentConditions:
        """Return the conditions of the comments to analyse and sum up."""
        if self.conditions == CommentConditions():
            return CommentConditions(owner_ids=self.owner_ids)
        return CommentConditions(owner_ids=self.owner_ids, all_of=(self.conditions,))


@dataclass(slots=True)
class AnalysisCounts:
    """Counts over all runs of the job: comments read, and comments newly analysed."""

    read: int = 0
    analyzed: int = 0


@dataclass(frozen=True, slots=True)
class AnalysisCheckpoint:
    """The state of an analysis.

    `after` is the last analysed comment (owner id, comment id). With `full`, all comments of the
    scope are analysed. `must_return`: texts have changed meanwhile, so the scope is read once more.
    """

    after: Key = BEFORE_FIRST
    full: bool = False
    must_return: bool = False
    counts: AnalysisCounts = field(default_factory=AnalysisCounts)


AnalysisJob = RunningJob[AnalysisRequest, AnalysisCheckpoint]


async def analyze_comments(job: AnalysisJob) -> AnalysisSummary:
    """Analyse the comments that the job's arguments select and return a summary. Resume from the checkpoint.

    Only comments that were not analysed, or whose texts have changed since, are
    analysed, unless `full` is set. Then all comments that were not compared yet are
    compared with all others, whatever the scope; at the end the scope is summed up.

    Raises:
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
        ProcessDied: the process that analyses died.
    """
    analysis = Analysis(job)
    await analysis.analyze()
    await analysis.compare()
    return await analysis.sum_up()


class Analysis:
    """One run of an analysis job."""

    def __init__(self, job: AnalysisJob) -> None:
        checkpoint = job.checkpoint or AnalysisCheckpoint(full=job.arguments.full)
        self.counts = checkpoint.counts
        self._job = job
        self._database = job.resources.database
        self._scope = job.arguments.scope()
        self._full = checkpoint.full
        self._after = checkpoint.after
        self._must_repeat = checkpoint.must_return
        self._term_ids: dict[str, int] = {}

    # features of each text

    async def analyze(self) -> None:
        """Analyse the comments in key order, in batches; the walls of a batch are locked together.

        The walls are not locked while texts are being analysed. If texts changed in that time, repeat from the start.
        """
        total = await self._count()
        while True:
            rows = await self._next_comments()
            if not rows:
                if not self._must_repeat:
                    return
                self._must_repeat, self._full, self._after = False, False, BEFORE_FIRST
                continue
            found = await self._analyzed(rows)
            async with self._job.step() as connection:
                await locks.lock_walls(connection, {row.owner_id for row in rows})
                written = await features.write_features(connection, found, full=self._full)
                self.counts.read += len(rows)
                self.counts.analyzed += written.comments
                self._must_repeat |= written.changed_meanwhile > 0
                self._after = (rows[-1].owner_id, rows[-1].id)
                done = self.counts.read
                progress = Progress(ANALYZING, done, None if total is None else max(done, total))
                await self._job.report(connection, progress, self._checkpoint())

    async def _count(self) -> int | None:
        # a count that takes too long only leaves the total unknown
        with suppress(QueryTimedOut):
            async with self._database.connect() as connection:
                left = await features.count_comments_to_analyze(connection, self._scope, full=self._full)
                return left if self._full else self.counts.read + left
        return None

    async def _next_comments(self) -> Sequence[TextToAnalyzeRow]:
        most = Most(BATCH_COMMENTS, BATCH_CHARACTERS)
        async with self._database.connect() as connection:
            return await features.next_comments(connection, self._scope, self._after, most, full=self._full)

    async def _analyzed(self, rows: Sequence[TextToAnalyzeRow]) -> list[AnalyzedComment]:
        found = await features_off_loop([row.text for row in rows])
        await self._cache_term_ids({term for each in found for term in each.terms})
        return [
            AnalyzedComment(
                owner_id=row.owner_id,
                comment_id=row.id,
                text_hash=row.text_hash,
                language=each.language,
                term_ids=[self._term_ids[term] for term in each.terms],
                links=each.links,
                phones=each.phones,
                mention_ids=each.mention_ids,
                mood=each.mood,
                bands=each.bands,
            )
            for row, each in zip(rows, found, strict=True)
        ]

    async def _cache_term_ids(self, terms: set[str]) -> None:
        if len(self._term_ids) > MAX_CACHED_TERMS:
            self._term_ids.clear()
        # in a separate transaction: one that waits for a wall must not block others that need its new terms
        if new := terms - self._term_ids.keys():
            async with self._database.transaction() as connection:
                self._term_ids |= await features.term_ids(connection, new)

    # near-duplicates

    async def compare(self) -> None:
        """Compare the comments that were not compared yet, in batches, and recount all waves."""
        async with self._database.connect() as connection:
            total = await waves.count_waiting_comments(connection)
        done, after = 0, BEFORE_FIRST
        while True:
            async with self._job.step() as connection:
                await locks.lock_waves(connection)
                # continue after the last one: index entries of compared comments stay for a while as dead tuples (slow)
                waiting = await waves.waiting_comments(connection, after, BATCH_COMPARED)
                await _compare(connection, waiting)
                done += len(waiting)
                await self._job.report(connection, Progress(COMPARING, done, max(done, total)), self._checkpoint())
            if not waiting and after == BEFORE_FIRST:
                break
            # other comments may have been added before it meanwhile
            after = list(waiting)[-1] if waiting else BEFORE_FIRST
        await self._recount_waves(done)

    async def _recount_waves(self, done: int) -> None:
        """Recount all waves in batches: comments may have been edited or removed since the last analysis."""
        after = 0
        while True:
            async with self._job.step() as connection:
                await locks.lock_waves(connection)
                wave_ids = await waves.waves_after(connection, after, BATCH_WAVES, BATCH_IN_WAVES)
                if not wave_ids:
                    return
                if gone := await waves.recount_waves(connection, wave_ids):
                    await locks.lock_walls(connection, await waves.walls_of_waves(connection, gone))
                    await waves.dissolve_waves(connection, gone)
                after = wave_ids[-1]
                await self._job.report(connection, Progress(COMPARING, done, done), self._checkpoint())

    # summary

    async def sum_up(self) -> AnalysisSummary:
        """Sum up the scope and return the job's result."""
        async with self._job.step() as connection:
            await self._job.report(connection, Progress(SUMMING), self._checkpoint())
        # not in a step, because a cancel request would wait for the job's row
        async with self._database.transaction() as connection:
            summary = await summaries.sum_up(connection, self._scope, MOST_RATED_TERMS, MOST_KEYWORDS)
        async with self._job.step() as connection:
            count = summary.totals.comments
            await self._job.report(connection, Progress(DONE, count, count), self._checkpoint())
        return summary_of(summary, self.counts.analyzed)

    def _checkpoint(self) -> AnalysisCheckpoint:
        return AnalysisCheckpoint(self._after, self._full, self._must_repeat, self.counts)


async def features_off_loop(texts: Sequence[str]) -> list[Features]:
    """Analyse texts without blocking the event loop.

    Raises:
        ProcessDied: the process that analyses died.
    """
    if sum(map(len, texts)) > FEW_CHARACTERS:
        return await in_process(features_at_low_priority, list(texts))
    return await asyncio.to_thread(features_of, texts)


def features_at_low_priority(texts: list[str]) -> list[Features]:
    """Analyse texts in a process with a low CPU priority."""
    _lower_priority()
    return features_of(texts)


@functools.cache
def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


async def _compare(connection: AsyncConnection, waiting: Mapping[Key, Bands]) -> None:
    """Find and write the waves of these comments. The caller holds the lock of waves."""
    if not waiting:
        return
    loose = await _loose_near(connection, waiting)
    known = await waves.waves_with_bands(connection, _all_bands(loose))
    found = [_Group.of(members) for members in near_duplicates({**loose, **known})]
    candidates = [each for each in found if not each.wave_ids and len(each.keys) >= waves.LEAST_COMMENTS]
    accepted = await waves.which_make_waves(connection, [each.keys for each in candidates])
    new = [each for place, each in enumerate(candidates) if place in accepted]
    merged = {other: each.wave_ids[0] for each in found for other in each.wave_ids[1:]}
    owner_ids = {owner_id for owner_id, _ in loose} | await waves.walls_of_waves(connection, merged)
    await locks.lock_walls(connection, owner_ids)
    new_ids = await waves.insert_waves(connection, len(new))
    await waves.merge_waves(connection, merged)
    wave_of = {key: each.wave_ids[0] for each in found if each.wave_ids for key in each.keys}
    wave_of |= {key: wave_id for each, wave_id in zip(new, new_ids, strict=True) for key in each.keys}
    await waves.join_waves(connection, loose, wave_of)
    await waves.mark_compared(connection, waiting)
    # grown waves are counted once, at the end, because they may be large
    await waves.dissolve_waves(connection, await waves.recount_waves(connection, new_ids))


class _Group(NamedTuple):
    """Near-duplicates: comments that are in no wave, and the waves of the others, oldest first."""

    keys: list[Key]
    wave_ids: list[int]

    @classmethod
    def of(cls, members: Sequence[Key | int]) -> "_Group":
        return cls(
            [member for member in members if not isinstance(member, int)],
            sorted(member for member in members if isinstance(member, int)),
        )


async def _loose_near(connection: AsyncConnection, waiting: Mapping[Key, Bands]) -> dict[Key, Bands]:
    """Return these comments and those in no wave that are near them, directly or through others: key -> bands.

    The latter are always few: twenty comments that are near each other form a wave, by any number of authors.
    """
    near = dict(waiting)
    new: Mapping[Key, Bands] = waiting
    while new:
        found = await waves.loose_comments(connection, _all_bands(new))
        new = {key: bands for key, bands in found.items() if key not in near}
        near |= new
    return near


def _all_bands(some: Mapping[Key, Bands]) -> set[int]:
    return {band for bands in some.values() for band in bands}


ANALYZE_COMMENTS = JobDefinition(
    kind=JobKind.ANALYZE_COMMENTS,
    description="It analyses the texts of comments and finds near-duplicates.",
    handler=analyze_comments,
    arguments=AnalysisRequest,
    checkpoint=AnalysisCheckpoint,
    result=AnalysisSummary,
    groups=lambda request: request.owner_ids or (),
)
