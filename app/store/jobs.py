"""Jobs, their events, and the communities reserved for them. The row is the source of truth that clients see.

Each write of a running job contains the epoch with which its worker claimed it,
so a worker that was declared dead cannot write any more.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import (
    ColumnElement,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import EnumText, job_events, job_groups, jobs
from app.errors import JobAlreadyRunning
from app.job_states import JobEventKind, JobState
from app.json_types import JsonObject, JsonValue
from app.store.arrays import is_among
from app.store.keyset import Key, Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.store.rows import ClaimedJobRow, FollowedJobRow, HeartbeatAgeRow, JobEventRow, JobRow, LockedJobRow

NEWEST = Order("NEWEST", ("created_at", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("created_at", "id"))
BY_SEQ = Order("SEQ", ("seq",))
KEY = ("id",)
FINAL = tuple(state for state in JobState if state.is_final)
FOLLOWED = [column for column in jobs.c if column.name not in ("heartbeat_at", "checkpoint")]
"""The columns that followers of a job receive: a heartbeat is not a change, and a checkpoint may be large."""


@dataclass(frozen=True, slots=True)
class JobConditions:
    """Conditions that select jobs; None does not restrict."""

    kinds: tuple[str, ...] | None = None
    states: tuple[JobState, ...] | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; a selected job meets all of them."""
        conditions: list[tuple[object, Callable[[], ColumnElement[bool]]]] = [
            (self.kinds, lambda: jobs.c.kind.in_(self.kinds or ())),
            (self.states, lambda: jobs.c.state.in_(self.states or ())),
        ]
        return [condition() for value, condition in conditions if value is not None]

    def matches(self, row: FollowedJobRow) -> bool:
        """Return whether a row meets the conditions, with the same result as `sql` in PostgreSQL."""
        return (self.kinds is None or row.kind in self.kinds) and (self.states is None or row.state in self.states)


# reading


async def jobs_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, JobRow]:
    """Read jobs: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, jobs, KEY, keys)


async def job_by_id(connection: AsyncConnection, job_id: int) -> JobRow | None:
    """Read one job, or None."""
    return (await connection.execute(select(jobs).where(jobs.c.id == job_id))).first()


async def followed_job(connection: AsyncConnection, job_id: int) -> FollowedJobRow | None:
    """Read the columns of a job that its followers receive, or None."""
    return (await connection.execute(select(*FOLLOWED).where(jobs.c.id == job_id))).first()


async def followed_jobs(connection: AsyncConnection, ids: Collection[int]) -> Sequence[FollowedJobRow]:
    """Read the columns of these jobs that their followers receive; unknown ones are absent."""
    return (await connection.execute(select(*FOLLOWED).where(is_among(jobs.c.id, ids)))).all()


async def followed_jobs_since(connection: AsyncConnection, ended_since: datetime) -> Sequence[FollowedJobRow]:
    """Read the columns that followers receive of all jobs that are unfinished or ended at this time or later."""
    # Literal states instead of parameters: PostgreSQL only then uses the partial index of unfinished jobs.
    condition = or_(text("state IN ('QUEUED', 'RUNNING')"), jobs.c.finished_at >= ended_since)
    return (await connection.execute(select(*FOLLOWED).where(condition))).all()


async def current_time(connection: AsyncConnection) -> datetime:
    """Return PostgreSQL's time, by which all `*_at` columns are set."""
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now


async def jobs_page(connection: AsyncConnection, conditions: JobConditions, page: Page) -> Slice[JobRow]:
    """Read a page of the selected jobs."""
    return await page_rows(connection, jobs, conditions.sql(), page)


async def count_jobs(connection: AsyncConnection, conditions: JobConditions) -> int:
    """Count the selected jobs."""
    return await count_rows(connection, jobs, conditions.sql())


async def events_by_job(
    connection: AsyncConnection, keys: Sequence[Key], _: None, page: Page
) -> Mapping[Key, Slice[JobEventRow]]:
    """Read the same page of each job's events: (job_id,) -> slice; jobs without events are absent."""
    return await pages_by_key(connection, job_events, ("job_id",), keys, (), page)


async def count_events_by_job(connection: AsyncConnection, keys: Sequence[Key], _: None) -> Mapping[Key, int]:
    """Count each job's events: (job_id,) -> count; zeros are absent."""
    return await counts_by_key(connection, job_events, ("job_id",), keys)


