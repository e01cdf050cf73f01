"""How the jobs of an installation ended: their rows and events, and the inconsistencies in these."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg
import orjson

from app.job_states import FORMER, JobState
from tests.acceptance.clients import Follower, Watcher
from tests.acceptance.installation import PostgresServer
from tests.graphql.conftest import gid


@dataclass(frozen=True)
class Outcome:
    """The rows of all jobs by their global ids, and their events."""

    jobs: dict[str, asyncpg.Record]
    events: dict[str, list[asyncpg.Record]]

    @classmethod
    async def of(cls, postgres: PostgresServer) -> "Outcome":
        """Read the jobs and events."""
        jobs = {gid("Job", row["id"]): row for row in await postgres.fetch("SELECT * FROM jobs ORDER BY id")}
        events: dict[str, list[asyncpg.Record]] = {job_id: [] for job_id in jobs}
        for row in await postgres.fetch("SELECT * FROM job_events ORDER BY job_id, seq"):
            events[gid("Job", row["job_id"])].append(row)
        return cls(jobs, events)

    def moves(self, job_id: str) -> list[dict[str, Any]]:
        """Return the facts of a job's state changes, in order."""
        return [orjson.loads(row["facts"]) for row in self.events[job_id] if row["kind"] == "STATE_CHANGED"]

    def reasons(self) -> Counter[str]:
        """Count the reasons of state changes."""
        return Counter(move["reason"] for job_id in self.jobs for move in self.moves(job_id))

    def problems(self, job_id: str) -> list[str]:
        """Return inconsistencies: gaps in its events, illegal transitions, last state or epoch unlike the row's."""
        row = self.jobs[job_id]
        states = [JobState(move["state"]) for move in self.moves(job_id)]
        found = []
        if [event["seq"] for event in self.events[job_id]] != list(range(1, row["last_seq"] + 1)):
            found.append("its events have gaps")
        if states[:1] != [JobState.QUEUED] or any(before.value not in FORMER[to] for before, to in pairwise(states)):
            found.append(f"its moves are illegal: {[state.value for state in states]}")
        if not states or not states[-1].is_final or states[-1].value != row["state"]:
            found.append(f"its state is {row['state']}, that of its last event is another one, or it has not ended")
        if states.count(JobState.RUNNING) != row["epoch"]:
            found.append(f"it was claimed {states.count(JobState.RUNNING)} times, but its epoch is {row['epoch']}")
        return found

    def check(self, cancel_requested: Collection[str] = ()) -> None:
        """Check that each job has ended once, in an allowed state, by legal transitions, without gaps in its events."""
        for job_id, row in self.jobs.items():
            allowed = {"SUCCEEDED", "CANCELLED"} if job_id in cancel_requested else {"SUCCEEDED"}
            assert row["state"] in allowed, dict(row)
            assert self.problems(job_id) == []
            assert sum(JobState(move["state"]).is_final for move in self.moves(job_id)) == 1

    def check_follower(self, follower: Follower) -> None:
        """Check that a follower has seen each event of a job once and in order."""
        events = [(row["seq"], row["kind"], row["message"]) for row in self.events[follower.job_id]]
        assert follower.seen == events
        assert follower.state == self.jobs[follower.job_id]["state"]

    def check_watcher(self, watcher: Watcher) -> None:
        """Check that a watcher has seen the end of each job that it knows."""
        last_states = {job_id: states[-1] for job_id, states in watcher.states.items()}
        assert last_states == {job_id: self.jobs[job_id]["state"] for job_id in last_states}
