"""The analysis of stored comments: features, waves, totals; after changes and failures, and concurrently."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions.change_groups import start_removal
from app.actions.start_analysis import start_analysis
from app.analysis.features import features_of
from app.background import open_worker
from app.db import tables
from app.errors import GroupNotFound, QueryTimedOut, QueueFull, ValidationFailed
from app.job_states import JobState
from app.jobs.queue import cancel, retry
from app.jobs.running_job import RunningJob
from app.resources import Resources, open_resources
from app.store import features, groups, locks, waves
from app.store.comment_conditions import CommentConditions
from app.wall import VkComment
from app.work.analyzing import analyze_comments as analysis_job
from app.work.kinds import JobKind
from tests.conftest import MakeSettings
from tests.jobs.conftest import claim_job, ended, events_of, in_state, read_job, run_handler, running_job
from tests.jobs.matching import comments_with, open_walls, store
from tests.store.rows import comment, read
from tests.timeouts import WAIT_SECONDS

SPAM = "Работа на дому, зарплата каждую неделю, подробности у меня на странице"
TEXTS = [
    "Кофе отличный)) Спасибо",
    "[id5|Иван], звоните 8 (916) 123-45-67 или vk.com/coffee",
    SPAM,
    "Дякую, дуже смачна кава і гарний настрій 😡",
    "",
    f"{SPAM}!!! 🔥",
]


@pytest.fixture
async def walls(resources: Resources) -> Resources:
    """Store two communities with six comments each."""
    await open_walls(resources, [-1, -2])
    for owner_id in (-1, -2):
        await store(resources, comments_with(TEXTS, owner_id))
    return resources


@pytest.fixture
async def busy(walls: Resources) -> AsyncIterator[Resources]:
    """Store the same, with a running worker."""
    async with open_worker(walls, 3):
        yield walls


async def analyze(resources: Resources, **arguments: Any) -> dict[str, Any]:
    """Analyse with a running worker and return the result."""
    row = await ended(resources, (await start_analysis(resources, **arguments)).id)
    assert row.state == "SUCCEEDED", row.failure
    result: dict[str, Any] = row.result
    return result


async def by_language(resources: Resources) -> dict[str, int]:
    """Return the number of comments per language, from the rollup."""
    async with resources.database.connect() as connection:
        rows = await connection.execute(text("SELECT language, sum(comments) AS n FROM language_months GROUP BY 1"))
        return {row.language: row.n for row in rows if row.n}


async def members(resources: Resources) -> dict[int, set[tuple[int, int]]]:
    """Return the waves: id -> keys of comments; check their stored counts."""
    found: dict[int, set[tuple[int, int]]] = {}
    for (owner_id, comment_id), row in (await read(resources, tables.comment_features)).items():
        if row["wave_id"] is not None:
            found.setdefault(row["wave_id"], set()).add((owner_id, comment_id))
    counted = {key[0]: row["comment_count"] for key, row in (await read(resources, tables.waves)).items()}
    assert counted == {wave_id: len(keys) for wave_id, keys in found.items()}
    return found


def copies(*words: str, owner_id: int = -1, first_id: int = 100, **facts: Any) -> list[VkComment]:
    """Return comments of several authors."""
    return [
        comment(first_id + place, each, **{"owner_id": owner_id, "from_id": 10 + place, **facts})
        for place, each in enumerate(words)
    ]


async def claimed_run(resources: Resources, **arguments: Any) -> RunningJob[Any, Any]:
    """Start an analysis, claim its job as a worker does, and return its run."""
    job_id = (await start_analysis(resources, **arguments)).id
    row = await claim_job(resources, job_id, "test")
    assert row
    return running_job(resources, row)


async def test_features_and_totals(busy: Resources) -> None:
    row = await ended(busy, (await start_analysis(busy)).id)
    assert row.state == "SUCCEEDED", row.failure
    assert (row.stage, row.done, row.total) == ("done", 12, 12)
    stages = [facts["stage"] for kind, facts in await events_of(busy, row.id) if kind == "STAGE_CHANGED"]
    assert stages == ["analysing comments", "comparing comments", "summing up", "done"]
    stored = await read(busy, tables.comment_features)
    terms = {key[0]: each["lemma"] for key, each in (await read(busy, tables.terms)).items()}
    for place, found in enumerate(features_of(TEXTS)):
        for owner_id in (-1, -2):
            kept = stored[owner_id, 2 + place]
            assert [terms[term_id] for term_id in kept["term_ids"]] == found.terms
            names = ("language", "links", "phones", "mention_ids", "mood")
            assert {name: kept[name] for name in names} == {name: getattr(found, name) for name in names}
    result = row.result
    assert result["terms"][0]["term"]
    assert {each["term"] for each in result["terms"]} == set(terms.values())
    assert {key: value for key, value in result.items() if key != "terms"} == {
        "comments": 12, "newly_analyzed": 12, "positive": 4, "negative": 2, "with_links": 2, "with_phones": 2,
        "with_mentions": 2, "waves": 1, "in_waves": 4, "authors": 1, "posts": 2, "matched": 0, "keywords": [],
        "hours": row.result["hours"],
        "languages": [
            {"language": "ru", "comments": 8},
            {"language": "uk", "comments": 2},
            {"language": "und", "comments": 2},
        ],
        "months": [
            {"month": "2026-03-01T00:00:00Z", "comments": 4},
            {"month": "2026-04-01T00:00:00Z", "comments": 2},
            {"month": "2026-05-01T00:00:00Z", "comments": 2},
            {"month": "2026-06-01T00:00:00Z", "comments": 2},
            {"month": "2026-07-01T00:00:00Z", "comments": 2},
        ],
    }  # fmt: skip
    assert sum(each["comments"] for each in result["hours"]) == 12
    assert result["hours"][0].keys() == {"weekday", "hour", "comments"}
    assert await by_language(busy) == {"ru": 8, "uk": 2, "und": 2}
    assert list((await members(busy)).values()) == [{(-1, 4), (-1, 7), (-2, 4), (-2, 7)}]


async def test_only_new_and_changed_comments_are_analysed(busy: Resources) -> None:
    assert (await analyze(busy))["newly_analyzed"] == 12
    before = await read(busy, tables.comment_features)
    assert (await analyze(busy))["newly_analyzed"] == 0
    edited, new, same = comment(2, "Now it is in English, all of it"), comment(50, "новое"), comments_with(TEXTS)[1]
    await store(busy, [edited, new, same])
    assert (-1, 2) not in await read(busy, tables.comment_features)
    result = await analyze(busy)
    assert (result["comments"], result["newly_analyzed"]) == (13, 2)
    after = await read(busy, tables.comment_features)
    assert {key for key, row in after.items() if row != before.get(key)} == {(-1, 2), (-1, 50)}
    assert await by_language(busy) == {"ru": 8, "uk": 2, "und": 2, "en": 1}


async def test_a_full_analysis_analyses_all_comments_again(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    await analyze(busy)
    before = await members(busy)
    languages = await by_language(busy)

    def otherwise(texts: Sequence[str]) -> list[Any]:
        return [each._replace(language="tt", mood=1) for each in features_of(texts)]

    monkeypatch.setattr(analysis_job, "features_of", otherwise)
    assert (await analyze(busy))["newly_analyzed"] == 0
    assert await by_language(busy) == languages
    result = await analyze(busy, full=True)
    assert (result["newly_analyzed"], result["positive"]) == (12, 12)
    assert await by_language(busy) == {"tt": 12}
    assert await members(busy) == before  # comments with the same bands stay in their wave


async def test_other_bands_make_other_waves(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    await analyze(busy)
    [before] = (await members(busy)).values()

    def otherwise(texts: Sequence[str]) -> list[Any]:
        return [
            each._replace(bands=list(range(8)) if "о" in words else [])
            for words, each in zip(texts, features_of(texts), strict=True)
        ]

    monkeypatch.setattr(analysis_job, "features_of", otherwise)
    assert (await analyze(busy, full=True))["newly_analyzed"] == 12
    [after] = (await members(busy)).values()
    assert before < after
    assert len(after) == 10 - 2


async def test_a_scope_by_communities_and_conditions(busy: Resources) -> None:
    result = await analyze(busy, owner_ids=[-1, -1], conditions=CommentConditions(search="кофе"))
    assert (result["comments"], result["newly_analyzed"], result["terms"]) == (1, 1, [])
    result = await analyze(busy, owner_ids=[-1])
    assert (result["comments"], result["newly_analyzed"]) == (6, 5)
    result = await analyze(busy, conditions=CommentConditions(any_of=(CommentConditions(contains="vk.com"),)))
    assert (result["comments"], result["newly_analyzed"]) == (2, 1)
    best = result["terms"][0]
    assert (best["term"], best["comments"]) == ("звонить", 2)
    assert best["score"] == pytest.approx(0.9808, abs=1e-3)  # ln(8 / 3)
    result = await analyze(busy, conditions=CommentConditions(language="uk"))
    # only analysed comments have a language
    assert (result["comments"], result["newly_analyzed"]) == (1, 0)


async def test_a_scope_without_comments(busy: Resources) -> None:
    await open_walls(busy, [-3])
    result = await analyze(busy, owner_ids=[-3])
    assert (result["comments"], result["languages"], result["terms"]) == (0, [], [])


# waves


@pytest.mark.parametrize(
    "found",
    [
        copies(SPAM, SPAM),
        copies(*[SPAM] * 19, from_id=5),
        copies("Спасибо!", "Спасибо!", "Спасибо!"),
        copies(SPAM, SPAM, f"Совсем о другом: {SPAM[:30]} и ещё кое-что про погоду и кофе"),
    ],
    ids=["two", "one author under one post", "short", "too different"],
)
async def test_near_duplicates_that_are_not_a_wave(resources: Resources, found: list[VkComment]) -> None:
    await open_walls(resources, [-1])
    await store(resources, found)
    await analyze_alone(resources)
    assert await members(resources) == {}


async def test_a_flood_of_one_author_is_a_wave(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise all its comments would be compared with all later ones, again and again."""
    monkeypatch.setattr(analysis_job, "BATCH_COMPARED", 7)
    compared_counts: list[int] = []
    loose_comments = waves.loose_comments

    async def loose(*arguments: Any) -> Any:
        found = await loose_comments(*arguments)
        compared_counts.append(len(found))
        return found

    monkeypatch.setattr(waves, "loose_comments", loose)
    await open_walls(resources, [-1])
    await store(resources, copies(*[SPAM] * 50, from_id=5))
    await analyze_alone(resources)
    assert [len(keys) for keys in (await members(resources)).values()] == [50]
    assert max(compared_counts) < 20
    async with resources.database.transaction() as connection:
        await connection.execute(text("DELETE FROM comments WHERE id > 118"))
    await analyze_alone(resources)
    assert await members(resources) == {}


