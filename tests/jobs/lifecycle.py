"""A model of jobs, their queue entries and their workers: the state that PostgreSQL must have."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from app.job_states import FORMER, JobPriority, JobState, MoveReason

MAX_ATTEMPTS = 2
QUEUE_LIMIT = 4
CONCURRENCY = 2
STATE_CHANGE = "STATE_CHANGED"

Event = tuple[str, str | None, str | None]
"""Kind, state and reason; state and reason are None for events other than state changes."""


@dataclass
class ModelEntry:
    """The queue entry of a job. `manager` is the worker that has claimed it."""

    id: int
    job_id: int
    priority: int
    manager: UUID | None = None
    is_stale: bool = False
    is_delayed: bool = False


@dataclass
class ModelJob:
    """A job. `claims` are its communities while no other job may have them."""

    id: int
    owner_ids: tuple[int, ...]
    priority: int
    entry_id: int
    claims: tuple[int, ...]
    state: JobState = JobState.QUEUED
    attempts: int = 0
    epoch: int = 0
    checkpoint: dict[str, Any] | None = None
    failure: str | None = None
    worker: str | None = None
    is_cancel_requested: bool = False
    is_delayed: bool = False
    waited_steps: int = 0
    events: list[Event] = field(default_factory=list)

    def move(self, state: JobState, reason: MoveReason) -> None:
        """Change the state."""
        former = [JobState(value) for kind, value, _ in self.events if kind == STATE_CHANGE and value]
        assert not former or former[-1].value in FORMER[state], (former, state)
        self.state = state
        self.events.append((STATE_CHANGE, state.value, reason.value))

    @property
    def may_run(self) -> bool:
        """Whether a worker that claims its entry may run it."""
        return not (self.state.is_final or self.is_cancel_requested or self.attempts >= MAX_ATTEMPTS)


@dataclass
class ModelWorker:
    """A worker's name, its id in PgQueuer, and the entries that it is running."""

    name: str
    manager: UUID = field(default_factory=uuid4)
    is_frozen: bool = False
    running: Collection[int] = ()


@dataclass(frozen=True)
class ModelEnd:
    """What follows from how a run ended."""

    state: JobState
    reason: MoveReason
    failure: str | None = None
    is_delayed: bool = False
    counts: bool = True


