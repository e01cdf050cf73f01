"""Keywords: their type and queries, and where they match. What changes them is in `schema.keyword_changes`."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from app.analysis.keywords import KeywordMatching, clean_phrase, forms_of, problem_of
from app.errors import ValidationFailed
from app.store import keywords
from app.store.keyset import StoredRow
from schema.conditions import conditions_of
from schema.context import Info
from schema.enums import described
from schema.node import Id, Node, key_of, relation
from schema.paging import Connection, all_of


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
        return conditions_of(keywords.KeywordConditions, self)

    @staticmethod
    def everything() -> keywords.KeywordConditions:
        """Return the conditions of no filter."""
        return keywords.KeywordConditions()


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

    keywords: Connection[Keyword] = all_of(
        Keyword,
        "All keywords.",
        KeywordFilter,
        KeywordOrder,
        KeywordOrder.PHRASE,
        keywords.keywords_page,
        keywords.count_keywords,
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