async def analyze_alone(resources: Resources, **arguments: Any) -> dict[str, Any]:
    """Analyse without a worker."""
    return await run_handler(await claimed_run(resources, **arguments), JobKind.ANALYZE_COMMENTS)


async def test_a_wave_grows_merges_and_ends(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_job, "BATCH_WAVES", 1)
    monkeypatch.setattr(analysis_job, "BATCH_COMPARED", 2)
    middle = {"first": (1, 2), "bridge": (0, 2, 12), "second": (11, 12)}

    def by_first_word(texts: Sequence[str]) -> list[Any]:
        names = [words.partition(" ")[0] for words in texts]
        return [
            each._replace(bands=list(middle.get(name, ())))
            for name, each in zip(names, features_of(texts), strict=True)
        ]

    monkeypatch.setattr(analysis_job, "features_of", by_first_word)
    await open_walls(resources, [-1, -2, -3])
    # two near-duplicates are not a wave
    await store(resources, copies("first", "first"))
    await store(resources, copies("second", "second", owner_id=-2))
    await analyze_alone(resources)
    assert await members(resources) == {}
    # the third one makes one wave of those that were compared before, and another one of the others
    await store(resources, copies("first", owner_id=-3, first_id=1))
    await store(resources, copies("second", owner_id=-3, first_id=2))
    await analyze_alone(resources)
    first, second = {(-1, 100), (-1, 101), (-3, 1)}, {(-2, 100), (-2, 101), (-3, 2)}
    found = await members(resources)
    assert sorted(map(sorted, found.values())) == [sorted(first), sorted(second)]
    wave = (await read(resources, tables.waves))[min(found),]
    assert {name: wave[name] for name in ("comment_count", "author_count", "post_count")} == {
        "comment_count": 3, "author_count": 2, "post_count": 2,
    }  # fmt: skip
    # a comment that is near both waves merges them
    await store(resources, copies("bridge", owner_id=-3, first_id=3, from_id=99))
    await analyze_alone(resources)
    assert await members(resources) == {min(found): first | second | {(-3, 3)}}
    # edited and removed comments leave the wave, and too few are not a wave
    await store(resources, copies("edited", "edited"))
    async with resources.database.transaction() as connection:
        await connection.execute(text("DELETE FROM comments WHERE owner_id = -2"))
    await analyze_alone(resources)
    assert await members(resources) == {min(found): {(-3, 1), (-3, 2), (-3, 3)}}
    await store(resources, copies("edited", owner_id=-3, first_id=3))
    await analyze_alone(resources)
    assert await members(resources) == {}
    # the remaining comments are still compared with new ones
    await store(resources, copies("first", "first", first_id=200))
    await analyze_alone(resources)
    assert list((await members(resources)).values()) == [{(-3, 1), (-1, 200), (-1, 201)}]


