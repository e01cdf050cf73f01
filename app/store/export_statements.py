"""Statements that read comments for exports: as typed rows, or as strings that COPY writes as CSV."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, literal_column, select
from sqlalchemy.engine import Dialect

from app.db.tables import authors, comment_features, comments, groups, posts
from app.store.comment_conditions import CommentConditions
from app.store.row_streams import DriverStatement

VK = "https://vk.com"
AnySelect: TypeAlias = Select[*tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of an export: its SQL expression, its CSV format (`{}` is the value), and the table it comes from.

    For a list, `word` is the SQL of one of its strings and replaces `{}` in `sql`.
    """

    sql: str
    csv: str = "{}"
    table: Table = comments
    word: str = ""


_BOOLEAN = "CASE WHEN {} THEN 'true' ELSE 'false' END"
_TIME = "date_trunc('second', {} AT TIME ZONE 'UTC')"
_LIST = "array_to_string({}, ', ')"
_TEXT = "a text that a person wrote"
"""Not SQL: marks the columns to which `_SAFE` applies."""
_SAFE = "CASE WHEN ascii({0}) = ANY (CAST('{{{1}}}' AS int[])) THEN '''' || {0} ELSE {0} END"
"""A text that no spreadsheet runs as a formula: `{1}` are the code points with which formulas begin."""
_ATTACHMENTS = """
    CASE WHEN comments.attachments = '[]' THEN '{{}}'
         ELSE ARRAY(SELECT {} FROM jsonb_array_elements(comments.attachments) WITH ORDINALITY AS a(item, place),
                                   LATERAL (SELECT coalesce(a.item ->> 'type', 'unknown') AS kind) AS its
                     ORDER BY a.place) END"""
_KEYWORDS = """
    ARRAY(SELECT {} FROM comment_keywords m JOIN keywords k ON k.id = m.keyword_id
           WHERE m.owner_id = comments.owner_id AND m.comment_id = comments.id
           ORDER BY m.keyword_id)"""

_COLUMNS = {
    "vkOwnerId": _Column("comments.owner_id"),
    "groupName": _Column("groups.name", _TEXT, groups),
    "groupScreenName": _Column("groups.screen_name", _TEXT, groups),
    "vkPostId": _Column("comments.post_id"),
    "postUrl": _Column(f"concat('{VK}/wall', comments.owner_id, '_', comments.post_id)"),
    "postText": _Column("posts.text", _TEXT, posts),
    "postPublishedAt": _Column("posts.published_at", _TIME, posts),
    "vkId": _Column("comments.id"),
    "vkUrl": _Column(
        f"concat('{VK}/wall', comments.owner_id, '_', comments.post_id, '?reply=', comments.id, "
        "'&thread=' || comments.thread_id)"
    ),
    "isReply": _Column("comments.thread_id IS NOT NULL", _BOOLEAN),
    "threadVkId": _Column("comments.thread_id"),
    "inReplyToVkId": _Column("comments.reply_to_id"),
    "authorVkId": _Column("comments.from_id"),
    "authorName": _Column("authors.name", _TEXT, authors),
    "authorUrl": _Column(
        f"'{VK}/' || CASE WHEN comments.from_id < 0 THEN 'club' ELSE 'id' END || abs(comments.from_id)"
    ),
    "text": _Column("comments.text", _TEXT),
    "publishedAt": _Column("comments.published_at", _TIME),
    "changedAt": _Column("comments.changed_at", _TIME),
    "firstSeenAt": _Column("comments.first_seen_at", _TIME),
    "likeCount": _Column("comments.like_count"),
    "isDeleted": _Column("comments.is_deleted", _BOOLEAN),
    # The strings of a list are escaped one by one: `_SAFE` contains its value three times, so PostgreSQL would
    # compute the whole list three times.
    "attachments": _Column(_ATTACHMENTS, _LIST, word="its.kind"),
    "keywords": _Column(_KEYWORDS, _LIST, word="k.phrase"),
    "language": _Column("comment_features.language", table=comment_features),
    "viewedAt": _Column("comments.viewed_at", _TIME),
    "archivedAt": _Column("comments.archived_at", _TIME),
}
COLUMNS = tuple(_COLUMNS)
"""The names of all columns."""

_JOINS = {
    groups: groups.c.owner_id == comments.c.owner_id,
    posts: and_(posts.c.owner_id == comments.c.owner_id, posts.c.id == comments.c.post_id),
    authors: authors.c.id == comments.c.from_id,
    comment_features: and_(
        comment_features.c.owner_id == comments.c.owner_id, comment_features.c.comment_id == comments.c.id
    ),
}


def rows_statement(conditions: CommentConditions, columns: Sequence[str], dialect: Dialect) -> DriverStatement:
    """Return the driver's statement that reads the selected comments in the order of their keys.

    A row has a value for each of `columns`: int, str, aware datetime, bool, list of str, or None.
    """
    values = {name: _value(_COLUMNS[name]) for name in columns}
    return _for_driver(_select(conditions, values, {_COLUMNS[name].table for name in columns}), dialect)


def csv_statement(
    conditions: CommentConditions, columns: Sequence[str], mark: str, formula_starts: str, dialect: Dialect
) -> DriverStatement:
    """Return the same statement with strings that COPY writes as CSV; `mark` (letters and digits) is an extra column.

    Times are UTC without fractions of a second, as spreadsheets read them; the
    strings of a list are joined with commas. A text that begins with one of the
    characters `formula_starts` gets a leading apostrophe.
    """
    codes = ",".join(str(ord(character)) for character in formula_starts)
    values = {name: _csv_value(_COLUMNS[name], codes) for name in columns} | {"mark": f"'{mark}'"}
    return _for_driver(_select(conditions, values, {_COLUMNS[name].table for name in columns}), dialect)


def _value(column: _Column) -> str:
    return column.sql.format(column.word) if column.word else column.sql


def _csv_value(column: _Column, codes: str) -> str:
    safe = _SAFE if codes else "{0}"
    if column.word:
        return column.csv.format(column.sql.format(safe.format(column.word, codes)))
    return safe.format(column.sql, codes) if column.csv is _TEXT else column.csv.format(column.sql)


def _select(conditions: CommentConditions, values: Mapping[str, str], tables: Collection[Table]) -> AnySelect:
    source: FromClause = comments
    for table, condition in _JOINS.items():
        if table in tables:
            source = source.outerjoin(table, condition)
    columns: list[ColumnElement[object]] = [literal_column(value).label(name) for name, value in values.items()]
    statement: AnySelect = select(*columns).select_from(source).where(*conditions.sql())
    return statement.order_by(comments.c.owner_id, comments.c.id)


def _for_driver(statement: AnySelect, dialect: Dialect) -> DriverStatement:
    expanded = statement.compile(dialect=dialect).construct_expanded_state()
    arguments = []
    for name in expanded.positiontup or ():
        value, process = expanded.parameters[name], expanded.processors.get(name)
        arguments.append(process(value) if process else value)
    return DriverStatement(expanded.statement, tuple(arguments))
