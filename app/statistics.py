"""Computes statistics, and caches the results until the counted data changes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from cachetools import LRUCache

from app.db.engine import Database
from app.store import statistics
from app.store.statistics import Period, Scope

LARGEST_CACHE = 200_000
"""The size of the cache, in rows plus results: an hourly series of two years has 17,000 rows."""

R_co = TypeVar("R_co", covariant=True)
Statistic: TypeAlias = Callable[..., Awaitable[statistics.Rows[R_co]]]
"""A function of `app.store.statistics` that takes a connection, scopes and a period, then arguments of its own."""


@dataclass(frozen=True, slots=True)
class Question(Generic[R_co]):
    """A request for one statistic of one scope; `arguments` are those of `statistic` after scopes and period."""

    statistic: Statistic[R_co]
    scope: Scope
    period: Period
    arguments: tuple[object, ...] = ()


AnyQuestion: TypeAlias = Question[object]


class Statistics:
    """The statistics of one process.

    A result is cached with the version of its walls, which PostgreSQL changes in the
    transaction that changes the counted data: so a stale result is never returned,
    whichever process has written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: LRUCache[AnyQuestion, tuple[str, Sequence[object]]] = LRUCache(
            LARGEST_CACHE, getsizeof=lambda kept: len(kept[1]) + 1
        )

    async def answers(self, questions: Sequence[AnyQuestion]) -> list[Sequence[object]]:
        """Return the results in the order of the questions; those that differ only in scope share one statement."""
        results: dict[AnyQuestion, Sequence[object]] = {}
        async with self._database.connect() as connection:
            scopes = list(dict.fromkeys(question.scope for question in questions))
            versions = dict(zip(scopes, await statistics.versions(connection, scopes), strict=True))
            groups: dict[tuple[Statistic[object], Period, tuple[object, ...]], list[AnyQuestion]] = defaultdict(list)
            for question in dict.fromkeys(questions):
                version, rows = self._cached.get(question, (None, ()))
                if version == versions[question.scope]:
                    results[question] = rows
                else:
                    groups[question.statistic, question.period, question.arguments].append(question)
            for (statistic, period, arguments), alike in groups.items():
                rows_by_index = await statistic(connection, [question.scope for question in alike], period, *arguments)
                results |= {question: rows_by_index.get(index, []) for index, question in enumerate(alike)}
        # The version was read before the rows. If the rows are newer, they are cached under an outdated version:
        # a miss, never stale data.
        for question, rows in results.items():
            if len(rows) < LARGEST_CACHE:
                self._cached[question] = (versions[question.scope], rows)
        return [results[question] for question in questions]
