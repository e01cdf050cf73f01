"""Matches comments with the active keywords: searches before the transaction that stores them, writes in it.

A search may take seconds, in another process. A transaction that waited for it
would hold the lock of its job's row and the locks of walls for that time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.keywords import Keyword, Positions
from app.db.engine import Database
from app.store import keywords, locks
from app.store.comments import Stored, with_other_texts
from app.store.keywords import ActiveKeywords, MatchedComment
from app.wall import VkComment
from app.work.matching.search_texts import as_keywords, search_texts

Key = tuple[int, int]


class SearchOutdated(Exception):
    """Keywords or stored texts have changed since the search, so its matches must not be written."""


class KnownKeywords:
    """The active keywords that one run of a job has read, and their matches in the comments that it will store."""

    def __init__(self) -> None:
        self._active: ActiveKeywords | None = None
        self._keywords: tuple[Keyword, ...] = ()
        self._searched: dict[Key, tuple[str, Positions]] = {}

    async def search(self, database: Database, found: Sequence[VkComment]) -> None:
        """Search the texts that are not stored yet, outside a transaction; replace the previous search.

        Raises:
            ProcessDied: the process that searches died.
        """
        self._searched = {}
        async with database.connect() as connection:
            self._note(await keywords.active_keywords(connection, self._active))
            unsearched = await with_other_texts(connection, found) if self._keywords else []
        if unsearched:
            positions = await search_texts(self._keywords, [comment.text for comment in unsearched])
            self._searched = {
                (comment.owner_id, comment.id): (comment.text, positions.get(place, {}))
                for place, comment in enumerate(unsearched)
            }

    async def write_matches(self, connection: AsyncConnection, stored: Stored) -> None:
        """Write the keyword matches of comments that this transaction has stored.

        Lock the keywords: no client can change them until the transaction ends.

        Raises:
            SearchOutdated: roll back the transaction and call `search` again.
        """
        if not stored.new_texts and not stored.other_texts:
            return
        await locks.share_keywords(connection)
        if await keywords.active_keywords(connection, self._active) is not self._active:
            raise SearchOutdated
        await keywords.delete_all_matches(connection, [(each.owner_id, each.id) for each in stored.other_texts])
        if not self._keywords:
            return
        matched = []
        for comment in (*stored.new_texts, *stored.other_texts):
            text, positions = self._searched.get((comment.owner_id, comment.id), (None, {}))
            if text != comment.text:
                raise SearchOutdated
            if positions:
                published_at = datetime.fromtimestamp(comment.date, UTC)
                matched.append(MatchedComment(comment.owner_id, comment.id, published_at, positions))
        await keywords.insert_matches(connection, matched)

    def _note(self, active: ActiveKeywords) -> None:
        if active is not self._active:
            self._active, self._keywords = active, as_keywords(active.rows)
