"""`vk-comments keywords import` against a running server."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.background import open_worker
from app.cli.client import RequestFailed
from app.cli.commands import app
from app.cli.keywords import MOST_SHOWN
from app.jobs.queue import cancel
from app.resources import Resources
from app.store import jobs
from tests.conftest import Api, Wall, until


async def run(api: Api, path: Path, *arguments: str) -> Result:
    """Run the command in a thread of this process."""
    command = ["keywords", "import", str(path), "--server", api.url, *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command, env={"COLUMNS": "200"}))


async def test_import(api: Api, resources: Resources, wall: Wall, tmp_path: Path) -> None:
    assert len(wall.comment_ids) == 12
    path = tmp_path / "words.txt"
    path.write_text("comment\npost\ncomment\n" + "…\n" * (MOST_SHOWN + 2), encoding="utf-8")
    async with open_worker(resources, 1):
        result = await run(api, path, "--category", "Words", "--matching", "exact-word")
    assert result.exit_code == 0, result.output
    assert "2 keywords added, 1 existed already." in result.output
    assert result.output.count("'…' was skipped. The phrase") == MOST_SHOWN
    assert "2 more were skipped." in result.output
    assert "12 comments searched, 24 matches found." in result.output
    found = await api.execute("{ keywords { nodes { phrase category matching matchCount } } }")
    assert found["keywords"]["nodes"] == [
        {"phrase": phrase, "category": "Words", "matching": "EXACT_WORD", "matchCount": 12}
        for phrase in ("comment", "post")
    ]
    again = await run(api, path, "--matching", "exact-word")
    assert "0 keywords added, 3 existed already." in again.output


async def test_a_cancelled_matching(api: Api, resources: Resources, wall: Wall, tmp_path: Path) -> None:
    assert wall
    path = tmp_path / "words.csv"
    path.write_text("comment")
    task = asyncio.create_task(run(api, path))

    async def queued() -> object:
        async with resources.database.connect() as connection:
            return await jobs.job_by_id(connection, 1)

    await until(queued)
    await cancel(resources, 1)
    result = await task
    assert isinstance(result.exception, RequestFailed)
    assert result.exception.message == "The matching is CANCELLED."


async def test_files_that_are_rejected(api: Api, tmp_path: Path) -> None:
    missing = await run(api, tmp_path / "none.txt")
    assert isinstance(missing.exception, RequestFailed)
    assert missing.exception.message == f"Cannot read {tmp_path / 'none.txt'}: No such file or directory."
    empty = tmp_path / "empty.txt"
    empty.touch()
    result = await run(api, empty)
    assert isinstance(result.exception, RequestFailed)
    assert result.exception.message == "file: is empty"


@pytest.mark.parametrize("arguments", [["keywords"], ["keywords", "import", "--help"]])
def test_help(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "Add the keywords of a file to a running server" in shown
