"""What an analysis has summed up: the result of its job."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from schema.node import Key, relation

if TYPE_CHECKING:
    from schema.keywords import Keyword

LazyKeyword = Annotated["Keyword", strawberry.lazy("schema.keywords")]


@strawberry.type(description="A language, and how many comments are in it.")
class AnalyzedLanguage:
    """A language of a scope."""

    language: str = strawberry.field(description="ISO 639-1; `und` where texts do not tell.")
    comment_count: int = strawberry.field(description="Comments in it.")


@strawberry.type(description="A month, and how many of the comments were published in it.")
class AnalyzedMonth:
    """A month of a scope."""

    start: datetime = strawberry.field(description="When it begins (UTC).")
    comment_count: int = strawberry.field(description="Comments and replies.")


@strawberry.type(description="An hour of the week, and how many of the comments were published in it.")
class AnalyzedHour:
    """An hour of the week of a scope."""

    weekday: int = strawberry.field(description="1 is Monday, 7 is Sunday (UTC).")
    hour: int = strawberry.field(description="0 to 23 (UTC).")
    comment_count: int = strawberry.field(description="Comments and replies.")


@strawberry.type(description="A keyword, and how often it matches these comments.")
class AnalyzedKeyword:
    """A keyword of a scope."""

    key: strawberry.Private[Key]
    phrase: str = strawberry.field(description="What it was when that was counted.")
    comment_count: int = strawberry.field(description="How many of the comments it matches.")
    match_count: int = strawberry.field(description="How often it matches them.")

    keyword: LazyKeyword | None = relation(
        "keywords", lambda row: row.key, LazyKeyword | None, "The keyword; null where it was removed since."
    )


@strawberry.type(description="A term that is frequent in these comments, and not in all others.")
class StandingOutTerm:
    """A term of a scope."""

    term: str = strawberry.field(description="The word in its normal form.")
    comment_count: int = strawberry.field(description="How many of the comments have it.")
    score: float = strawberry.field(
        description="TF-IDF: the share of these comments that have it, times ln((1 + A) / (1 + T)), where A are all "
        "comments that were analysed, of all communities, and T those of them that have it."
    )


@strawberry.type(description="What an analysis has found in the comments it is about, also those analysed before.")
class AnalysisResult:
    """The result of an analysis."""

    comment_count: int = strawberry.field(description="Comments it is about that are analysed.")
    newly_analyzed_count: int = strawberry.field(
        description="Comments that it has analysed itself: those that were new, or whose texts had changed."
    )
    author_count: int = strawberry.field(description="Authors they come from.")
    post_count: int = strawberry.field(description="Posts they stand under.")
    matched_count: int = strawberry.field(description="Those that keywords match.")
    keywords: list[AnalyzedKeyword] = strawberry.field(
        description="Up to 100 keywords that match them, the one that matches most of them first."
    )
    languages: list[AnalyzedLanguage] = strawberry.field(description="Their languages, the most frequent first.")
    months: list[AnalyzedMonth] = strawberry.field(
        description="How many were published when: each month that has some, in order."
    )
    hours_of_week: list[AnalyzedHour] = strawberry.field(
        description="At which hours of the week they were published: each hour that has some, in order."
    )
    terms: list[StandingOutTerm] = strawberry.field(
        description="Up to 100 terms that stand out, compared with all analysed comments; the first one most."
    )
    positive_count: int = strawberry.field(description="Those whose mood is POSITIVE: a weak signal.")
    negative_count: int = strawberry.field(description="Those whose mood is NEGATIVE: a weak signal.")
    with_links_count: int = strawberry.field(description="Those with links.")
    with_phones_count: int = strawberry.field(description="Those with phone numbers.")
    with_mentions_count: int = strawberry.field(description="Those that mention people or communities.")
    wave_count: int = strawberry.field(description="Waves that some of them are in.")
    wave_comment_count: int = strawberry.field(description="Those that are in waves.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "AnalysisResult":
        """Make a result of what a row holds."""
        return cls(
            comment_count=stored["comments"],
            newly_analyzed_count=stored["newly_analyzed"],
            author_count=stored["authors"],
            post_count=stored["posts"],
            matched_count=stored["matched"],
            keywords=[
                AnalyzedKeyword(
                    key=(each["id"],),
                    phrase=each["phrase"],
                    comment_count=each["comments"],
                    match_count=each["matches"],
                )
                for each in stored["keywords"]
            ],
            languages=[
                AnalyzedLanguage(language=each["language"], comment_count=each["comments"])
                for each in stored["languages"]
            ],
            months=[
                AnalyzedMonth(start=datetime.fromisoformat(each["month"]), comment_count=each["comments"])
                for each in stored["months"]
            ],
            hours_of_week=[
                AnalyzedHour(weekday=each["weekday"], hour=each["hour"], comment_count=each["comments"])
                for each in stored["hours"]
            ],
            terms=[
                StandingOutTerm(term=each["term"], comment_count=each["comments"], score=each["score"])
                for each in stored["terms"]
            ],
            positive_count=stored["positive"],
            negative_count=stored["negative"],
            with_links_count=stored["with_links"],
            with_phones_count=stored["with_phones"],
            with_mentions_count=stored["with_mentions"],
            wave_count=stored["waves"],
            wave_comment_count=stored["in_waves"],
        )
