"""Keywords: their type, queries and matches. The mutations are in `schema.keyword_changes`."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from app.analysis.keywords import KeywordMatching, clean_phrase, forms_of, problem_of
from app.errors import ValidationFailed
from app.resources import Resources
from app.store import keywords
from app.store.keyset import Key
from app.store.rows import KeywordRow, MatchRow
from schema.conditions import conditions_of
from schema.context import Info
from schema.enums import described
from schema.loaders import Loader, rows_loader, rows_loader_or, values_loader
from schema.node import Id, Node, key_of, relation
from schema.paging import Connection, all_of


def distinct_forms(phrase: str, matching: KeywordMatching) -> list[str]:
    """Return all forms of a keyword's words, without duplicates. Slow for many words."""
    return list(dict.fromkeys(form for word in forms_of(phrase, matching) for form in word.forms))


async def _forms(_: Resources, keys: list[tuple[str, KeywordMatching]]) -> list[list[str]]:
    # in a thread: thousands of words that are not cached take a second
    return await asyncio.to_thread(lambda: [distinct_forms(*key) for key in keys])


KEYWORDS: Loader[Key, "Keyword | None"] = rows_loader(keywords.keywords_by_key, lambda: Keyword)
COMMENT_COUNTS_BY_KEYWORD = values_loader(0, keywords.match_counts, lambda row: row.comments)
MATCH_COUNTS_BY_KEYWORD = values_loader(0, keywords.match_counts, lambda row: row.matches)
FORMS_BY_KEYWORD = Loader(_forms)
MATCHES_BY_COMMENT: Loader[Key, "list[KeywordMatch]"] = rows_loader_or(
    lambda _: [], keywords.matches_by_comment, lambda: KeywordMatch
)


class KeywordOrder(Enum):
    """Orderings of keywords."""

    PHRASE = keywords.PHRASE
    NEWEST = keywords.NEWEST


described(
    KeywordOrder,
    "The orderings of keywords.",
    {
        KeywordOrder.PHRASE: "By phrase, from A to Z and from А to Я, ignoring case.",
        KeywordOrder.NEWEST: "The newest first.",
    },
)


@strawberry.input(description="Selects keywords; all conditions must hold. An omitted condition does not restrict.")
class KeywordFilter:
    """Selects keywords."""

    search: str | None = strawberry.field(default=None, description="Part of the phrase, ignoring case.")
    categories: list[str] | None = strawberry.field(default=None, description="Keywords in these categories.")
    matching: list[KeywordMatching] | None = strawberry.field(
        default=None, description="Keywords with one of these matchings."
    )
    is_active: bool | None = strawberry.field(default=None, description="`true`: active; `false`: inactive.")

    def conditions(self) -> keywords.KeywordConditions:
        """Return the filter as conditions of the store."""
        return conditions_of(keywords.KeywordConditions, self)

    @staticmethod
    def everything() -> keywords.KeywordConditions:
        """Return conditions that select everything."""
        return keywords.KeywordConditions()


@strawberry.type(description="A word or phrase that is searched for in all comments.")
class Keyword(Node):
    """A keyword."""

    phrase: str = strawberry.field(description="The word or phrase.")
    category: str | None = strawberry.field(description="Its category; null: none.")
    matching: KeywordMatching = strawberry.field(description="Which parts of a text match.")
    is_active: bool = strawberry.field(
        description="`true`: active; `false`: it keeps its matches and gets no new ones."
    )
    created_at: datetime = strawberry.field(description="When it was added.")
    changed_at: datetime = strawberry.field(description="When it was last changed.")

    comment_count: int = relation(
        COMMENT_COUNTS_BY_KEYWORD, lambda keyword: keyword.key, int, "The number of comments that it matches."
    )
    match_count: int = relation(
        MATCH_COUNTS_BY_KEYWORD, lambda keyword: keyword.key, int, "The number of matches over all comments."
    )
    forms: list[str] = relation(
        FORMS_BY_KEYWORD,
        lambda keyword: (keyword.phrase, keyword.matching),
        list[str],
        "All forms of its words; `wordForms` returns them per word.",
    )

    @classmethod
    def of(cls, row: KeywordRow) -> "Keyword":
        """Convert a row."""
        return cls(
            key=(row.id,),
            phrase=row.phrase,
            category=row.category,
            matching=KeywordMatching(row.matching),
            is_active=row.is_active,
            created_at=row.created_at,
            changed_at=row.changed_at,
        )


