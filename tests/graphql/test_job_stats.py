"""`jobStats`, and the position and the worker of a job."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func

from app.db.tables import jobs as table
from app.resources import Resources
from app.store.jobs import current_time
from app.store.workers import write_heartbeat
from tests.conftest import Api, statements
from tests.graphql.conftest import MakeJob, gid
from tests.jobs.conftest import claim_job
from tests.store.test_jobs import change, insert

STATS = """
query ($lastHours: Float! = 24) {
  jobStats(lastHours: $lastHours) {
    lastHours
    counts { kind state count }
    kinds {
      kind endedCount endedPerHour longestWaitSeconds
      waitingSeconds { p50 p90 p99 max } durationSeconds { p50 p90 p99 max }
    }
    workers { name kinds concurrency runningCount startedAt heartbeatAgeSeconds }
  }
}"""
PLACES = """
query ($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Job { state heartbeatAgeSeconds queuePosition { position notBefore } } }
}
"""


async def stats(api: Api, **variables: Any) -> dict[str, Any]:
    """Return the statistics."""
    found: dict[str, Any] = (await api.execute(STATS, **variables))["jobStats"]
    return found


async def test_without_jobs(api: Api) -> None:
    assert await stats(api) == {"lastHours": 24, "counts": [], "kinds": [], "workers": []}


async def test_counts_times_and_workers(api: Api, resources: Resources) -> None:
    for number in range(1, 101):
        begun = func.now() - timedelta(hours=1)
        await insert(
            resources,
            state="FAILED" if number > 90 else "SUCCEEDED",
            created_at=begun - timedelta(seconds=number),
            started_at=begun,
            finished_at=begun + timedelta(seconds=10 * number),
        )
    await insert(resources, state="CANCELLED", finished_at=func.now() - timedelta(hours=30))
    await insert(resources, queued_at=func.now() - timedelta(seconds=100))
    running = await insert(resources, state="RUNNING", worker="host:1")
    async with resources.database.transaction() as connection:
        await write_heartbeat(connection, "host:1", 4, ["collect_comments", "a kind of a later version"])
    found = await stats(api)
    assert found["counts"] == [
        {"kind": "COLLECT_COMMENTS", "state": "FAILED", "count": 10},
        {"kind": "COLLECT_COMMENTS", "state": "QUEUED", "count": 1},
        {"kind": "COLLECT_COMMENTS", "state": "RUNNING", "count": 1},
        {"kind": "COLLECT_COMMENTS", "state": "SUCCEEDED", "count": 90},
    ]
    [kind] = found["kinds"]
    assert kind["kind"] == "COLLECT_COMMENTS"
    assert (kind["endedCount"], kind["endedPerHour"]) == (100, round(100 / 24, 3))
    assert kind["waitingSeconds"] == {"p50": 50.5, "p90": 90.1, "p99": 99.01, "max": 100}
    assert kind["durationSeconds"] == {"p50": 505, "p90": 901, "p99": 990.1, "max": 1000}
    assert 100 <= kind["longestWaitSeconds"] < 200
    [worker] = found["workers"]
    assert worker["name"] == "host:1"
    assert (worker["kinds"], worker["concurrency"], worker["runningCount"]) == (["COLLECT_COMMENTS"], 4, 1)
    assert 0 <= worker["heartbeatAgeSeconds"] < 10
    assert running.state == "RUNNING"


async def test_a_job_that_ended_before_it_began_has_no_times(api: Api, make_job: MakeJob) -> None:
    job_id = gid("Job", await make_job())
    await api.execute("mutation ($id: ID!) { cancelJob(input: {jobId: $id}) { __typename } }", id=job_id)
    [kind] = (await stats(api))["kinds"]
    assert (kind["endedCount"], kind["waitingSeconds"], kind["durationSeconds"]) == (1, None, None)
    assert kind["longestWaitSeconds"] is None


async def test_a_time_that_is_too_long(api: Api) -> None:
    for hours in (0, -1, 745):
        error = await api.fail(STATS, lastHours=hours)
        assert error["extensions"]["code"] == "VALIDATION_FAILED"
        assert error["message"] == "lastHours: must be more than 0 and at most 744"


async def test_dead_workers_are_not_listed(api: Api, resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await write_heartbeat(connection, "dead:1", 4, [])
    connect = resources.database.transaction
    async with connect() as connection:
        await connection.exec_driver_sql("UPDATE workers SET seen_at = now() - interval '11 seconds'")
    assert (await stats(api))["workers"] == []


async def test_positions_and_heartbeats(api: Api, resources: Resources, make_job: MakeJob) -> None:
    job_ids = [await make_job(-number) for number in range(1, 4)]
    assert await claim_job(resources, job_ids[0], "host:1")
    async with resources.database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE pgqueuer SET status = 'picked' WHERE priority = 10 AND id = 1")
        await connection.exec_driver_sql("UPDATE pgqueuer SET priority = 20 WHERE id = 3")
    await change(resources, job_ids[0], heartbeat_at=func.now() - timedelta(seconds=7))
    nodes = (await api.execute(PLACES, ids=[gid("Job", job_id) for job_id in job_ids]))["nodes"]
    assert 7 <= nodes[0].pop("heartbeatAgeSeconds") < 27
    assert nodes == [
        {"state": "RUNNING", "queuePosition": None},
        {"state": "QUEUED", "heartbeatAgeSeconds": None, "queuePosition": {"position": 2, "notBefore": None}},
        {"state": "QUEUED", "heartbeatAgeSeconds": None, "queuePosition": {"position": 1, "notBefore": None}},
    ]


async def test_positions_of_many_jobs_cost_no_more_statements(
    api: Api, resources: Resources, make_job: MakeJob
) -> None:
    job_ids = [gid("Job", await make_job(-number)) for number in range(1, 21)]
    counts = []
    for ids in (job_ids[:1], job_ids):
        with statements(resources) as seen:
            await api.execute(PLACES, ids=ids)
        counts.append(len(seen))
    assert counts[0] == counts[1]


REMOVE = """
mutation ($olderThan: DateTime) {
  removeFinishedJobs(input: {olderThan: $olderThan}) {
    __typename
    ... on RemoveFinishedJobsSuccess { removedCount }
    ... on ValidationFailedError { fields { path message } }
    ... on ServiceUnavailableError { service }
  }
}"""


async def test_remove_finished_jobs(api: Api, resources: Resources) -> None:
    for days in range(1, 6):
        await insert(resources, state="SUCCEEDED", finished_at=func.now() - timedelta(days=days))
    waits, runs = await insert(resources), await insert(resources, state="RUNNING")
    async with resources.database.connect() as connection:
        now = await current_time(connection)
    before = (now - timedelta(days=3.5)).isoformat()
    answer = (await api.execute(REMOVE, olderThan=before))["removeFinishedJobs"]
    assert answer == {"__typename": "RemoveFinishedJobsSuccess", "removedCount": 2}
    answer = (await api.execute(REMOVE))["removeFinishedJobs"]
    assert answer["removedCount"] == 3
    async with resources.database.connect() as connection:
        assert (await connection.scalars(table.select().order_by(table.c.id))).all() == [waits.id, runs.id]


async def test_remove_finished_jobs_without_postgresql(api_without_postgresql: Api) -> None:
    answer = (await api_without_postgresql.execute(REMOVE))["removeFinishedJobs"]
    assert answer == {"__typename": "ServiceUnavailableError", "service": "PostgreSQL"}
