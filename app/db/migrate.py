"""Migrations: migrates a database to the tables of this version, or checks that it has them."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.db.engine import Database
from app.errors import StartFailed

MIGRATIONS = Path(__file__).parents[2] / "migrations"
LOCK_KEY = 0x766B63  # an arbitrary constant: two processes that start at once migrate one after the other


async def migrate(database: Database, target: str = "head") -> str | None:
    """Migrate the database to `target` ("head", a revision such as "0002", or "base") and return its revision.

    Runs in one transaction: a failed migration changes nothing.

    Raises:
        StartFailed: `target` or the database's revision is unknown to this version.
    """
    async with database.transaction() as connection:
        # A migration, or waiting for that of another process, may take longer than the statement timeout.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        return await connection.run_sync(_migrate, target)


def _migrate(connection: Connection, target: str) -> str | None:
    context = MigrationContext.configure(connection)
    script = ScriptDirectory.from_config(_config(None))
    current = context.get_current_revision()
    requested = {"head": script.get_current_head(), "base": None}.get(target, target)
    if current == requested:
        return current
    config = _config(connection)
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    if requested is not None and requested not in revisions:
        raise StartFailed(f"Migration {requested!r} does not exist; the migrations are {', '.join(revisions)}.")
    if current is not None and current not in revisions:
        raise StartFailed(
            f"The database is at migration {current!r}, which this version does not know. "
            "Use the version that migrated it, or a newer one."
        )
    position = {revision: number for number, revision in enumerate(revisions)}
    if requested is None or (current is not None and position[requested] < position[current]):
        command.downgrade(config, requested or "base")
    else:
        command.upgrade(config, requested)
    return requested


async def require_migrated(database: Database) -> None:
    """Check that the database has the tables of this version.

    Raises:
        StartFailed: it does not; the message names the command that migrates it.
    """
    async with database.connect() as connection:
        current = await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
    head = await asyncio.to_thread(lambda: ScriptDirectory.from_config(_config(None)).get_current_head())
    if current != head:
        raise StartFailed(
            f"The database is at migration {current or 'none'}, this version needs {head}. Run `vk-comments migrate`."
        )


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
