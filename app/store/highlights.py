"""Where in the texts of comments a search is met: for a client to highlight."""

import re
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Span = tuple[int, int]
START, STOP = "\x02", "\x03"
MARK = re.compile(f"[{START}{STOP}]")


async def spans_of_search(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], search: str
) -> dict[tuple[int, ...], list[Span]]:
    """Find the words that meet a full text search: (owner_id, id) -> (start, end) in code points, in order.

    Comments in which there are none are absent. PostgreSQL finds them, by the
    same rules by which it searches. What it is given has as many characters as
    the text: ё as е, and spaces for the two signs that mark what is found.
    """
    statement = text("""
        SELECT owner_id, id,
               ts_headline('russian', translate(text, 'ёЁ' || :signs, 'еЕ  '),
                           websearch_to_tsquery('russian', translate(:search, 'ёЁ', 'еЕ')), :options) AS marked
          FROM comments
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
    """)
    options = f'HighlightAll=true, StartSel="{START}", StopSel="{STOP}"'
    rows = await connection.execute(
        statement,
        {
            "signs": START + STOP,
            "search": search,
            "options": options,
            "owner_ids": [key[0] for key in keys],
            "ids": [key[1] for key in keys],
        },
    )
    found = {(row.owner_id, row.id): spans_of_marks(row.marked) for row in rows}
    return {key: spans for key, spans in found.items() if spans}


def spans_of_marks(marked: str) -> list[Span]:
    """Return where the marked parts of a text are, once its marks are taken out."""
    # each mark shifts what follows by one
    ends = [found.start() - number for number, found in enumerate(MARK.finditer(marked))]
    return list(zip(ends[::2], ends[1::2], strict=True))


def spans_of_part(words: str, part: str) -> list[Span]:
    """Find a part in a text, whatever the case, ё being е: (start, end) in code points, without overlaps."""
    as_e = str.maketrans("ёЁ", "еЕ")
    pattern = re.compile(re.escape(part.translate(as_e)), re.IGNORECASE)
    return [found.span() for found in pattern.finditer(words.translate(as_e))]
