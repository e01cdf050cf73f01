"""CPU-bound handlers run in separate processes, and do not block the event loop."""

import asyncio
import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from app.errors import ProcessDied
from app.jobs import offload
from app.jobs.offload import in_process
from app.jobs.queue import NewJob, cancel, enqueue
from app.resources import Resources
from tests.conftest import until
from tests.jobs.computing import count_primes, end, end_process, fail, fail_by, get_interrupted, meet, never_end
from tests.jobs.conftest import PLAIN, ended, events_of, queue_job, working
from tests.processes import environment, gone
from tests.timeouts import WAIT_SECONDS

START_TO_COMPUTE = """
import asyncio, sys
from app.jobs.offload import in_process
from tests.jobs.computing import never_end
asyncio.run(in_process(never_end, {"pid_file": sys.argv[1]}))
"""


async def queue_with(resources: Resources, **arguments: Any) -> int:
    """Queue a job with these arguments and return its id."""
    async with resources.database.transaction() as connection:
        return int((await enqueue(connection, resources, NewJob(PLAIN, arguments))).id)


async def test_a_plain_handler_runs_in_another_process(resources: Resources) -> None:
    job_id = await queue_with(resources, below=30_000)
    turns = 0
    async with working(resources, count_primes):
        ending = asyncio.create_task(ended(resources, job_id))
        while not ending.done():
            turns += 1
            await asyncio.sleep(0)
        row = await ending
    assert row.state == "SUCCEEDED"
    assert row.result["primes"] == 3245
    assert row.result["process"] != os.getpid()
    assert turns > 100


async def test_the_process_of_a_cancelled_handler_is_killed(resources: Resources, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = await queue_with(resources, pid_file=str(pid_file))
    async with working(resources, never_end):
        await until(lambda: pid_file.exists() and pid_file.read_text())
        process = psutil.Process(int(pid_file.read_text()))
        await cancel(resources, job_id)
        row = await ended(resources, job_id)
        await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert row.state == "CANCELLED"


async def test_a_handler_that_ends_its_process_is_retried_and_then_abandoned(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    job_id = await queue_job(resources)
    async with working(resources, end_process):
        row = await ended(resources, job_id)
    assert (row.state, row.attempts) == ("FAILED", 5)
    assert row.failure["code"] == "JOB_PROCESS_DIED"
    assert [kind for kind, _ in await events_of(resources, job_id)].count("ATTEMPT_FAILED") == 4


async def test_its_exceptions_are_raised_in_this_process() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await in_process(fail, {})


async def test_ctrl_c_is_handled_by_this_process() -> None:
    assert await in_process(get_interrupted, {}) == {"is_there": True}


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
async def test_exceptions_that_end_a_process_do_not_end_this_one(error: BaseException) -> None:
    with pytest.raises(ProcessDied):
        await in_process(end, {"by": error})


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("program", ["/bin/false", "/nothing/is/here"])
# the transport of a process that failed to start is closed only by the garbage collector (anyio)
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_process_that_ends_while_it_starts(
    monkeypatch: pytest.MonkeyPatch, loop_factory: Callable[[], asyncio.AbstractEventLoop], program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    others = psutil.Process().children()

    async def compute() -> None:
        with pytest.raises(ProcessDied):
            await in_process(count_primes, {"below": 10})
        # uvloop cannot close a loop that has not yet noticed the end of the process
        await until(lambda: set(psutil.Process().children()) <= set(others))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(compute())
    gc.collect()


async def test_an_os_error_in_the_function_is_raised_in_this_process() -> None:
    with pytest.raises(ProcessLookupError, match="of the function"):
        await in_process(fail_by, {"error": ProcessLookupError("of the function")})


async def test_calls_run_concurrently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    calls = [in_process(meet, {"directory": str(tmp_path)}) for _ in range(2)]
    async with asyncio.timeout(WAIT_SECONDS):
        one, other = await asyncio.gather(*calls)
    assert one != other


async def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        START_TO_COMPUTE,
        str(pid_file),
        env=environment(),
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
    )
    try:
        await until(lambda: pid_file.exists() and pid_file.read_text())
        process = psutil.Process(int(pid_file.read_text()))
        assert process.ppid() == parent.pid
    finally:
        parent.kill()
        await parent.wait()
    try:
        assert await asyncio.to_thread(gone, [process])
    finally:
        if process.is_running():
            process.kill()


@pytest.fixture
def _sigint() -> Iterator[None]:
    """Reset what the functions of the other process change in this one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)
    offload._exit_with_parent.cache_clear()  # noqa: SLF001 - it runs in the other process, where line coverage is not measured


@pytest.mark.usefixtures("_sigint")
async def test_a_process_that_computes_watches_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The behaviour of the tests above, in this process."""
    ends: list[int] = []
    parents = iter([7, 7, 1])
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(offload, "WATCH_SECONDS", 0.0)
    offload._watch_parent(7)  # noqa: SLF001 - it runs in the other process, where line coverage is not measured
    assert ends == [1]
    monkeypatch.setattr(os, "getppid", lambda: 1)
    threads = threading.enumerate()
    for _ in range(2):
        assert offload._call_in_process(7, count_primes, {"below": 10})["primes"] == 4  # type: ignore[index]  # noqa: SLF001 - a result, in-process
    assert isinstance(offload._call_in_process(7, fail, {}), offload._Raised)  # noqa: SLF001 - in-process
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    # one thread serves both calls; wait for its end, because it would end this process
    await until(lambda: len(ends) > 1 and set(threading.enumerate()) <= set(threads))
    assert ends == [1, 1]


def test_the_command_line_runs_plain_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of `python -m app.cli` import its file, which must not start the command line again."""
    results: list[dict[str, Any]] = []
    monkeypatch.setattr("app.cli.main", lambda: results.append(asyncio.run(in_process(count_primes, {"below": 10}))))
    runpy.run_module("app.cli", run_name="__mp_main__")
    assert results == []
    runpy.run_module("app.cli", run_name="__main__", alter_sys=True)
    assert [result["primes"] for result in results] == [4]