class Model:
    """All jobs and entries."""

    def __init__(self) -> None:
        self.jobs: dict[int, ModelJob] = {}
        self.entries: dict[int, ModelEntry] = {}

    # queries

    def waiting_count(self) -> int:
        """Return the number of queued jobs."""
        return sum(job.state is JobState.QUEUED for job in self.jobs.values())

    def holder(self, owner_ids: Iterable[int], but: int | None = None) -> int | None:
        """Return which other job has claimed one of these communities."""
        held = {owner_id: job.id for job in self.jobs.values() if job.id != but for owner_id in job.claims}
        return next((held[owner_id] for owner_id in owner_ids if owner_id in held), None)

    def unfinished(self) -> list[ModelJob]:
        """Return the jobs that wait or run."""
        return [job for job in self.jobs.values() if not job.state.is_final]

    def orphans(self) -> list[ModelEntry]:
        """Return the entries without an unfinished job."""
        mine = {job.entry_id for job in self.unfinished()}
        return [entry for entry in self.entries.values() if entry.id not in mine]

    def lost(self) -> list[ModelJob]:
        """Return the unfinished jobs without an entry."""
        return [job for job in self.unfinished() if job.entry_id not in self.entries]

    def free(self) -> list[ModelEntry]:
        """Return the entries that no worker has claimed, except those with a backoff."""
        return [entry for entry in self.entries.values() if entry.manager is None and not entry.is_delayed]

    def stale(self) -> list[ModelEntry]:
        """Return the entries of workers whose heartbeat has timed out."""
        return [entry for entry in self.entries.values() if entry.is_stale]

    def has_delayed(self) -> bool:
        """Return whether an entry or a job has a backoff."""
        return any(each.is_delayed for those in (self.jobs, self.entries) for each in those.values())

    def is_consistent(self) -> bool:
        """Return whether all entries belong to jobs that may run and to live workers."""
        return not self.orphans() and not self.stale() and all(job.may_run for job in self.unfinished())

    def room(self, worker: ModelWorker) -> int:
        """Return how many more entries a worker may claim."""
        return CONCURRENCY - len(worker.running)

    def claimable(self, worker: ModelWorker, batch_size: int) -> list[ModelEntry]:
        """Return the entries that a worker claims with this batch size, by priority."""
        most = max(0, min(batch_size, self.room(worker)))
        found = [entry for those in (self.free(), self.stale()) for entry in _most_urgent(those)[:most]]
        return _most_urgent(found)[:most]

    # changes

    def insert(self, job: ModelJob, reason: MoveReason) -> None:
        """Add a queued job with its entry."""
        self.jobs[job.id] = job
        job.move(JobState.QUEUED, reason)
        self.put_into_queue(job, job.entry_id)

    def put_into_queue(self, job: ModelJob, entry_id: int) -> None:
        """Add an entry of a job."""
        job.entry_id = entry_id
        self.entries[entry_id] = ModelEntry(entry_id, job.id, job.priority)

    def claim(self, entry: ModelEntry, worker: ModelWorker) -> ModelJob | None:
        """Let a worker claim an entry; return the job if it is to be run."""
        job = self.jobs[entry.job_id]
        if job.may_run:
            entry.manager, entry.is_stale = worker.manager, False
            is_rescued = job.state is JobState.RUNNING
            job.epoch, job.attempts, job.failure, job.worker = job.epoch + 1, job.attempts + 1, None, worker.name
            job.move(JobState.RUNNING, MoveReason.RESCUED if is_rescued else MoveReason.CLAIMED)
            return job
        del self.entries[entry.id]
        if job.is_cancel_requested and not job.state.is_final:
            self.end(job, ModelEnd(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED))
        elif not job.state.is_final:
            self.end(job, ModelEnd(JobState.FAILED, MoveReason.GAVE_UP, "JOB_GAVE_UP"))
        return None

    def end(self, job: ModelJob, end: ModelEnd) -> None:
        """End the run of a job, or a job before its run. A job with a cancel request does not return to the queue."""
        if job.is_cancel_requested and not end.state.is_final:
            end = ModelEnd(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
        if end.failure and not end.state.is_final:
            job.events.append(("ATTEMPT_FAILED", None, None))
        job.move(end.state, end.reason)
        job.failure, job.worker = end.failure, None
        job.attempts -= not end.counts
        if end.state.is_final:
            job.claims = ()
            self.entries.pop(job.entry_id, None)
            return
        job.is_delayed = end.is_delayed
        if entry := self.entries.get(job.entry_id):
            entry.manager, entry.is_stale, entry.is_delayed = None, False, end.is_delayed
            entry.priority = job.priority

    def cancel(self, job: ModelJob) -> None:
        """Cancel an unfinished job."""
        job.is_cancel_requested = True
        if job.state is JobState.QUEUED:
            job.move(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
            job.claims = ()
            self.entries.pop(job.entry_id, None)

    def retry(self, job: ModelJob, entry_id: int) -> None:
        """Queue a job again that has ended."""
        job.attempts, job.failure, job.is_cancel_requested = 0, None, False
        job.is_delayed, job.waited_steps = False, 0
        job.claims = job.owner_ids
        job.move(JobState.QUEUED, MoveReason.RETRY_REQUESTED)
        self.put_into_queue(job, entry_id)

    def time_passes(self) -> None:
        """End all backoffs."""
        for job in self.jobs.values():
            job.is_delayed = False
        for entry in self.entries.values():
            entry.is_delayed = False

    def raise_waiting(self) -> None:
        """Raise the priority of jobs that wait for long."""
        step = JobPriority.NORMAL.value - JobPriority.LOW.value
        for job in self.jobs.values():
            entry = self.entries.get(job.entry_id)
            if entry and job.state is JobState.QUEUED and job.priority < JobPriority.HIGH.value:
                aged = min(JobPriority.HIGH.value, job.priority + step * job.waited_steps)
                # an entry that was restored during a run may have been claimed meanwhile, and keeps its priority
                entry.priority = max(entry.priority, aged) if entry.manager is None else entry.priority


def _most_urgent(found: Iterable[ModelEntry]) -> list[ModelEntry]:
    return sorted(found, key=lambda entry: (-entry.priority, entry.id))
