"""Keywords: their type and queries, where they match, and the mutations that add, change and remove them."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from app.analysis.keywords import KeywordMatching, clean_phrase, forms_of, problem_of
from app.errors import KeywordAlreadyThere, ValidationFailed
from app.jobs.change_keywords import (
    MOST_KEYWORDS,
    KeywordOutcome,
    WantedKeyword,
    add_keywords,
    remove_keywords,
    update_keyword,
)
from app.store import keywords
from app.store.keyset import StoredRow
from app.uploaded_lists import KeywordRow, keywords_in
from schema.context import Info
from schema.enums import described
from schema.errors import (
    Error,
    FaultHandler,
    KeywordNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.jobs import Job
from schema.node import Node, key_of, relation
from schema.paging import After, Before, Connection, First, Last, PageArguments, page_of_all
from schema.scalars import Upload
from schema.wall import Id


class KeywordOrder(Enum):
    """Orderings of keywords."""

    PHRASE = keywords.PHRASE
    NEWEST = keywords.NEWEST


described(
    KeywordOrder,
    "The orderings of keywords.",
    {
        KeywordOrder.PHRASE: "By the phrase, from A to Z and from А to Я, whatever the case.",
        KeywordOrder.NEWEST: "The newest first.",
    },
)


@strawberry.input(description="Which keywords are wanted; all conditions hold. What is left out does not restrict.")
class KeywordFilter:
    """Restricts keywords."""

    search: str | None = strawberry.field(default=None, description="Part of the phrase, whatever the case.")
    categories: list[str] | None = strawberry.field(default=None, description="In one of these categories.")
    matching: list[KeywordMatching] | None = strawberry.field(default=None, description="That match in such a way.")
    is_active: bool | None = strawberry.field(default=None, description="Switched on, or off.")

    def conditions(self) -> keywords.KeywordConditions:
        """Return the filter as the store takes it."""
        return keywords.KeywordConditions(
            search=self.search,
            categories=None if self.categories is None else tuple(self.categories),
            matching=None if self.matching is None else tuple(each.value for each in self.matching),
            is_active=self.is_active,
        )


@strawberry.type(description="A word or phrase that is looked for in all comments.")
class Keyword(Node):
    """A keyword."""

    phrase: str = strawberry.field(description="What is looked for.")
    category: str | None = strawberry.field(description="What it belongs to.")
    matching: KeywordMatching = strawberry.field(description="What of a text it matches.")
    is_active: bool = strawberry.field(
        description="Whether it is switched on. Switched off, it keeps what it matches, and matches nothing more."
    )
    created_at: datetime = strawberry.field(description="When it was added.")
    changed_at: datetime = strawberry.field(description="When it was last changed.")

    comment_count: int = relation(
        "comment_counts_by_keyword", lambda keyword: keyword.key, int, "How many comments it matches."
    )
    match_count: int = relation(
        "match_counts_by_keyword", lambda keyword: keyword.key, int, "How often it matches, over all comments."
    )
    forms: list[str] = relation(
        "forms_by_keyword",
        lambda keyword: (keyword.phrase, keyword.matching),
        list[str],
        "All that its words may look like; `wordForms` has them word by word.",
    )

    @classmethod
    def of(cls, row: StoredRow) -> "Keyword":
        """Make a keyword of its row."""
        return cls(
            key=(row.id,),
            phrase=row.phrase,
            category=row.category,
            matching=KeywordMatching(row.matching),
            is_active=row.is_active,
            created_at=row.created_at,
            changed_at=row.changed_at,
        )


@strawberry.type(description="A place in a comment that a keyword matches.")
class KeywordMatch:
    """A match."""

    keyword: Keyword = strawberry.field(description="The keyword.")
    start: int = strawberry.field(description="Where it begins, in Unicode code points of the comment's text.")
    end: int = strawberry.field(description="Where it ends: the first code point behind it.")
    text: str = strawberry.field(description="What stands there.")

    @classmethod
    def of(cls, rows: Sequence[StoredRow]) -> "list[KeywordMatch]":
        """Make the matches of one comment, in the order of its text."""
        found = [
            cls(keyword=Keyword.of(row), start=start, end=end, text=row.text[start:end])
            for row in rows
            for start, end in zip(row.positions[::2], row.positions[1::2], strict=True)
        ]
        return sorted(found, key=lambda match: (match.start, match.end))


@strawberry.type(description="Keywords that belong together.")
class KeywordCategory:
    """A category."""

    name: str = strawberry.field(description="Its name.")
    keyword_count: int = strawberry.field(description="How many keywords are in it.")
    match_count: int = strawberry.field(description="How often these match, over all comments.")


@strawberry.type(description="A word of a phrase, and what it may look like.")
class FormsOfWord:
    """The forms of one word."""

    word: str = strawberry.field(description="The word as it was given.")
    forms: list[str] = strawberry.field(
        description="What matches, in lower case but where case matters. Beside these: е for ё, what looks like "
        "Russian letters, and what is not seen, such as soft hyphens."
    )


@strawberry.type(description="What a keyword would match.")
class WordForms:
    """A preview."""

    phrase: str = strawberry.field(description="The phrase, without needless white space.")
    matching: KeywordMatching = strawberry.field(description="What of a text would match.")
    words: list[FormsOfWord] = strawberry.field(
        description="Its words, in order. Between them may be white space where the phrase has some, line breaks too, "
        "and the punctuation that the phrase has; quotes do not matter. Of SUBSTRING, the phrase itself."
    )


def distinct_forms(phrase: str, matching: KeywordMatching) -> list[str]:
    """Return what the words of a keyword may look like, each once. Takes a moment where the words are many."""
    return list(dict.fromkeys(form for word in forms_of(phrase, matching) for form in word.forms))


Matching = Annotated[KeywordMatching, strawberry.argument(description="What of a text is to match.")]


@strawberry.type
class KeywordQuery:
    """The queries of this file."""

    @strawberry.field(description="One keyword; null if there is none with this id.", graphql_type=Keyword | None)
    def keyword(self, info: Info, id: Id) -> Awaitable[Keyword | None]:
        """Find a keyword."""
        return info.context.loaders.keywords.load(key_of(id, "Keyword"))

    @strawberry.field(description="All keywords.")
    async def keywords(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[KeywordFilter | None, strawberry.argument(description="Which keywords are wanted.")] = None,
        order_by: Annotated[
            KeywordOrder | None, strawberry.argument(description="The order; PHRASE if left out.")
        ] = None,
    ) -> Connection[Keyword]:
        """Read a page of keywords."""
        return await page_of_all(
            info,
            PageArguments(first, after, last, before),
            (order_by or KeywordOrder.PHRASE).value,
            filter.conditions() if filter else keywords.KeywordConditions(),
            keywords.keywords_page,
            keywords.count_keywords,
            Keyword.of,
        )

    @strawberry.field(description="The categories of keywords, by name.")
    async def keyword_categories(self, info: Info) -> list[KeywordCategory]:
        """Read the categories."""
        async with info.context.resources.database.connect() as connection:
            rows = await keywords.categories(connection)
        return [KeywordCategory(name=row.name, keyword_count=row.keywords, match_count=row.matches) for row in rows]

    @strawberry.field(description="What a keyword with this phrase would match.")
    async def word_forms(
        self,
        phrase: Annotated[str, strawberry.argument(description="Up to 200 characters and 10 words.")],
        matching: Matching = KeywordMatching.WORD_FORMS,
    ) -> WordForms:
        """Preview a keyword."""
        clean = clean_phrase(phrase)
        if problem := problem_of(clean, matching):
            raise ValidationFailed({"phrase": problem})
        words = await asyncio.to_thread(forms_of, clean, matching)
        return WordForms(
            phrase=clean,
            matching=matching,
            words=[FormsOfWord(word=each.word, forms=list(each.forms)) for each in words],
        )


# mutations


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

    @strawberry.mutation(description="Add keywords. Those that are there already, whatever the case, stay as they are.")
    async def add_keywords(
        self,
        info: Info,
        input: Annotated[AddKeywordsInput, strawberry.argument(description="Which keywords.")],
    ) -> AddKeywordsResult:
        """Add keywords."""
        wanted = [WantedKeyword(each.phrase, each.matching, each.category) for each in input.keywords]
        return AddKeywordsSuccess(**await _added(info, wanted))

    @strawberry.mutation(
        description="Add the keywords of a file. Those that are there already, whatever the case, stay as they are."
    )
    async def import_keywords(
        self,
        info: Info,
        input: Annotated[ImportKeywordsInput, strawberry.argument(description="Which file.")],
    ) -> ImportKeywordsResult:
        """Add the keywords of a file."""
        rows = await asyncio.to_thread(keywords_in, input.file.name, input.file.data)
        if len(rows) > MOST_KEYWORDS:
            raise ValidationFailed({"file": f"has {len(rows)} keywords in it; {MOST_KEYWORDS} are the most"})
        wanted = [
            WantedKeyword(row.phrase, _matching_of(row, input.matching), row.category or input.category) for row in rows
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


async def _added(info: Info, wanted: Sequence[WantedKeyword]) -> dict[str, Any]:
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
