"""The faults that hit an installation while clients use it, all drawn from one seed."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from tests.acceptance.installation import Installation, Node, RestartablePostgres
from tests.chaos.clocks import STEPS, SteppedClock
from tests.histories import CONTRADICTIONS, NO_COMMENT, TRANSIENT, is_alive
from tests.valkey import Valkey

MAX_CONCURRENT = 3
PAUSE_SECONDS = (0.2, 1.5)
MAX_FREEZE_SECONDS = 6.0
"""Longer than the heartbeat timeout, so that some frozen processes count as dead and then continue."""
MAX_DOWNTIME_SECONDS = 2.0
CHURN = ("comments", "replies", "likes", "edits", "deletions", "posts")
CHANGES_AT_ONCE = 100
RATES = (0.0, 0.3, 2.0)
POST_DELETION_RATES = (0.0, 0.02)
"""Lower than the others: each deletes many comments, and the walls should not become empty."""
AT_ONCE = (0, 2, 3, 4)
"""The number of kinds of errors, or of contradictions, in VK's answers at the same time."""
METHODS = ("wall.getComments", "wall.get")
UNDETECTABLE_OF_WALLS = ("everything zero",)
"""A wall that VK reports as empty contradicts nothing: its posts are marked as deleted, as if they were hidden."""
SUPERVISE_SECONDS = 0.2


