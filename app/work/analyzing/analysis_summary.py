"""The result of an analysis job: the sums over the comments that it selects."""

from dataclasses import dataclass
from datetime import datetime

from app.analysis.terms import ranked
from app.store.summaries import Summary

MOST_TERMS = 100


@dataclass(frozen=True, slots=True)
class KeywordCount:
    """A keyword, the number of comments that it matches, and the number of its matches."""

    id: int
    phrase: str
    comments: int
    matches: int


@dataclass(frozen=True, slots=True)
class LanguageCount:
    """A language (ISO 639-1, or `und`), and the number of comments in it."""

    language: str
    comments: int


@dataclass(frozen=True, slots=True)
class MonthCount:
    """A month (its start, UTC), and the number of comments published in it."""

    month: datetime
    comments: int


@dataclass(frozen=True, slots=True)
class HourCount:
    """An hour of the week (UTC; `weekday` 1 is Monday), and the number of comments published in it."""

    weekday: int
    hour: int
    comments: int


@dataclass(frozen=True, slots=True)
class TermScore:
    """A term in its dictionary form, the number of comments that contain it, and its TF-IDF."""

    term: str
    comments: int
    score: float


@dataclass(frozen=True, slots=True)
class AnalysisSummary:
    """The result: sums over all selected comments. See `app.store.summaries.Summary` for the counts."""

    newly_analyzed: int
    comments: int
    positive: int
    negative: int
    with_links: int
    with_phones: int
    with_mentions: int
    waves: int
    in_waves: int
    authors: int
    posts: int
    matched: int
    keywords: tuple[KeywordCount, ...]
    languages: tuple[LanguageCount, ...]
    months: tuple[MonthCount, ...]
    hours: tuple[HourCount, ...]
    terms: tuple[TermScore, ...]


def summary_of(summary: Summary, newly_analyzed: int) -> AnalysisSummary:
    """Return the result of a job that has analysed so many comments; at most 100 terms, the highest score first."""
    totals, sources = summary.totals, summary.sources
    terms = ranked(
        ((row.lemma, row.comments, row.everywhere) for row in summary.terms),
        totals.comments,
        summary.comments_everywhere,
        MOST_TERMS,
    )
    return AnalysisSummary(
        newly_analyzed=newly_analyzed,
        comments=totals.comments,
        positive=totals.positive,
        negative=totals.negative,
        with_links=totals.with_links,
        with_phones=totals.with_phones,
        with_mentions=totals.with_mentions,
        waves=totals.waves,
        in_waves=totals.in_waves,
        authors=sources.authors,
        posts=sources.posts,
        matched=sources.matched,
        keywords=tuple(KeywordCount(row.id, row.phrase, row.comments, row.matches) for row in summary.keywords),
        languages=tuple(LanguageCount(row.language, row.comments) for row in summary.languages),
        months=tuple(MonthCount(row.month, row.comments) for row in summary.months),
        hours=tuple(HourCount(row.weekday, row.hour, row.comments) for row in summary.hours),
        terms=tuple(TermScore(term, comments, round(score, 6)) for term, comments, score in terms if score > 0),
    )
