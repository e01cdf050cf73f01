import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext as does_not_raise
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlalchemy import Connection, text

from app.db.engine import Database, open_database
from app.db.migrate import LOCK_KEY, migrate, require_migrated
from app.db.tables import metadata
from app.errors import StartFailed
from app.json_models import from_json
from app.settings import read_settings
from app.work.collecting.collection import CollectionRequest
from tests.conftest import has_lock_waiter, until

REVISIONS = [f"{number:04}" for number in range(1, 15)]
OWN_TABLES = set(metadata.tables) | {"alembic_version"}


@pytest.fixture
async def database(empty_database: Callable[[], str]) -> AsyncIterator[Database]:
    """Open an empty database."""
    url = await asyncio.to_thread(empty_database)
    async with open_database(read_settings(), url) as opened:
        yield opened


async def tables(database: Database) -> set[str]:
    async with database.connect() as connection:
        rows = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return set(rows)


async def leftovers(database: Database) -> list[str]:
    """Return the contents of the schema except alembic's own table."""
    async with database.connect() as connection:
        rows = await connection.scalars(
            text("""
                SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
                UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            """)
        )
        return [name for name in rows if "alembic_version" not in name]


async def parts(database: Database) -> set[tuple[str, str]]:
    """Return the columns, indexes, constraints and triggers of all tables."""
    async with database.connect() as connection:
        rows = await connection.execute(
            text("""
                SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
                UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
                UNION ALL SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE connamespace = 'public'::regnamespace
                UNION ALL SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
            """)
        )
        return {(row[0], row[1]) for row in rows}


async def test_arguments_of_former_collections_are_rewritten(database: Database) -> None:
    """And restored. Their progress is lost with their checkpoints, which later versions cannot read."""
    former = {"owner_ids": [-1, -2, -3], "post_ids": {"-3": [7]}, "since": None, "max_posts": None, "full": False}
    await migrate(database, "0004")
    async with database.transaction() as connection:
        await connection.execute(
            text("""INSERT INTO jobs (kind, arguments, priority, max_attempts, timeout_seconds, checkpoint)
                    VALUES ('collect_comments', CAST(:former AS jsonb), 1, 1, 1, '{"group": 1}')"""),
            {"former": json.dumps(former)},
        )
    await migrate(database)
    async with database.connect() as connection:
        row = (await connection.execute(text("SELECT arguments, claims, checkpoint FROM jobs"))).one()
    assert from_json(CollectionRequest, row.arguments) == CollectionRequest((-1, -2), {-3: (7,)})
    assert (row.claims, row.checkpoint) == ([-1, -2], None)
    await migrate(database, "0004")
    async with database.connect() as connection:
        assert await connection.scalar(text("SELECT arguments FROM jobs")) == former


async def test_claims_of_former_jobs_become_columns(database: Database) -> None:
    """And back, with the reasons of the events. A former removal may be retried although a community is gone."""
    collection = {"claims": [-1, -2], "wall_ids": [-1, -2], "post_ids": {}, "full": False}
    removal = {"claims": [-3], "owner_ids": [-3]}
    await migrate(database, "0013")
    async with database.transaction() as connection:
        for kind, arguments in (("collect_comments", collection), ("remove_groups", removal), ("refresh_groups", {})):
            await connection.execute(
                text("""INSERT INTO jobs (kind, arguments, priority, max_attempts, timeout_seconds)
                        VALUES (:kind, CAST(:arguments AS jsonb), 1, 1, 1)"""),
                {"kind": kind, "arguments": json.dumps(arguments)},
            )
        for seq, reason in enumerate(("TAKEN", "FAILURE_MAY_PASS", "DONE"), 1):
            await connection.execute(
                text("""INSERT INTO job_events (job_id, seq, kind, message, facts)
                        VALUES (1, :seq, 'STATE_CHANGED', '', jsonb_build_object('reason', CAST(:reason AS text)))"""),
                {"seq": seq, "reason": reason},
            )
    reasons = text("SELECT facts ->> 'reason' FROM job_events ORDER BY seq")
    await migrate(database)
    async with database.connect() as connection:
        rows = (await connection.execute(text("SELECT arguments, claims, removes_claims FROM jobs ORDER BY id"))).all()
        assert list(await connection.scalars(reasons)) == ["CLAIMED", "TRANSIENT_FAILURE", "DONE"]
    assert [tuple(row) for row in rows] == [
        ({name: value for name, value in collection.items() if name != "claims"}, [-1, -2], False),
        ({"owner_ids": [-3]}, [-3], True),
        ({}, [], False),
    ]
    await migrate(database, "0013")
    async with database.connect() as connection:
        stored = list(await connection.scalars(text("SELECT arguments FROM jobs ORDER BY id")))
        assert list(await connection.scalars(reasons)) == ["TAKEN", "FAILURE_MAY_PASS", "DONE"]
    assert stored == [collection, {**removal, "removes_claims": True}, {}]