class Faults:
    """Causes faults of all kinds in a random order, each kind once before any is repeated."""

    def __init__(
        self,
        installation: Installation,
        postgres: RestartablePostgres,
        valkey: Valkey,
        seed: int,
        postgres_clock: SteppedClock | None,
        worker_clocks: Collection[SteppedClock],
    ) -> None:
        self.played: Counter[str] = Counter()
        self.problems: list[str] = []
        """Failures of processes that should have stopped in order."""
        self.hidden: set[tuple[int, int]] = set()
        """Community and id of each comment that VK has hidden for some time."""
        self._installation = installation
        self._postgres = postgres
        self._valkey = valkey
        self._postgres_clock = postgres_clock
        self._worker_clocks = list(worker_clocks)
        self._random = random.Random(f"faults {seed}")  # noqa: S311 - reproducible, not a secret
        self._valkey_lock = asyncio.Lock()
        self._error_rates: list[dict[str, Any]] = []
        self._contradiction_rates: list[dict[str, Any]] = []
        self._churn_rates: dict[str, float] | None = None

    @property
    def _kinds(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "worker killed": self._kill_worker,
            "worker frozen": self._freeze_worker,
            "worker replaced": self._replace_worker,
            "web process killed": self._kill_web,
            "web process frozen": self._freeze_web,
            "PostgreSQL ended": self._restart_postgres,
            "process of PostgreSQL killed": self._kill_backend,
            "Valkey killed": self._kill_valkey,
            "Valkey frozen": self._freeze_valkey,
            "VK errors by rate": self._rate_errors,
            "contradictory replies by rate": self._rate_contradictions,
            "content hidden": self._hide,
            "hidden content shown": self._show_hidden,
            "walls churned": self._churn,
        }
        if self._postgres_clock:
            kinds["clock of PostgreSQL stepped"] = self._step_postgres
        if self._worker_clocks:
            kinds["clock of a worker stepped"] = self._step_worker
        return kinds

    async def play(self, seconds: float) -> None:
        """Cause faults for this long, and return when the last one is over."""
        ends_at = time.monotonic() + seconds
        room = asyncio.Semaphore(MAX_CONCURRENT)
        deck: list[str] = []
        for begin in (self._rate_errors, self._rate_contradictions, self._churn):
            await begin()
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                await asyncio.sleep(min(self._random.uniform(*PAUSE_SECONDS), max(0, ends_at - time.monotonic())))
                if time.monotonic() >= ends_at:
                    return
                if not deck:
                    deck = self._random.sample(sorted(self._kinds), len(self._kinds))
                group.create_task(self._play_one(deck.pop(), room))

    async def _play_one(self, kind: str, room: asyncio.Semaphore) -> None:
        try:
            await self._kinds[kind]()
            self.played[kind] += 1
        except AssertionError as error:
            self.problems.append(f"{kind}: {error}")
        finally:
            room.release()

    async def supervise(self) -> None:
        """Restart processes that end by themselves, in an endless loop: without PostgreSQL or a worker they may end."""
        while True:
            for node in (*self._installation.webs, *self._installation.workers):
                if not node.fault_lock.locked() and node.command.popen.poll() is not None:
                    async with node.fault_lock:
                        self.played["process ended by itself"] += 1
                        await node.start()
            await asyncio.sleep(SUPERVISE_SECONDS)

    def heal(self) -> None:
        """Correct all clocks, and make VK answer correctly."""
        for clock in (self._postgres_clock, *self._worker_clocks):
            if clock:
                clock.set(0)
        simulator = self._installation.simulator
        simulator.control(churn=None, fault_rates=None, delay_ms=0)
        for group_id in self._group_ids:
            simulator.control(show_hidden={"group_id": group_id})

    @property
    def _group_ids(self) -> range:
        return range(1, self._installation.simulator.control()["options"]["groups"] + 1)

    # processes

    def _choose(self, nodes: Collection[Node]) -> Node:
        """Choose a process without another fault at the moment, if there is one."""
        return self._random.choice([node for node in nodes if not node.fault_lock.locked()] or list(nodes))

    async def _kill_worker(self) -> None:
        await self._choose(self._installation.workers).kill()

    async def _kill_web(self) -> None:
        await self._choose(self._installation.webs).kill()

    async def _replace_worker(self) -> None:
        node = self._choose(self._installation.workers)
        if node.command.popen.poll() is None:
            await node.replace()

    async def _freeze_worker(self) -> None:
        await self._freeze(self._choose(self._installation.workers))

    async def _freeze_web(self) -> None:
        await self._freeze(self._choose(self._installation.webs))

    async def _freeze(self, node: Node) -> None:
        async with node.frozen():
            await asyncio.sleep(self._random.uniform(0.5, MAX_FREEZE_SECONDS))

    # PostgreSQL and Valkey

    async def _restart_postgres(self) -> None:
        number = self._random.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGKILL])
        await self._postgres.restart(number, self._random.uniform(0, MAX_DOWNTIME_SECONDS))

    async def _kill_backend(self) -> None:
        await self._postgres.kill_backend(self._random)

    async def _kill_valkey(self) -> None:
        async with self._valkey_lock:
            await asyncio.to_thread(self._valkey.kill)
            await asyncio.sleep(self._random.uniform(0, MAX_DOWNTIME_SECONDS))
            await asyncio.to_thread(self._valkey.start)

    async def _freeze_valkey(self) -> None:
        async with self._valkey_lock:
            with self._valkey.frozen():
                await asyncio.sleep(self._random.uniform(0.5, MAX_FREEZE_SECONDS))

    # VK

    async def _rate_errors(self) -> None:
        chosen = self._random.sample(TRANSIENT, self._random.choice(AT_ONCE))
        self._error_rates = [{**fault, "rate": self._random.choice([0.05, 0.1, 0.3])} for fault in chosen]
        self._control_rates()

    async def _rate_contradictions(self) -> None:
        chosen = self._random.sample(CONTRADICTIONS, self._random.choice(AT_ONCE))
        self._contradiction_rates = [
            {"kind": "answer", "change": change, "method": method, "inner": inner, "rate": rate}
            for change in chosen
            for method in [self._random.choice(METHODS[: 1 if change in UNDETECTABLE_OF_WALLS else 2])]
            for rate in [self._random.choice([0.05, 0.3, 1.0])]
            for inner in (False, True)
        ]
        self._control_rates()

    def _control_rates(self) -> None:
        rates = self._error_rates + self._contradiction_rates
        self._installation.simulator.control(fault_rates={"seed": self._random.randrange(1000), "rates": rates})

    async def _hide(self) -> None:
        group_id = self._random.choice(self._group_ids)
        # what is chosen must not be deleted before it is hidden
        self._installation.simulator.control(churn=None)
        history = self._installation.simulator.history(group_id)
        alive = [comment_id for comment_id, facts in history.items() if is_alive(facts)]
        # a stub is on the wall only because of its replies: hidden with them, it could not be shown again
        free = [each for each in alive if is_alive(history.get(history[each]["thread_id"], NO_COMMENT))]
        post_ids = sorted({history[each]["post_id"] for each in alive})
        hidden_posts = self._random.sample(post_ids, min(1, len(post_ids)))
        hidden = [each for each in free if history[each]["post_id"] not in hidden_posts]
        hidden = self._random.sample(hidden, len(hidden) // 3)
        self._installation.simulator.control(
            hide={"group_id": group_id, "comment_ids": hidden, "post_ids": hidden_posts}, churn=self._churn_rates
        )
        now = self._installation.simulator.history(group_id)
        self.hidden |= {(group_id, comment_id) for comment_id, facts in now.items() if facts["hidden"]}

    async def _show_hidden(self) -> None:
        self._installation.simulator.control(show_hidden={"group_id": self._random.choice(self._group_ids)})

    async def _churn(self) -> None:
        rates = {kind: self._random.choice(RATES) for kind in CHURN}
        rates["post_deletions"] = self._random.choice(POST_DELETION_RATES)
        self._churn_rates = {**rates, "seed": self._random.randrange(1000), "limit": CHANGES_AT_ONCE}
        self._installation.simulator.control(churn=self._churn_rates)

    # clocks

    async def _step_postgres(self) -> None:
        assert self._postgres_clock
        self._postgres_clock.set(self._random.choice(STEPS))

    async def _step_worker(self) -> None:
        self._random.choice(self._worker_clocks).set(self._random.choice(STEPS))