@strawberry.type(description="A match of a keyword in a comment.")
class KeywordMatch:
    """A match."""

    keyword: Keyword = strawberry.field(description="The keyword.")
    start: int = strawberry.field(description="The start, in Unicode code points of the comment's text.")
    end: int = strawberry.field(description="The end, exclusive.")
    text: str = strawberry.field(description="The text between start and end.")

    @classmethod
    def of(cls, rows: Sequence[MatchRow]) -> "list[KeywordMatch]":
        """Convert the rows of one comment's matches, in the order of its text."""
        found = [
            cls(keyword=Keyword.of(row), start=start, end=end, text=row.text[start:end])
            for row in rows
            for start, end in zip(row.positions[::2], row.positions[1::2], strict=True)
        ]
        return sorted(found, key=lambda match: (match.start, match.end))


@strawberry.type(description="A category of keywords.")
class KeywordCategory:
    """A category."""

    name: str = strawberry.field(description="Its name.")
    keyword_count: int = strawberry.field(description="The number of keywords in it.")
    match_count: int = strawberry.field(description="The number of their matches over all comments.")


@strawberry.type(description="A word of a phrase, with its forms.")
class FormsOfWord:
    """The forms of one word."""

    word: str = strawberry.field(description="The word as given.")
    forms: list[str] = strawberry.field(
        description="The forms of the word, in lower case unless case matters. In a text, е may replace ё, "
        "look-alike letters may replace Russian ones, and invisible characters, such as soft "
        "hyphens, are ignored."
    )


@strawberry.type(description="A preview of what a keyword matches.")
class WordForms:
    """A preview."""

    phrase: str = strawberry.field(description="The phrase with normalised white space.")
    matching: KeywordMatching = strawberry.field(description="Which parts of a text match.")
    words: list[FormsOfWord] = strawberry.field(
        description="Its words, in order. Where the phrase has white space, the text may have any white "
        "space, including line breaks; punctuation must be that of the phrase; quotes are "
        "ignored. For SUBSTRING: the phrase itself."
    )


Matching = Annotated[KeywordMatching, strawberry.argument(description="Which parts of a text match.")]


@strawberry.type
class KeywordQuery:
    """The queries of this file."""

    @strawberry.field(description="A keyword; null if it does not exist.", graphql_type=Keyword | None)
    def keyword(self, info: Info, id: Id) -> Awaitable[Keyword | None]:
        """Return a keyword."""
        return info.context.loaders.load(KEYWORDS, key_of(id, "Keyword"))

    keywords: Connection[Keyword] = all_of(
        Connection[Keyword],
        Keyword.of,
        "All keywords.",
        KeywordFilter,
        KeywordOrder.PHRASE,
        keywords.keywords_page,
        keywords.count_keywords,
    )

    @strawberry.field(description="The categories of keywords, by name.")
    async def keyword_categories(self, info: Info) -> list[KeywordCategory]:
        """Return the categories."""
        async with info.context.resources.database.connect() as connection:
            rows = await keywords.categories(connection)
        return [KeywordCategory(name=row.name, keyword_count=row.keywords, match_count=row.matches) for row in rows]

    @strawberry.field(description="A preview of what a keyword with this phrase matches.")
    async def word_forms(
        self,
        phrase: Annotated[str, strawberry.argument(description="At most 200 characters and 10 words.")],
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
