"""Keywords and stored comments: matched while they are stored, and by a job when keywords change."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from app.actions.add_groups import add_groups
from app.actions.change_keywords import (
    KeywordChanges,
    KeywordOutcome,
    RequestedKeyword,
    add_keywords,
    remove_keywords,
    update_keyword,
)
from app.actions.start_collection import start_collection
from app.analysis.keywords import Keyword, KeywordMatching, matches_of
from app.background import open_worker
from app.errors import KeywordAlreadyExists, KeywordNotFound, QueueFull, ValidationFailed
from app.job_states import JobState
from app.jobs import offload
from app.jobs.queue import cancel, retry
from app.jobs.running_job import RunningJob
from app.json_types import JsonObject
from app.resources import Resources, open_resources
from app.store import jobs
from app.work.matching import match_keywords as matching_job
from app.work.matching import search_texts as matching
from app.work.matching.known_keywords import KnownKeywords
from app.work.matching.match_keywords import match_keywords
from tests.conftest import MakeSettings, statements
from tests.jobs.conftest import ended, read_job, running_job
from tests.jobs.matching import add, comments_with, counts_are_right, expected, matches, open_walls, store

FORMS, EXACT, PART = KeywordMatching.WORD_FORMS, KeywordMatching.EXACT_WORD, KeywordMatching.SUBSTRING
TEXTS = ["Новый банк", "банками и банком", "нет", "ёжики в тумане", "Банкомат", "люди"]


@pytest.fixture
async def walls(resources: Resources) -> Resources:
    """Store two communities with one post each."""
    await open_walls(resources, [-1, -2])
    return resources


@pytest.fixture
async def busy(walls: Resources) -> AsyncIterator[Resources]:
    """Store six comments in each of two communities; a worker runs."""
    for owner_id in (-1, -2):
        await store(walls, comments_with(TEXTS, owner_id))
    async with open_worker(walls, 3):
        yield walls


async def claimed_run(resources: Resources, job_id: int) -> RunningJob[Any, Any]:
    """Claim a job as a worker does, without a worker, and return its run."""
    async with resources.database.transaction() as connection:
        row = await jobs.job_by_id(connection, job_id)
        assert row
        assert row.queue_id
        taken = await jobs.claim_jobs(
            connection, {row.queue_id: job_id}, "test", {JobState.QUEUED: {"message": "taken"}}
        )
    return running_job(resources, taken[0])


# while comments are stored


async def test_new_comments_are_matched_while_they_are_stored(walls: Resources) -> None:
    bank, part = await add(walls, "банк", matching=FORMS), await add(walls, "банк", matching=PART)
    await store(walls, comments_with(TEXTS))
    assert await matches(walls) == {
        (-1, 2, bank[0]): [6, 10],
        (-1, 2, part[0]): [6, 10],
        (-1, 3, bank[0]): [0, 7, 10, 16],
        (-1, 3, part[0]): [0, 4, 10, 14],
        (-1, 6, part[0]): [0, 4],
    }
    await counts_are_right(walls)


async def test_an_edited_comment_is_matched_again(walls: Resources) -> None:
    [bank, people] = await add(walls, "банк", "человек")
    [first] = comments_with(["банк"])
    await store(walls, [first])
    await update_keyword(walls, people, {"is_active": False})
    await store(walls, comments_with(["люди и банк", "люди"]))
    assert await matches(walls) == {(-1, 2, bank): [7, 11]}
    await store(walls, comments_with(["нет", "нет"]))
    assert await matches(walls) == {}
    await counts_are_right(walls)


async def test_a_comment_with_new_attachments_keeps_the_matches_of_a_switched_off_keyword(walls: Resources) -> None:
    [bank, people] = await add(walls, "банк", "человек")
    [first] = comments_with(["люди и банк"])
    await store(walls, [first])
    before = await matches(walls)
    await update_keyword(walls, people, {"is_active": False})
    await store(walls, [replace(first, is_deleted=True, text="")])
    photo: JsonObject = {"type": "photo", "photo": {"id": 1, "owner_id": 1}}
    await store(walls, [replace(first, attachments=[photo])])
    assert sorted(before) == [(-1, 2, bank), (-1, 2, people)]
    assert await matches(walls) == before


async def test_unchanged_comments_are_not_matched_again(walls: Resources) -> None:
    await add(walls, "банк")
    await store(walls, comments_with(TEXTS))
    with statements(walls) as seen:
        await store(walls, comments_with(TEXTS))
    about_keywords = [statement for statement in seen.texts if "keywords" in statement]
    assert all(statement.startswith("SELECT") for statement in about_keywords)


async def test_without_keywords_comments_are_not_searched(walls: Resources) -> None:
    with statements(walls) as seen:
        await store(walls, comments_with(TEXTS))
    assert len([statement for statement in seen.texts if "keywords" in statement]) == 3


async def test_keywords_are_read_again_only_when_they_have_changed(walls: Resources) -> None:
    known = KnownKeywords()
    [bank] = await add(walls, "банк")

    async def count_reads(comment_id: int) -> int:
        with statements(walls) as seen:
            await store(walls, comments_with(["банк"], first_id=comment_id), known)
        return len([statement for statement in seen.texts if statement.startswith("SELECT id, phrase")])

    assert [await count_reads(comment_id) for comment_id in (2, 3)] == [1, 0]
    await update_keyword(walls, bank, {"category": "деньги"})
    assert await count_reads(4) == 0
    await update_keyword(walls, bank, {"phrase": "банкомат"})
    assert await count_reads(5) == 1
    await update_keyword(walls, bank, {"is_active": False})
    assert [await count_reads(comment_id) for comment_id in (6, 7)] == [0, 0]
    assert sorted(await matches(walls)) == [(-1, 2, bank), (-1, 3, bank), (-1, 4, bank)]


# by jobs


async def test_a_new_keyword_is_matched_with_stored_comments(busy: Resources) -> None:
    addition = await add_keywords(
        busy,
        [
            RequestedKeyword(" Банк\n"),
            RequestedKeyword("БАНК"),
            RequestedKeyword("банк", PART, " деньги  и\tпрочее "),
            RequestedKeyword("?!"),
            RequestedKeyword("ёж", category="\x07"),
            RequestedKeyword("ёж", category="й" * 101),
        ],
    )
    assert [(each.outcome, each.message) for each in addition.outcomes] == [
        (KeywordOutcome.ADDED, "Банк was added."),
        (KeywordOutcome.ALREADY_EXISTS, "Банк exists already."),
        (KeywordOutcome.ADDED, "банк was added."),
        (KeywordOutcome.MALFORMED, "The phrase holds no letter, digit or emoji."),
        (KeywordOutcome.MALFORMED, "The category contains characters that are not printable."),
        (KeywordOutcome.MALFORMED, "The category is longer than 100 characters."),
    ]
    assert addition.job is not None
    row = await ended(busy, addition.job.id)
    assert (row.state, row.result) == (
        "SUCCEEDED",
        {"keywords": 2, "comments": 12, "new_matches": 10, "removed_matches": 0},
    )
    assert (row.done, row.total, row.stage) == (12, 12, "matching comments")
    assert await matches(busy) == await expected(busy) != {}
    await counts_are_right(busy)


async def test_case_distinguishes_case_sensitive_keywords(walls: Resources) -> None:
    selected = [RequestedKeyword(phrase, KeywordMatching.CASE_SENSITIVE) for phrase in ("США", "сша", "США")]
    outcomes = (await add_keywords(walls, selected)).outcomes
    assert [each.outcome.value for each in outcomes] == ["ADDED", "ADDED", "ALREADY_EXISTS"]
    [first, second, third] = [each.keyword_id or 0 for each in outcomes]
    assert first == third != second
    with pytest.raises(KeywordAlreadyExists):
        await update_keyword(walls, second, {"phrase": "США"})
    assert (await update_keyword(walls, second, {"phrase": "Сша"}))[0].phrase == "Сша"
    with pytest.raises(KeywordAlreadyExists):
        await update_keyword(
            walls, (await add(walls, "сША"))[0], {"matching": KeywordMatching.CASE_SENSITIVE, "phrase": "США"}
        )


async def test_no_job_if_there_is_nothing_to_match(walls: Resources) -> None:
    first = await add_keywords(walls, [RequestedKeyword("банк")])
    assert first.job is None  # nothing is stored
    await store(walls, comments_with(["нет"]))
    assert (await add_keywords(walls, [RequestedKeyword("банк")])).job is None
    assert (await add_keywords(walls, [RequestedKeyword("")])).job is None
    [bank] = [outcome.keyword_id or 0 for outcome in first.outcomes]
    changes: list[KeywordChanges]
    changes = [{"category": "деньги"}, {"phrase": "банк"}, {"is_active": False}, {"phrase": "банки"}, {}]
    for arguments in changes:
        assert (await update_keyword(walls, bank, arguments))[1] is None
    assert await remove_keywords(walls, [bank, bank]) == (1, None)


async def test_a_changed_keyword_is_matched_again(busy: Resources) -> None:
    [bank, people] = await add(busy, "банк", "человек")
    before = await matches(busy)
    row, job = await update_keyword(busy, bank, {"phrase": "банкомат", "category": " деньги "})
    assert (row.phrase, row.category, row.is_active, row.revision) == ("банкомат", "деньги", True, 2)
    assert row.changed_at > row.created_at
    assert job is not None
    assert (await ended(busy, job.id)).result == {
        "keywords": 1,
        "comments": 12,
        "new_matches": 2,
        "removed_matches": 4,
    }
    kept = {key: positions for key, positions in before.items() if key[2] == people}
    assert await matches(busy) == {(-1, 6, bank): [0, 8], (-2, 6, bank): [0, 8]} | kept == await expected(busy)
    _, job = await update_keyword(busy, bank, {"matching": PART, "phrase": "банк"})
    assert job is not None
    # unchanged matches are not written again
    assert (await ended(busy, job.id)).result["new_matches"] == 6
    assert await matches(busy) == await expected(busy)
    await counts_are_right(busy)


async def test_a_keyword_that_is_switched_off_keeps_its_matches(busy: Resources) -> None:
    [bank] = await add(busy, "банк")
    before = await matches(busy)
    row, job = await update_keyword(busy, bank, {"is_active": False})
    assert (row.is_active, job) == (False, None)
    await store(busy, comments_with(["банк"], first_id=100))
    assert await matches(busy) == before
    row, job = await update_keyword(busy, bank, {"is_active": True})
    assert row.is_active
    assert job is not None
    await ended(busy, job.id)
    assert await matches(busy) == await expected(busy) == before | {(-1, 100, bank): [0, 4]}


async def test_a_keyword_that_is_changed_while_it_is_off_loses_its_matches(busy: Resources) -> None:
    [bank, people] = await add(busy, "банк", "человек")
    await update_keyword(busy, bank, {"is_active": False})
    await update_keyword(busy, people, {"is_active": False})
    _, job = await update_keyword(busy, bank, {"phrase": "ёж"})
    assert job is not None
    row = await ended(busy, job.id)
    assert row.result == {"keywords": 0, "comments": 0, "new_matches": 0, "removed_matches": 4}
    assert (row.done, row.total, row.stage) == (4, 4, "removing matches")
    assert {keyword_id for _, _, keyword_id in await matches(busy)} == {people}
    await counts_are_right(busy)


async def test_a_keyword_that_is_on_again_loses_no_matches(walls: Resources) -> None:
    [bank] = await add(walls, "банк")
    await store(walls, comments_with(["банк"]))
    await update_keyword(walls, bank, {"is_active": False})
    _, job = await update_keyword(walls, bank, {"phrase": "банки"})
    assert job is not None
    run = await claimed_run(walls, job.id)

    class SwitchedOn(matching_job.Matching):
        async def _some_matches(self, keyword_id: int) -> list[tuple[int, int]]:
            await update_keyword(walls, bank, {"is_active": True})
            return await super()._some_matches(keyword_id)

    await SwitchedOn(run).forget()
    assert sorted(await matches(walls)) == [(-1, 2, bank)]


async def test_removed_keywords_lose_their_matches(busy: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_job, "BATCH_MATCHES", 3)
    [bank, people, hedgehog] = await add(busy, "банк", "человек", "ёжик")
    removed, job = await remove_keywords(busy, [bank, people])
    assert removed == 2
    assert job is not None
    assert (await ended(busy, job.id)).result["removed_matches"] == 6
    assert {keyword_id for _, _, keyword_id in await matches(busy)} == {hedgehog}
    assert await matches(busy) == await expected(busy)
    await counts_are_right(busy)


async def test_the_next_job_completes_a_cancelled_removal(walls: Resources) -> None:
    [bank] = await add(walls, "банк")
    await store(walls, comments_with(TEXTS))
    _, job = await remove_keywords(walls, [bank])
    assert job is not None
    await cancel(walls, job.id)
    assert len(await matches(walls)) == 2
    async with open_worker(walls, 1):
        [people] = await add(walls, "человек")
    assert sorted(await matches(walls)) == [(-1, 7, people)]
    await counts_are_right(walls)


async def test_an_old_job_matches_the_current_keywords(walls: Resources) -> None:
    await store(walls, comments_with(TEXTS))
    first = await add_keywords(walls, [RequestedKeyword("банк"), RequestedKeyword("человек"), RequestedKeyword("ёжик")])
    ids = [outcome.keyword_id or 0 for outcome in first.outcomes]
    await update_keyword(walls, ids[0], {"phrase": "банкомат"})
    await update_keyword(walls, ids[1], {"is_active": False})
    await remove_keywords(walls, ids[2:])
    assert first.job is not None
    await match_keywords(await claimed_run(walls, first.job.id))
    assert await matches(walls) == await expected(walls) == {(-1, 6, ids[0]): [0, 8]}


async def test_a_job_resumes_from_its_checkpoint(walls: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_job, "BATCH_COMMENTS", 4)
    for owner_id in (-1, -2):
        await store(walls, comments_with(TEXTS, owner_id))
    job = (await add_keywords(walls, [RequestedKeyword("банк", PART)])).job
    assert job is not None
    found = matching.search_texts
    calls: list[int] = []

    async def stop_at_third(*arguments: Any) -> Any:
        calls.append(len(arguments[1]))
        if len(calls) == 3:
            raise ValidationFailed({})  # is not retried
        return await found(*arguments)

    monkeypatch.setattr("app.work.matching.match_keywords.search_texts", stop_at_third)
    async with open_worker(walls, 1):
        assert (await ended(walls, job.id)).state == "FAILED"
        row = await read_job(walls, job.id)
        assert (row.done, row.total, row.checkpoint["owner_id"], row.checkpoint["id"]) == (8, 12, -1, 3)
        await retry(walls, job.id)
        row = await ended(walls, job.id)
    assert calls == [4, 4, 4, 4]
    assert row.result == {"keywords": 1, "comments": 12, "new_matches": 6, "removed_matches": 0}
    assert await matches(walls) == await expected(walls)


@pytest.mark.parametrize("bound", ["FEW_TEXTS", "FEW_KEYWORDS"])
async def test_large_searches_run_in_another_process(
    walls: Resources, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Many texts, or many keywords, which need a new matcher first: in a job, and while comments are stored."""
    monkeypatch.setattr(matching, bound, 0)
    counts: list[int] = []

    async def counted(function: Callable[..., Any], *given: Any) -> Any:
        counts.append(len(given[1]))
        return await offload.in_process(function, *given)

    monkeypatch.setattr(matching, "in_process", counted)
    await store(walls, comments_with(TEXTS))
    async with open_worker(walls, 1):
        await add(walls, "банк")
    await store(walls, comments_with(TEXTS[:2], first_id=100))
    assert counts == [6, 2]
    assert await matches(walls) == await expected(walls) != {}


