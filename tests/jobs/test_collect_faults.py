"""Collections with every error of VK, or of the network."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Row

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.jobs.queue import retry
from app.resources import Resources, open_resources
from app.store.tokens import token_states
from app.vk.comment_pager import CommentPager
from app.vk.pager import PageRequest
from app.vk.replies import read_comment_page
from app.wall import VkComment, VkCommentPage
from app.work.collecting import page_results
from tests.conftest import MakeSettings, Simulator, stored_comments, until
from tests.jobs.conftest import collect, counts, ended, events_of, read_job

TOKENS = ("one", "two")
INSIDE = {"inner": True, "method": "wall.getComments"}


@pytest.fixture
async def resources(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[Resources]:
    """Open resources with two tokens, community 1, and a worker."""
    async with with_worker(make_settings, simulator) as opened:
        yield opened


@asynccontextmanager
async def with_worker(make_settings: MakeSettings, simulator: Simulator, **overrides: Any) -> AsyncIterator[Resources]:
    settings = make_settings(vk_api_url=simulator.url, vk_tokens=TOKENS, **overrides)
    async with open_resources(settings) as opened, open_worker(opened, 2):
        await add_groups(opened, ["1"])
        yield opened


async def token_health(resources: Resources) -> list[tuple[str, int | None]]:
    async with resources.database.connect() as connection:
        states = await token_states(connection, resources.vk.fingerprints)
    return sorted((state.health, state.vk_code) for state in states)


async def first_failure(resources: Resources) -> tuple[Row[Any], dict[str, Any]]:
    """Start a collection, wait until its first attempt has failed, and return its row and the failure."""
    row = await start_collection(resources, owner_ids=[-1])

    async def failed() -> Any:
        return (await read_job(resources, row.id)).failure

    failure: dict[str, Any] = await until(failed)
    return await read_job(resources, row.id), failure


@pytest.mark.parametrize(
    "fault",
    [
        *({"code": code} for code in (1, 6, 10)),
        *({"code": code, **INSIDE} for code in (1, 6, 10)),
        *({"http": status} for status in (429, 500, 502, 503)),
        *({"kind": kind} for kind in ("reset", "truncated", "not_json")),
        {"code": 13, "method": "execute", "message": "Runtime error occurred: response size is too big"},
        {"code": 12, "method": "execute"},
    ],
    ids=str,
)
async def test_a_transient_failure_leaves_no_trace(
    resources: Resources, simulator: Simulator, fault: dict[str, Any]
) -> None:
    await check_no_trace(resources, simulator, fault)


@pytest.mark.parametrize("kind", ["late", "timeout"])
async def test_no_answer_leaves_no_trace(make_settings: MakeSettings, simulator: Simulator, kind: str) -> None:
    # all other answers must arrive within this timeout, also on a slow machine
    async with with_worker(make_settings, simulator, vk_timeout_seconds=3) as resources:
        await check_no_trace(resources, simulator, {"kind": kind})


async def check_no_trace(resources: Resources, simulator: Simulator, fault: dict[str, Any]) -> None:
    """Collect while VK fails twice, and check that this leaves no trace."""
    simulator.control(faults=[{**fault, "times": 2}])
    row = await collect(resources)
    assert counts(row)["comments"] == 400
    assert row.attempts == 1
    assert await stored_comments(resources) == simulator.truth()
    assert await token_health(resources) == [("READY", None)] * 2


@pytest.mark.parametrize("code", [7, 15, 18, 19, 30, 100, 104, 113, 200, 203, 210, 212, 801])
async def test_an_error_of_one_post_is_an_event(resources: Resources, simulator: Simulator, code: int) -> None:
    simulator.control(faults=[{"code": code, **INSIDE}])
    row = await collect(resources)
    assert (counts(row)["posts"], counts(row)["failed_posts"]) == (5, 1)
    [facts] = [facts for kind, facts in await events_of(resources, row.id) if kind == "POST_FAILED"]
    assert facts["vkCode"] == code
    failed = facts["vkPostId"]
    assert await stored_comments(resources) == {key: ids for key, ids in simulator.truth().items() if key != failed}
    # the next collection reads it
    counts(await collect(resources))
    assert await stored_comments(resources) == simulator.truth()


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("code", "health"),
    [
        (5, "REJECTED"),
        (9, "COOLING_DOWN"),
        (14, "COOLING_DOWN"),
        (17, "COOLING_DOWN"),
        (27, "REJECTED"),
        (29, "COOLING_DOWN"),
    ],
)
async def test_another_token_replaces_a_rejected_one(
    resources: Resources, simulator: Simulator, code: int, health: str, *, inside: bool
) -> None:
    simulator.control(faults=[{"code": code, **(INSIDE if inside else {"method": "wall.get"})}])
    row = await collect(resources)
    assert counts(row)["comments"] == 400
    assert await stored_comments(resources) == simulator.truth()
    assert await token_health(resources) == sorted([("READY", None), (health, code)])


async def test_a_token_that_may_not_execute_is_not_rejected(resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 28, "method": "execute", "times": 2}])
    row = await collect(resources)
    assert counts(row)["comments"] == 400
    assert counts(row)["requests"] == counts(row)["calls"] + 2 - 12  # the two rejected requests had six calls each
    assert await token_health(resources) == [("READY", None)] * 2


@pytest.mark.parametrize(
    ("code", "failure"),
    [(5, "VK_TOKEN"), (14, "VK_TOKEN"), (17, "VK_TOKEN"), (27, "VK_TOKEN"), (29, "VK_RATE_LIMITED")],
)
async def test_all_tokens_are_rejected(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, code: int, failure: str
) -> None:
    """The job fails, keeps its progress and resumes from it when it is retried with a working token."""
    simulator = simulate(posts=40, comments=3_000)
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=TOKENS)) as first:
        await add_groups(first, ["1"])
        # the wall and a first pack are answered; then VK rejects both tokens
        simulator.control(faults=[{"code": code, "inner": True, "method": "wall.getComments", "times": 1000}])
        async with open_worker(first, 1):
            row = await ended(first, (await start_collection(first, owner_ids=[-1])).id)
    assert (row.state, row.failure["code"]) == ("FAILED", failure)
    assert f"(error {code})" in row.failure["message"]
    assert row.checkpoint["is_listed"]
    assert row.attempts == 1

    simulator.control(faults=[], reset=True)
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=("three",))) as second:
        async with open_worker(second, 1):
            await retry(second, row.id)
            again = await ended(second, row.id)
        assert counts(again)["comments"] == 3_000
        assert await stored_comments(second) == simulator.truth()
    assert "wall.get" not in simulator.control()["methods"]


async def test_a_job_waits_for_flood_control(resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 9, "times": 2}])
    row, failure = await first_failure(resources)
    assert failure["code"] == "VK_RATE_LIMITED"
    assert 0 < failure["facts"]["retryAfterSeconds"] <= 60
    assert row.state == "QUEUED"


@pytest.mark.parametrize("fault", [{"code": 3}, {"code": 8}, {"code": 100}, {"code": 104}, {"code": 113}], ids=str)
async def test_a_request_that_vk_finds_wrong_ends_the_job(
    resources: Resources, simulator: Simulator, fault: dict[str, Any]
) -> None:
    simulator.control(faults=[{**fault, "method": "execute"}])
    row = await collect(resources)
    assert (row.state, row.failure["code"], row.attempts) == ("FAILED", "VK_REQUEST_REFUSED", 1)
    assert row.failure["facts"]["vkCode"] == fault["code"]


async def test_a_dead_host_fails_a_job_fast(resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"http": 503, "times": 100_000}])
    _, failure = await first_failure(resources)
    assert failure["code"] == "VK_UNAVAILABLE"
    requests = simulator.control()["requests"]
    assert requests < 20
    health = await resources.health.report()
    assert health.components[-1].status.value == "DEGRADED"


async def test_a_page_of_an_unknown_shape_fails_only_its_post(
    resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = min(simulator.truth())
    read = read_comment_page

    def read_all_but_one(answer: Any, owner_id: int, post_id: int, thread_id: int | None) -> Any:
        return read({} if post_id == odd else answer, owner_id, post_id, thread_id)

    monkeypatch.setattr(page_results, "read_comment_page", read_all_but_one)
    row = await collect(resources)
    assert (counts(row)["posts"], counts(row)["failed_posts"]) == (5, 1)
    [facts] = [facts for kind, facts in await events_of(resources, row.id) if kind == "POST_FAILED"]
    assert (facts["vkPostId"], facts["code"], facts["method"]) == (odd, "VK_UNAVAILABLE", "wall.getComments")


async def test_a_pager_that_gave_up_a_gap_leaves_its_post_incomplete(
    resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = min(simulator.truth())
    take = CommentPager.take

    def take_with_gap(pager: CommentPager, ask: PageRequest, page: VkCommentPage) -> list[VkComment]:
        pager.is_incomplete = pager.post_id == odd
        return take(pager, ask, page)

    with monkeypatch.context() as patched:
        patched.setattr(CommentPager, "take", take_with_gap)
        row = await collect(resources)
    assert (counts(row)["posts"], counts(row)["failed_posts"]) == (5, 1)
    [facts] = [facts for kind, facts in await events_of(resources, row.id) if kind == "POST_FAILED"]
    assert (facts["vkPostId"], facts["code"]) == (odd, "VK_UNAVAILABLE")
    assert counts(await collect(resources))["posts"] == 1


async def test_a_list_of_posts_of_an_unknown_shape_is_a_typed_failure(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: object) -> object:
        return {}["items"]  # type: ignore[index] # the error is the subject of the test

    monkeypatch.setattr(page_results, "read_post_page", read)
    _, failure = await first_failure(resources)
    assert failure["code"] == "VK_UNAVAILABLE"
    assert failure["message"] == "VK's answer has an unknown shape: KeyError 'items'"


# kinds of tokens, as the simulator distinguishes them


@pytest.mark.parametrize("service_may_execute", [False, True])
async def test_a_service_token(
    simulate: Callable[..., Simulator], make_settings: MakeSettings, *, service_may_execute: bool
) -> None:
    """VK's documentation contradicts itself on whether it may execute; if not, single calls have the same result."""
    simulator = simulate(tokens={"service": "service"}, service_may_execute=service_may_execute)
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=("service",))) as opened:
        async with open_worker(opened, 1):
            result = counts(await collect(opened))
        assert await stored_comments(opened) == simulator.truth()
        assert await token_health(opened) == [("READY", None)]
    # the first pack is rejected, and no other pack is tried
    assert result["requests"] == (4 if service_may_execute else 10)
    assert ("28" in simulator.control()["errors"]) is not service_may_execute
    assert simulator.control()["errors"].get("28", 1) == 1


async def test_a_community_token_may_not_read_walls(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    simulator = simulate(tokens={"community": "group"})
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=("community",))) as opened:
        async with open_worker(opened, 1):
            row = await collect(opened)
        assert (row.state, row.failure["code"]) == ("FAILED", "VK_TOKEN")
        assert "(error 27)" in row.failure["message"]
        assert await token_health(opened) == [("REJECTED", 27)]
    both = make_settings(vk_api_url=simulator.url, vk_tokens=("community", "person"))
    async with open_resources(both) as opened, open_worker(opened, 1):
        assert counts(await collect(opened))["comments"] == 400


async def test_the_quota_of_a_day(simulate: Callable[..., Simulator], make_settings: MakeSettings) -> None:
    simulator = simulate(groups=3, day_quotas={"wall.get": 2})
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=TOKENS)) as opened:
        async with open_worker(opened, 1):
            assert counts(await collect(opened, group_ids=(1, 2, 3)))["comments"] == 1_200
        assert await token_health(opened) == [("COOLING_DOWN", 29), ("READY", None)]
