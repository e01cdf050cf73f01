"""Matches the comments that are stored with keywords that are new or have changed, and forgets what others matched."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.analysis.keywords import Keyword, Positions
from app.jobs.running_job import Progress, RunningJob
from app.store import groups, keywords
from app.store.keywords import ActiveKeywords, MatchedComment, Stretch
from app.work.matching.search_texts import as_keywords, search_texts

FORGETTING = "removing matches"
MATCHING = "matching comments"
BATCH_COMMENTS = 2_000
BATCH_MATCHES = 5_000
Key = tuple[int, int]
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
            searched: dict[Key, tuple[str, Positions]] = {}
            while not await self._write(stretch, searched, total):
                await self._search(stretch, searched)

    async def _search(self, stretch: Stretch, searched: dict[Key, tuple[str, Positions]]) -> None:
        """Search the texts of a stretch in no transaction; those that were searched already are not searched again."""
        async with self._database.connect() as connection:
            active = await keywords.active_keywords(connection, self._active)
            if active is not self._active:
                searched.clear()
                self._note(active)
            rows = await keywords.texts_of(connection, stretch)
        other = [row for row in rows if searched.get((row.owner_id, row.id), (None, {}))[0] != row.text]
        found = await search_texts(self._keywords, [row.text for row in other])
        searched |= {(row.owner_id, row.id): (row.text, found.get(place, {})) for place, row in enumerate(other)}

    async def _write(self, stretch: Stretch, searched: Mapping[Key, tuple[str, Positions]], total: int) -> bool:
        """Write what was found, if keywords and texts are still those that were searched; otherwise write nothing."""
        async with self._job.step() as connection:
            await groups.lock_walls(connection, stretch.owner_ids)
            # what is active is only sure while it is shared: a change of keywords since has a job of its own
            await keywords.share_keywords(connection)
            if await keywords.active_keywords(connection, self._active) is not self._active:
                return False
            rows = await keywords.texts_of(connection, stretch)
            if any(searched.get((row.owner_id, row.id), (None, {}))[0] != row.text for row in rows):
                return False
            positions = {(row.owner_id, row.id): searched[row.owner_id, row.id][1] for row in rows}
            found = [
                MatchedComment(row.owner_id, row.id, row.published_at, positions[row.owner_id, row.id])
                for row in rows
                if positions[row.owner_id, row.id]
            ]
            ids = [keyword.id for keyword in self._keywords]
            new, gone = await keywords.replace_matches(connection, stretch, ids, found)
            self.counts.comments += len(rows)
            self.counts.new_matches += new
            self.counts.removed_matches += gone
            self._after = stretch.last
            done = self.counts.comments
            await self._job.report(connection, Progress(MATCHING, done, max(done, total)), self._checkpoint())
        return True

    async def _next_stretch(self) -> Stretch | None:
        async with self._database.connect() as connection:
            return await keywords.next_stretch(connection, self._after, BATCH_COMMENTS)

    def _note(self, active: ActiveKeywords) -> None:
        if active is not self._active:
            wanted = set(self._job.arguments["keyword_ids"])
            self._active, self._keywords = active, as_keywords([row for row in active.rows if row.id in wanted])

    def _checkpoint(self) -> dict[str, Any]:
        return {"owner_id": self._after[0], "id": self._after[1], "counts": asdict(self.counts)}
