"""Adding, importing, changing and removing keywords. Their type is in `schema.keywords`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import strawberry
from strawberry.types import get_object_definition

from app.actions.change_keywords import (
    MOST_KEYWORDS,
    KeywordOutcome,
    RequestedKeyword,
    add_keywords,
    remove_keywords,
    update_keyword,
)
from app.analysis.keywords import KeywordMatching
from app.errors import KeywordAlreadyThere, ValidationFailed
from app.store.keyset import StoredRow
from app.uploaded_lists import KeywordRow, keywords_in
from schema.context import Info
from schema.errors import (
    Error,
    FaultHandler,
    KeywordNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.jobs import Job
from schema.keywords import Keyword
from schema.node import key_of, relation
from schema.scalars import Upload


@strawberry.type(description="There is another keyword with this phrase that matches in the same way.")
class KeywordAlreadyThereError(Error):
    """A keyword that would be there twice."""

    keyword_id: strawberry.Private[int]
    keyword: Keyword = relation("keywords", lambda error: (error.keyword_id,), Keyword, "The other keyword.")


@strawberry.input(description="A keyword to add.")
class NewKeywordInput:
    """A keyword that is wanted."""

    phrase: str = strawberry.field(description="A word or phrase, up to 200 characters and 10 words.")
    matching: KeywordMatching = strawberry.field(
        default=KeywordMatching.WORD_FORMS, description="What of a text is to match."
    )
    category: str | None = strawberry.field(default=None, description="What it belongs to, up to 100 characters.")


@strawberry.input(description="Which keywords to add.")
class AddKeywordsInput:
    """The input of addKeywords."""

    keywords: list[NewKeywordInput] = strawberry.field(description="Up to 10,000 of them.")


# Strawberry asks anew for each field of each keyword which type it has, which takes 0.2 s for the most keywords. There
# is nothing to convert: the fields are texts and a member of an enumeration, under the names that Python uses.
get_object_definition(AddKeywordsInput, strict=True).from_input = lambda kind, given, _: kind(
    keywords=[NewKeywordInput(**keyword) for keyword in given["keywords"]]
)


@strawberry.type(description="What became of one keyword.")
class AddedKeyword:
    """The answer to one keyword."""

    keyword_id: strawberry.Private[int | None]
    phrase: str = strawberry.field(description="The phrase as it was given.")
    outcome: KeywordOutcome = strawberry.field(description="What became of it.")
    message: str = strawberry.field(description="The same in a sentence.")
    keyword: Keyword | None = relation(
        "keywords",
        lambda added: None if added.keyword_id is None else (added.keyword_id,),
        Keyword | None,
        "The keyword that is there now; null where there is none.",
    )


@strawberry.type(description="What became of each keyword. New comments are matched with them from now on.")
class AddKeywordsSuccess:
    """All keywords were looked at."""

    outcomes: list[AddedKeyword] = strawberry.field(description="One for each keyword, in their order.")
    added_count: int = strawberry.field(description="How many are new here.")
    job: Job | None = strawberry.field(
        description="The job that matches the comments that are stored; null where there is nothing to match."
    )


AddKeywordsResult = Annotated[
    AddKeywordsSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("AddKeywordsResult", description="What became of addKeywords."),
]


@strawberry.input(description="A file with keywords to add.")
class ImportKeywordsInput:
    """The input of importKeywords."""

    file: Upload = strawberry.field(
        description="Text or CSV, up to 10 MB, in UTF-8 or Windows-1251: a phrase a line, or a table of phrase, "
        "category and matching, with a header or in this order. Up to 10,000 of them."
    )
    matching: KeywordMatching = strawberry.field(
        default=KeywordMatching.WORD_FORMS, description="How those match for which the file does not say it."
    )
    category: str | None = strawberry.field(
        default=None, description="The category of those for which the file has none."
    )


@strawberry.type(description="What became of each keyword in the file, in their order.")
class ImportKeywordsSuccess(AddKeywordsSuccess):
    """All keywords were looked at."""


ImportKeywordsResult = Annotated[
    ImportKeywordsSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("ImportKeywordsResult", description="What became of importKeywords."),
]


@strawberry.input(description="How to change a keyword. What is left out stays as it is.")
class UpdateKeywordInput:
    """The input of updateKeyword."""

    keyword_id: strawberry.ID = strawberry.field(description="The global id of the keyword.")
    phrase: str | None = strawberry.field(default=None, description="A word or phrase, up to 200 characters.")
    matching: KeywordMatching | None = strawberry.field(default=None, description="What of a text is to match.")
    category: str | None = strawberry.field(
        default=strawberry.UNSET, description="What it belongs to, up to 100 characters; null for nothing."
    )
    is_active: bool | None = strawberry.field(default=None, description="Whether it is switched on.")


@strawberry.type(description="The keyword is changed. New comments are matched with it as it is now.")
class UpdateKeywordSuccess:
    """A keyword was changed."""

    keyword: Keyword = strawberry.field(description="The keyword as it is now.")
    job: Job | None = strawberry.field(
        description="The job that brings the matches in stored comments up to date; null where that changes nothing."
    )


UpdateKeywordResult = Annotated[
    UpdateKeywordSuccess
    | KeywordNotFoundError
    | KeywordAlreadyThereError
    | ValidationFailedError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("UpdateKeywordResult", description="What became of updateKeyword."),
]


@strawberry.input(description="Which keywords to remove.")
class RemoveKeywordsInput:
    """The input of removeKeywords."""

    keyword_ids: list[strawberry.ID] = strawberry.field(description="Their global ids, up to 10,000.")


@strawberry.type(description="The keywords are gone, and from comments so are their matches.")
class RemoveKeywordsSuccess:
    """Keywords were removed."""

    removed_count: int = strawberry.field(description="How many there were.")
    job: Job | None = strawberry.field(
        description="The job that deletes what they matched, by and by also from counts; null where that was nothing."
    )


RemoveKeywordsResult = Annotated[
    RemoveKeywordsSuccess | KeywordNotFoundError | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("RemoveKeywordsResult", description="What became of removeKeywords."),
]


@strawberry.type
class KeywordMutation:
    """The mutations of this file."""

    @strawberry.mutation(
        description="Add keywords. Those that are there already stay as they are; case tells them apart only where it "
        "matters to them."
    )
    async def add_keywords(
        self,
        info: Info,
        input: Annotated[AddKeywordsInput, strawberry.argument(description="Which keywords.")],
    ) -> AddKeywordsResult:
        """Add keywords."""
        wanted = [RequestedKeyword(each.phrase, each.matching, each.category) for each in input.keywords]
        return AddKeywordsSuccess(**await _added(info, wanted))

    @strawberry.mutation(
        description="Add the keywords of a file. Those that are there already stay as they are; case tells them apart "
        "only where it matters to them."
    )
    async def import_keywords(
        self,
        info: Info,
        input: Annotated[ImportKeywordsInput, strawberry.argument(description="Which file.")],
    ) -> ImportKeywordsResult:
        """Add the keywords of a file."""
        rows = await asyncio.to_thread(keywords_in, input.file.name, input.file.data, MOST_KEYWORDS)
        wanted = [
            RequestedKeyword(row.phrase, _matching_of(row, input.matching), row.category or input.category)
            for row in rows
        ]
        return ImportKeywordsSuccess(**await _added(info, wanted))

    @strawberry.mutation(
        description="Change a keyword. If what it matches changes, or it is switched on, stored comments are matched "
        "anew. If it is changed while it is off, what it matched is forgotten."
    )
    async def update_keyword(
        self,
        info: Info,
        input: Annotated[UpdateKeywordInput, strawberry.argument(description="Which keyword, and how.")],
    ) -> UpdateKeywordResult:
        """Change a keyword."""
        given = {"phrase": input.phrase, "matching": input.matching, "is_active": input.is_active}
        wishes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if input.category is not strawberry.UNSET:
            wishes["category"] = input.category
        keyword_id = key_of(input.keyword_id, "Keyword", "keywordId")[0]
        row, job = await update_keyword(info.context.resources, keyword_id, wishes)
        return UpdateKeywordSuccess(keyword=Keyword.of(row), job=_job(job))

    @strawberry.mutation(description="Remove keywords. If one of them is not there, none is removed.")
    async def remove_keywords(
        self,
        info: Info,
        input: Annotated[RemoveKeywordsInput, strawberry.argument(description="Which keywords.")],
    ) -> RemoveKeywordsResult:
        """Remove keywords."""
        ids = [key_of(value, "Keyword", f"keywordIds.{number}")[0] for number, value in enumerate(input.keyword_ids)]
        removed, job = await remove_keywords(info.context.resources, ids)
        return RemoveKeywordsSuccess(removed_count=removed, job=_job(job))


def _job(row: StoredRow | None) -> Job | None:
    return None if row is None else Job.of(row)


KEYWORD_HANDLERS = [
    FaultHandler(KeywordAlreadyThere, KeywordAlreadyThereError, lambda fault: {"keyword_id": fault.keyword_id})
]
"""The faults whose types are in this file, beside those of `schema.errors`."""


async def _added(info: Info, wanted: Sequence[RequestedKeyword]) -> dict[str, Any]:
    added = await add_keywords(info.context.resources, wanted)
    outcomes = [
        AddedKeyword(keyword_id=each.keyword_id, phrase=each.phrase, outcome=each.outcome, message=each.message)
        for each in added.outcomes
    ]
    added_count = sum(each.outcome is KeywordOutcome.ADDED for each in outcomes)
    return {"outcomes": outcomes, "added_count": added_count, "job": _job(added.job)}


def _matching_of(row: KeywordRow, otherwise: KeywordMatching) -> KeywordMatching:
    if row.matching is None:
        return otherwise
    try:
        return KeywordMatching[row.matching.upper().replace(" ", "_")]
    except KeyError:
        known = ", ".join(matching.name for matching in KeywordMatching)
        message = f"line {row.line}: there is no matching {row.matching!r}; there are {known}"
        raise ValidationFailed({"file": message}) from None
