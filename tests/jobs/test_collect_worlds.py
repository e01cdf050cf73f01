"""Collections of simulated worlds of other shapes: long threads, several communities, large answers."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.db.tables import comments
from app.errors import ValidationFailed
from app.job_states import JobState, MoveReason
from app.jobs.queue import cancel, retry
from app.jobs.running_job import Progress, RunningJob
from app.jobs.runs import End
from app.resources import Resources, open_resources
from app.vk import batch, pager, wire
from app.vk.client import Usage, VkClient
from app.vk.wire import Call, VkScriptFailed
from app.work.collecting import collect_comments as collecting
from app.work.collecting.collect_comments import collect_comments
from app.work.kinds import JobKind
from bench.collect import minimum_requests
from tests.conftest import MakeSettings, Simulator, stored_comments
from tests.histories import visible_ids
from tests.jobs.conftest import claim_job, collect, counts, ended, events_of, finish, run_handler, running_job
from tests.jobs.test_collect_anything import check_everything, check_nothing_alive_is_marked, stored


async def test_long_threads_and_replies_to_replies(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=2, comments=3_000)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        assert counts(await collect(opened))["comments"] == 3_000
        assert await stored_comments(opened) == simulator.truth()
        async with opened.database.connect() as connection:
            rows = (await connection.execute(select(comments).where(comments.c.thread_id.is_not(None)))).all()
    by_thread: dict[int, int] = {}
    for row in rows:
        by_thread[row.thread_id] = by_thread.get(row.thread_id, 0) + 1
    assert max(by_thread.values()) > 100
    assert any(row.reply_to_id not in (None, row.thread_id) for row in rows)


async def test_two_communities_with_equal_ids(simulate: Callable[..., Simulator], make_settings: MakeSettings) -> None:
    simulator = simulate(groups=2, posts=2, comments=60)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        row = await collect(opened, group_ids=(1, 2))
        assert counts(row)["groups"] == 2
        for group_id in (1, 2):
            truth = {key: ids for key, ids in simulator.truth(group_id).items() if ids}
            assert await stored_comments(opened, -group_id) == truth


async def test_a_closed_community_does_not_end_a_collection_of_others(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(groups=2, posts=2, comments=40)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        simulator.control(faults=[{"code": 15, "method": "wall.get", "inner": True}])
        row = await collect(opened, group_ids=(1, 2))
        assert counts(row)["groups"] == 1
        # communities are read in the order of their owner ids
        assert await stored_comments(opened, -1) == {key: ids for key, ids in simulator.truth(1).items() if ids}
        assert await stored_comments(opened, -2) == {}
        kinds = [kind for kind, _ in await events_of(opened, row.id)]
    assert "GROUP_FAILED" in kinds


async def test_a_community_that_is_refused_twice_in_a_request_is_one_event(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(groups=2, posts=2, comments=40)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        await add_groups(opened, ["1", "2"])
        simulator.control(faults=[{"code": 15, "method": "wall.getById", "inner": True, "times": 2}])
        links = [f"wall-1_{number}" for number in range(1, 150)]
        row = await ended(opened, (await start_collection(opened, owner_ids=[-2], post_urls=links)).id)
        assert counts(row)["groups"] == 1
        assert [kind for kind, _ in await events_of(opened, row.id)].count("GROUP_FAILED") == 1


async def test_a_wall_of_several_pages_and_many_open_threads(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=230, comments=9_000)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        assert counts(await collect(opened))["comments"] == 9_000
        assert await stored_comments(opened) == {key: ids for key, ids in simulator.truth().items() if ids}


async def test_two_failures_of_one_post_are_one_event(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=1, comments=3_000)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        await add_groups(opened, ["1"])
        # the first page of the post is requested alone; then its threads and its next page in one execute
        simulator.control(faults=[{"code": 212, "method": "wall.getComments", "inner": True, "times": 2}])
        row = await collect(opened)
        assert counts(row)["failed_posts"] == 1
        assert counts(row)["posts"] == 0
        kinds = [kind for kind, _ in await events_of(opened, row.id)]
        assert kinds.count("POST_FAILED") == 1
        # a later collection reads it again
        assert counts(await collect(opened))["posts"] == 1
        assert await stored_comments(opened) == simulator.truth()


class Interrupted(Exception):
    """Represents the end of a process."""


class StopsAfter(RunningJob[Any, Any]):
    """A run that ends after a number of steps, as if its process had ended."""

    steps_left = 0

    @classmethod
    def of(cls, resources: Resources, row: Any) -> Self:
        """Return the run that starts with this row."""
        job = running_job(resources, row)
        return cls(resources, row, job.arguments, job.checkpoint)

    @asynccontextmanager
    async def step(self) -> AsyncIterator[AsyncConnection]:
        """Yield a transaction, or raise `Interrupted`."""
        if self.steps_left == 0:
            raise Interrupted
        self.steps_left -= 1
        async with super().step() as connection:
            yield connection


@pytest.mark.parametrize("steps", range(1, 6))
async def test_a_collection_resumes_from_each_of_its_checkpoints(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, steps: int
) -> None:
    simulator = simulate(groups=2, posts=4, comments=600)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened:
        await add_groups(opened, ["1", "2"])
        row = await start_collection(opened, owner_ids=[-1, -2])
        start = simulator.control()["requests"]
        first = await claim_job(opened, row.id, "first")
        assert first
        interrupted = StopsAfter.of(opened, first)
        interrupted.steps_left = steps
        with pytest.raises(Interrupted):
            await collect_comments(interrupted)
        second = await claim_job(opened, row.id, "second")
        assert second
        result = await run_handler(running_job(opened, second), JobKind.COLLECT_COMMENTS)
        assert result["comments"] == 1_200
        assert result["new_comments"] == 1_200
        for group_id in (1, 2):
            assert await stored_comments(opened, -group_id) == simulator.truth(group_id)
        both = simulator.control()["requests"] - start

        await finish(opened, second, End(JobState.SUCCEEDED, MoveReason.DONE, result))
        again = await start_collection(opened, owner_ids=[-1, -2], full=True)
        third = await claim_job(opened, again.id, "third")
        assert third
        before = simulator.control()["requests"]
        await run_handler(running_job(opened, third), JobKind.COLLECT_COMMENTS)
        at_once = simulator.control()["requests"] - before
        # only a page that was requested and not stored is requested twice
        assert both <= at_once + 1


async def test_progress_of_several_communities_only_grows(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate(groups=3, posts=3, comments=200)
    reports: list[Progress] = []
    report = RunningJob.report

    async def note(job: RunningJob[Any, Any], connection: AsyncConnection, progress: Progress, checkpoint: Any) -> None:
        reports.append(progress)
        await report(job, connection, progress, checkpoint)

    monkeypatch.setattr(RunningJob, "report", note)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        assert counts(await collect(opened, group_ids=(1, 2, 3)))["comments"] == 600
    totals = [progress.total for progress in reports]
    # all walls fit into one request
    assert totals == [None] + [600] * (len(reports) - 1)
    assert [progress.done for progress in reports] == sorted(progress.done for progress in reports)


async def test_named_posts_are_read_whatever_else_is_requested(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=4, comments=100)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        ids = sorted(simulator.truth())
        links = [f"wall-1_{post_id}" for post_id in ids]
        row = await collect(opened, owner_ids=[], post_urls=links, max_posts=1, since=datetime(2100, 1, 1, tzinfo=UTC))
        assert counts(row)["comments"] == 100
        with pytest.raises(ValidationFailed, match="postUrls"):
            await start_collection(opened, owner_ids=[-1], post_urls=links, max_posts=1)
        assert counts(await collect(opened, post_urls=links, full=True))["comments"] == 100


async def test_a_retried_job_reads_only_its_own_posts(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=4, comments=100)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened:
        await add_groups(opened, ["1"])
        post_id = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
        row = await start_collection(opened, owner_ids=[], post_urls=[f"wall-1_{post_id}"])
        await cancel(opened, row.id)
        # another collection lists the whole wall and reads nothing of it
        other = await start_collection(opened, owner_ids=[-1])
        taken = await claim_job(opened, other.id, "other")
        assert taken
        interrupted = StopsAfter.of(opened, taken)
        interrupted.steps_left = 1
        with pytest.raises(Interrupted):
            await collect_comments(interrupted)
        await finish(opened, taken, End(JobState.FAILED, MoveReason.FAILURE))
        await retry(opened, row.id)
        again = await claim_job(opened, row.id, "again")
        assert again
        await run_handler(running_job(opened, again), JobKind.COLLECT_COMMENTS)
        assert await stored_comments(opened) == {post_id: simulator.truth()[post_id]}


@pytest.mark.parametrize(("posts", "comments"), [(1_500, 15_000), (300, 20_000)])
async def test_an_unchanged_wall_takes_few_more_than_the_minimum_of_requests(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, posts: int, comments: int
) -> None:
    simulator = simulate(posts=posts, comments=comments)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        result = counts(await collect(opened))
    assert result["comments"] == comments
    least = minimum_requests(posts, comments)
    assert result["requests"] == simulator.control()["requests"] - 1  # one request for the community
    # the packs of the wall's first page and of the longest threads' last pages are not full
    assert least <= result["requests"] <= max(1.05 * least, least + 2)


async def test_answers_that_are_too_large_for_a_pack(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate(posts=40, comments=6_000, rich=1.0, nasty=1.0)
    fitted: list[bool] = []
    execute = VkClient.execute

    async def note(client: VkClient, calls: Sequence[Call], usage: Usage | None = None) -> tuple[list[Any], int]:
        try:
            answers = await execute(client, calls, usage)
        except VkScriptFailed:
            fitted.append(False)
            raise
        fitted.append(True)
        return answers

    monkeypatch.setattr(VkClient, "execute", note)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        assert counts(await collect(opened))["comments"] == 6_000
        check_everything(simulator.history(), await stored(opened, 1))
    # packs are already requested before the first of them is rejected
    assert 1 <= simulator.control()["errors"]["13"] == fitted.count(False) <= 4
    assert all(fitted[len(fitted) // 2 :])


async def test_a_checkpoint_holds_few_of_many_long_threads(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate(posts=5, comments=3_000)
    many = 20
    monkeypatch.setattr(collecting, "MANY_LEVELS", many)
    monkeypatch.setattr(batch, "CALLS_PER_EXECUTE", 5)
    monkeypatch.setattr(wire, "THREAD_PREVIEW", 1)
    for module in (pager, wire):
        monkeypatch.setattr(module, "PAGE_SIZE", 10)
    open_pagers: list[int] = []
    report = RunningJob.report

    async def note(job: RunningJob[Any, Any], connection: AsyncConnection, progress: Progress, checkpoint: Any) -> None:
        open_pagers.append(len(checkpoint.pagers))
        await report(job, connection, progress, checkpoint)

    monkeypatch.setattr(RunningJob, "report", note)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        assert counts(await collect(opened))["comments"] == 3_000
        assert await stored_comments(opened) == simulator.truth()
    # more than `many`, because requested pages open further threads; in total there are hundreds
    assert many < max(open_pagers) < 2 * many


async def _interrupted(resources: Resources, source: random.Random, *, full: bool = False) -> int:
    """Collect community 1 in randomly interrupted runs and a last one; return the number of interruptions."""
    row = await start_collection(resources, owner_ids=[-1], full=full)
    for interruptions in range(3):
        taken = await claim_job(resources, row.id, f"run {interruptions}")
        assert taken
        run = StopsAfter.of(resources, taken)
        run.steps_left = source.randint(1, 6)
        try:
            result = await run_handler(run, JobKind.COLLECT_COMMENTS)
        except Interrupted:
            continue
        await finish(resources, taken, End(JobState.SUCCEEDED, MoveReason.DONE, result))
        return interruptions
    taken = await claim_job(resources, row.id, "last run")
    assert taken
    result = await run_handler(running_job(resources, taken), JobKind.COLLECT_COMMENTS)
    await finish(resources, taken, End(JobState.SUCCEEDED, MoveReason.DONE, result))
    return 3


@pytest.mark.parametrize("seed", range(6))
async def test_interrupted_collections_of_a_wall_that_changes(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """No comment that existed all the time is lost, and no existing comment is marked as deleted."""
    # small pages and packs make many steps
    monkeypatch.setattr(batch, "CALLS_PER_EXECUTE", 5)
    for module in (pager, wire):
        monkeypatch.setattr(module, "PAGE_SIZE", 10)
    simulator = simulate(posts=8, comments=800, longest_thread=150, seed=seed)
    source = random.Random(seed)  # noqa: S311 - a test, not a secret
    rates = {"comments": 0.5, "replies": 0.5, "edits": 0.2, "deletions": 1.5, "posts": 0.05, "post_deletions": 0.01}
    interruptions = 0
    async with open_resources(make_settings(vk_api_url=simulator.url, job_max_attempts=5)) as opened:
        await add_groups(opened, ["1"])
        for turn, full in enumerate((False, False, True)):
            simulator.control(churn={**rates, "seed": 10 * seed + turn, "limit": 250})
            at_start = visible_ids(simulator.history())
            interruptions += await _interrupted(opened, source, full=full)
            history, rows = simulator.history(), await stored(opened, 1)
            check_nothing_alive_is_marked(history, rows)
            if turn != 1:  # after deletions VK's counts may be unchanged, and only a full collection detects them
                assert at_start & visible_ids(history) <= rows.keys()
        simulator.control(churn=None)
        interruptions += await _interrupted(opened, source, full=True)
        check_everything(simulator.history(), await stored(opened, 1))
    assert interruptions >= 4


async def test_a_retry_requests_a_rejected_community_again(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=2, comments=40)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        await add_groups(opened, ["1"])
        simulator.control(faults=[{"code": 15, "method": "wall.get"}])
        row = await collect(opened)
        assert (row.state, row.failure["code"], row.checkpoint) == ("FAILED", "VK_ACCESS_DENIED", None)
        await retry(opened, row.id)
        assert counts(await ended(opened, row.id))["comments"] == 40


async def test_a_wall_that_is_rejected_during_its_reading(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    """Two packs with its pages are already requested: their answers are ignored, and one rejection is recorded."""
    simulator = simulate(posts=5_200, comments=0)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        await add_groups(opened, ["1"])
        simulator.control(faults=[{"code": 15, "method": "wall.get", "inner": True, "times": 50}])
        row = await collect(opened)
        assert (row.state, row.failure["code"]) == ("FAILED", "VK_ACCESS_DENIED")
        assert [kind for kind, _ in await events_of(opened, row.id)].count("GROUP_FAILED") == 1
    assert simulator.control()["execute_errors"] == {"15": 50}


async def test_comments_of_a_deleted_post_are_marked(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(posts=3, comments=90)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 1):
        await collect(opened)
        truth = simulator.truth()
        first, second = sorted(truth, key=lambda key: -len(truth[key]))[:2]
        simulator.control(delete_post={"group_id": 1, "post_id": first})
        # a part of the wall proves nothing about the rest
        assert counts(await collect(opened, max_posts=1))["deleted_comments"] == 0
        again = counts(await collect(opened))
        simulator.control(delete_post={"group_id": 1, "post_id": second})
        named = await collect(opened, owner_ids=[], post_urls=[f"wall-1_{second}"])
        async with opened.database.connect() as connection:
            rows = (await connection.execute(select(comments).where(comments.c.post_id.in_([first, second])))).all()
    assert again["deleted_comments"] > 0
    assert counts(named)["deleted_comments"] > 0
    assert len(rows) == len(truth[first]) + len(truth[second])
    assert all(row.is_deleted for row in rows)
