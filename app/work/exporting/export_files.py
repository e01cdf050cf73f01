"""Where the files of exports are, and the removal of those that nobody needs any more."""

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
LEFT_SECONDS = 60.0
"""How long a directory that nobody needs is left alone: a job that is retried makes it anew."""


def export_directory(settings: Settings) -> Path:
    """Return where the files of exports are: each in a directory that has the id of its job for a name."""
    return settings.data_dir / "exports"


def make_anew(directory: Path, own: Path) -> None:
    """Make the directory of a run, and remove what former runs of the job have left."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True)
    own.mkdir(mode=0o700)


def remove_run(own: Path) -> None:
    """Remove the directory of a run, and that of its job where nothing else is in it."""
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):
        own.parent.rmdir()


def sync_names(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
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


async def remove_unneeded(connection: AsyncConnection, settings: Settings) -> int:
    """Remove the directories of exports that have expired or whose job is gone, and return how many they were."""
    found = await asyncio.to_thread(_directories, settings)
    needed = await exports.jobs_with_files(connection, found.keys())
    return await asyncio.to_thread(_remove_old, [path for job_id, path in found.items() if job_id not in needed])


def _remove_old(paths: Sequence[Path]) -> int:
    count = 0
    for path in paths:
        with suppress(FileNotFoundError):  # another process has been faster
            if time.time() - path.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(path)
                count += 1
    return count


async def clear_exports(resources: Resources) -> None:
    """Remove the files of exports that have expired or whose jobs are gone, and what crashed runs have left."""
    async with resources.database.transaction() as connection:
        await exports.remove_expired(connection)
    async with resources.database.connect() as connection:
        if count := await remove_unneeded(connection, resources.settings):
            log.info("exports_removed", count=count)
