"""The protocols of rows have the columns of their tables and statements, with their types."""

import types
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from sqlalchemy import ARRAY, Column, CursorResult, Table, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app import json_types
from app.db import tables
from app.job_states import JobState
from app.resources import Resources
from app.store import (
    entries,
    features,
    groups,
    job_stats,
    jobs,
    keywords,
    monitorings,
    posts,
    rows,
    statistics,
    summaries,
    tokens,
    workers,
)
from app.store.comment_conditions import CommentConditions
from app.store.keywords import KeyRange, NewKeyword
from app.store.statistics import Bucket, Period, PostRanking
from app.wall import VkGroup

WITHOUT: dict[type, set[str]] = {rows.FollowedJobRow: {"heartbeat_at", "checkpoint"}}
"""The columns that a statement does not select although they are the table's."""


TABLES: list[tuple[type, Table]] = [
    (rows.GroupRow, tables.groups),
    (rows.PostRow, tables.posts),
    (rows.AuthorRow, tables.authors),
    (rows.CommentRow, tables.comments),
    (rows.FollowedJobRow, tables.jobs),
    (rows.JobRow, tables.jobs),
    (rows.JobEventRow, tables.job_events),
    (rows.ExportRow, tables.exports),
    (rows.MonitoringRow, tables.monitorings),
    (rows.KeywordRow, tables.keywords),
    (rows.FeaturesRow, tables.comment_features),
    (rows.WaveRow, tables.waves),
]


@pytest.mark.parametrize(
    ("protocol", "table"), TABLES, ids=lambda given: getattr(given, "name", None) or given.__name__
)
def test_a_protocol_has_the_columns_of_its_table(protocol: type, table: Table) -> None:
    expected = {column.name: column for column in table.c if column.name not in WITHOUT.get(protocol, ())}
    hints = hints_of(protocol)
    assert hints.keys() == expected.keys()
    wrong = {name: hint for name, hint in hints.items() if not _is_type_of_column(hint, expected[name])}
    assert not wrong


def hints_of(protocol: type) -> dict[str, Any]:
    """Return the types of the attributes of a protocol."""
    return get_type_hints(protocol, localns=vars(json_types))


def _is_type_of_column(hint: Any, column: Column[Any]) -> bool:
    """Return whether a type is that of a column's values: with None if and only if the column is nullable."""
    kind, is_nullable = _without_none(hint)
    origin = get_origin(kind) or kind
    if isinstance(column.type, JSONB):
        is_of_type = _is_json(kind)
    elif isinstance(column.type, ARRAY):
        is_of_type = origin is list and get_args(kind) == (column.type.item_type.python_type,)
    else:
        is_of_type = kind is column.type.python_type
    return is_of_type and is_nullable == column.nullable


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    [kind] = set(get_args(hint)) - {type(None)}
    return kind, True


