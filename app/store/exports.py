"""Rows that describe the files of exports."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import exports, jobs
from app.store.arrays import is_among
from app.store.rows import ExportRow


async def upsert_export(connection: AsyncConnection, values: Mapping[str, object], kept_days: float) -> ExportRow:
    """Record the finished file of a job, which expires after `kept_days`, and return the row; replace a former one."""
    row = {**values, "created_at": func.now(), "expires_at": func.now() + timedelta(days=kept_days)}
    statement = insert(exports).values(row)
    replaced = {name: statement.excluded[name] for name in row if name != "job_id"}
    statement = statement.on_conflict_do_update(index_elements=["job_id"], set_=replaced)
    written: ExportRow = (await connection.execute(statement.returning(exports))).one()
    return written


async def export_by_key(connection: AsyncConnection, job_id: int, name: str) -> ExportRow | None:
    """Return the row of a job's file by its name; None if it does not exist or has expired."""
    conditions = (exports.c.job_id == job_id, exports.c.name == name, exports.c.expires_at > func.now())
    return (await connection.execute(select(exports).where(*conditions))).one_or_none()


async def remove_expired(connection: AsyncConnection) -> int:
    """Delete the rows of expired files and return how many."""
    return (await connection.execute(delete(exports).where(exports.c.expires_at <= func.now()))).rowcount


async def jobs_with_files(connection: AsyncConnection, job_ids: Collection[int]) -> set[int]:
    """Return which of these jobs have a file or may be writing one."""
    has_file = select(exports.c.job_id).where(is_among(exports.c.job_id, job_ids))
    may_write = select(jobs.c.id).where(is_among(jobs.c.id, job_ids), jobs.c.finished_at.is_(None))
    return set(await connection.scalars(has_file.union(may_write)))
