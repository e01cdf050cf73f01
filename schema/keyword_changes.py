"""Mutations that add, import, change and remove keywords. The type Keyword is in `schema.keywords`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, TypeVar

import strawberry
from strawberry.types import get_object_definition

from app.actions.change_keywords import (
    MOST_KEYWORDS,
    KeywordChanges,
    KeywordOutcome,
    RequestedKeyword,
    add_keywords,
    remove_keywords,
    update_keyword,
)
from app.analysis.keywords import KeywordMatching
from app.errors import KeywordAlreadyExists, ValidationFailed
from app.store.rows import JobRow
from app.uploaded_lists import KeywordRow, keywords_in
from schema.context import Info
from schema.errors import (
    Error,
    KeywordNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.jobs import Job
from schema.keywords import KEYWORDS, Keyword
from schema.node import key_of, relation
from schema.scalars import Upload


@strawberry.type(description="Another keyword has this phrase and this matching.")
class KeywordAlreadyExistsError(Error, fault=KeywordAlreadyExists):
    """The keyword exists already."""

    keyword_id: strawberry.Private[int]
    keyword: Keyword = relation(KEYWORDS, lambda error: (error.keyword_id,), Keyword, "The existing keyword.")


@strawberry.input(description="A keyword to add.")
class NewKeywordInput:
    """A keyword to add."""

    phrase: str = strawberry.field(description="A word or phrase, at most 200 characters and 10 words.")
    matching: KeywordMatching = strawberry.field(
        default=KeywordMatching.WORD_FORMS, description="Which parts of a text match."
    )
    category: str | None = strawberry.field(
        default=None, description="Its category, at most 100 characters; null: none."
    )


@strawberry.input(description="Which keywords to add.")
class AddKeywordsInput:
    """The input of addKeywords."""

    keywords: list[NewKeywordInput] = strawberry.field(description="The keywords, at most 10,000.")


# Strawberry determines the type of each field of each keyword again, which takes 0.2 s for 10,000 keywords.
# No conversion is needed: the values are strings and enum members, under the names that Python uses.
get_object_definition(AddKeywordsInput, strict=True).from_input = lambda kind, given, _: kind(
    keywords=[NewKeywordInput(**keyword) for keyword in given["keywords"]]
)


@strawberry.type(description="The outcome of adding one keyword.")
class AddedKeyword:
    """The outcome for one keyword."""

    keyword_id: strawberry.Private[int | None]
    phrase: str = strawberry.field(description="The phrase as it was given.")
    outcome: KeywordOutcome = strawberry.field(description="The outcome.")
    message: str = strawberry.field(description="The outcome in a sentence.")
    keyword: Keyword | None = relation(
        KEYWORDS,
        lambda added: None if added.keyword_id is None else (added.keyword_id,),
        Keyword | None,
        "The added or existing keyword; null if the phrase is malformed.",
    )


@strawberry.type(description="The outcome for each keyword. From now on, new comments are matched with them.")
class AddKeywordsSuccess:
    """All keywords were processed."""

    outcomes: list[AddedKeyword] = strawberry.field(description="One outcome per keyword, in their order.")
    added_count: int = strawberry.field(description="The number of added keywords.")
    job: Job | None = strawberry.field(
        description="The job that matches stored comments; null if there is nothing to match."
    )


S = TypeVar("S", bound=AddKeywordsSuccess)


AddKeywordsResult = Annotated[
    AddKeywordsSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("AddKeywordsResult", description="The result of addKeywords."),
]


@strawberry.input(description="A file with keywords to add.")
class ImportKeywordsInput:
    """The input of importKeywords."""

    file: Upload = strawberry.field(
        description="Text or CSV, at most 10 MB, in UTF-8 or Windows-1251: one phrase per line, or a table of "
        "phrase, category and matching, with a header or in this order. At most 10,000 keywords."
    )
    matching: KeywordMatching = strawberry.field(
        default=KeywordMatching.WORD_FORMS, description="The matching of keywords for which the file has none."
    )
    category: str | None = strawberry.field(
        default=None, description="The category of keywords for which the file has none."
    )


@strawberry.type(description="The outcome for each keyword in the file, in their order.")
class ImportKeywordsSuccess(AddKeywordsSuccess):
    """All keywords were processed."""


ImportKeywordsResult = Annotated[
    ImportKeywordsSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("ImportKeywordsResult", description="The result of importKeywords."),
]


@strawberry.input(description="Changes of a keyword. Omitted fields stay unchanged.")
class UpdateKeywordInput:
    """The input of updateKeyword."""

    keyword_id: strawberry.ID = strawberry.field(description="The global id of the keyword.")
    phrase: str | None = strawberry.field(default=None, description="A word or phrase, at most 200 characters.")
    matching: KeywordMatching | None = strawberry.field(default=None, description="Which parts of a text match.")
    category: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its category, at most 100 characters; null removes it."
    )
    is_active: bool | None = strawberry.field(
        default=None, description="`true`: active; `false`: it keeps its matches and gets no new ones."
    )


@strawberry.type(description="The keyword was changed. From now on, new comments are matched with the changed keyword.")
class UpdateKeywordSuccess:
    """A keyword was changed."""

    keyword: Keyword = strawberry.field(description="The changed keyword.")
    job: Job | None = strawberry.field(
        description="The job that updates the matches in stored comments; null if there is nothing to update."
    )


UpdateKeywordResult = Annotated[
    UpdateKeywordSuccess
    | KeywordNotFoundError
    | KeywordAlreadyExistsError
    | ValidationFailedError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("UpdateKeywordResult", description="The result of updateKeyword."),
]


@strawberry.input(description="Which keywords to remove.")
class RemoveKeywordsInput:
    """The input of removeKeywords."""

    keyword_ids: list[strawberry.ID] = strawberry.field(description="Global ids, at most 10,000.")


@strawberry.type(description="The keywords were removed, and their matches no longer appear in comments.")
class RemoveKeywordsSuccess:
    """Keywords were removed."""

    removed_count: int = strawberry.field(description="The number of removed keywords.")
    job: Job | None = strawberry.field(
        description="The job that deletes their matches, which also updates the counts; null if there were none."
    )


RemoveKeywordsResult = Annotated[
    RemoveKeywordsSuccess | KeywordNotFoundError | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("RemoveKeywordsResult", description="The result of removeKeywords."),
]


@strawberry.type
class KeywordMutation:
    """The mutations of this file."""

    @strawberry.mutation(
        description="Add keywords. Existing ones stay unchanged; phrases that differ only in case are the "
        "same keyword, unless case matters for their matching."
    )
    async def add_keywords(
        self,
        info: Info,
        input: Annotated[AddKeywordsInput, strawberry.argument(description="Which keywords.")],
    ) -> AddKeywordsResult:
        """Add keywords."""
        requested = [RequestedKeyword(each.phrase, each.matching, each.category) for each in input.keywords]
        return await _added(info, requested, AddKeywordsSuccess)

    @strawberry.mutation(
        description="Add the keywords of a file. Existing ones stay unchanged; phrases that differ only in "
        "case are the same keyword, unless case matters for their matching."
    )
    async def import_keywords(
        self,
        info: Info,
        input: Annotated[ImportKeywordsInput, strawberry.argument(description="Which file.")],
    ) -> ImportKeywordsResult:
        """Add the keywords of a file."""
        rows = await asyncio.to_thread(keywords_in, input.file.name, input.file.data, MOST_KEYWORDS)
        requested = [
            RequestedKeyword(row.phrase, _matching_of(row, input.matching), row.category or input.category)
            for row in rows
        ]
        return await _added(info, requested, ImportKeywordsSuccess)

    @strawberry.mutation(
        description="Change a keyword. If it is activated, or its phrase or matching changes, stored comments "
        "are matched again. If these change while it is inactive, its matches are deleted."
    )
    async def update_keyword(
        self,
        info: Info,
        input: Annotated[UpdateKeywordInput, strawberry.argument(description="Which keyword, and how.")],
    ) -> UpdateKeywordResult:
        """Change a keyword."""
        changes: KeywordChanges = {}
        if input.phrase is not None:
            changes["phrase"] = input.phrase
        if input.matching is not None:
            changes["matching"] = input.matching
        if input.is_active is not None:
            changes["is_active"] = input.is_active
        if input.category is not strawberry.UNSET:
            changes["category"] = input.category
        keyword_id = key_of(input.keyword_id, "Keyword", "keywordId")[0]
        row, job = await update_keyword(info.context.resources, keyword_id, changes)
        return UpdateKeywordSuccess(keyword=Keyword.of(row), job=_job(job))

    @strawberry.mutation(description="Remove keywords. If one of them does not exist, none is removed.")
    async def remove_keywords(
        self,
        info: Info,
        input: Annotated[RemoveKeywordsInput, strawberry.argument(description="Which keywords.")],
    ) -> RemoveKeywordsResult:
        """Remove keywords."""
        ids = [key_of(value, "Keyword", f"keywordIds.{number}")[0] for number, value in enumerate(input.keyword_ids)]
        removed, job = await remove_keywords(info.context.resources, ids)
        return RemoveKeywordsSuccess(removed_count=removed, job=_job(job))


def _job(row: JobRow | None) -> Job | None:
    return None if row is None else Job.of(row)


async def _added(info: Info, requested: Sequence[RequestedKeyword], success: type[S]) -> S:
    added = await add_keywords(info.context.resources, requested)
    outcomes = [
        AddedKeyword(keyword_id=each.keyword_id, phrase=each.phrase, outcome=each.outcome, message=each.message)
        for each in added.outcomes
    ]
    added_count = sum(each.outcome is KeywordOutcome.ADDED for each in outcomes)
    return success(outcomes=outcomes, added_count=added_count, job=_job(added.job))


def _matching_of(row: KeywordRow, otherwise: KeywordMatching) -> KeywordMatching:
    if row.matching is None:
        return otherwise
    try:
        return KeywordMatching[row.matching.upper().replace(" ", "_")]
    except KeyError:
        known = ", ".join(matching.name for matching in KeywordMatching)
        message = f"line {row.line}: {row.matching!r} is not a matching; it must be one of {known}"
        raise ValidationFailed({"file": message}) from None
