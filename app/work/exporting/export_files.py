"""Locates the files of exports and removes unused ones."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from app.log import log
from app.resources import Resources
from app.settings import Settings
from app.store import exports

_JOB_ID = re.compile(r"[1-9][0-9]{0,17}")
KEPT_SECONDS = 60.0
"""An unused directory younger than this is kept: a retried job may have just created it."""


def export_directory(settings: Settings) -> Path:
    """Return the directory of all exports; each export has a subdirectory named after its job id."""
    return settings.data_dir / "exports"


def recreate_directory(directory: Path, run_directory: Path) -> None:
    """Create the directory of a run, and remove what earlier runs of the job have left."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True)
    run_directory.mkdir(mode=0o700)


def remove_run(run_directory: Path) -> None:
    """Remove the directory of a run, and that of its job if it is empty."""
    shutil.rmtree(run_directory, ignore_errors=True)
    with suppress(OSError):
        run_directory.parent.rmdir()


def sync_directory(directory: Path) -> None:
    """Flush the entries of a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _directories(settings: Settings) -> dict[int, Path]:
    """Return the directories of exports: job id -> directory."""
    try:
        found = [path for path in export_directory(settings).iterdir() if _JOB_ID.fullmatch(path.name)]
    except FileNotFoundError:
        return {}
    return {int(path.name): path for path in found}


async def remove_unused(connection: AsyncConnection, settings: Settings) -> int:
    """Remove the directories of exports that have expired or whose job no longer exists, and return how many."""
    found = await asyncio.to_thread(_directories, settings)
    used = await exports.jobs_with_files(connection, found.keys())
    return await asyncio.to_thread(_remove_old, [path for job_id, path in found.items() if job_id not in used])


def _remove_old(paths: Sequence[Path]) -> int:
    count = 0
    for path in paths:
        with suppress(FileNotFoundError):  # another process has removed it
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(path)
                count += 1
    return count


async def clear_exports(resources: Resources) -> None:
    """Remove expired exports, files of jobs that no longer exist, and leftovers of crashed runs."""
    async with resources.database.transaction() as connection:
        await exports.remove_expired(connection)
    async with resources.database.connect() as connection:
        if count := await remove_unused(connection, resources.settings):
            log.info("exports_removed", count=count)
