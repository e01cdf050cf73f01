"""Keywords as rows: pages, filters, counts and categories. Their matches are in tests/jobs/test_match_keywords.py."""

import pytest
from sqlalchemy import text

from app.resources import Resources
from app.store import keywords
from app.store.keyset import Order, Page
from app.store.keywords import KeyRange, KeywordConditions, MatchedComment, NewKeyword
from tests.jobs.matching import comments_with, open_walls, store
from tests.store.rows import values_of

NEW = [
    NewKeyword("яблоко", "WORD_FORMS", "еда"),
    NewKeyword("Банк", "WORD_FORMS", "деньги"),
    NewKeyword("банк", "SUBSTRING"),
    NewKeyword("США", "CASE_SENSITIVE", "страны"),
    NewKeyword("100%_", "SUBSTRING", "деньги"),
]
PHRASES = [each.phrase for each in NEW]


@pytest.fixture
async def stored(resources: Resources) -> Resources:
    """Store five keywords, of which the first is switched off."""
    async with resources.database.transaction() as connection:
        rows, new_ids = await keywords.insert_keywords(connection, NEW)
        assert [row.phrase for row in rows] == PHRASES
        assert {row.id for row in rows} == new_ids
        first = await keywords.require_keyword(connection, rows[0].id)
        await keywords.update_keyword(connection, first, {"is_active": False})
    return resources


async def phrases(
    resources: Resources, conditions: KeywordConditions, order: Order = keywords.PHRASE, limit: int = 10
) -> list[str]:
    async with resources.database.connect() as connection:
        page = await keywords.keywords_page(connection, conditions, Page(order, limit))
        assert await keywords.count_keywords(connection, conditions) >= len(page.rows)
    return [row.phrase for row in page.rows]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (KeywordConditions(), ["100%_", "Банк", "банк", "США", "яблоко"]),
        (KeywordConditions(search="БАН"), ["Банк", "банк"]),
        (KeywordConditions(search="%"), ["100%_"]),
        (KeywordConditions(categories=("деньги", "еда")), ["100%_", "Банк", "яблоко"]),
        (KeywordConditions(categories=()), []),
        (KeywordConditions(matching=("SUBSTRING",)), ["100%_", "банк"]),
        (KeywordConditions(is_active=False), ["яблоко"]),
        (KeywordConditions(is_active=True, search="б"), ["Банк", "банк"]),
    ],
)
async def test_conditions_of_keywords(stored: Resources, conditions: KeywordConditions, expected: list[str]) -> None:
    assert await phrases(stored, conditions) == expected


async def test_pages_by_phrase_and_by_age(stored: Resources) -> None:
    assert await phrases(stored, KeywordConditions(), keywords.NEWEST) == PHRASES[::-1]
    async with stored.database.connect() as connection:
        first = await keywords.keywords_page(connection, KeywordConditions(), Page(keywords.PHRASE, 2))
        after = (getattr(first.rows[-1], "folded_phrase"), first.rows[-1].id)  # noqa: B009 - the ordering selects this column, but the type of the row does not declare it
        rest = await keywords.keywords_page(connection, KeywordConditions(), Page(keywords.PHRASE, 5, after))
    assert after[0] == "банк"
    assert [row.phrase for row in rest.rows] == ["банк", "США", "яблоко"]


async def test_the_same_keyword_is_inserted_once(stored: Resources) -> None:
    again = [NewKeyword("БАНК", "WORD_FORMS"), NewKeyword("банк", "EXACT_WORD"), NewKeyword("Банк", "EXACT_WORD")]
    async with stored.database.transaction() as connection:
        rows, new_ids = await keywords.insert_keywords(connection, again)
    assert [(row.phrase, row.category, row.id in new_ids) for row in rows] == [
        ("Банк", "деньги", False),
        ("банк", None, True),
        ("банк", None, True),
    ]


async def test_counts_and_categories(stored: Resources) -> None:
    await open_walls(stored, [-1, -2])
    for owner_id in (-1, -2):
        await store(stored, comments_with(["банк и банк", "США", "нет", "Банкомат"], owner_id))
    async with stored.database.connect() as connection:
        rows = (await connection.execute(text("SELECT id, phrase, matching FROM keywords ORDER BY id"))).all()
        counts = await keywords.match_counts(connection, [(row.id,) for row in rows])
        categories = await keywords.categories(connection)
        found = await keywords.matches_by_comment(connection, [(-1, 2), (-1, 4), (-2, 3), (-3, 1)])
    assert {(rows[0].id,)} | set(counts) | {(rows[4].id,)} == {(row.id,) for row in rows}
    assert [values_of(counts[row.id,])[1:] for row in rows[1:4]] == [(2, 4), (4, 6), (2, 2)]
    assert [values_of(row) for row in categories] == [("деньги", 2, 4), ("еда", 1, 0), ("страны", 1, 2)]
    assert {key: [(row.id, row.positions, row.text) for row in each] for key, each in found.items()} == {
        (-1, 2): [(rows[1].id, [0, 4, 7, 11], "банк и банк"), (rows[2].id, [0, 4, 7, 11], "банк и банк")],
        (-2, 3): [(rows[3].id, [0, 3], "США")],
    }


async def test_matches_are_deleted_with_their_comment(stored: Resources) -> None:
    await open_walls(stored, [-1])
    await store(stored, comments_with(["банк", "банк"]))
    async with stored.database.transaction() as connection:
        await connection.execute(text("DELETE FROM comments WHERE id = 2"))
    async with stored.database.connect() as connection:
        left = (await connection.execute(text("SELECT DISTINCT comment_id FROM comment_keywords"))).scalars().all()
        sums = (await connection.execute(text("SELECT sum(comments), sum(matches) FROM keyword_months"))).one()
    assert (left, tuple(sums)) == ([3], (2, 2))


async def test_existing_matches_are_not_changed(stored: Resources) -> None:
    await open_walls(stored, [-1])
    await store(stored, comments_with(["банк"]))
    async with stored.database.transaction() as connection:
        row = (await connection.execute(text("SELECT owner_id, id, published_at FROM comments"))).one()
        [one, other] = (await connection.execute(text("SELECT keyword_id FROM comment_keywords ORDER BY 1"))).scalars()
        same = MatchedComment(row.owner_id, row.id, row.published_at, {one: [0, 4]})
        moved = MatchedComment(row.owner_id, row.id, row.published_at, {one: [0, 4], other: [1, 2]})
        assert await keywords.insert_matches(connection, [same]) == 0
        stretch = await keywords.next_range(connection, (-2, 0), 5)
        assert stretch == KeyRange((-2, 0), (-1, 2), {-1})
        assert await keywords.replace_matches(connection, stretch, [one], [same]) == (0, 0)
        assert await keywords.replace_matches(connection, stretch, [one, other], [moved]) == (1, 1)
        assert await keywords.replace_matches(connection, stretch, [other], []) == (0, 1)
        kept = (await connection.execute(text("SELECT keyword_id, positions FROM comment_keywords"))).all()
    assert [tuple(each) for each in kept] == [(one, [0, 4])]