def test_the_function_of_the_other_process() -> None:
    selected = (Keyword(3, "банк", FORMS), Keyword(4, "нет", EXACT))
    assert matching.search_pickled(matching.pickled(selected), TEXTS) == matches_of(selected, TEXTS) != {}


# failures


async def test_rejected_requests(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        with pytest.raises(ValidationFailed, match="keywords: must contain between 1 and 10000 keywords"):
            await add_keywords(opened, [])
        with pytest.raises(ValidationFailed, match="keywordIds: must contain between 1 and 10000 ids"):
            await remove_keywords(opened, [])
        [bank, people] = await add(opened, "банк", "человек")
        wrong: list[tuple[KeywordChanges, str]] = [
            ({"phrase": " "}, "phrase: is empty"),
            ({"phrase": "?!"}, "phrase: holds no letter"),
            ({"category": "й" * 101}, "category: The category is longer"),
        ]
        for arguments, problem in wrong:
            with pytest.raises(ValidationFailed, match=problem):
                await update_keyword(opened, bank, arguments)
        with pytest.raises(KeywordAlreadyExists) as there:
            await update_keyword(opened, bank, {"phrase": "ЧЕЛОВЕК"})
        assert there.value.facts() == {"keywordId": people}
        with pytest.raises(KeywordNotFound) as unknown:
            await update_keyword(opened, 999, {"is_active": False})
        assert unknown.value.facts() == {"keywordId": 999}
        with pytest.raises(KeywordNotFound, match="Keyword 999 does not exist"):
            await remove_keywords(opened, [bank, 999])
        await open_walls(opened, [-1])
        await store(opened, comments_with(["банк"]))
        assert (await add_keywords(opened, [RequestedKeyword("новое")])).job
        for change in (
            add_keywords(opened, [RequestedKeyword("другое")]),
            update_keyword(opened, bank, {"phrase": "другое"}),
            remove_keywords(opened, [bank]),
        ):
            with pytest.raises(QueueFull):
                await change
        async with opened.database.connect() as connection:
            phrases = (await connection.execute(text("SELECT phrase FROM keywords ORDER BY id"))).scalars().all()
        assert phrases == ["банк", "человек", "новое"]


# concurrently


async def test_keywords_change_while_comments_are_stored(walls: Resources) -> None:
    dice = random.Random(5)  # noqa: S311 - not a secret
    words = ["банк", "банками", "банкомат", "ёжик", "ежа", "человек", "людей", "год", "лет", "нет", "да"]

    async def collect(owner_id: int) -> None:
        known = KnownKeywords()
        for number in range(12):
            texts = [" ".join(dice.choices(words, k=4)) for _ in range(5)]
            # every second round stores the comments of the previous one, edited
            await store(walls, comments_with(texts, owner_id, 2 + 5 * (number // 2)), known)

    async def change() -> None:
        for number, (phrase, other) in enumerate([("банк", "ёжик"), ("человек", "лет"), ("нет", "год")]):
            addition = await add_keywords(walls, [RequestedKeyword(phrase), RequestedKeyword(other, PART)])
            first, second = (outcome.keyword_id or 0 for outcome in addition.outcomes)
            await update_keyword(walls, first, {"phrase": f"да{number}", "matching": PART})
            await update_keyword(walls, first, {"is_active": False})
            await update_keyword(walls, first, {"phrase": phrase})
            await update_keyword(walls, first, {"is_active": True})
            if number == 1:
                await remove_keywords(walls, [second])

    await store(walls, comments_with(["банк", "год"]))
    async with open_worker(walls, 3):
        await asyncio.gather(collect(-1), collect(-2), collect(-1), change())
        async with walls.database.connect() as connection:
            ids = (await connection.execute(text("SELECT id FROM jobs"))).scalars().all()
        assert {(await ended(walls, job_id)).state for job_id in ids} == {"SUCCEEDED"}
    assert await matches(walls) == await expected(walls) != {}
    await counts_are_right(walls)


async def test_keywords_change_during_collections(vk_resources: Resources, worker: None) -> None:  # noqa: ARG001 - the fixture runs a worker
    await add_groups(vk_resources, ["1"])
    await add(vk_resources, "и", "не")
    row = await start_collection(vk_resources, owner_ids=[-1])
    first = await add_keywords(vk_resources, [RequestedKeyword("в"), RequestedKeyword("а", PART)])
    ids = [outcome.keyword_id or 0 for outcome in first.outcomes]
    _, second = await update_keyword(vk_resources, ids[0], {"phrase": "на"})
    assert (await ended(vk_resources, row.id)).state == "SUCCEEDED"
    for job in (first.job, second):
        assert job is None or (await ended(vk_resources, job.id)).state == "SUCCEEDED"
    assert len(await matches(vk_resources)) > 100
    assert await matches(vk_resources) == await expected(vk_resources)
    await counts_are_right(vk_resources)
