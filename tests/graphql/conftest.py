"""Shared by the tests of the API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.db.embedded import embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.jobs.queue import NewJob, enqueue
from app.resources import Resources, open_resources
from app.settings import read_settings
from app.store import groups
from app.wall import VkGroup
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.collecting.collection import CollectionRequest
from schema.node import global_id
from tests.conftest import Api, Simulator, serve


def gid(type_name: str, *key: int) -> str:
    """Return a global id."""
    return str(global_id(type_name, key))


MakeJob = Callable[..., Awaitable[int]]


@pytest.fixture
def make_job(resources: Resources) -> MakeJob:
    """Return a function that queues a collection of a community, which it stores, and returns the job's id."""

    async def make(owner_id: int = -1) -> int:
        async with resources.database.transaction() as connection:
            await groups.upsert_groups(connection, [VkGroup(-owner_id, f"group{-owner_id}", f"Group {-owner_id}")])
            row = await enqueue(connection, resources, NewJob(COLLECT_COMMENTS, CollectionRequest((owner_id,))))
        return int(row.id)

    return make


@pytest.fixture
async def api_without_postgresql(data_dir: Path, simulator: Simulator) -> AsyncIterator[Api]:
    """Serve the API on a separate PostgreSQL server that was stopped after the start."""
    with ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, embedded_postgres(data_dir))
        async with open_database(read_settings(), server.url) as database:
            await migrate(database)
        settings = read_settings(
            database_url=server.url, vk_api_url=simulator.url, vk_tokens=("t",), vk_requests_per_second=10_000
        )
        async with open_resources(settings) as opened:
            async for api in serve(opened):
                await asyncio.to_thread(stack.close)
                yield api
