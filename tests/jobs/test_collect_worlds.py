"""Collections of simulated worlds of other shapes: long threads, several communities."""

from collections.abc import Callable

from sqlalchemy import select

from app.db.tables import comments
from app.jobs.worker import open_worker
from app.resources import open_resources
from tests.conftest import MakeSettings, Simulator, stored_comments
from tests.jobs.conftest import collect, counts, events_of


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
        simulator.control(faults=[{"code": 15, "method": "wall.get", "times": 1}])
        row = await collect(opened, group_ids=(1, 2))
        assert counts(row)["groups"] == 1
        assert await stored_comments(opened, -2) == {key: ids for key, ids in simulator.truth(2).items() if ids}
        kinds = [kind for kind, _ in await events_of(opened, row.id)]
    assert "GROUP_FAILED" in kinds
