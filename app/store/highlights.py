"""Finds the positions at which texts of comments match a search, for a client to highlight."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, pairwise

from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.arrays import key_columns
from app.store.comment_conditions import RUSSIAN, query

Span = tuple[int, int]
START, STOP = "\x02", "\x03"
MARK = re.compile(f"[{START}{STOP}]")
LONG = 500
"""PostgreSQL skips words, and separators between words, of 2,048 bytes and more; a character has at most 4 bytes."""
RUNS = re.compile(r"[^ \t\n\r\f\v]+"), re.compile(r"[\W_]+")
PIECE = re.compile(r".{1,400}(?<=\W)|.{1,400}", re.DOTALL)


async def spans_of_search(
    connection: AsyncConnection,
    keys: Sequence[tuple[int, ...]],
    search: str,
    forms: Sequence[Sequence[str]] = (),
) -> dict[tuple[int, ...], list[Span]]:
    """Find the words that match a full text search: (owner_id, id) -> (start, end) in code points, in order.

    `search` and `forms` are `search` and `search_forms` of `CommentConditions`.

    Comments without matching words are absent. PostgreSQL finds the words by the
    rules of its search, except that words inside tags match as well. It receives
    the text with an unchanged number of characters: ё becomes е, and the two
    marking characters and the `<` of a tag become spaces.
    """
    texts = text("""
        SELECT owner_id, id, text FROM comments
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
    """)
    stored = await connection.execute(texts, key_columns(keys))
    parts = [
        ((row.owner_id, row.id), start, row.text[start:end])
        for row in stored
        for start, end in spans_of_parts(row.text)
    ]
    options = f'HighlightAll=true, StartSel="{START}", StopSel="{STOP}"'
    unnested = func.unnest(cast([part for *_, part in parts], ARRAY(Text)))
    rows = unnested.table_valued("words", with_ordinality="n").render_derived()
    shown = func.translate(rows.c.words, f"ёЁ<{START}{STOP}", "еЕ   ")
    statement = select(func.ts_headline(RUSSIAN, shown, query(search, forms), options)).order_by(rows.c.n)
    by_comment: dict[tuple[int, ...], list[Span]] = defaultdict(list)
    for (key, offset, _), marked in zip(parts, await connection.scalars(statement), strict=True):
        if spans := spans_of_marks(marked):
            by_comment[key] += [(offset + start, offset + end) for start, end in spans]
    return by_comment


def spans_of_parts(words: str) -> list[Span]:
    """Split a text at very long runs without white space or without a word; return the span of each part."""
    cuts = {0, len(words)}
    for run in chain.from_iterable(kind.finditer(words) for kind in RUNS):
        if run.end() - run.start() >= LONG:
            cuts |= {piece.start() for piece in PIECE.finditer(words, *run.span())} | {run.end()}
    return list(pairwise(sorted(cuts)))


def spans_of_marks(marked: str) -> list[Span]:
    """Return the spans of the marked parts of a text, as positions in the text without marks."""
    # Each mark shifts the following text by one.
    ends = [match.start() - number for number, match in enumerate(MARK.finditer(marked))]
    return list(zip(ends[::2], ends[1::2], strict=True))


def spans_of_part(words: str, part: str) -> list[Span]:
    """Find a substring in a text, without case and with ё as е: (start, end) in code points, without overlaps."""
    as_e = str.maketrans("ёЁ", "еЕ")
    pattern = re.compile(re.escape(part.translate(as_e)), re.IGNORECASE)
    return [match.span() for match in pattern.finditer(words.translate(as_e))]
