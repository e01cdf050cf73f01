"""Measures matching, analyses, filters and statistics: their rates and times, and storing with and without matching.

`python -m bench.analysis` takes half an hour; `--quick` measures few comments, only to show that it runs.
"""

import argparse
import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import count, cycle, islice
from typing import Any

import ahocorasick_rs
import asyncpg
from pymorphy3 import MorphAnalyzer
from rich.console import Console
from rich.table import Table
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from app.analysis.features import features_of
from app.analysis.folding import fold
from app.analysis.keywords import Keyword, KeywordMatching, Matcher, forms_of
from app.db.engine import open_database
from app.settings import read_settings
from app.statistics import AnyQuestion, Question, Statistic, Statistics
from app.store import comments, groups, keywords, posts
from app.store import statistics as store
from app.store.comment_conditions import CommentConditions
from app.store.keyset import Order, Page
from app.store.keywords import NewKeyword
from app.store.statistics import Bucket, Period, PostRanking
from app.wall import VkComment, VkGroup, VkPost
from app.work.matching.known_keywords import KnownKeywords
from bench.collect import STORED_AT_ONCE, invented_comments
from bench.environment import empty_database, postgresql, run_in_process
from bench.large_database import fill, vocabulary

UNLIMITED_SECONDS = 600.0
NOUNS_PER_START = 40
PLAIN = re.compile(r"[\w\s.,!?—-]+")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the measurements."""

    texts: int
    keywords: Sequence[int]
    stored: int
    analyzed: int
    counted: int


FULL = Sizes(texts=100_000, keywords=(50, 500, 5_000), stored=50_000, analyzed=1_000_000, counted=1_000_000)
QUICK = Sizes(texts=2_000, keywords=(50,), stored=2_500, analyzed=3_000, counted=3_000)
SAMPLE = 20_000
"""The number of texts that the functions analyse without a job."""


class Bench:
    """The measurements of one run, on one PostgreSQL."""

    def __init__(self, url: str, sizes: Sizes) -> None:
        self._url = url
        self._sizes = sizes
        self._numbers = count()

    async def database(self) -> str:
        """Return the URL of a new database."""
        return await empty_database(self._url, f"bench_{next(self._numbers)}")

    async def matching(self) -> Table:
        """Compare matching with the bare automaton, which gets folded texts and the same forms."""
        texts = texts_of(self._sizes.texts)
        folded = [fold(words).text for words in texts]
        table = Table(
            "keywords", "forms", "comments/s", "automaton/s", "ratio", "goal", "matches",
            title=f"Matching {len(texts):,} comments of {sum(map(len, texts)) / len(texts):.0f} characters",
        )  # fmt: skip
        for number in self._sizes.keywords:
            selected = [Keyword(n, phrase, KeywordMatching.WORD_FORMS) for n, phrase in enumerate(nouns(number))]
            forms = sorted(
                {form for each in selected for word in forms_of(each.phrase, each.matching) for form in word.forms}
            )
            automaton = ahocorasick_rs.AhoCorasick([fold(form).text for form in forms])
            matcher = Matcher(selected)
            bare = _rate(len(texts), partial(_search, automaton, folded))
            found = matcher.match(texts)
            rate = _rate(len(texts), partial(matcher.match, texts))
            table.add_row(
                f"{number:,}", f"{len(forms):,}", f"{rate:,.0f}", f"{bare:,.0f}", f"{rate / bare:.2f}", ">= 0.5",
                f"{sum(len(spans) // 2 for each in found.values() for spans in each.values()):,}",
            )  # fmt: skip
        return table

    async def storing(self) -> Table:
        """Compare storing comments with matching and without keywords."""
        found = invented_comments(self._sizes.stored)
        table = Table("keywords", "comments/s", "ratio", title=f"Storing {len(found):,} comments with matching")
        plain = await self._stored(found, 0)
        table.add_row("0", f"{plain:,.0f}", "1")
        for number in self._sizes.keywords:
            rate = await self._stored(found, number)
            table.add_row(f"{number:,}", f"{rate:,.0f}", f"{rate / plain:.2f}")
        return table

    async def _stored(self, found: Sequence[VkComment], number: int) -> float:
        new = [NewKeyword(phrase, KeywordMatching.WORD_FORMS.value, None) for phrase in nouns(number)]
        async with open_database(read_settings(), await self.database()) as database:
            async with database.transaction() as connection:
                await groups.upsert_groups(connection, [VkGroup(1, "g", "G")])
                walls = sorted({each.post_id for each in found})
                await posts.upsert_posts(connection, [_post(post_id) for post_id in walls])
                if new:
                    await keywords.insert_keywords(connection, new)
            known, number = KnownKeywords(), 0
            await known.search(database, found[:STORED_AT_ONCE])  # starts the process that matches
            started = time.perf_counter()
            for start in range(0, len(found), STORED_AT_ONCE):
                pack = found[start : start + STORED_AT_ONCE]
                await known.search(database, pack)
                async with database.transaction() as connection:
                    await known.write_matches(connection, await comments.upsert_comments(connection, pack, number))
            return len(found) / (time.perf_counter() - started)

    async def analyzing(self) -> Table:
        """Compare the analysis job with the bare functions in one process, after a warm-up.

        The memory is the peak of both its processes, the stall is the longest block of the event loop.
        """
        number = self._sizes.analyzed
        url = await self.database()
        await fill(url, number)
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("SELECT text FROM comments ORDER BY id LIMIT $1", SAMPLE)
            texts = [row["text"] for row in rows]
        finally:
            await connection.close()
        bare = _rate(len(texts), partial(features_of, texts))
        table = Table(
            "run", "seconds", "comments/s", "ratio", "waves", "memory", "stall",
            title=f"Analysing {number:,} comments of {sum(map(len, texts)) / len(texts):.0f} characters",
        )  # fmt: skip
        table.add_row("bare", "", f"{bare:,.0f}", "1", "", "", "")
        for name, measured in (await run_in_process("bench.analyzer", database_url=url)).items():
            rate = measured["analyzed"] / measured["seconds"]
            table.add_row(
                name, f"{measured['seconds']:.1f}", f"{rate:,.0f}", f"{rate / bare:.2f}", f"{measured['waves']:,}",
                f"{measured['peak_bytes'] / 2**20:.0f} MiB", f"{1_000 * measured['stall_seconds']:.0f} ms",
            )  # fmt: skip
        return table

    async def counting(self) -> list[Table]:
        """Measure each statistic and each filter over many comments."""
        url = await self.database()
        await fill(url, self._sizes.counted, results=True)
        settings = read_settings(database_statement_timeout_seconds=UNLIMITED_SECONDS)
        async with open_database(settings, url) as database:
            tables = [await _statistics(Statistics(database), f"{self._sizes.counted:,}")]
            async with database.connect() as connection:
                tables.append(await _filters(connection, f"{self._sizes.counted:,}"))
        return tables


QUESTIONS: Sequence[tuple[str, Statistic[object], tuple[Any, ...]]] = (
    ("totals", store.totals, ()),
    ("number of authors", store.author_counts, ()),
    ("activity by days", store.series, (Bucket.DAY, "Europe/Moscow")),
    ("activity by hours", store.series, (Bucket.HOUR, "Europe/Moscow")),
    ("activity by days in a half-hour zone", store.series, (Bucket.DAY, "Asia/Kolkata")),
    ("hours of the week", store.hours_of_week, ("Europe/Moscow",)),
    ("top authors", store.authors, (10,)),
    ("top posts", store.posts, (PostRanking.COMMENTS, 10)),
    ("posts and delays", store.posts_summary, ()),
    ("top keywords", store.keywords, (10,)),
    ("languages", store.languages, ()),
    ("terms", store.terms, (10,)),
)


async def _statistics(statistics: Statistics, size: str) -> Table:
    """Measure each statistic cold and warm: of all communities and of one, for all time and for eleven months."""
    until = datetime(2026, 10, 15, 9, 30, tzinfo=UTC)
    months = Period(until - timedelta(days=335), until)
    cases = [(None, Period()), (None, months), ((-3,), Period()), ((-3,), months)]
    names = ("all, ever", "all, 11 months", "one, ever", "one, 11 months")
    table = Table("cold / warm, ms", *names, "goal warm", title=f"Statistics over {size} comments of ten communities")
    for name, function, arguments in QUESTIONS:
        cells = []
        for scope, period in cases:
            question: AnyQuestion = Question(function, scope, period, arguments)
            cold, warm = [await _milliseconds(partial(statistics.answers, [question])) for _ in range(2)]
            cells.append(f"{cold:.0f} / {warm:.1f}")
        table.add_row(name, *cells, "< 150")
    return table


async def _filters(connection: AsyncConnection, size: str) -> Table:
    """Read a page by each filter alone, and check whether its plan scans all comments."""
    table = Table("filter", "rows", "cold, ms", "warm, ms", "scans all", "goal", title=f"Pages of {size} comments")
    executed: list[tuple[str, Any]] = []
    engine = connection.engine.sync_engine

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        executed.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    driver: Any = (await connection.get_raw_connection()).driver_connection
    for name, conditions in _single_filters():
        orders = [comments.NEWEST, *([comments.RELEVANCE] if conditions.search else [])]
        for order in orders:
            page = Page(order, 20)
            cold, warm = [
                await _milliseconds(partial(comments.comments_page, connection, conditions, page)) for _ in range(2)
            ]
            statement, parameters = executed[-1]
            rows = len((await comments.comments_page(connection, conditions, page)).rows)
            plan = [row[0] for row in await driver.fetch(f"EXPLAIN {statement}", *parameters)]
            table.add_row(
                _titled(name, order),
                str(rows),
                f"{cold:.0f}",
                f"{warm:.0f}",
                "yes" if _scans_all(plan) else "no",
                "no",
            )
    event.remove(engine, "before_cursor_execute", note)
    return table


def _single_filters() -> Iterator[tuple[str, CommentConditions]]:
    words = vocabulary()
    frequent, usual, rare = words[5], words[len(words) // 20], words[-3]
    moment = datetime(2025, 11, 1, tzinfo=UTC)
    yield "search, frequent word", CommentConditions(search=frequent)
    yield "search, rare word", CommentConditions(search=rare)
    yield "search, phrase", CommentConditions(search=f'"{frequent} {usual}"')
    yield "search, minus word", CommentConditions(search=f"{usual} -{frequent}")
    yield "contains", CommentConditions(contains=usual[1:-1])
    yield "contains, nowhere", CommentConditions(contains="абвгдейка")
    yield "groupIds", CommentConditions(owner_ids=(-3, -4))
    yield "postIds", CommentConditions(posts=((-3, 4),))
    yield "authorIds", CommentConditions(author_ids=(77_777,))
    yield "keywordIds", CommentConditions(keyword_ids=(5,))
    yield "keywordCategories", CommentConditions(keyword_categories=("category 1",))
    for value in (True, False):
        yield f"hasMatches: {value}", CommentConditions(has_matches=value)
        yield f"isReply: {value}", CommentConditions(is_reply=value)
        yield f"isDeleted: {value}", CommentConditions(is_deleted=value)
        yield f"isViewed: {value}", CommentConditions(is_viewed=value)
        yield f"isArchived: {value}", CommentConditions(is_archived=value)
    yield "publishedFrom", CommentConditions(published_from=moment)
    yield "publishedTo", CommentConditions(published_to=moment)
    yield "language", CommentConditions(language="en")
    yield "mood: POSITIVE", CommentConditions(mood=1)
    yield "mood: NEGATIVE", CommentConditions(mood=-1)
    yield "mood: NEUTRAL", CommentConditions(mood=0)
    for value in (True, False):
        yield f"hasLinks: {value}", CommentConditions(has_links=value)
        yield f"isInWave: {value}", CommentConditions(is_in_wave=value)
    yield "waveIds", CommentConditions(wave_ids=(7, 8))
    yield "minLikes", CommentConditions(min_likes=200)
    either = (CommentConditions(search=rare), CommentConditions(author_ids=(77_777,)))
    yield "or", CommentConditions(any_of=either)
    yield "not", CommentConditions(none_of=either)


def _titled(name: str, order: Order) -> str:
    return name if order is comments.NEWEST else f"{name}, by relevance"


def _scans_all(plan: Sequence[str]) -> bool:
    return any("Seq Scan on comment" in line for line in plan)


@cache
def nouns(number: int) -> list[str]:
    """Return up to `number` Russian nouns in their dictionary form, always the same."""
    morph = MorphAnalyzer(lang="ru")
    starts = [a + b + c for a in "бвгдзклмнпрст" for b in "аеиоу" for c in "бвклмнрт"]
    random.Random(1).shuffle(starts)  # noqa: S311 - not a secret
    found: dict[str, None] = {}
    for start in starts:
        if len(found) >= number:
            break
        known = (each.word for each in morph.iter_known_word_parses(start) if _is_noun(each))
        found |= dict.fromkeys(islice(known, NOUNS_PER_START))
    return list(found)[:number]


def _is_noun(parse: Any) -> bool:
    return "NOUN,inan" in str(parse.tag) and parse.word == parse.normal_form


def texts_of(number: int) -> list[str]:
    """Return `number` texts of about 190 characters, typical of discussions on VK.

    29 % of them contain a mention and 17 % an emoji, like the simulator's short comments; these are lengthened by
    those of them that contain neither.
    """
    short = [each.text for each in invented_comments(max(1_000, number))]
    plain = cycle([words for words in short if PLAIN.fullmatch(words)])
    return [" ".join([words, *islice(plain, 3)]) for words in short[:number]]


def _search(automaton: ahocorasick_rs.AhoCorasick, folded: Sequence[str]) -> None:
    for words in folded:
        automaton.find_matches_as_indexes(words, overlapping=True)


def _rate(number: int, work: Callable[[], object]) -> float:
    """Return how many items per second `work` processes: the best of three runs over `number` items."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return number / min(times)


async def _milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return 1000 * (time.perf_counter() - started)


def _post(post_id: int) -> VkPost:
    return VkPost(-1, post_id, -1, 0, "", 0, 0, 0, 0, is_pinned=False, attachments=[])


async def run(sizes: Sizes) -> None:
    """Measure, and print the tables."""
    console = Console()
    with postgresql() as url:
        bench = Bench(url, sizes)
        console.print(await bench.matching())
        console.print(await bench.storing())
        console.print(await bench.analyzing())
        for table in await bench.counting():
            console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few comments")
    asyncio.run(run(QUICK if parser.parse_args().quick else FULL))
