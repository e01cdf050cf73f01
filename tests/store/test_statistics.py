"""Statistics are compared with counts that Python computes from the rows themselves."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from app.actions.mark_comments import mark_comments, remove_comments
from app.analysis.series import filled
from app.db import tables
from app.resources import Resources
from app.statistics import AnyQuestion, Question, Statistics
from app.store import comments, groups, posts, statistics
from app.store import statistics as store_statistics
from app.store.comment_marks import Marks
from app.store.statistics import DELAYS, Bucket, Period, PostRanking, Rows
from app.time_zones import offsets_of, zone_names
from app.wall import VkGroup
from tests.conftest import statements, write_wall
from tests.store.rows import comment, post, read

START = datetime(2025, 11, 20, 22, 30, tzinfo=UTC)
EVER = Period()
CUT = Period(START + timedelta(days=2, minutes=17), START + timedelta(days=75, minutes=41))
WITHIN_AN_HOUR = Period(START + timedelta(minutes=31), START + timedelta(minutes=55))
PERIODS = [EVER, CUT, WITHIN_AN_HOUR, Period(since=CUT.since), Period(until=CUT.until)]
SCOPES: list[statistics.Scope] = [None, (-1,), (-2, -1), (-7,), ()]
Found = list[tuple[Any, ...]]


async def write_years(resources: Resources, drawn: random.Random) -> None:
    """Write three walls with comments over three months and their features, then change many of them."""
    everything: list[tuple[int, int]] = []
    for owner_id in (-1, -2, -3):
        async with resources.database.transaction() as connection:
            await groups.upsert_groups(connection, [VkGroup(-owner_id, f"g{-owner_id}", "G")])
            times = {post_id: START + timedelta(hours=drawn.randrange(2000)) for post_id in range(1, 9)}
            await posts.upsert_posts(
                connection,
                [
                    post(
                        post_id,
                        owner_id=owner_id,
                        date=int(at.timestamp()),
                        likes=drawn.randrange(50),
                        views=drawn.choice([None, 0, 100]),
                    )
                    for post_id, at in times.items()
                ],
            )
            for first in (100, 200):
                written = [_comment(drawn, owner_id, times, comment_id) for comment_id in range(first, first + 60)]
                await comments.upsert_comments(connection, written, 0)
                everything += [(each.owner_id, each.id) for each in written]
            changed = [_comment(drawn, owner_id, times, comment_id) for comment_id in range(150, 180)]
            await comments.upsert_comments(connection, changed, 0)
    await _store_results(resources, drawn, everything)
    await mark_comments(resources, drawn.sample(everything, 90), Marks(viewed=True))
    await mark_comments(resources, drawn.sample(everything, 60), Marks(viewed=False, archived=True))
    await remove_comments(resources, drawn.sample(everything, 40))
    async with resources.database.transaction() as connection:
        await connection.execute(delete(tables.posts).where(tables.posts.c.id == 3))
        table = tables.comment_features
        await connection.execute(update(table).where(table.c.comment_id < 120).values(language="uk", term_ids=[2, 3]))


def _comment(drawn: random.Random, owner_id: int, times: dict[int, datetime], comment_id: int) -> Any:
    # values of an id are the same when it is drawn again: VK never moves a comment
    fixed = random.Random(f"{owner_id} {comment_id}")  # noqa: S311 - not a secret
    post_id = fixed.choice(list(times))
    delay = timedelta(seconds=int(2 ** (fixed.random() * 20)))
    return comment(
        comment_id,
        drawn.choice(["банк", "дом", "сад"]),
        owner_id=owner_id,
        post_id=post_id,
        from_id=fixed.choice([None, 5, 6, 7, -1]),
        date=int((times[post_id] + delay).timestamp()),
        likes=drawn.randrange(5),
        thread_id=fixed.choice([None, 100]),
        is_deleted=drawn.random() < 0.2,
    )


async def _store_results(resources: Resources, drawn: random.Random, keys: Sequence[tuple[int, int]]) -> None:
    """Store keyword matches, languages and terms of the comments."""
    async with resources.database.transaction() as connection:
        await connection.execute(insert(tables.terms), [{"lemma": lemma} for lemma in ("один", "два", "три", "четыре")])
        names = [{"phrase": phrase, "matching": "EXACT_WORD", "is_active": True} for phrase in ("один", "два", "три")]
        await connection.execute(insert(tables.keywords), names)
    stored = await read(resources, tables.comments)
    found = [
        {
            "owner_id": owner_id,
            "comment_id": comment_id,
            "keyword_id": keyword_id,
            "published_at": stored[owner_id, comment_id]["published_at"],
            "positions": [0, 4] * drawn.randint(1, 3),
        }
        for owner_id, comment_id in keys
        for keyword_id in drawn.sample((1, 2, 3), drawn.randrange(3))
    ]
    features = [
        {
            "owner_id": owner_id,
            "comment_id": comment_id,
            "published_at": stored[owner_id, comment_id]["published_at"],
            "language": drawn.choice(["ru", "en"]),
            "term_ids": drawn.sample((1, 2, 3, 4), drawn.randrange(4)),
            "links": [],
            "phones": [],
            "mention_ids": [],
            "mood": 0,
        }
        for owner_id, comment_id in keys
    ]
    async with resources.database.transaction() as connection:
        await connection.execute(insert(tables.comment_keywords), found)
        await connection.execute(insert(tables.comment_features), features)


def _is_in(period: Period, moment: datetime) -> bool:
    return (period.since is None or moment >= period.since) and (period.until is None or moment < period.until)


class Reference:
    """Counts over the rows of one scope and one period, computed as simply as possible."""

    def __init__(self, stored: dict[str, list[dict[str, Any]]], scope: statistics.Scope, period: Period) -> None:
        self._stored = {
            name: [row for row in rows if scope is None or row["owner_id"] in scope] for name, rows in stored.items()
        }
        self.posts = self._of("posts", period)
        self.comments = self._of("comments", period)
        self.keywords = self._of("comment_keywords", period)
        self.features = self._of("comment_features", period)
        self._period = period

    def _of(self, name: str, period: Period) -> list[dict[str, Any]]:
        return [row for row in self._stored[name] if _is_in(period, row["published_at"])]

    def totals(self) -> Found:
        """Return the only row: comments, replies, deleted, viewed, archived, likes."""
        if not self.comments:
            return []
        return [
            (
                len(self.comments),
                sum(row["thread_id"] is not None for row in self.comments),
                sum(row["is_deleted"] for row in self.comments),
                sum(row["viewed_at"] is not None for row in self.comments),
                sum(row["archived_at"] is not None for row in self.comments),
                sum(row["like_count"] for row in self.comments),
            )
        ]

    def series(self, bucket: Bucket, zone: str) -> Found:
        """Return the buckets that have comments."""
        return self._counted(lambda row: (_step(row["published_at"], bucket, zone),))

    def hours_of_week(self, zone: str) -> Found:
        """Return the hours of the week that have comments."""

        def cell(row: dict[str, Any]) -> tuple[int, int]:
            local = row["published_at"].astimezone(ZoneInfo(zone))
            return (local.isoweekday(), local.hour)

        return [row[:3] for row in self._counted(cell)]

    def _counted(self, key: Callable[[dict[str, Any]], tuple[Any, ...]]) -> Found:
        found = []
        for value, rows in groupby(sorted(self.comments, key=key), key):
            kept = list(rows)
            replies = sum(row["thread_id"] is not None for row in kept)
            deleted = sum(row["is_deleted"] for row in kept)
            found.append((*value, len(kept), replies, deleted, sum(row["like_count"] for row in kept)))
        return found

    def authors(self) -> Found:
        """Return authors by number of comments, descending."""
        written: dict[int, list[dict[str, Any]]] = {}
        for row in self.comments:
            if row["from_id"] is not None:
                written.setdefault(row["from_id"], []).append(row)
        ranked = sorted(written, key=lambda author: (-len(written[author]), author))
        return [
            (
                author,
                len(written[author]),
                sum(row["thread_id"] is not None for row in written[author]),
                sum(row["like_count"] for row in written[author]),
            )
            for author in ranked
        ]

    def top_posts(self) -> Found:
        """Return posts by number of comments, descending."""
        under = Counter((row["owner_id"], row["post_id"]) for row in self._stored["comments"])
        keys = sorted(((row["owner_id"], row["id"]) for row in self.posts), reverse=True)
        return [(*key, under[key]) for key in sorted(keys, key=lambda key: -under[key])]

    def delays(self) -> Found:
        """Return posts, their likes, and comments by their delay."""
        if not self.posts:
            return []
        published = {(row["owner_id"], row["id"]): row["published_at"] for row in self.posts}
        counts = dict.fromkeys(DELAYS, 0)
        for row in self._stored["comments"]:
            if (at := published.get((row["owner_id"], row["post_id"]))) is not None:
                seconds = (row["published_at"] - at).total_seconds()
                counts[next(name for name, most in DELAYS.items() if most is None or seconds <= most)] += 1
        return [(len(self.posts), sum(row["like_count"] for row in self.posts), *counts.values())]

    def top_keywords(self) -> Found:
        """Return keywords by number of matched comments, descending."""
        number, matches = Counter[int](), Counter[int]()
        for row in self.keywords:
            number[row["keyword_id"]] += 1
            matches[row["keyword_id"]] += len(row["positions"]) // 2
        ranked = sorted(number, key=lambda keyword: (-number[keyword], -matches[keyword], keyword))
        return [(keyword, number[keyword], matches[keyword]) for keyword in ranked]

    def languages(self) -> Found:
        """Return languages by frequency, descending."""
        return _ranked(row["language"] for row in self.features)

    def terms(self, lemmas: dict[int, str]) -> Found:
        """Return terms of whole months by frequency, descending."""
        whole = Period(
            self._period.since and self._period.since.replace(day=1, hour=0, minute=0),
            self._period.until
            and (self._period.until.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1),
        )
        rows = self._of("comment_features", whole)
        return [(lemmas[term], count) for term, count in _ranked(term for row in rows for term in row["term_ids"])]


def _ranked(values: Iterable[Any]) -> Found:
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))


def _step(moment: datetime, bucket: Bucket, zone: str) -> datetime:
    if bucket is Bucket.HOUR:
        local = moment.astimezone(ZoneInfo(zone))
        begun = moment - timedelta(minutes=local.minute, seconds=local.second)
        # a local hour has one offset
        while begun.astimezone(ZoneInfo(zone)).utcoffset() != local.utcoffset():
            begun += timedelta(minutes=1)
        return begun.replace(tzinfo=None)
    day = moment.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, tzinfo=None, fold=0)
    if bucket is Bucket.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket is Bucket.MONTH else day


def plain(rows: Sequence[object], *names: str) -> Found:
    return [tuple(getattr(row, name) for name in names) for row in rows]


async def test_statistics_equal_a_full_count(resources: Resources) -> None:
    """After all kinds of changes of comments, for each scope and period."""
    await write_years(resources, random.Random(7))  # noqa: S311 - not a secret
    stored = {
        name: list((await read(resources, getattr(tables, name))).values())
        for name in ("posts", "comments", "comment_keywords", "comment_features")
    }
    lemmas = {row["id"]: row["lemma"] for row in (await read(resources, tables.terms)).values()}
    counts = ("comments", "replies", "deleted", "likes")

    async def check(
        period: Period,
        ask: Callable[..., Awaitable[Rows[object]]],
        arguments: tuple[Any, ...],
        names: tuple[str, ...],
        expected: Callable[[Reference], Found],
    ) -> None:
        found = await ask(connection, SCOPES, period, *arguments)
        for place, scope in enumerate(SCOPES):
            assert plain(found.get(place, []), *names) == expected(Reference(stored, scope, period)), (
                ask,
                scope,
                period,
            )

    async with resources.database.connect() as connection:
        for period in PERIODS:
            totals = ("comments", "replies", "deleted", "viewed", "archived", "likes")
            await check(period, statistics.totals, (), totals, Reference.totals)
            for zone in ("UTC", "Europe/Moscow", "America/New_York", "Asia/Kolkata"):
                for bucket in Bucket:
                    await check(
                        period, statistics.series, (bucket, zone), ("start", *counts),
                        partial(Reference.series, bucket=bucket, zone=zone),
                    )  # fmt: skip
                await check(
                    period, statistics.hours_of_week, (zone,), ("weekday", "hour", "comments"),
                    partial(Reference.hours_of_week, zone=zone),
                )  # fmt: skip
            authors = ("author_id", "comments", "replies", "likes")
            await check(period, statistics.authors, (50,), authors, Reference.authors)
            await check(
                period, statistics.author_counts, (), ("authors",),
                lambda reference: [(len(reference.authors()),)] if reference.authors() else [],
            )  # fmt: skip
            ranked = (PostRanking.COMMENTS, 50)
            await check(period, statistics.posts, ranked, ("owner_id", "post_id", "comments"), Reference.top_posts)
            await check(period, statistics.posts_summary, (), ("posts", "likes", *DELAYS), Reference.delays)
            names = ("keyword_id", "comments", "matches")
            await check(period, statistics.keywords, (50,), names, Reference.top_keywords)
            await check(period, statistics.languages, (), ("language", "comments"), Reference.languages)
            await check(period, statistics.terms, (50,), ("lemma", "comments"), lambda rows: rows.terms(lemmas))
        first = await statistics.authors(connection, SCOPES, EVER, 2)
        assert [len(first.get(place, [])) for place in range(len(SCOPES))] == [2, 2, 2, 0, 0]


NASTY_YEARS = (2010, 2011)
"""Years in which zones skipped a day, left midnight out for an hour, and shifted by half an hour."""


def nasty_moments() -> list[datetime]:
    """Return times around the changes of all zones, each once."""
    changes = {start for name in zone_names() for start in offsets_of(name).starts if start.year in NASTY_YEARS}
    around = (-1, 0, 59, 3601)
    return sorted({change + timedelta(seconds=seconds) for change in changes for seconds in around})


def different_zones() -> list[str]:
    """Return one zone for each history of offsets in those years."""
    first, last = datetime(NASTY_YEARS[0], 1, 1, tzinfo=UTC), datetime(NASTY_YEARS[-1] + 1, 1, 1, tzinfo=UTC)
    zones: dict[Any, str] = {}
    for name in sorted(zone_names()):
        offsets = offsets_of(name)
        changes = [(start, offsets.local(start)) for start in offsets.starts if first <= start < last]
        zones.setdefault((offsets.local(first), *changes), name)
    return list(zones.values())


async def test_all_zones_around_their_changes(resources: Resources) -> None:
    """With each bucket: the counts equal the rows, in whole hours and others."""
    rows = [comment(number, date=int(moment.timestamp())) for number, moment in enumerate(nasty_moments(), 100)]
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "g1", "G")])
        await posts.upsert_posts(connection, [post(1)])
        await comments.upsert_comments(connection, rows, 0)
    stored = {"comments": list((await read(resources, tables.comments)).values())}
    reference = Reference({"posts": [], "comment_keywords": [], "comment_features": [], **stored}, (-1,), EVER)
    zones = different_zones()
    assert len(zones) > 50
    async with resources.database.connect() as connection:
        for zone in zones:
            for bucket in Bucket:
                found = (await statistics.series(connection, [(-1,)], EVER, bucket, zone))[0]
                counted = plain(found, "start", "comments", "replies", "deleted", "likes")
                assert counted == reference.series(bucket, zone), (zone, bucket)
                if bucket is not Bucket.HOUR:
                    steps = filled({row.start: row for row in found}, bucket.value, ZoneInfo(zone))
                    starts = [start for start, _ in steps]
                    assert all(before < after for before, after in pairwise(starts)), (zone, bucket)
            hours = (await statistics.hours_of_week(connection, [(-1,)], EVER, zone))[0]
            assert plain(hours, "weekday", "hour", "comments") == reference.hours_of_week(zone), zone


async def test_the_version_changes_with_all_counted_values(resources: Resources) -> None:
    """And only that of its wall."""
    for owner_id in (-1, -2):
        await write_wall(resources, owner_id)

    async def versions() -> list[str]:
        async with resources.database.connect() as connection:
            return await statistics.versions(connection, [(-1,), (-2,), None, (-9,)])

    async def change(statement: Any) -> None:
        async with resources.database.transaction() as connection:
            await connection.execute(statement)

    key = {"owner_id": -1, "comment_id": 2, "published_at": START}
    features = {"language": "ru", "term_ids": [], "links": [], "phones": [], "mention_ids": [], "mood": 0}
    before = await versions()
    for statement in (
        update(tables.comments).where(tables.comments.c.owner_id == -1).values(like_count=9),
        insert(tables.comment_keywords).values(**key, keyword_id=1, positions=[0, 1]),
        delete(tables.comment_keywords),
        insert(tables.comment_features).values(**key, **features),
        update(tables.comment_features).values(language="en"),
        update(tables.posts).where(tables.posts.c.owner_id == -1).values(view_count=9),
        delete(tables.comments).where(tables.comments.c.owner_id == -1),
    ):
        await change(statement)
        after = await versions()
        assert (after[0] != before[0], after[1] == before[1], after[2] != before[2], after[3]) == (True, True, True, "")
        before = after
    added = {"matching": "EXACT_WORD", "is_active": True}
    for statement in (
        insert(tables.keywords).values([added | {"phrase": phrase} for phrase in ("a", "b")]),
        delete(tables.keywords).where(tables.keywords.c.phrase == "a"),
        insert(tables.keywords).values(phrase="c", **added),
        delete(tables.keywords),
    ):
        await change(statement)
        after = await versions()
        assert {one == other for one, other in zip(before[:2], after[:2], strict=True)} == {False}
        before = after


async def test_unchanged_statistics_are_cached(resources: Resources) -> None:
    await write_wall(resources)
    await write_wall(resources, -2)
    statistics = Statistics(resources.database)
    questions: list[AnyQuestion] = [Question(store_statistics.totals, (owner_id,), EVER) for owner_id in (-1, -2)]
    questions += [Question(store_statistics.authors, (-1,), EVER, (3,)), Question(store_statistics.totals, (-1,), EVER)]
    with statements(resources) as first:
        before = await statistics.answers(questions)
    with statements(resources) as again:
        assert await statistics.answers(questions) == before
    assert plain(before[3], "comments") == [(12,)]
    await mark_comments(resources, [(-1, 2)], Marks(viewed=True))
    with statements(resources) as changed:
        after = await statistics.answers(questions)
    assert [plain(rows, "viewed") for rows in (after[0], after[1])] == [[(1,)], [(0,)]]
    # the versions, and a statement per function
    assert (len(first), len(again), len(changed)) == (3, 1, 3)


@given(
    since=st.datetimes(datetime(2019, 1, 1), datetime(2021, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the time zone
    length=st.timedeltas(timedelta(0), timedelta(days=400)),
)
def test_partial_and_whole_buckets_add_up_to_the_period(since: datetime, length: timedelta) -> None:
    period = Period(since, since + length)
    cases: list[tuple[dict[str, Any], Callable[[Any], datetime]]] = [
        (period.in_months(), _as_is),
        (period.in_hours(), lambda moment: moment),
    ]
    for parts, start_of in cases:
        pieces = list(zip(parts["starts"], parts["ends"], strict=True))
        if start_of(parts["first"]) < start_of(parts["last"]):
            pieces.append((start_of(parts["first"]), start_of(parts["last"])))
        pieces.sort()
        assert all(end == start for (_, end), (start, _) in pairwise(pieces))
        covered = sum(((end - start) for start, end in pieces), timedelta())
        assert covered == length
        assert not pieces or (pieces[0][0], pieces[-1][1]) == (period.since, period.until)


def _as_is(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