def _is_json(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin is list or issubclass(origin, dict)


Call = Callable[[AsyncConnection], Awaitable[object]]
EVENTS = {JobState.QUEUED: {"message": "Claimed.", "reason": "CLAIMED"}}
RANGE = KeyRange((-2, 0), (-1, 0), [-1])
EVER = Period()
STATEMENTS: list[tuple[Call, list[type]]] = [
    (
        lambda c: posts.posts_to_collect(c, posts.PostsToCollect([-1], {}, 0, full=False), None, 1),
        [rows.PostToCollectRow],
    ),
    (lambda c: jobs.followed_job(c, 1), [rows.FollowedJobRow]),
    (lambda c: jobs.claim_jobs(c, {1: 1}, "worker", EVENTS), [rows.ClaimedJobRow]),
    (lambda c: jobs.lock_job(c, 1, 1), [rows.LockedJobRow]),
    (lambda c: jobs.heartbeat_ages_by_job(c, [(1,)]), [rows.HeartbeatAgeRow]),
    (lambda c: entries.lost_jobs(c, 30), [rows.LostJobRow]),
    (lambda c: entries.queue_positions_by_job(c, [(1,)]), [rows.QueuePositionRow]),
    (lambda c: job_stats.counts(c, 60), [rows.JobCountRow]),
    (job_stats.unfinished, [rows.JobCountRow]),
    (lambda c: job_stats.times(c, 60), [rows.JobTimesRow]),
    (lambda c: workers.live_workers(c, 60), [rows.ActiveWorkerRow]),
    (
        lambda c: monitorings.lock_monitoring(c, -1, {"is_enabled": False, "interval_seconds": 60, "priority": 0}),
        [rows.LockedMonitoringRow],
    ),
    (lambda c: monitorings.claim_due(c, 1), [rows.DueMonitoringRow]),
    (monitorings.overview, [rows.MonitoringOverviewRow]),
    (lambda c: tokens.token_states(c, ["token"]), [rows.TokenStateRow]),
    (lambda c: keywords.insert_keywords(c, [NewKeyword("word", "EXACT_WORD")]), [rows.KeywordRow]),
    (lambda c: keywords.active_keywords(c, None), [rows.ActiveKeywordRow]),
    (lambda c: keywords.matches_by_comment(c, [(-1, 1)]), [rows.MatchRow]),
    (lambda c: keywords.match_counts(c, [(1,)]), [rows.MatchCountsRow]),
    (keywords.categories, [rows.CategoryRow]),
    (lambda c: keywords.texts_of(c, RANGE), [rows.TextRow]),
    (
        lambda c: features.next_comments(c, CommentConditions(), (-1, 1), features.Most(1, 1), full=True),
        [rows.TextToAnalyzeRow],
    ),
    (lambda c: statistics.totals(c, [None], EVER), [rows.TotalsRow]),
    (lambda c: statistics.series(c, [None], EVER, Bucket.DAY, "UTC"), [rows.ActivityRow]),
    (lambda c: statistics.hours_of_week(c, [None], EVER, "UTC"), [rows.HourOfWeekRow]),
    (lambda c: statistics.authors(c, [None], EVER, 1), [rows.RankedAuthorRow]),
    (lambda c: statistics.author_counts(c, [None], EVER), [rows.AuthorCountRow]),
    (lambda c: statistics.posts(c, [None], EVER, PostRanking.COMMENTS, 1), [rows.RankedPostRow]),
    (lambda c: statistics.posts_summary(c, [None], EVER), [rows.PostsSummaryRow]),
    (lambda c: statistics.keywords(c, [None], EVER, 1), [rows.RankedKeywordRow]),
    (lambda c: statistics.languages(c, [None], EVER), [rows.LanguageRow]),
    (lambda c: statistics.terms(c, [None], EVER, 1), [rows.TermRow]),
    (
        lambda c: summaries.sum_up(c, CommentConditions(), 1, 1),
        [
            rows.FeatureTotalsRow,
            rows.SourceCountsRow,
            rows.KeywordUseRow,
            rows.LanguageRow,
            rows.MonthRow,
            rows.HourOfWeekRow,
            rows.TermUseRow,
            object,  # the number of all analysed comments
        ],
    ),
]
"""Functions that read rows, and the protocols of the rows of the last statements that they execute."""
SCALARS = {
    16: bool, 20: int, 21: int, 23: int, 25: str, 701: float, 1114: datetime, 1184: datetime, 1700: Decimal,
    1007: list[int], 1009: list[str], 1016: list[int], 1022: list[float | None],
}  # fmt: skip
"""PostgreSQL's object id of a type -> the Python type of its values."""
JSONB_ID = 3802


def test_every_protocol_is_compared() -> None:
    compared = {protocol for protocol, _ in TABLES} | {each for _, protocols in STATEMENTS for each in protocols}
    declared = {
        kind
        for kind in vars(rows).values()
        if isinstance(kind, type) and kind.__module__ == rows.__name__ and getattr(kind, "_is_protocol", False)
    }
    assert declared - compared == {rows.PlainRow}


async def test_a_protocol_has_the_columns_of_its_statement(resources: Resources) -> None:
    executed: list[dict[str, Any]] = []

    def note(*given: Any) -> None:
        result = given[-1]
        assert isinstance(result, CursorResult)
        executed.append({column[0]: column[1] for column in result.context.cursor.description or ()})

    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "group", "Group")])
    engine = resources.database.engine.sync_engine
    event.listen(engine, "after_execute", note)
    try:
        for call, protocols in STATEMENTS:
            async with resources.database.transaction() as connection:
                await call(connection)
            for protocol, columns in zip(protocols, executed[-len(protocols) :], strict=True):
                wrong = {
                    name: columns.get(name)
                    for name, hint in hints_of(protocol).items()
                    if not _is_type_of(hint, columns.get(name))
                }
                assert not wrong, protocol
    finally:
        event.remove(engine, "after_execute", note)


def _is_type_of(hint: Any, type_id: int | None) -> bool:
    kind, _ = _without_none(hint)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        kind = str
    return _is_json(kind) if type_id == JSONB_ID else SCALARS.get(type_id or 0) == kind
