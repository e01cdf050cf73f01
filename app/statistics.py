"""Answers statistics, and remembers the answers for as long as nothing that they count changes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from app.db.engine import Database
from app.store import statistics
from app.store.keyset import StoredRow
from app.store.statistics import Period, Scope

MOST_REMEMBERED = 200_000
"""Rows, and answers: an hour's series of two years has 17,000."""

Read = Callable[..., Awaitable[statistics.Rows]]
FUNCTIONS: Mapping[str, Read] = {
    function.__name__: function
    for function in (
        statistics.totals,
        statistics.series,
        statistics.hours_of_week,
        statistics.authors,
        statistics.author_counts,
        statistics.posts,
        statistics.posts_summary,
        statistics.keywords,
        statistics.languages,
        statistics.terms,
    )
}
"""What can be asked for, by the names of the functions in `app.store.statistics`."""


@dataclass(frozen=True, slots=True)
class Question:
    """One statistic of one scope: `function` names it, `arguments` are what it takes beside scopes and period."""

    function: str
    scope: Scope
    period: Period
    arguments: tuple[Any, ...] = ()


class Statistics:
    """The statistics of one process.

    An answer is remembered together with the version of its walls, which
    PostgreSQL changes in the transaction that changes what is counted: so one
    that is out of date is never given, whichever process has written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: LRUCache[Question, tuple[str, Sequence[StoredRow]]] = LRUCache(
            MOST_REMEMBERED, getsizeof=lambda kept: len(kept[1]) + 1
        )

    async def answers(self, questions: Sequence[Question]) -> list[Sequence[StoredRow]]:
        """Answer in the order of the questions; those that differ in their scopes only are one statement."""
        found: dict[Question, Sequence[StoredRow]] = {}
        async with self._database.connect() as connection:
            scopes = list(dict.fromkeys(question.scope for question in questions))
            versions = dict(zip(scopes, await statistics.versions(connection, scopes), strict=True))
            groups: dict[tuple[str, Period, tuple[Any, ...]], list[Question]] = defaultdict(list)
            for question in dict.fromkeys(questions):
                version, rows = self._remembered.get(question, (None, ()))
                if version == versions[question.scope]:
                    found[question] = rows
                else:
                    groups[question.function, question.period, question.arguments].append(question)
            for (function, period, arguments), alike in groups.items():
                rows_by_place = await FUNCTIONS[function](
                    connection, [question.scope for question in alike], period, *arguments
                )
                found |= {question: rows_by_place.get(place, []) for place, question in enumerate(alike)}
        # the version was read before the rows: rows that are newer stand under a version that nobody will meet again
        for question, rows in found.items():
            if len(rows) < MOST_REMEMBERED:
                self._remembered[question] = (versions[question.scope], rows)
        return [found[question] for question in questions]
