"""Compares stored data with the truth: VK's history, recounted rollups, fresh keyword matches, events, exports."""

import csv
import hashlib
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from app.analysis.keywords import Keyword, KeywordMatching, matches_of
from app.job_states import JobState
from tests.acceptance.clients import Follower
from tests.acceptance.installation import PostgresServer
from tests.acceptance.outcomes import Outcome
from tests.conftest import Simulator
from tests.histories import PARTS, differences, is_alive

TRANSIENT_CODES = ("VK_UNAVAILABLE", "VK_RATE_LIMITED")
"""The codes with which a job may fail while VK answers with errors."""


@dataclass(frozen=True)
class Comparison:
    """What was compared, how many items, and their differences."""

    subject: str
    compared: int
    differences: list[str] = field(default_factory=list)


# comments and posts


async def compare_walls(postgres: PostgresServer, simulator: Simulator, group_ids: Iterable[int]) -> list[Comparison]:
    """Compare comments and posts after a full collection with the histories of their communities."""
    found: dict[str, list[str]] = {part: [] for part in (*PARTS, "posts")}
    comments = posts = 0
    for group_id in group_ids:
        history = simulator.history(group_id)
        rows = await postgres.fetch("SELECT * FROM comments WHERE owner_id = $1", -group_id)
        for each in differences(history, {row["id"]: row for row in rows}):
            found[each.part].append(
                f"wall-{group_id}, comment {each.comment_id}: stored {each.stored}, truth {each.true}"
            )
        comments += len(history)
        shown = set(simulator.truth(group_id))
        stored = await postgres.fetch("SELECT id FROM posts WHERE owner_id = $1 AND NOT is_deleted", -group_id)
        wrong = shown ^ {row["id"] for row in stored}
        found["posts"] += [
            f"wall-{group_id}_{post_id} is {'' if post_id in shown else 'not '}shown" for post_id in wrong
        ]
        posts += len(shown)
    numbers = {"comments": ("comments", comments), "posts": ("posts", posts)}
    return [Comparison(*numbers.get(part, (f"comments: {part}", comments)), wrong) for part, wrong in found.items()]


async def compare_deletions(
    postgres: PostgresServer, simulator: Simulator, group_ids: Iterable[int], hidden: Collection[tuple[int, int]]
) -> Comparison:
    """Find comments that are marked as deleted although VK has them and never hid them.

    Call it before a full collection, which would mark them as not deleted.
    """
    alive = {
        (-group_id, comment_id)
        for group_id in group_ids
        for comment_id, facts in simulator.history(group_id).items()
        if is_alive(facts) and (group_id, comment_id) not in hidden
    }
    rows = await postgres.fetch("SELECT owner_id, id FROM comments WHERE is_deleted ORDER BY owner_id, id")
    wrong = [f"wall{row['owner_id']}, comment {row['id']}" for row in rows if (row["owner_id"], row["id"]) in alive]
    return Comparison("comments: deletions amid faults", len(alive), wrong)


# rollups

_MONTH = "date_trunc('month', published_at AT TIME ZONE 'UTC')::date"
_DELAYS = ("10 minutes", "1 hour", "6 hours", "24 hours", "72 hours", "168 hours")
_DELAY_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE delay <= interval '{most}'" + (f" AND delay > interval '{least}')" if least else ")")
    for least, most in zip((None, *_DELAYS), _DELAYS, strict=False)
)
ROLLUPS = {
    "comment_hours": (
        "comments",
        "owner_id, hour, comments, replies, deleted, viewed, archived, likes",
        """SELECT owner_id, date_trunc('hour', published_at, 'UTC'), count(*), count(thread_id),
                  count(*) FILTER (WHERE is_deleted), count(viewed_at), count(archived_at), sum(like_count)
             FROM comments GROUP BY 1, 2""",
    ),
    "author_months": (
        "comments",
        "owner_id, month, author_id, comments, replies, likes",
        f"""SELECT owner_id, {_MONTH}, from_id, count(*), count(thread_id), sum(like_count)
              FROM comments WHERE from_id IS NOT NULL GROUP BY 1, 2, 3""",  # noqa: S608 - a constant
    ),
    "post_stats": (
        "comments",
        """owner_id, post_id, comments, replies, likes, within_10_minutes, within_hour, within_6_hours, within_day,
           within_3_days, within_week, later""",
        f"""SELECT owner_id, post_id, count(*), count(thread_id), sum(like_count), {_DELAY_COUNTS},
                   count(*) FILTER (WHERE delay > interval '168 hours')
              FROM (SELECT c.*, c.published_at - p.published_at AS delay
                      FROM comments c JOIN posts p ON p.owner_id = c.owner_id AND p.id = c.post_id) AS d
             GROUP BY 1, 2""",  # noqa: S608 - a constant
    ),
    "keyword_months": (
        "comments",
        "owner_id, month, keyword_id, comments, matches",
        f"""SELECT owner_id, {_MONTH}, keyword_id, count(*), sum(cardinality(positions) / 2)
              FROM comment_keywords GROUP BY 1, 2, 3""",  # noqa: S608 - a constant
    ),
    "language_months": (
        "comments",
        "owner_id, month, language, comments",
        f"SELECT owner_id, {_MONTH}, language, count(*) FROM comment_features GROUP BY 1, 2, 3",  # noqa: S608 - a constant
    ),
    "term_months": (
        "comments",
        "owner_id, month, term_id, comments",
        f"""SELECT owner_id, {_MONTH}, term_id, count(*)
              FROM comment_features, unnest(term_ids) AS term_id GROUP BY 1, 2, 3""",  # noqa: S608 - a constant
    ),
    "comment_search": (
        "owner_id",
        "owner_id, comment_id, folded, vector",
        """SELECT owner_id, id, folded, to_tsvector('russian', folded)
             FROM comments, LATERAL (SELECT lower(translate(text, 'ёЁ', 'еЕ')) AS folded) AS f""",
    ),
}
"""Table -> a column that is 0 in rows without counts, the columns, and the query that recounts them."""


