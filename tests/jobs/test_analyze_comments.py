"""The analysis of stored comments: what is in each, waves, sums; again after changes, after a crash, and two at once."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from app.analysis.features import features_of
from app.db import tables
from app.errors import GroupNotFound, QueryTimedOut, QueueFull, ValidationFailed
from app.jobs import analyze_comments as analysis_job
from app.jobs.kinds import BODIES
from app.jobs.progress import RunningJob
from app.jobs.queue import cancel, retry
from app.jobs.start_analysis import start_analysis
from app.jobs.states import JobKind, JobState
from app.jobs.worker import open_worker
from app.resources import Resources, open_resources
from app.store import features, waves
from app.store.comment_conditions import CommentConditions
from app.wall import VkComment
from tests.conftest import MakeSettings
from tests.jobs.conftest import ended, events_of, in_state, read_job
from tests.jobs.matching import open_walls, said, store
from tests.store.rows import comment, read

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
        await store(resources, said(TEXTS, owner_id))
    return resources


@pytest.fixture
async def busy(walls: Resources) -> AsyncIterator[Resources]:
    """Store the same, with a worker that runs."""
    async with open_worker(walls, 3):
        yield walls


async def analyze(resources: Resources, **wishes: Any) -> dict[str, Any]:
    """Analyse with a running worker and return the result."""
    row = await ended(resources, (await start_analysis(resources, **wishes)).id)
    assert row.state == "SUCCEEDED", row.failure
    result: dict[str, Any] = row.result
    return result


async def by_language(resources: Resources) -> dict[str, int]:
    """Return how many comments there are in each language, by the rollup."""
    async with resources.database.connect() as connection:
        rows = await connection.execute(text("SELECT language, sum(comments) AS n FROM language_months GROUP BY 1"))
        return {row.language: row.n for row in rows if row.n}


async def members(resources: Resources) -> dict[int, set[tuple[int, int]]]:
    """Return the waves: id -> keys of comments; checks what is counted of them."""
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


async def test_what_is_found_and_summed_up(busy: Resources) -> None:
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
    assert {key: value for key, value in result.items() if key not in ("terms", "claims")} == {
        "comments": 12, "newly_analyzed": 12, "positive": 2, "negative": 2, "with_links": 2, "with_phones": 2,
        "with_mentions": 2, "waves": 1, "in_waves": 4,
        "languages": [{"language": "ru", "comments": 8}, {"language": "uk", "comments": 2}, {"language": "und", "comments": 2}],
        "months": [
            {"month": "2026-03-01T00:00:00+00:00", "comments": 4},
            {"month": "2026-04-01T00:00:00+00:00", "comments": 4},
            {"month": "2026-05-01T00:00:00+00:00", "comments": 2},
            {"month": "2026-07-01T00:00:00+00:00", "comments": 2},
        ],
    }  # fmt: skip
    assert await by_language(busy) == {"ru": 8, "uk": 2, "und": 2}
    assert list((await members(busy)).values()) == [{(-1, 4), (-1, 7), (-2, 4), (-2, 7)}]