async def events_after(connection: AsyncConnection, job_id: int, seq: int, limit: int) -> Sequence[JobEventRow]:
    """Read up to `limit` events of a job with a greater `seq`, in order."""
    statement = select(job_events).where(job_events.c.job_id == job_id, job_events.c.seq > seq)
    return (await connection.execute(statement.order_by(job_events.c.seq).limit(limit))).all()


async def heartbeat_ages_by_job(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, HeartbeatAgeRow]:
    """Read the heartbeat ages of running jobs: (job id,) -> `seconds`; jobs that do not run are absent."""
    heartbeat_age = func.extract("epoch", func.now() - jobs.c.heartbeat_at)
    statement = select(jobs.c.id, heartbeat_age.label("seconds")).where(
        is_among(jobs.c.id, [job_id for (job_id,) in keys]), jobs.c.state == JobState.RUNNING
    )
    return {(row.id,): row for row in await connection.execute(statement)}


async def cancelled_among(connection: AsyncConnection, ids: Collection[int]) -> set[int]:
    """Return which of these jobs have a cancellation request."""
    statement = select(jobs.c.id).where(is_among(jobs.c.id, ids), jobs.c.cancel_requested_at.is_not(None))
    return set(await connection.scalars(statement))


# writing


async def insert_job(connection: AsyncConnection, values: Mapping[str, object]) -> JobRow:
    """Insert a job and return its row."""
    row: JobRow = (await connection.execute(insert(jobs).values(**values).returning(jobs))).one()
    return row


async def claim_groups(connection: AsyncConnection, job_id: int, owner_ids: Collection[int]) -> set[int]:
    """Reserve communities for a job until it ends: all existing ones, or none. Return the existing ones.

    Of two concurrent jobs that reserve the same community, the second waits for
    the first: it then sees the first job's row, or none if that was rolled back.

    Raises:
        JobAlreadyRunning: one of them is reserved for another unfinished job.
    """
    statement = text("""
        WITH there AS (
            SELECT owner_id FROM groups WHERE owner_id = ANY(:owner_ids) ORDER BY owner_id FOR KEY SHARE),
        claimed AS (
            INSERT INTO job_groups (owner_id, job_id) SELECT owner_id, :job_id FROM there
            ON CONFLICT (owner_id) DO NOTHING RETURNING owner_id)
        SELECT owner_id, EXISTS (SELECT FROM claimed WHERE claimed.owner_id = there.owner_id) AS is_claimed FROM there
    """)
    existing: set[int] = set()
    unclaimed = set(owner_ids)
    while unclaimed:
        # Check before locking communities: a job that removes them would wait for our locks, and we for its removal.
        held = select(job_groups.c.owner_id, job_groups.c.job_id).where(is_among(job_groups.c.owner_id, unclaimed))
        if holder := (await connection.execute(held.order_by(job_groups.c.owner_id.desc()))).first():
            raise JobAlreadyRunning(holder.job_id, holder.owner_id)
        rows = (await connection.execute(statement, {"job_id": job_id, "owner_ids": list(unclaimed)})).all()
        existing |= {row.owner_id for row in rows}
        # Another job has claimed these meanwhile, but may have ended already: check again.
        unclaimed = {row.owner_id for row in rows if not row.is_claimed}
    return existing