async def compare_rollups(postgres: PostgresServer) -> list[Comparison]:
    """Compare the tables that triggers maintain with counts over the rows themselves."""
    return [await _compare_rollup(postgres, table) for table in ROLLUPS]


async def _compare_rollup(postgres: PostgresServer, table: str) -> Comparison:
    counted, columns, recount = ROLLUPS[table]
    stored = f"SELECT {columns} FROM {table} WHERE {counted} <> 0"  # noqa: S608 - the names are constants
    rows = await postgres.fetch(f"""
        WITH stored AS ({stored}), recounted AS ({recount})
        SELECT 'stored' AS source, d::text AS row FROM (TABLE stored EXCEPT ALL TABLE recounted) AS d
         UNION ALL SELECT 'truth', d::text FROM (TABLE recounted EXCEPT ALL TABLE stored) AS d
    """)  # noqa: S608 - the queries are constants
    [count] = await postgres.fetch(f"SELECT count(*) FROM ({recount}) AS r")  # noqa: S608 - a constant
    subject = "search texts" if table == "comment_search" else f"rollup {table}"
    return Comparison(subject, count["count"], [f"only in {row['source']}: {row['row']}" for row in rows])


# keywords


async def compare_keywords(postgres: PostgresServer) -> Comparison:
    """Compare the matches of active keywords with a search of all stored texts; removed keywords match nothing."""
    keywords = await postgres.fetch("SELECT * FROM keywords ORDER BY id")
    active = tuple(
        Keyword(row["id"], row["phrase"], KeywordMatching(row["matching"])) for row in keywords if row["is_active"]
    )
    comments = await postgres.fetch("SELECT owner_id, id, text FROM comments ORDER BY owner_id, id")
    found = matches_of(active, [row["text"] for row in comments])
    true = {
        (comments[place]["owner_id"], comments[place]["id"], keyword_id): positions
        for place, of_text in found.items()
        for keyword_id, positions in of_text.items()
    }
    inactive = {row["id"] for row in keywords if not row["is_active"]}
    stored = {
        (row["owner_id"], row["comment_id"], row["keyword_id"]): row["positions"]
        for row in await postgres.fetch("SELECT * FROM comment_keywords")
        if row["keyword_id"] not in inactive
    }
    wrong = [key for key in true.keys() | stored.keys() if true.get(key) != stored.get(key)]
    return Comparison(
        "keyword matches",
        len(true),
        [f"{key}: stored {stored.get(key)}, truth {true.get(key)}" for key in sorted(wrong)],
    )


# jobs

WATCH_WRITERS = """
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.writers (job_id bigint, epoch int, node text, PRIMARY KEY (job_id, epoch, node));
    CREATE FUNCTION chaos.note_writer() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos.writers VALUES (NEW.id, NEW.epoch, current_setting('chaos.node', true))
            ON CONFLICT DO NOTHING;
        RETURN NULL;
    END;
    $$;
    CREATE TRIGGER note_writer AFTER UPDATE ON jobs FOR EACH ROW
      WHEN (OLD.state = 'RUNNING' AND OLD.epoch = NEW.epoch
            AND (NEW.state = 'SUCCEEDED' OR (OLD.checkpoint, OLD.done) IS DISTINCT FROM (NEW.checkpoint, NEW.done)))
      EXECUTE FUNCTION chaos.note_writer();
"""
"""Records which process writes the progress of a job: each has its name as the setting `chaos.node`."""