async def test_comments_of_former_versions_are_kept(database: Database) -> None:
    """Up and down again; in both versions they are deleted with their posts."""
    await migrate(database, "0005")
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO groups (owner_id, screen_name, name) VALUES (-1, 'one', 'One')"))
        await connection.execute(
            text("""INSERT INTO posts (owner_id, id, text, published_at, like_count, repost_count, comment_count,
                                       is_pinned, attachments)
                    SELECT -1, id, '', now(), 0, 0, 1, false, '[]' FROM generate_series(1, 3) AS id""")
        )
        await connection.execute(
            text("""INSERT INTO comments (owner_id, id, post_id, text, published_at, like_count, attachments,
                                          is_deleted)
                    SELECT -1, 10 + id, id, '', now(), 0, '[]', false FROM generate_series(1, 3) AS id""")
        )
    for revision, post_id, left in (("0006", 1, [12, 13]), ("0005", 2, [13])):
        await migrate(database, revision)
        async with database.transaction() as connection:
            await connection.execute(text("DELETE FROM posts WHERE id = :id"), {"id": post_id})
            assert (await connection.scalars(text("SELECT id FROM comments ORDER BY id"))).all() == left


async def test_up_down_and_up_again(database: Database) -> None:
    assert await migrate(database) == REVISIONS[-1]
    assert {name for name in await tables(database) if not name.startswith("pgqueuer")} == OWN_TABLES
    assert await migrate(database, "base") is None
    assert await leftovers(database) == []
    assert await migrate(database) == REVISIONS[-1]
    assert await migrate(database) == REVISIONS[-1]
    await require_migrated(database)


async def test_each_step_up_and_down(database: Database) -> None:
    seen = []
    for revision in REVISIONS:
        assert await migrate(database, revision) == revision
        seen.append(await parts(database))
        with pytest.raises(StartFailed) if revision != REVISIONS[-1] else does_not_raise():
            await require_migrated(database)
    assert all(before != after for before, after in pairwise(seen))
    for revision, expected in zip(REVISIONS[-2::-1], seen[-2::-1], strict=True):
        assert await migrate(database, revision) == revision
        assert await parts(database) == expected


async def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    await migrate(database)

    def differences(connection: Connection) -> Any:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: kind != "table" or not str(name).startswith("pgqueuer"),
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with database.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_migrated_database_equals_the_one_that_the_code_creates(
    database: Database, empty_database: Callable[[], str]
) -> None:
    """Compare by PostgreSQL's descriptions what alembic does not compare: keys, expressions and orders of indexes."""

    async def described(opened: Database) -> set[tuple[Any, ...]]:
        async with opened.connect() as connection:
            rows = await connection.execute(
                text("""
                    SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
                    UNION ALL
                    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                     WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'u', 'c')
                    UNION ALL
                    SELECT objoid::regclass::text, objsubid::text, description FROM pg_description
                     WHERE classoid = 'pg_class'::regclass
                       AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
                    UNION ALL
                    SELECT table_name, column_name, concat_ws(' ', ordinal_position, data_type, is_nullable,
                           column_default, is_identity, identity_generation)
                      FROM information_schema.columns WHERE table_schema = 'public'
                """)
            )
            return {tuple(row) for row in rows if not row[0].startswith(("pgqueuer", "alembic"))}

    await migrate(database)
    url = await asyncio.to_thread(empty_database)
    async with open_database(read_settings(), url) as other:
        async with other.transaction() as connection:
            await connection.execute(text("CREATE EXTENSION pg_trgm"))
            await connection.run_sync(metadata.create_all)
        assert await described(database) == await described(other)


async def test_pgqueuer_finds_nothing_to_upgrade(database: Database) -> None:
    await migrate(database)
    connection = await asyncpg.connect(database.dsn)
    plan = await Queries(AsyncpgDriver(connection)).plan_upgrade()
    await connection.close()
    assert (plan.statements, plan.notes) == ((), ())


async def test_an_unknown_target(database: Database) -> None:
    with pytest.raises(StartFailed) as caught:
        await migrate(database, "9999")
    assert caught.value.message == f"Migration '9999' does not exist; the migrations are {', '.join(REVISIONS)}."
    assert await leftovers(database) == []


async def test_a_database_of_a_newer_version(database: Database) -> None:
    await migrate(database)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartFailed, match="at migration '9999', which this version does not know"):
        await migrate(database)
    with pytest.raises(StartFailed, match=f"at migration 9999, this version needs {REVISIONS[-1]}"):
        await require_migrated(database)


async def test_a_database_without_tables(database: Database) -> None:
    with pytest.raises(StartFailed) as caught:
        await require_migrated(database)
    assert caught.value.message == (
        f"The database is at migration none, this version needs {REVISIONS[-1]}. Run `vk-comments migrate`."
    )


async def test_a_failed_migration_leaves_no_changes(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE tokens (other int)"))
    with pytest.raises(Exception, match='relation "tokens" already exists'):
        await migrate(database)
    assert await tables(database) == {"tokens"}


async def test_two_processes_migrate_concurrently(database: Database) -> None:
    async with open_database(read_settings(database_statement_timeout_seconds=0.5), database.dsn) as other:
        found = await asyncio.gather(migrate(database), migrate(other), migrate(database), migrate(other))
    assert set(found) == {REVISIONS[-1]}
    await require_migrated(database)


async def test_a_migration_has_no_time_limit(database: Database) -> None:
    """Another process's migration may take longer than the statement timeout."""
    holder = await asyncpg.connect(database.dsn)
    async with open_database(read_settings(database_statement_timeout_seconds=0.05), database.dsn) as hasty:
        async with holder.transaction():
            await holder.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            task = asyncio.create_task(migrate(hasty))
            await until(lambda: has_lock_waiter(database.dsn))
            await holder.execute("SELECT pg_sleep(0.2)")  # several times the statement timeout of the other one
            assert not task.done()
        assert await task == REVISIONS[-1]
    await holder.close()