async def release_groups(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Release the communities that are reserved for these jobs."""
    await connection.execute(delete(job_groups).where(is_among(job_groups.c.job_id, job_ids)))


async def move_job(
    connection: AsyncConnection,
    job_id: int,
    *,
    former: Collection[JobState],
    values: Mapping[str, object],
    epoch: int | None = None,
) -> JobRow | None:
    """Write `values` if the job is in one of the `former` states and, if given, has this `epoch`.

    Return the new row, or None if the job is in another state or was claimed again.
    """
    conditions = [jobs.c.id == job_id, jobs.c.state.in_(former)]
    if epoch is not None:
        conditions.append(jobs.c.epoch == epoch)
    moved: JobRow | None = (
        await connection.execute(update(jobs).where(*conditions).values(**values).returning(jobs))
    ).first()
    return moved


async def lock_jobs(
    connection: AsyncConnection, job_ids: Collection[int], *, skip_locked: bool = False
) -> Sequence[JobRow]:
    """Lock jobs, by id, until the transaction ends, and return their rows; `skip_locked` skips locked ones."""
    statement = select(jobs).where(is_among(jobs.c.id, job_ids)).order_by(jobs.c.id)
    return (await connection.execute(statement.with_for_update(skip_locked=skip_locked))).all()


async def claim_jobs(
    connection: AsyncConnection,
    job_ids: Mapping[int, int],
    worker: str,
    events: Mapping[JobState, Mapping[str, str]],
) -> Sequence[ClaimedJobRow]:
    """Claim jobs for `worker`, each with the next epoch and an event; return their rows with the `former` state.

    `job_ids` maps queue entries to their jobs; a job with another queue entry is
    not claimed. `events` maps each former state to the `message` and `reason` of the
    event; only jobs in these states are claimed. Jobs with a cancellation request,
    without attempts left, or locked by another transaction are skipped.
    """
    statement = text("""
        WITH selected AS (
            SELECT id, state AS former FROM jobs
             WHERE id = ANY(:ids) AND queue_id = ANY(:entries)
               AND state IN (SELECT jsonb_object_keys(CAST(:event_facts AS jsonb)))
               AND cancel_requested_at IS NULL AND attempts < max_attempts
             FOR UPDATE SKIP LOCKED),
        claimed AS (
            UPDATE jobs SET state = 'RUNNING', epoch = epoch + 1, attempts = attempts + 1, last_seq = last_seq + 1,
                   started_at = coalesce(started_at, now()), heartbeat_at = now(), failure = NULL, worker = :worker
              FROM selected WHERE jobs.id = selected.id
            RETURNING jobs.*, selected.former),
        events AS (
            INSERT INTO job_events (job_id, seq, kind, message, facts)
            SELECT id, last_seq, 'STATE_CHANGED', CAST(:event_facts AS jsonb) -> former ->> 'message',
                   jsonb_build_object('state', state, 'reason', CAST(:event_facts AS jsonb) -> former ->> 'reason',
                       'attempt', attempts, 'worker', worker)
              FROM claimed)
        SELECT * FROM claimed ORDER BY id
    """)
    values = {
        "entries": list(job_ids),
        "ids": list(job_ids.values()),
        "event_facts": orjson.dumps({state.value: facts for state, facts in events.items()}).decode(),
        "worker": worker,
    }
    return (await connection.execute(statement.columns(*jobs.c, column("former", EnumText(JobState))), values)).all()


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run, as values of rows. Written only if the job is in a `former` state and has this epoch.

    `events` are (kind, message, facts). `is_attempt`: whether the run counts as one of the job's attempts.
    """

    id: int
    epoch: int
    former: tuple[JobState, ...]
    state: JobState
    is_final: bool
    result: JsonValue
    failure: JsonObject | None
    retry_after_seconds: float
    is_attempt: bool
    events: Sequence[tuple[JobEventKind, str, Mapping[str, object]]]


async def end_jobs(connection: AsyncConnection, ends: Sequence[RunEnd]) -> set[int]:
    """Write the ends of runs with their events; return the ids of the jobs whose lease these runs still had.

    The queue entry of an ended job is deleted, that of a job to retry can be claimed after `retry_after_seconds`.
    A job with a cancellation request is not requeued: it is left out.
    """
    statement = text("""
        WITH ends AS (
            SELECT * FROM jsonb_to_recordset(CAST(:ends AS jsonb)) AS e (
                id bigint, epoch int, former jsonb, state text, is_final boolean, result jsonb, failure jsonb,
                retry_after_seconds float, is_attempt boolean, events jsonb)),
        held AS (SELECT id FROM jobs WHERE id IN (SELECT id FROM ends) ORDER BY id FOR NO KEY UPDATE),
        moved AS (
            UPDATE jobs SET state = ends.state, failure = ends.failure, result = coalesce(ends.result, jobs.result),
                   attempts = jobs.attempts - CASE WHEN ends.is_attempt THEN 0 ELSE 1 END, worker = NULL,
                   rate_per_second = CASE WHEN NOT ends.is_final THEN jobs.rate_per_second END,
                   finished_at = CASE WHEN ends.is_final THEN now() END,
                   queued_at = CASE WHEN ends.is_final THEN jobs.queued_at
                                    ELSE now() + make_interval(secs => ends.retry_after_seconds) END,
                   last_seq = jobs.last_seq + jsonb_array_length(ends.events)
              FROM ends JOIN held USING (id)
             WHERE jobs.id = ends.id AND jobs.epoch = ends.epoch AND ends.former ? jobs.state
               AND (ends.is_final OR jobs.cancel_requested_at IS NULL)
            RETURNING jobs.id, jobs.queue_id, jobs.last_seq, jobs.priority, ends.is_final, ends.retry_after_seconds,
                      ends.events),
        dropped AS (
            DELETE FROM pgqueuer USING moved WHERE pgqueuer.id = moved.queue_id AND moved.is_final),
        back AS (
            UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now(),
                   -- a resumed job had a raised priority: from now on it waits with its own one
                   priority = moved.priority, attempts = attempts + 1,
                   execute_after = now() + make_interval(secs => moved.retry_after_seconds)
              FROM moved WHERE pgqueuer.id = moved.queue_id AND NOT moved.is_final),
        new_events AS (
            INSERT INTO job_events (job_id, seq, kind, message, facts)
            SELECT id, last_seq - jsonb_array_length(events) + place, event ->> 0, event ->> 1, event -> 2
              FROM moved, jsonb_array_elements(events) WITH ORDINALITY AS e (event, place))
        SELECT id FROM moved
    """)
    values = orjson.dumps(list(ends)).decode()
    return set(await connection.scalars(statement, {"ends": values}))


async def write_queue_id(connection: AsyncConnection, job_id: int, queue_id: int) -> None:
    """Record the queue entry of a job."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(queue_id=queue_id))


async def lock_job(connection: AsyncConnection, job_id: int, epoch: int) -> LockedJobRow | None:
    """Lock a running job until the transaction ends, so that no other worker can claim it; return its row.

    None if it is no longer running with this epoch: the caller must not write.
    """
    statement = select(jobs.c.cancel_requested_at).where(
        jobs.c.id == job_id, jobs.c.epoch == epoch, jobs.c.state == JobState.RUNNING
    )
    return (await connection.execute(statement.with_for_update())).first()


async def write_progress(connection: AsyncConnection, job_id: int, values: Mapping[str, object]) -> None:
    """Write progress and checkpoint of a job that this transaction has locked with `lock_job`."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(heartbeat_at=func.now(), **values))


async def write_heartbeats(connection: AsyncConnection, runs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Write the heartbeats of runs (job id, epoch) and of their queue entries; return the runs that lost their lease.

    Skip locked rows: a step of the run is being written, which writes the heartbeat as well.
    """
    statement = text("""
        WITH mine AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS int[])) AS mine (id, epoch)),
        free AS (
            SELECT jobs.id FROM jobs JOIN mine ON mine.id = jobs.id AND mine.epoch = jobs.epoch
             WHERE jobs.state = 'RUNNING' FOR NO KEY UPDATE OF jobs SKIP LOCKED),
        beaten AS (UPDATE jobs SET heartbeat_at = now() FROM free WHERE jobs.id = free.id),
        kept AS (
            UPDATE pgqueuer SET heartbeat = now()
              FROM jobs JOIN mine ON mine.id = jobs.id AND mine.epoch = jobs.epoch
             WHERE pgqueuer.id = jobs.queue_id AND pgqueuer.status = 'picked' AND jobs.state = 'RUNNING')
        SELECT mine.id, mine.epoch FROM mine LEFT JOIN jobs ON jobs.id = mine.id AND jobs.epoch = mine.epoch
                                               AND jobs.state = 'RUNNING'
         WHERE jobs.id IS NULL
    """)
    values = {"ids": [job_id for job_id, _ in runs], "epochs": [epoch for _, epoch in runs]}
    return {(row.id, row.epoch) for row in await connection.execute(statement, values)}


async def remove_finished(connection: AsyncConnection, before: datetime | None, limit: int) -> int:
    """Delete up to `limit` ended jobs (`before` a time, if given), oldest first, with their events; return how many."""
    conditions: list[ColumnElement[bool]] = [jobs.c.finished_at.is_not(None), jobs.c.state.in_(FINAL)]
    if before:
        conditions.append(jobs.c.finished_at < before)
    oldest = select(jobs.c.id).where(*conditions).order_by(jobs.c.finished_at).limit(limit)
    # Skip locked rows: another transaction is just requeueing the job.
    unlocked = oldest.with_for_update(skip_locked=True)
    return int((await connection.execute(delete(jobs).where(jobs.c.id.in_(unlocked), *conditions))).rowcount)


async def add_event(
    connection: AsyncConnection, job_id: int, kind: str, message: str, facts: Mapping[str, object]
) -> int:
    """Append an event to a job and return its `seq`: one more than the last, without gaps."""
    raised = update(jobs).where(jobs.c.id == job_id).values(last_seq=jobs.c.last_seq + 1).returning(jobs.c.last_seq)
    seq = (await connection.execute(raised)).scalar_one()
    values = {"job_id": job_id, "seq": seq, "kind": kind, "message": message, "facts": dict(facts)}
    await connection.execute(insert(job_events).values(**values))
    return int(seq)
