"""The results of analyses as rows: written, read, counted, aggregated; and waves. Their use by jobs: tests/jobs."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import md5

import pytest
from sqlalchemy import text

from app.actions.change_keywords import RequestedKeyword, add_keywords
from app.db import tables
from app.json_models import contains_nul, from_json, to_json
from app.resources import Resources
from app.store import features, keywords, summaries, waves
from app.store.comment_conditions import CommentConditions
from app.store.features import AnalyzedComment, Most, Written
from app.store.keyset import Page
from app.store.waves import WaveConditions
from tests.jobs.matching import comments_with, open_walls, store
from tests.store.rows import comment, read, values_of

BEGINNING = (-(1 << 63), 0)


@pytest.fixture
async def walls(resources: Resources) -> Resources:
    """Store two communities with three comments each."""
    await open_walls(resources, [-1, -2])
    for owner_id in (-1, -2):
        await store(resources, comments_with(list(TEXTS.values()), owner_id))
    return resources


TEXTS = {2: "кофе", 3: "чай", 4: "вода"}


def features_of(
    comment_id: int, owner_id: int = -1, bands: tuple[int, ...] = (), language: str = "ru"
) -> AnalyzedComment:
    """Return the features of an unchanged comment."""
    text_hash = md5(TEXTS.get(comment_id, "").encode(), usedforsecurity=False).hexdigest()
    links, phones, mentions = ["https://a.ru/'\"\\,{}"], ["+79161234567"], [5, -1]
    return AnalyzedComment(owner_id, comment_id, text_hash, language, [1, 2], links, phones, mentions, 1, bands)


async def write(resources: Resources, *rows: AnalyzedComment, full: bool = False) -> Written:
    async with resources.database.transaction() as connection:
        return await features.write_features(connection, rows, full=full)


async def test_features_are_written_once(walls: Resources) -> None:
    row = features_of(2, bands=(1, -2))
    assert await write(walls, row, features_of(3)) == Written(2, 0)
    assert await write(walls, replace(row, language="uk")) == Written(0, 0)
    async with walls.database.connect() as connection:
        kept = (await features.features_by_comment(connection, [(-1, 2), (-1, 9)]))[-1, 2]
    assert (kept.language, kept.term_ids, kept.links, kept.phones, kept.mention_ids, kept.mood, kept.wave_id) == (
        "ru", [1, 2], ["https://a.ru/'\"\\,{}"], ["+79161234567"], [5, -1], 1, None
    )  # fmt: skip
    assert kept.published_at == datetime.fromtimestamp(1_772_323_200, UTC)
    assert {key: each["bands"] for key, each in (await read(walls, tables.comment_bands)).items()} == {(-1, 2): [1, -2]}


async def test_features_are_overwritten(walls: Resources) -> None:
    await write(walls, features_of(2, bands=(1, 2)), features_of(3, bands=(1, 2)), features_of(4))
    async with walls.database.transaction() as connection:
        await connection.execute(text("UPDATE comment_features SET wave_id = 7"))
    rows = [
        features_of(2, bands=(1, 2), language="uk"),
        features_of(3, language="uk"),
        features_of(4, bands=(3,), language="uk"),
    ]
    assert await write(walls, *rows, full=True) == Written(3, 0)
    kept = await read(walls, tables.comment_features)
    assert {key: (row["language"], row["wave_id"]) for key, row in kept.items()} == {
        (-1, 2): ("uk", 7),
        (-1, 3): ("uk", None),
        (-1, 4): ("uk", None),
    }
    assert {key: each["bands"] for key, each in (await read(walls, tables.comment_bands)).items()} == {
        (-1, 2): [1, 2],
        (-1, 4): [3],
    }


async def test_features_of_changed_or_removed_comments_are_not_written(walls: Resources) -> None:
    await store(walls, [comment(2, "иное"), comment(4, "вода", attachments=[{"type": "photo"}])])
    assert await write(walls, features_of(2), features_of(99), features_of(3), features_of(4)) == Written(2, 2)
    # another attachment does not change the text
    assert set(await read(walls, tables.comment_features)) == {(-1, 3), (-1, 4)}


async def test_comments_to_analyse(walls: Resources) -> None:
    await write(walls, features_of(2), features_of(3, owner_id=-2))

    async def keys(
        conditions: CommentConditions,
        after: tuple[int, int] = BEGINNING,
        *,
        full: bool = False,
        characters: int = 100,
    ) -> list[str]:
        async with walls.database.connect() as connection:
            rows = await features.next_comments(connection, conditions, after, Most(3, characters), full=full)
            counted = await features.count_comments_to_analyze(connection, conditions, full=full)
        assert counted >= len(rows)
        assert [row.text_hash for row in rows] == [features_of(row.id).text_hash for row in rows]
        return [f"{row.owner_id}_{row.id}" for row in rows]

    assert await keys(CommentConditions()) == ["-2_2", "-2_4", "-1_3"]
    assert await keys(CommentConditions(), (-1, 3)) == ["-1_4"]
    # at least one; the comment that reaches the limit is included
    assert await keys(CommentConditions(), characters=1) == ["-2_2"]
    assert await keys(CommentConditions(), characters=8) == ["-2_2", "-2_4"]
    assert await keys(CommentConditions(), characters=9) == ["-2_2", "-2_4", "-1_3"]
    assert await keys(CommentConditions(), full=True) == ["-2_2", "-2_3", "-2_4"]
    assert await keys(CommentConditions(owner_ids=(-1,), search="кофе or чай")) == ["-1_3"]


async def test_terms_that_two_transactions_add_concurrently(resources: Resources) -> None:
    lemmas = [f"слово{number}" for number in range(200)]

    async def ids(some: list[str]) -> dict[str, int]:
        async with resources.database.transaction() as connection:
            return await features.term_ids(connection, some)

    first, second, third = await asyncio.gather(ids(lemmas), ids(lemmas[::-1]), ids(lemmas[50:]))
    assert first == second == third | {lemma: first[lemma] for lemma in lemmas[:50]}
    assert len(set(first.values())) == 200
    assert await ids([]) == {}


async def test_rollups(walls: Resources) -> None:
    await open_walls(walls, [-3])
    addition = await add_keywords(walls, [RequestedKeyword("кофе"), RequestedKeyword("чай")])
    keyword_id = addition.outcomes[0].keyword_id
    await store(walls, [comment(2, "кофе", owner_id=-3), comment(3, "чай", owner_id=-3)])
    async with walls.database.transaction() as connection:
        # as a job does, of the other two communities
        await connection.execute(
            text("""
                INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
                SELECT owner_id, id, :id, published_at, '{0,4}' FROM comments WHERE owner_id <> -3 AND text = 'кофе'
            """),
            {"id": keyword_id},
        )
    async with walls.database.transaction() as connection:
        ids = await features.term_ids(connection, ["один", "два"])
    one = replace(features_of(2), term_ids=[ids["один"], ids["два"]])
    await write(walls, one, replace(one, owner_id=-2, term_ids=[ids["один"]], mood=-1, links=[]))
    for conditions in (CommentConditions(owner_ids=(-2,)), CommentConditions(all_of=(CommentConditions(mood=-1),))):
        async with walls.database.transaction() as connection:
            found_sums = await summaries.sum_up(connection, conditions, 10, 10)
        assert found_sums.totals._asdict() == {
            "comments": 1, "positive": 0, "negative": 1, "with_links": 0, "with_phones": 1, "with_mentions": 1,
            "waves": 0, "in_waves": 0,
        }  # fmt: skip
        assert found_sums.sources._asdict() == {"authors": 1, "posts": 1, "matched": 1}
        assert [values_of(row) for row in found_sums.keywords] == [(keyword_id, "кофе", 1, 1)]
        assert [values_of(row) for row in found_sums.hours] == [(7, 0, 1)]
        assert [values_of(row) for row in found_sums.languages] == [("ru", 1)]
        assert [values_of(row) for row in found_sums.terms] == [("один", 1, 2)]
        assert found_sums.comments_everywhere == 2
    async with walls.database.transaction() as connection:
        found_sums = await summaries.sum_up(connection, CommentConditions(), 1, 0)
    assert [values_of(row) for row in found_sums.terms] == [("один", 2, 2)]
    assert found_sums.keywords == []
    # the matches of a removed keyword remain until a job has deleted them
    async with walls.database.transaction() as connection:
        await keywords.delete_keywords(connection, [keyword_id or 0])
    async with walls.database.transaction() as connection:
        assert (await summaries.sum_up(connection, CommentConditions(), 1, 9)).sources.matched == 0


async def test_selected_waves(walls: Resources) -> None:
    keys = {(-1, 2): (1, 2), (-1, 3): (2, 3), (-2, 2): (3, 4), (-2, 3): (9,)}
    await write(walls, *(features_of(key[1], key[0], bands) for key, bands in keys.items()))
    async with walls.database.transaction() as connection:
        assert await waves.count_waiting_comments(connection) == 4
        assert await waves.waiting_comments(connection, BEGINNING, 1) == {(-2, 2): (3, 4)}
        assert list(await waves.waiting_comments(connection, (-2, 3), 2)) == [(-1, 2), (-1, 3)]
        assert await waves.which_make_waves(connection, [list(keys)[:3], list(keys)[:2], []]) == {0}
        one, other, empty = await waves.insert_waves(connection, 3)
        wave_of = {(-1, 2): one, (-1, 3): one, (-2, 2): other}
        # one of them has other bands by now
        await waves.join_waves(connection, {**keys, (-2, 2): (3, 5)}, wave_of)
        await waves.mark_compared(connection, {(-2, 3): (9,), (-2, 2): (7,)})
        assert await waves.waves_with_bands(connection, [1, 3, 9]) == {one: [1, 3]}
        assert await waves.loose_comments(connection, [1, 3, 9]) == {(-2, 3): (9,)}
        await waves.join_waves(connection, keys, wave_of)
        await waves.merge_waves(connection, {})
        await waves.merge_waves(connection, {other: one})
        assert await waves.recount_waves(connection, [one, empty, other]) == [empty]
        assert await waves.waves_after(connection, 0, 1, 100) == [one]
        assert await waves.waves_after(connection, 0, 9, 3) == [one]
        assert await waves.waves_after(connection, 0, 9, 4) == [one, empty]
        assert await waves.waves_after(connection, one, 9, 1) == [empty]
        await waves.dissolve_waves(connection, [empty])
        assert await waves.walls_of_waves(connection, [one, other]) == {-1, -2}
        page = await waves.waves_page(connection, WaveConditions((-2,), 3), Page(waves.LARGEST, 5))
        assert [(row.id, row.comment_count, row.author_count, row.post_count) for row in page.rows] == [(one, 3, 1, 2)]
        assert await waves.count_waves(connection, WaveConditions((-3,))) == 0
        await waves.dissolve_waves(connection, [one])
        assert await waves.loose_comments(connection, [1, 3]) == {(-1, 2): (1, 2), (-1, 3): (2, 3), (-2, 2): (3, 4)}
    assert await read(walls, tables.waves) == await read(walls, tables.wave_bands) == {}


async def test_loose_comments_are_found_by_the_index(walls: Resources) -> None:
    """Each band by the index, whatever statistics PostgreSQL has of a table whose rows were compared only just now."""
    async with walls.database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO comment_bands (owner_id, comment_id, bands) SELECT -1, n, ARRAY[n, -n] "
                 "FROM generate_series(1, 3000) AS n")
        )  # fmt: skip
        await connection.execute(text("ANALYZE comment_bands"))
        await connection.execute(text("UPDATE comment_bands SET is_compared = true"))
        plan = await connection.scalars(text(f"EXPLAIN {waves.LOOSE_COMMENTS}"), {"bands": list(range(1_000))})
        lines = "\n".join(plan)
        assert "Index Cond: (bands @> ARRAY[r.band])" in lines
        assert "Seq Scan on comment_bands" not in lines
        assert len(await waves.loose_comments(connection, [1, -1, 7, 9_999])) == 2


async def test_very_many_waves(resources: Resources) -> None:
    """More than a statement can have parameters."""
    ids = list(range(1, 40_000))
    async with resources.database.transaction() as connection:
        assert await waves.walls_of_waves(connection, ids) == set()
        assert await waves.recount_waves(connection, ids) == []
        await waves.dissolve_waves(connection, ids)
        await waves.merge_waves(connection, dict.fromkeys(ids, 40_000))
        assert await waves.count_waves(connection, WaveConditions(tuple(ids))) == 0


def test_conditions_as_json() -> None:
    conditions = CommentConditions(mood=-1, has_links=False, is_in_wave=True, wave_ids=(1, 2))
    assert from_json(CommentConditions, to_json(conditions)) == conditions
    assert not contains_nul(to_json(conditions))
    assert contains_nul({"a": [{"b": ["x", "y\0"]}]})
