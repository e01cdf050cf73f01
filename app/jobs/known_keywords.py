"""Matches comments with keywords in the transaction that stores them, off the event loop."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.keywords import Keyword
from app.jobs.matching import as_keywords, search_texts
from app.store import keywords
from app.store.comments import Stored
from app.store.keywords import ActiveKeywords, MatchedComment


class KnownKeywords:
    """The active keywords as one run of a job knows them; they are read again only when they have changed."""

    def __init__(self) -> None:
        self._active: ActiveKeywords | None = None
        self._keywords: tuple[Keyword, ...] = ()

    async def match_stored(self, connection: AsyncConnection, stored: Stored) -> None:
        """Write what the active keywords match of comments that this transaction has stored.

        Costs two short statements where there are no keywords. Nobody changes
        keywords before the transaction ends.

        Raises:
            ProcessDied: the process that matches ended meanwhile.
        """
        if not stored.new_texts and not stored.other_texts:
            return
        await keywords.share_keywords(connection)
        active = await keywords.active_keywords(connection, self._active)
        if active is not self._active:
            self._active, self._keywords = active, as_keywords(active.rows)
        await keywords.forget_matches(connection, [(each.owner_id, each.id) for each in stored.other_texts])
        if not self._keywords:
            return
        comments = [*stored.new_texts, *stored.other_texts]
        found = await search_texts(self._keywords, [comment.text for comment in comments])
        matched = [
            MatchedComment(comment.owner_id, comment.id, datetime.fromtimestamp(comment.date, UTC), found[number])
            for number, comment in enumerate(comments)
            if number in found
        ]
        await keywords.insert_matches(connection, matched)
