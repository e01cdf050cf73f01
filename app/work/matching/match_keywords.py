"""Matches stored comments with new or changed keywords, and deletes the matches of removed or changed ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.analysis.keywords import Keyword, Positions
from app.jobs.definitions import JobDefinition
from app.jobs.running_job import Progress, RunningJob
from app.store import keywords, locks
from app.store.keywords import ActiveKeywords, KeyRange, MatchedComment
from app.work.kinds import JobKind
from app.work.matching.search_texts import as_keywords, search_texts

REMOVING = "removing matches"
MATCHING = "matching comments"
BATCH_COMMENTS = 2_000
BATCH_MATCHES = 5_000
Key = tuple[int, int]
BEFORE_FIRST = (-(1 << 63), 0)
"""A key before those of all comments."""


@dataclass(frozen=True, slots=True)
class MatchingRequest:
    """Which keywords to match, and those whose matches are outdated.

    `keyword_ids` are the keywords to match; the matches of a keyword that is no longer
    active stay. `changed_ids` are keywords that were changed while inactive: their matches are deleted.
    """

    keyword_ids: tuple[int, ...] = ()
    changed_ids: tuple[int, ...] = ()


@dataclass(slots=True)
class MatchCounts:
    """Counts over all runs of the job: comments searched, and (comment, keyword) pairs added and removed."""

    comments: int = 0
    new_matches: int = 0
    removed_matches: int = 0


@dataclass(frozen=True, slots=True)
class MatchingCheckpoint:
    """The last searched comment (owner id, comment id), and the counts so far."""

    owner_id: int = BEFORE_FIRST[0]
    id: int = BEFORE_FIRST[1]
    counts: MatchCounts = field(default_factory=MatchCounts)


@dataclass(frozen=True, slots=True)
class MatchingSummary:
    """The result: the number of keywords to match, comments searched, and matches added and removed."""

    keywords: int
    comments: int
    new_matches: int
    removed_matches: int


MatchingJob = RunningJob[MatchingRequest, MatchingCheckpoint]


async def match_keywords(job: MatchingJob) -> MatchingSummary:
    """Match stored comments with the keywords of the job's arguments. Resume from the checkpoint.

    The matches of removed keywords are deleted, too, whichever job was to delete them.

    Raises:
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
        ProcessDied: the process that matches died.
    """
    matching = Matching(job)
    await matching.forget()
    await matching.match()
    counts = matching.counts
    return MatchingSummary(len(job.arguments.keyword_ids), counts.comments, counts.new_matches, counts.removed_matches)


class Matching:
    """One run of a matching job."""

    def __init__(self, job: MatchingJob) -> None:
        checkpoint = job.checkpoint or MatchingCheckpoint()
        self.counts = checkpoint.counts
        self._job = job
        self._database = job.resources.database
        self._active: ActiveKeywords | None = None
        self._keywords: tuple[Keyword, ...] = ()
        self._after: tuple[int, int] = checkpoint.owner_id, checkpoint.id

    async def forget(self) -> None:
        """Delete outdated matches in batches; the walls of a batch are locked together."""
        async with self._database.connect() as connection:
            left = await keywords.keywords_with_stale_matches(connection, self._job.arguments.changed_ids)
        total, done = sum(left.values()), 0
        for keyword_id in left:
            while keys := await self._some_matches(keyword_id):
                async with self._job.step() as connection:
                    await locks.lock_walls(connection, {owner_id for owner_id, _ in keys})
                    # check only under this lock: no transaction can activate the keyword or match with it any more
                    await locks.share_keywords(connection)
                    if await keywords.is_active(connection, keyword_id):
                        break
                    gone = await keywords.delete_matches(connection, keyword_id, keys)
                    self.counts.removed_matches += gone
                    done += gone
                    progress = Progress(REMOVING, done, max(done, total))
                    await self._job.report(connection, progress, self._checkpoint())

    async def _some_matches(self, keyword_id: int) -> list[tuple[int, int]]:
        async with self._database.connect() as connection:
            return await keywords.some_matches(connection, keyword_id, BATCH_MATCHES)

    async def match(self) -> None:
        """Match all comments in key order, in batches; the walls of a batch are locked together."""
        if not self._job.arguments.keyword_ids:
            return
        async with self._database.connect() as connection:
            total = await keywords.count_stored_comments(connection)
        while key_range := await self._next_range():
            searched: dict[Key, tuple[str, Positions]] = {}
            while not await self._write(key_range, searched, total):
                await self._search(key_range, searched)

    async def _search(self, key_range: KeyRange, searched: dict[Key, tuple[str, Positions]]) -> None:
        """Search the texts of a key range outside a transaction; skip those that are searched already."""
        async with self._database.connect() as connection:
            active = await keywords.active_keywords(connection, self._active)
            if active is not self._active:
                searched.clear()
                self._note(active)
            rows = await keywords.texts_of(connection, key_range)
        unsearched = [row for row in rows if searched.get((row.owner_id, row.id), (None, {}))[0] != row.text]
        found = await search_texts(self._keywords, [row.text for row in unsearched])
        searched |= {(row.owner_id, row.id): (row.text, found.get(place, {})) for place, row in enumerate(unsearched)}

    async def _write(self, key_range: KeyRange, searched: Mapping[Key, tuple[str, Positions]], total: int) -> bool:
        """Write the matches and return True; return False, without writing, if keywords or texts have changed since."""
        async with self._job.step() as connection:
            await locks.lock_walls(connection, key_range.owner_ids)
            # the lock keeps the active keywords unchanged; every earlier change of them has enqueued its own job
            await locks.share_keywords(connection)
            if await keywords.active_keywords(connection, self._active) is not self._active:
                return False
            rows = await keywords.texts_of(connection, key_range)
            if any(searched.get((row.owner_id, row.id), (None, {}))[0] != row.text for row in rows):
                return False
            positions = {(row.owner_id, row.id): searched[row.owner_id, row.id][1] for row in rows}
            found = [
                MatchedComment(row.owner_id, row.id, row.published_at, positions[row.owner_id, row.id])
                for row in rows
                if positions[row.owner_id, row.id]
            ]
            ids = [keyword.id for keyword in self._keywords]
            new, gone = await keywords.replace_matches(connection, key_range, ids, found)
            self.counts.comments += len(rows)
            self.counts.new_matches += new
            self.counts.removed_matches += gone
            self._after = key_range.last
            done = self.counts.comments
            await self._job.report(connection, Progress(MATCHING, done, max(done, total)), self._checkpoint())
        return True

    async def _next_range(self) -> KeyRange | None:
        async with self._database.connect() as connection:
            return await keywords.next_range(connection, self._after, BATCH_COMMENTS)

    def _note(self, active: ActiveKeywords) -> None:
        if active is not self._active:
            selected = set(self._job.arguments.keyword_ids)
            self._active, self._keywords = active, as_keywords([row for row in active.rows if row.id in selected])

    def _checkpoint(self) -> MatchingCheckpoint:
        return MatchingCheckpoint(*self._after, self.counts)


MATCH_KEYWORDS = JobDefinition(
    kind=JobKind.MATCH_KEYWORDS,
    description="It matches stored comments with keywords.",
    handler=match_keywords,
    arguments=MatchingRequest,
    checkpoint=MatchingCheckpoint,
    result=MatchingSummary,
)