async def test_waves_do_not_depend_on_the_order_of_comparison(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = SPAM.replace(",", "").split()
    texts = [" ".join([*words, *["раз", "два", "три"][: place % 4]]) for place in range(30)]
    await open_walls(resources, [-1])
    for first in range(0, 30, 10):
        await store(resources, copies(*texts[first : first + 10], first_id=100 + first))
        monkeypatch.setattr(analysis_job, "BATCH_COMPARED", 3 + first)
        await analyze_alone(resources)
    by_and_by = set(map(frozenset, (await members(resources)).values()))
    async with resources.database.transaction() as connection:
        await connection.execute(text("DELETE FROM comment_features"))
    assert await read(resources, tables.comment_bands) == {}
    await analyze_alone(resources)
    assert set(map(frozenset, (await members(resources)).values())) == by_and_by != set()


# interruptions


async def test_a_job_resumes_from_its_checkpoint(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_job, "BATCH_COMMENTS", 4)
    features_off_loop = analysis_job.features_off_loop
    calls: list[int] = []

    async def stop_at_third(texts: Sequence[str]) -> Any:
        calls.append(len(texts))
        if len(calls) == 3:
            raise ValidationFailed({})  # is not retried
        return await features_off_loop(texts)

    monkeypatch.setattr(analysis_job, "features_off_loop", stop_at_third)
    row = await start_analysis(busy)
    assert (await ended(busy, row.id)).state == "FAILED"
    failed = await read_job(busy, row.id)
    assert (failed.done, failed.total, failed.checkpoint["after"]) == (8, 12, [-1, 3])
    await retry(busy, row.id)
    again = await ended(busy, row.id)
    assert calls == [4, 4, 4, 4]
    assert (again.result["comments"], again.result["newly_analyzed"]) == (12, 12)


async def test_a_job_resumes_the_comparison(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_job, "BATCH_COMPARED", 2)
    mark_compared = waves.mark_compared
    calls: list[int] = []

    async def stop_at_second(connection: AsyncConnection, compared: Any) -> None:
        await mark_compared(connection, compared)
        calls.append(len(compared))
        if len(calls) == 2:
            raise ValidationFailed({})  # is not retried, and rolls this step back

    monkeypatch.setattr(waves, "mark_compared", stop_at_second)
    row = await start_analysis(busy)
    assert (await ended(busy, row.id)).state == "FAILED"
    waiting = len(await read(busy, tables.comment_bands)) - 2
    async with busy.database.connect() as connection:
        assert await waves.count_waiting_comments(connection) == waiting
    await retry(busy, row.id)
    again = await ended(busy, row.id)
    assert (again.result["newly_analyzed"], again.result["waves"]) == (12, 1)
    assert calls[2:] == [2] * (waiting // 2) + [waiting % 2] * (waiting % 2)
    assert list((await members(busy)).values()) == [{(-1, 4), (-1, 7), (-2, 4), (-2, 7)}]


async def test_a_community_that_is_removed_meanwhile(walls: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    features_off_loop = analysis_job.features_off_loop

    async def found_while_one_goes(texts: Sequence[str]) -> Any:
        found = await features_off_loop(texts)
        async with walls.database.transaction() as connection:
            await locks.lock_walls(connection, [-2])
            await groups.delete_group(connection, -2)
        return found

    monkeypatch.setattr(analysis_job, "features_off_loop", found_while_one_goes)
    result = await analyze_alone(walls)
    assert (result["comments"], result["newly_analyzed"], result["waves"]) == (6, 6, 0)
    for table in (tables.comment_features, tables.comment_bands, tables.language_months, tables.term_months):
        assert {key[0] for key in await read(walls, table)} == {-1}


async def test_comments_that_change_meanwhile_are_analysed_again(
    walls: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_off_loop = analysis_job.features_off_loop
    changes = [[comment(2, "Now it is in English, all of it")], []]

    async def found_while_it_changes(texts: Sequence[str]) -> Any:
        if changes:
            await store(walls, changes.pop(0))
        return await features_off_loop(texts)

    monkeypatch.setattr(analysis_job, "features_off_loop", found_while_it_changes)
    result = await analyze_alone(walls, full=True)
    assert (result["comments"], result["newly_analyzed"]) == (12, 12)
    assert (await read(walls, tables.comment_features))[-1, 2]["language"] == "en"


async def test_a_new_attachment_meanwhile_does_not_change_the_text(
    walls: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await analyze_alone(walls)

    async def found_while_it_changes(texts: Sequence[str]) -> Any:
        await store(walls, [comment(2, TEXTS[0], attachments=[{"type": "photo"}])])
        return [each._replace(language="tt") for each in features_of(texts)]

    monkeypatch.setattr(analysis_job, "features_off_loop", found_while_it_changes)
    assert (await analyze_alone(walls, full=True))["newly_analyzed"] == 12
    assert await by_language(walls) == {"tt": 12}


async def test_remembered_terms_are_bounded(walls: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_job, "BATCH_COMMENTS", 1)
    monkeypatch.setattr(analysis_job, "MAX_CACHED_TERMS", 3)
    analysis = analysis_job.Analysis(await claimed_run(walls))
    await analysis.analyze()
    most = max(len(each.terms) for each in features_of(TEXTS))
    assert len(analysis._term_ids) <= 3 + most  # noqa: SLF001 - the cache itself
    terms = {key[0]: row["lemma"] for key, row in (await read(walls, tables.terms)).items()}
    stored = await read(walls, tables.comment_features)
    for place, found in enumerate(features_of(TEXTS)):
        assert [terms[term_id] for term_id in stored[-1, 2 + place]["term_ids"]] == found.terms


async def test_a_comment_that_is_removed_meanwhile_is_skipped(
    walls: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_off_loop = analysis_job.features_off_loop

    async def found_while_one_goes(texts: Sequence[str]) -> Any:
        async with walls.database.transaction() as connection:
            await connection.execute(text("DELETE FROM comments WHERE id = 2"))
        return await features_off_loop(texts)

    monkeypatch.setattr(analysis_job, "features_off_loop", found_while_one_goes)
    assert (await analyze_alone(walls))["newly_analyzed"] == 10
    assert set(await read(walls, tables.comment_features)) == {
        (owner_id, comment_id) for owner_id in (-1, -2) for comment_id in range(3, 8)
    }


async def test_cancelled_while_a_process_matches(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()

    async def never_return(_: Sequence[str]) -> Any:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(analysis_job, "features_off_loop", never_return)
    row = await start_analysis(busy)
    await in_state(busy, row.id, JobState.RUNNING)
    async with asyncio.timeout(WAIT_SECONDS):
        await reached.wait()
    await cancel(busy, row.id)
    assert (await ended(busy, row.id)).state == "CANCELLED"
    assert await read(busy, tables.comment_features) == {}


async def test_two_analyses_and_a_collection_run_concurrently(
    walls: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_job, "BATCH_COMMENTS", 5)
    monkeypatch.setattr(analysis_job, "BATCH_COMPARED", 3)

    async def collect(owner_id: int) -> None:
        for number in range(8):
            words = f"{SPAM} {'ещё раз' if number % 2 else ''}"
            await store(
                walls, copies(words, words, f"кофе {number}", owner_id=owner_id, first_id=100 + 3 * (number // 2))
            )

    async with open_worker(walls, 4):
        started = [start_analysis(walls), start_analysis(walls, owner_ids=[-2], full=True), start_analysis(walls)]
        rows = await asyncio.gather(*started, collect(-1), collect(-2))
        for row in rows[:3]:
            assert row is not None
            assert (await ended(walls, row.id)).state == "SUCCEEDED"
        assert (await analyze(walls))["comments"] == 36
    found = await read(walls, tables.comment_features)
    async with walls.database.connect() as connection:
        comments = (await connection.execute(text("SELECT owner_id, id, text FROM comments"))).all()
    for row, each in zip(comments, features_of([row.text for row in comments]), strict=True):
        assert found[row.owner_id, row.id]["language"] == each.language
        assert found[row.owner_id, row.id]["links"] == each.links
    assert sum((await by_language(walls)).values()) == 36
    spam = {(row.owner_id, row.id) for row in comments if SPAM in row.text}
    assert set().union(*(await members(walls)).values()) == spam
    assert all(row["is_compared"] for row in (await read(walls, tables.comment_bands)).values())


async def test_many_texts_are_analysed_in_another_process(walls: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_job, "FEW_CHARACTERS", 0)
    assert (await analyze_alone(walls))["newly_analyzed"] == 12


async def test_a_single_long_text_is_analysed_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def noted(function: Any, texts: list[str]) -> Any:
        assert function is analysis_job.features_at_low_priority
        return [len(each) for each in texts]

    monkeypatch.setattr(analysis_job, "in_process", noted)
    found: list[Any] = await analysis_job.features_off_loop(["а" * 16_000])
    assert found == [16_000]


def test_the_process_has_a_low_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: calls.append(arguments))
    analysis_job._lower_priority.cache_clear()  # noqa: SLF001 - another test may have called it
    assert analysis_job.features_at_low_priority(TEXTS) == features_of(TEXTS)
    assert calls == [(os.PRIO_PROCESS, 0, 10)]


async def test_comments_that_cannot_be_counted_are_analysed(walls: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_slow(*_: Any, **__: Any) -> int:
        raise QueryTimedOut

    monkeypatch.setattr(features, "count_comments_to_analyze", too_slow)
    assert (await analyze_alone(walls))["newly_analyzed"] == 12


# starting


async def test_rejected_requests(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        await open_walls(opened, [-1])
        wrong: Mapping[str, Any]
        for wrong, path in (
            ({"owner_ids": []}, "groupIds"),
            ({"owner_ids": range(-1001, 0)}, "groupIds"),
            ({"conditions": CommentConditions(keyword_categories=("a\0",))}, "filter"),
            ({"timeout_seconds": 0.5}, "timeoutSeconds"),
        ):
            with pytest.raises(ValidationFailed) as refused:
                await start_analysis(opened, **wrong)
            assert list(refused.value.fields) == [path]
        with pytest.raises(GroupNotFound):
            await start_analysis(opened, owner_ids=[-1, -9])
        await start_analysis(opened, owner_ids=[-1])
        with pytest.raises(QueueFull):
            await start_analysis(opened)


async def test_waves_of_removed_communities(busy: Resources) -> None:
    """A wave that occurs only in removed communities is removed; one that also occurs in others is counted again."""
    alone = ["Продам гараж в центре города недорого, звоните в любое время"] * 5
    await store(busy, copies(*alone, owner_id=-1))
    for owner_id in (-1, -2):
        shared = ["Набираем сотрудников на удалённую работу, пишите в личные сообщения"] * 4
        await store(busy, copies(*shared, owner_id=owner_id, first_id=200))
    await analyze(busy)
    assert sorted(map(len, (await members(busy)).values())) == [4, 5, 8]
    assert (await ended(busy, (await start_removal(busy, [-1])).id)).state == "SUCCEEDED"
    after = await members(busy)
    assert [{owner_id for owner_id, _ in keys} for keys in after.values()] == [{-2}] * len(after)
    assert 4 in map(len, after.values())
    assert {row["owner_id"] for row in (await read(busy, tables.waves)).values()} == {-2}
