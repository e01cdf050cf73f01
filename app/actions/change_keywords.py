"""Adds, changes and removes keywords, and enqueues the job that updates the stored matches."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.keywords import KeywordMatching, clean_phrase, problem_of
from app.errors import ValidationFailed
from app.jobs.queue import NewJob, enqueue
from app.log import log
from app.notifications import job_topic
from app.resources import Resources
from app.store import keywords, locks
from app.store.keywords import NewKeyword
from app.store.rows import JobRow, KeywordRow
from app.work.matching.match_keywords import MATCH_KEYWORDS, MatchingRequest

MOST_KEYWORDS = 10_000
LONGEST_CATEGORY = 100


class KeywordOutcome(Enum):
    """The outcome of adding one keyword."""

    ADDED = "ADDED"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    MALFORMED = "MALFORMED"


@dataclass(frozen=True, slots=True)
class RequestedKeyword:
    """A keyword to add, as the client gives it."""

    phrase: str
    matching: KeywordMatching = KeywordMatching.WORD_FORMS
    category: str | None = None


@dataclass(frozen=True, slots=True)
class AddedKeyword:
    """The outcome of adding one keyword. `keyword_id` is the added or existing keyword's, None if malformed."""

    phrase: str
    outcome: KeywordOutcome
    message: str
    keyword_id: int | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    """The outcomes of adding keywords, in their order. `job` matches stored comments with the new ones, if any."""

    outcomes: list[AddedKeyword]
    job: JobRow | None


async def add_keywords(resources: Resources, requested: Sequence[RequestedKeyword]) -> Addition:
    """Add the keywords that do not exist yet, as active ones, and return the outcome for each.

    Two keywords are the same if they have the same matching and the same phrase; case
    is ignored unless their matching is case-sensitive. Existing keywords stay as they are.

    Raises:
        ValidationFailed: there are none, or more than 10,000.
        QueueFull: too many jobs wait; nothing was added.
    """
    if not 1 <= len(requested) <= MOST_KEYWORDS:
        raise ValidationFailed({"keywords": f"must contain between 1 and {MOST_KEYWORDS} keywords"})
    # validate before locking the keywords, because collections wait for that lock
    problems = await asyncio.to_thread(lambda: [_problem_of(each) for each in requested])
    valid = [
        NewKeyword(clean_phrase(each.phrase), each.matching.value, clean_category(each.category))
        for each, problem in zip(requested, problems, strict=True)
        if problem is None
    ]
    rows: Sequence[KeywordRow] = ()
    new_ids: set[int] = set()
    job = None
    topics: list[str] = []
    async with resources.notifications.publish_on_commit(topics) as connection:
        if valid:
            await locks.lock_keywords(connection)
            rows, new_ids = await keywords.insert_keywords(connection, valid)
        if new_ids and await keywords.is_any_comment_stored(connection):
            job = await _match(connection, resources, topics, keyword_ids=sorted(new_ids))
    log.info("keywords_added", requested=len(requested), new=len(new_ids))
    return Addition(_outcomes(requested, problems, rows, new_ids), job)


def _problem_of(requested: RequestedKeyword) -> str | None:
    problem = problem_of(clean_phrase(requested.phrase), requested.matching)
    return f"The phrase {problem}." if problem else _problem_of_category(requested.category)


def _problem_of_category(category: str | None) -> str | None:
    clean = clean_category(category) or ""
    if len(clean) > LONGEST_CATEGORY:
        return f"The category is longer than {LONGEST_CATEGORY} characters."
    return None if clean.isprintable() else "The category contains characters that are not printable."


def clean_category(category: str | None) -> str | None:
    """Return a category with normalised white space; None if it is empty."""
    return " ".join((category or "").split()) or None


def _outcomes(
    requested: Sequence[RequestedKeyword], problems: Sequence[str | None], rows: Sequence[KeywordRow], new_ids: set[int]
) -> list[AddedKeyword]:
    outcomes = []
    still_new, valid = set(new_ids), iter(rows)
    for each, problem in zip(requested, problems, strict=True):
        if problem is not None:
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.MALFORMED, problem))
            continue
        row = next(valid)
        if row.id in still_new:
            # a second mention of the same keyword reports it as existing
            still_new.remove(row.id)
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.ADDED, f"{row.phrase} was added.", row.id))
        else:
            message = f"{row.phrase} exists already."
            outcomes.append(AddedKeyword(each.phrase, KeywordOutcome.ALREADY_EXISTS, message, row.id))
    return outcomes


