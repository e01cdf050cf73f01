"""Migrations: brings a database to the tables of this version, or says that it is not there."""

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
LOCK_KEY = 0x766B63  # any constant: two processes that start at once migrate one after the other


async def migrate(database: Database, target: str = "head") -> str | None:
    """Bring the database to `target` ("head", a revision such as "0002", or "base") and return its revision.

    Runs in one transaction: a migration that fails leaves nothing behind.
    """
    async with database.transaction() as connection:
        # a migration, or another process's, may take longer than any statement of daily work
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        return await connection.run_sync(_migrate, target)


def _migrate(connection: Connection, target: str) -> str | None:
    context = MigrationContext.configure(connection)
    script = ScriptDirectory.from_config(_config(None))
    current = context.get_current_revision()
    wanted = {"head": script.get_current_head(), "base": None}.get(target, target)
    if current == wanted:
        return current
    config = _config(connection)
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    if wanted is not None and wanted not in revisions:
        raise StartFailed(f"There is no migration {wanted!r}; there are {', '.join(revisions)}.")
    if current is not None and current not in revisions:
        raise StartFailed(
            f"The database is at migration {current!r}, which this version does not know. "
            "Use the version that made it, or a newer one."
        )
    position = {revision: number for number, revision in enumerate(revisions)}
    if wanted is None or (current is not None and position[wanted] < position[current]):
        command.downgrade(config, wanted or "base")
    else:
        command.upgrade(config, wanted)
    return wanted


async def require_migrated(database: Database) -> None:
    """Check that the database has the tables of this version.

    Raises:
        StartFailed: it has not; says which command brings it there.
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
