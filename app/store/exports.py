"""The rows that tell of the files of exports."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import exports, jobs
from app.store.arrays import is_among


async def upsert_export(connection: AsyncConnection, values: Mapping[str, Any], kept_days: float) -> Row[Any]:
    """Record the finished file of a job for so many days, and return the row. A former one of the job is replaced."""
    row = {**values, "created_at": func.now(), "expires_at": func.now() + timedelta(days=kept_days)}
    statement = insert(exports).values(row)
    replaced = {name: statement.excluded[name] for name in row if name != "job_id"}
    statement = statement.on_conflict_do_update(index_elements=["job_id"], set_=replaced)
    written: Row[Any] = (await connection.execute(statement.returning(exports))).one()
    return written


async def export_by_key(connection: AsyncConnection, job_id: int, name: str) -> Row[Any] | None:
    """Find the file of a job by its name, unless it has expired."""
    is_it = (exports.c.job_id == job_id, exports.c.name == name, exports.c.expires_at > func.now())
    return (await connection.execute(select(exports).where(*is_it))).one_or_none()


async def remove_expired(connection: AsyncConnection) -> int:
    """Remove what tells of files that have expired, and return how many those were."""
    return (await connection.execute(delete(exports).where(exports.c.expires_at <= func.now()))).rowcount


async def jobs_with_files(connection: AsyncConnection, job_ids: Collection[int]) -> set[int]:
    """Return which of these jobs have a file, or may be writing one."""
    has_file = select(exports.c.job_id).where(is_among(exports.c.job_id, job_ids))
    may_write = select(jobs.c.id).where(is_among(jobs.c.id, job_ids), jobs.c.finished_at.is_(None))
    return set(await connection.scalars(has_file.union(may_write)))
