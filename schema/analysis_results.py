"""The result of an analysis job."""

from datetime import datetime

import strawberry

from app.store.keyset import Key
from app.work.analyzing.analysis_summary import AnalysisSummary
from schema.keywords import KEYWORDS, Keyword
from schema.node import relation


@strawberry.type(description="A language and the number of comments in it.")
class AnalyzedLanguage:
    """A language of a scope."""

    language: str = strawberry.field(description="ISO 639-1; `und`: not determined.")
    comment_count: int = strawberry.field(description="The number of comments in it.")


@strawberry.type(description="A month and the number of comments published in it.")
class AnalyzedMonth:
    """A month of a scope."""

    start: datetime = strawberry.field(description="The start of the month (UTC).")
    comment_count: int = strawberry.field(description="Comments and replies.")


@strawberry.type(description="An hour of the week and the number of comments published in it.")
class AnalyzedHour:
    """An hour of the week of a scope."""

    weekday: int = strawberry.field(description="1 is Monday, 7 is Sunday (UTC).")
    hour: int = strawberry.field(description="0 to 23 (UTC).")
    comment_count: int = strawberry.field(description="Comments and replies.")


@strawberry.type(description="A keyword and the number of its matches in these comments.")
class AnalyzedKeyword:
    """A keyword of a scope."""

    key: strawberry.Private[Key]
    phrase: str = strawberry.field(description="The phrase at the time of the analysis.")
    comment_count: int = strawberry.field(description="The number of comments that it matches.")
    match_count: int = strawberry.field(description="The number of its matches.")

    keyword: Keyword | None = relation(
        KEYWORDS, lambda row: row.key, Keyword | None, "The keyword; null if it was removed since."
    )


@strawberry.type(description="A term that is frequent in these comments and rarer in others.")
class CharacteristicTerm:
    """A term of a scope."""

    term: str = strawberry.field(description="The word in its dictionary form.")
    comment_count: int = strawberry.field(description="The number of these comments that contain it.")
    score: float = strawberry.field(
        description="TF-IDF: the share of these comments that contain it, times ln((1 + A) / (1 + T)), where "
        "A is the number of all analysed comments of all communities, and T the number of those "
        "that contain it."
    )


@strawberry.type(
    description="The result of an analysis, over all comments that it selects, including those analysed before."
)
class AnalysisResult:
    """The result of an analysis."""

    comment_count: int = strawberry.field(description="Selected comments that are analysed.")
    newly_analyzed_count: int = strawberry.field(
        description="Comments that this job analysed: those that were new, or whose texts had changed."
    )
    author_count: int = strawberry.field(description="Authors of the comments.")
    post_count: int = strawberry.field(description="Posts with these comments.")
    matched_count: int = strawberry.field(description="Comments that keywords match.")
    keywords: list[AnalyzedKeyword] = strawberry.field(
        description="At most 100 keywords that match the comments, those that match the most first."
    )
    languages: list[AnalyzedLanguage] = strawberry.field(
        description="The languages of the comments, most frequent first."
    )
    months: list[AnalyzedMonth] = strawberry.field(
        description="The number of comments by month of publication: each month with comments, in order."
    )
    hours_of_week: list[AnalyzedHour] = strawberry.field(
        description="The number of comments by hour of the week: each hour with comments, in order."
    )
    terms: list[CharacteristicTerm] = strawberry.field(
        description="At most 100 characteristic terms, compared with all analysed comments; highest score first."
    )
    positive_count: int = strawberry.field(description="Comments whose sentiment is POSITIVE: a weak signal.")
    negative_count: int = strawberry.field(description="Comments whose sentiment is NEGATIVE: a weak signal.")
    with_links_count: int = strawberry.field(description="Comments with links.")
    with_phones_count: int = strawberry.field(description="Comments with phone numbers.")
    with_mentions_count: int = strawberry.field(description="Comments that mention people or communities.")
    wave_count: int = strawberry.field(description="Waves that contain some of the comments.")
    wave_comment_count: int = strawberry.field(description="Comments that are in waves.")

    @classmethod
    def of(cls, summary: AnalysisSummary) -> "AnalysisResult":
        """Convert the result of a job."""
        return cls(
            comment_count=summary.comments,
            newly_analyzed_count=summary.newly_analyzed,
            author_count=summary.authors,
            post_count=summary.posts,
            matched_count=summary.matched,
            keywords=[
                AnalyzedKeyword(
                    key=(each.id,),
                    phrase=each.phrase,
                    comment_count=each.comments,
                    match_count=each.matches,
                )
                for each in summary.keywords
            ],
            languages=[
                AnalyzedLanguage(language=each.language, comment_count=each.comments) for each in summary.languages
            ],
            months=[AnalyzedMonth(start=each.month, comment_count=each.comments) for each in summary.months],
            hours_of_week=[
                AnalyzedHour(weekday=each.weekday, hour=each.hour, comment_count=each.comments)
                for each in summary.hours
            ],
            terms=[
                CharacteristicTerm(term=each.term, comment_count=each.comments, score=each.score)
                for each in summary.terms
            ],
            positive_count=summary.positive,
            negative_count=summary.negative,
            with_links_count=summary.with_links,
            with_phones_count=summary.with_phones,
            with_mentions_count=summary.with_mentions,
            wave_count=summary.waves,
            wave_comment_count=summary.in_waves,
        )