class KeywordChanges(TypedDict, total=False):
    """What a user can change of a keyword; None removes the category."""

    phrase: str
    matching: KeywordMatching
    category: str | None
    is_active: bool


async def update_keyword(
    resources: Resources, keyword_id: int, changes: KeywordChanges
) -> tuple[KeywordRow, JobRow | None]:
    """Change a keyword. Return its row, and the job that updates stored matches, None if there is nothing to update.

    An inactive keyword keeps its matches and gets no new ones. Activating it, or changing
    phrase or matching, matches it again. Changing these while it is inactive deletes its matches.

    Raises:
        ValidationFailed: the phrase or the category is not valid.
        KeywordNotFound: the keyword does not exist.
        KeywordAlreadyExists: another keyword has this phrase and this matching.
        QueueFull: too many jobs wait; nothing was changed.
    """
    values = _clean(changes)
    topics: list[str] = []
    job = None
    async with resources.notifications.publish_on_commit(topics) as connection:
        await locks.lock_keywords(connection)
        old = await keywords.require_keyword(connection, keyword_id)
        values = {name: value for name, value in values.items() if getattr(old, name) != value}
        phrase, matching = values.get("phrase", old.phrase), values.get("matching", old.matching)
        if problem := problem_of(str(phrase), KeywordMatching(matching)):
            raise ValidationFailed({"phrase": problem})
        is_rewritten = bool(values.keys() & {"phrase", "matching"})
        must_be_matched = values.get("is_active", old.is_active) and (is_rewritten or "is_active" in values)
        if is_rewritten or must_be_matched:
            values["revision"] = old.revision + 1
        row = await keywords.update_keyword(connection, old, values) if values else old
        if must_be_matched and await keywords.is_any_comment_stored(connection):
            job = await _match(connection, resources, topics, keyword_ids=[keyword_id])
        elif is_rewritten and await keywords.have_matches(connection, [keyword_id]):
            job = await _match(connection, resources, topics, changed_ids=[keyword_id])
    log.info("keyword_changed", keyword_id=keyword_id, values=sorted(values))
    return row, job


def _clean(changes: KeywordChanges) -> dict[str, object]:
    """Return changes as the values of columns."""
    values: dict[str, object] = dict(changes)
    if "phrase" in changes:
        values["phrase"] = clean_phrase(changes["phrase"])
    if "matching" in changes:
        values["matching"] = changes["matching"].value
    if "category" in changes:
        if problem := _problem_of_category(changes["category"]):
            raise ValidationFailed({"category": problem})
        values["category"] = clean_category(changes["category"])
    return values


async def remove_keywords(resources: Resources, keyword_ids: Sequence[int]) -> tuple[int, JobRow | None]:
    """Remove keywords. Return how many, and the job that deletes their matches, None if they have none.

    The keywords are removed at once, and nothing new is matched with them. Their matches
    disappear from comments at once, and from counts while the job runs.

    Raises:
        ValidationFailed: there are none, or more than 10,000.
        KeywordNotFound: one of them does not exist; nothing was removed.
        QueueFull: too many jobs wait; nothing was removed.
    """
    ids = list(dict.fromkeys(keyword_ids))
    if not 1 <= len(ids) <= MOST_KEYWORDS:
        raise ValidationFailed({"keywordIds": f"must contain between 1 and {MOST_KEYWORDS} ids"})
    topics: list[str] = []
    job = None
    async with resources.notifications.publish_on_commit(topics) as connection:
        await locks.lock_keywords(connection)
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
) -> JobRow:
    request = MatchingRequest(tuple(keyword_ids), tuple(changed_ids))
    row = await enqueue(connection, resources, NewJob(MATCH_KEYWORDS, request))
    topics.append(job_topic(row.id))
    log.info("job_queued", job_id=row.id, kind=row.kind, keywords=len(keyword_ids))
    return row