async def compare_jobs(
    postgres: PostgresServer, outcome: Outcome, cancelled: Collection[str], followers: Iterable[Follower]
) -> list[Comparison]:
    """Compare how jobs have ended, their events, which processes wrote per epoch, and what remains of the jobs."""
    ends, events = [], []
    for job_id, row in outcome.jobs.items():
        failure = orjson.loads(row["failure"] or "{}")
        if row["state"] == "FAILED" and failure.get("code") not in TRANSIENT_CODES:
            ends.append(f"job {row['id']} ({row['kind']}) failed: {failure}")
        elif row["state"] == "CANCELLED" and job_id not in cancelled:
            ends.append(f"job {row['id']} ({row['kind']}) was cancelled without a request")
        events += [f"job {row['id']} ({row['kind']}): {problem}" for problem in outcome.problems(job_id)]
    writers = await postgres.fetch("SELECT job_id, epoch, array_agg(node) AS nodes FROM chaos.writers GROUP BY 1, 2")
    several = [row for row in writers if len(row["nodes"]) > 1]
    followed = [_followed(outcome, follower) for follower in followers]
    left = await postgres.fetch("""
        SELECT 'claim' AS kind, job_id AS id FROM job_groups UNION ALL SELECT 'queue entry', id FROM pgqueuer
    """)
    return [
        Comparison("jobs: final states", len(outcome.jobs), ends),
        Comparison("jobs: events and epochs", sum(map(len, outcome.events.values())), events),
        Comparison(
            "jobs: writers of an epoch",
            len(writers),
            [f"job {row['job_id']}, epoch {row['epoch']}: {row['nodes']}" for row in several],
        ),
        Comparison("jobs: events that followers saw", len(followed), [each for each in followed if each]),
        Comparison("jobs: nothing left", len(outcome.jobs), [f"{row['kind']} {row['id']}" for row in left]),
    ]


def _followed(outcome: Outcome, follower: Follower) -> str:
    events = outcome.events[follower.job_id]
    true = [(row["seq"], row["kind"], row["message"]) for row in events]
    # a job that is retried after its end continues without the followers that had seen that end
    seen_rows = events[: len(follower.seen)]
    has_seen_an_end = bool(seen_rows) and JobState(orjson.loads(seen_rows[-1]["facts"]).get("state", "QUEUED")).is_final
    is_correct = follower.seen == true[: len(follower.seen)] and has_seen_an_end
    return "" if is_correct else f"{follower.job_id}: {follower.seen} != {true}"


# exports

EXPORT_COLUMNS = {
    "VK_OWNER_ID": "owner_id",
    "VK_POST_ID": "post_id",
    "VK_ID": "id",
    "THREAD_VK_ID": "thread_id",
    "AUTHOR_VK_ID": "from_id",
    "LIKE_COUNT": "like_count",
    "IS_DELETED": "is_deleted",
    "TEXT": "text",
    "KEYWORDS": """ARRAY(SELECT k.phrase FROM comment_keywords m JOIN keywords k ON k.id = m.keyword_id
                          WHERE m.owner_id = c.owner_id AND m.comment_id = c.id ORDER BY m.keyword_id)""",
}
"""Column of an export -> its SQL expression over a comment `c`."""


async def expected_rows(postgres: PostgresServer) -> list[list[Any]]:
    """Return the rows of all comments that an export with EXPORT_COLUMNS must contain, in its order."""
    values = ", ".join(f"{value} AS c{number}" for number, value in enumerate(EXPORT_COLUMNS.values()))
    rows = await postgres.fetch(f"SELECT {values} FROM comments c ORDER BY owner_id, id")  # noqa: S608 - the expressions are constants
    return [list(row.values()) for row in rows]


def compare_csv(data: bytes, rows: Sequence[Sequence[Any]]) -> Comparison:
    """Compare a CSV file with semicolons, without byte order mark and without escaped formulas."""
    with io.StringIO(data.decode(), newline="") as file:
        lines = list(csv.reader(file, delimiter=";"))[1:]
    return _compare_rows("export: CSV", lines, [[_csv_value(value) for value in row] for row in rows])


def _csv_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def compare_json_lines(data: bytes, rows: Sequence[Sequence[Any]]) -> Comparison:
    """Compare a file of JSON lines."""
    lines = [list(orjson.loads(line).values()) for line in data.split(b"\n") if line]
    return _compare_rows("export: JSON lines", lines, rows)


def _compare_rows(subject: str, found: Sequence[Sequence[Any]], true: Sequence[Sequence[Any]]) -> Comparison:
    wrong = [f"file {a}, database {b}" for a, b in zip(found, true, strict=False) if list(a) != list(b)]
    if len(found) != len(true):
        wrong.append(f"{len(found)} rows instead of {len(true)}")
    return Comparison(subject, len(true), wrong)


async def compare_files(postgres: PostgresServer, directory: Path) -> Comparison:
    """Compare size and checksum of the files of all exports, including those made during faults."""
    rows = await postgres.fetch("SELECT * FROM exports")
    return Comparison("exports: files", len(rows), [wrong for row in rows if (wrong := _wrong_file(row, directory))])


def _wrong_file(row: asyncpg.Record, directory: Path) -> str:
    path = directory / str(row["job_id"]) / row["name"]
    if not path.exists():
        return f"{path} is missing"
    data = path.read_bytes()
    is_correct = (len(data), hashlib.sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
    return "" if is_correct else f"{path} has another size or checksum"
