"""Adds, changes and removes keywords, and asks for the job that brings what is stored up to date."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.keywords import KeywordMatching, clean_phrase, problem_of
from app.errors import ValidationFailed
from app.events import job_topic
from app.jobs.queue import NewJob, enqueue
from app.log import log
from app.resources import Resources
from app.store import keywords
from app.store.keywords import NewKeyword
from app.work.kinds import JobKind

MOST_KEYWORDS = 10_000
LONGEST_CATEGORY = 100


class KeywordOutcome(Enum):
    """What became of a keyword that was to be added."""

    ADDED = "ADDED"
    ALREADY_THERE = "ALREADY_THERE"
    MALFORMED = "MALFORMED"


@dataclass(frozen=True, slots=True)
class WantedKeyword:
    """A keyword as somebody gives it."""

    phrase: str
    matching: KeywordMatching = KeywordMatching.WORD_FORMS
    category: str | None = None


@dataclass(frozen=True, slots=True)
class AddedKeyword:
    """What became of one keyword; `keyword_id` is that of the keyword that is there now, if there is one."""

    phrase: str
    outcome: KeywordOutcome
    message: str
    keyword_id: int | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    """What became of keywords, in their order; `job` matches what is stored with the new ones, if there is any."""

    outcomes: list[AddedKeyword]
    job: Row[Any] | None


async def add_keywords(resources: Resources, wanted: Sequence[WantedKeyword]) -> Addition:
    """Add the keywords that are not there yet, active, and say what became of each.

    Two are the same if they match alike and their phrases are the same: whatever the
    case, unless it matters to how they match.
    One that is there stays as it is.

    Raises:
        ValidationFailed: there are none, or more than 10,000.
        QueueFull: too many jobs wait; nothing was added.
    """
    if not 1 <= len(wanted) <= MOST_KEYWORDS:
        raise ValidationFailed({"keywords": f"give between 1 and {MOST_KEYWORDS} of them"})
    # looked at before the lock is taken, for which collections wait
    problems = await asyncio.to_thread(lambda: [_problem_of(each) for each in wanted])
    good = [
        NewKeyword(clean_phrase(each.phrase), each.matching.value, clean_category(each.category))
        for each, problem in zip(wanted, problems, strict=True)
        if problem is None
    ]
    rows: Sequence[Row[Any]] = ()
    new_ids: set[int] = set()
    job = None
    topics: list[str] = []
    async with resources.events.telling(topics) as connection:
        if good:
            await keywords.lock_keywords(connection)
            rows, new_ids = await keywords.insert_keywords(connection, good)
        if new_ids and await keywords.is_any_comment_stored(connection):
            job = await _match(connection, resources, topics, keyword_ids=sorted(new_ids))
    log.info("keywords_added", asked=len(wanted), new=len(new_ids))
    return Addition(_outcomes(wanted, problems, rows, new_ids), job)


def _problem_of(wanted: WantedKeyword) -> str | None:
    problem = problem_of(clean_phrase(wanted.phrase), wanted.matching)
    return f"The phrase {problem}." if problem else _problem_of_category(wanted.category)


def _problem_of_category(category: str | None) -> str | None:
    clean = clean_category(category) or ""
    if len(clean) > LONGEST_CATEGORY:
        return f"The category is longer than {LONGEST_CATEGORY} characters."
    return None if clean.isprintable() else "The category holds characters that cannot be shown."


def clean_category(category: str | None) -> str | None:
    """Return a category without needless white space; None where nothing is left."""
    return " ".join((category or "").split()) or None


def _outcomes(
    wanted: Sequence[WantedKeyword], problems: Sequence[str | None], rows: Sequence[Row[Any]], new_ids: set[int]
) -> list[AddedKeyword]:
    outcomes = []
    still_new, good = set(new_ids), iter(rows)
    for each, problem in zip(wanted, problems, strict=True):
        if problem is not None:
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.MALFORMED, problem))
            continue
        row = next(good)
        if row.id in still_new:
            # the same once more finds it there already
            still_new.remove(row.id)
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.ADDED, f"{row.phrase} was added.", row.id))
        else:
            message = f"{row.phrase} was here already."
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.ALREADY_THERE, message, row.id))
    return outcomes


async def update_keyword(
    resources: Resources, keyword_id: int, wishes: Mapping[str, Any]
) -> tuple[Row[Any], Row[Any] | None]:
    """Change a keyword and return its row, and the job that matches what is stored, if there is anything to match.

    `wishes` may hold `phrase`, `matching` (a `KeywordMatching`), `category` (None
    is none) and `is_active`. Switched off, it keeps what it matches and matches
    nothing more; switched on, it is matched anew, as it is where phrase or
    matching change. Where these change while it is off, what it matched is forgotten.

    Raises:
        ValidationFailed: the phrase or the category cannot be taken.
        KeywordNotFound: there is no such keyword.
        KeywordAlreadyThere: there is another one with this phrase and this matching.
        QueueFull: too many jobs wait; nothing was changed.
    """
    values = _clean(wishes)
    topics: list[str] = []
    job = None
    async with resources.events.telling(topics) as connection:
        await keywords.lock_keywords(connection)
        old = await keywords.require_keyword(connection, keyword_id)
        values = {name: value for name, value in values.items() if getattr(old, name) != value}
        merged = {"phrase": old.phrase, "matching": old.matching} | values
        if problem := problem_of(merged["phrase"], KeywordMatching(merged["matching"])):
            raise ValidationFailed({"phrase": problem})
        is_other = bool(values.keys() & {"phrase", "matching"})
        is_matched_anew = values.get("is_active", old.is_active) and (is_other or "is_active" in values)
        if is_other or is_matched_anew:
            values["revision"] = old.revision + 1
        row = await keywords.update_keyword(connection, old, values) if values else old
        if is_matched_anew and await keywords.is_any_comment_stored(connection):
            job = await _match(connection, resources, topics, keyword_ids=[keyword_id])
        elif is_other and await keywords.have_matches(connection, [keyword_id]):
            job = await _match(connection, resources, topics, changed_ids=[keyword_id])
    log.info("keyword_changed", keyword_id=keyword_id, values=sorted(values))
    return row, job


def _clean(wishes: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(wishes)
    if "phrase" in values:
        values["phrase"] = clean_phrase(values["phrase"])
    if "matching" in values:
        values["matching"] = values["matching"].value
    if "category" in values:
        if problem := _problem_of_category(values["category"]):
            raise ValidationFailed({"category": problem})
        values["category"] = clean_category(values["category"])
    return values


async def remove_keywords(resources: Resources, keyword_ids: Sequence[int]) -> tuple[int, Row[Any] | None]:
    """Remove keywords; returns how many there were, and the job that deletes what they match, if it is anything.

    They are gone at once, and nothing new is matched with them. What they
    match disappears from comments at once, and from counts as the job goes on.

    Raises:
        ValidationFailed: there are none, or more than 10,000.
        KeywordNotFound: one of them is not there; nothing was removed.
        QueueFull: too many jobs wait; nothing was removed.
    """
    ids = list(dict.fromkeys(keyword_ids))
    if not 1 <= len(ids) <= MOST_KEYWORDS:
        raise ValidationFailed({"keywordIds": f"give between 1 and {MOST_KEYWORDS} of them"})
    topics: list[str] = []
    job = None
    async with resources.events.telling(topics) as connection:
        await keywords.lock_keywords(connection)
        removed = await keywords.delete_keywords(connection, ids)
        if await keywords.have_matches(connection, ids):
            job = await _match(connection, resources, topics)
    log.info("keywords_removed", removed=removed)
    return removed, job


async def _match(
    connection: AsyncConnection,
    resources: Resources,
    topics: list[str],
    *,
    keyword_ids: Sequence[int] = (),
    changed_ids: Sequence[int] = (),
) -> Row[Any]:
    arguments = {"keyword_ids": list(keyword_ids), "changed_ids": list(changed_ids)}
    row = await enqueue(connection, resources, NewJob(JobKind.MATCH_KEYWORDS, arguments))
    topics.append(job_topic(row.id))
    log.info("job_queued", job_id=row.id, kind=row.kind, keywords=len(keyword_ids))
    return row
