"""Matches the comments that are stored with keywords that are new or have changed, and forgets what others matched."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.analysis.keywords import Keyword
from app.jobs.matching import as_keywords, search_texts
from app.jobs.progress import Progress, RunningJob
from app.store import groups, keywords
from app.store.keyset import StoredRow
from app.store.keywords import ActiveKeywords, MatchedComment, Stretch

FORGETTING = "removing matches"
MATCHING = "matching comments"
BATCH_COMMENTS = 2_000
BATCH_MATCHES = 5_000
BEGINNING = (-(1 << 63), 0)
"""A key before those of all comments."""


@dataclass(slots=True)
class Counts:
    """What a run has done so far, over all its tries: pairs of comment and keyword, and comments it looked at."""

    comments: int = 0
    new_matches: int = 0
    removed_matches: int = 0


async def match_keywords(job: RunningJob) -> dict[str, Any]:
    """Match stored comments with the keywords of the job's arguments; goes on from the job's checkpoint.

    `keyword_ids` are those to match: where one is no longer active, what it
    matches stays. `changed_ids` were changed while they were not active, so what
    they matched is forgotten, as is what removed keywords matched, whichever job
    was to see to these.

    Raises:
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
        ProcessDied: the process that matches ended meanwhile.
    """
    matching = Matching(job)
    await matching.forget()
    await matching.match()
    return {"keywords": len(job.arguments["keyword_ids"])} | asdict(matching.counts)


class Matching:
    """One run of one job."""

    def __init__(self, job: RunningJob) -> None:
        checkpoint = job.checkpoint or {}
        self.counts = Counts(**checkpoint.get("counts", {}))
        self._job = job
        self._database = job.resources.database
        self._active: ActiveKeywords | None = None
        self._keywords: tuple[Keyword, ...] = ()
        self._after: tuple[int, int] = (checkpoint["owner_id"], checkpoint["id"]) if checkpoint else BEGINNING

    async def forget(self) -> None:
        """Delete the matches that stand for nothing, in batches; the walls of a batch are locked together."""
        async with self._database.connect() as connection:
            left = await keywords.forgotten_keywords(connection, self._job.arguments["changed_ids"])
        total, done = sum(left.values()), 0
        for keyword_id in left:
            while keys := await self._some_matches(keyword_id):
                async with self._job.step() as connection:
                    await groups.lock_walls(connection, {owner_id for owner_id, _ in keys})
                    # only now nobody can make it active any more, or match with it
                    await keywords.share_keywords(connection)
                    if await keywords.is_active(connection, keyword_id):
                        break
                    gone = await keywords.delete_matches(connection, keyword_id, keys)
                    self.counts.removed_matches += gone
                    done += gone
                    progress = Progress(FORGETTING, done, max(done, total))
                    await self._job.report(connection, progress, self._checkpoint())

    async def _some_matches(self, keyword_id: int) -> list[tuple[int, int]]:
        async with self._database.connect() as connection:
            return await keywords.some_matches(connection, keyword_id, BATCH_MATCHES)

    async def match(self) -> None:
        """Match all comments, in the order of their keys, in batches; the walls of a batch are locked together."""
        if not self._job.arguments["keyword_ids"]:
            return
        async with self._database.connect() as connection:
            total = await keywords.count_stored_comments(connection)
        while stretch := await self._next_stretch():
            async with self._job.step() as connection:
                await groups.lock_walls(connection, stretch.owner_ids)
                # what is active is only sure while it is shared: a change of keywords since has a job of its own
                await keywords.share_keywords(connection)
                self._note(await keywords.active_keywords(connection, self._active))
                rows = await keywords.texts_of(connection, stretch)
                found = await found_in(self._keywords, rows)
                ids = [keyword.id for keyword in self._keywords]
                new, gone = await keywords.replace_matches(connection, stretch, ids, found)
                self.counts.comments += len(rows)
                self.counts.new_matches += new
                self.counts.removed_matches += gone
                self._after = stretch.last
                done = self.counts.comments
                await self._job.report(connection, Progress(MATCHING, done, max(done, total)), self._checkpoint())

    async def _next_stretch(self) -> Stretch | None:
        async with self._database.connect() as connection:
            return await keywords.next_stretch(connection, self._after, BATCH_COMMENTS)

    def _note(self, active: ActiveKeywords) -> None:
        if active is not self._active:
            wanted = set(self._job.arguments["keyword_ids"])
            self._active, self._keywords = active, as_keywords([row for row in active.rows if row.id in wanted])

    def _checkpoint(self) -> dict[str, Any]:
        return {"owner_id": self._after[0], "id": self._after[1], "counts": asdict(self.counts)}


async def found_in(wanted: tuple[Keyword, ...], rows: Sequence[StoredRow]) -> list[MatchedComment]:
    """Search the texts of comments off the event loop; comments without a match are left out."""
    found = await search_texts(wanted, [row.text for row in rows])
    return [
        MatchedComment(row.owner_id, row.id, row.published_at, found[number])
        for number, row in enumerate(rows)
        if number in found
    ]
