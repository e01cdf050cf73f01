"""Exports comments through a running server, with a progress bar, and brings the file here."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from app.cli import client as connection
from app.cli.client import START_EXPORT, TIMEOUT_SECONDS, Client, RequestFailed
from app.cli.collect import start_job
from app.exports.options import Compression, ExportColumn, ExportFormat
from app.vk.references import GroupReference, read_group_reference

FIND_GROUP = (
    "query FindGroup($vkId: BigInt, $screenName: String) { group(vkId: $vkId, screenName: $screenName) { id } }"
)
FIND_KEYWORDS = """
query FindKeywords($search: String!) { keywords(first: 500, filter: {search: $search}) { nodes { id phrase } } }"""


def kind_of(path: Path, format: ExportFormat | None, compression: Compression | None) -> tuple[str, str | None]:
    """Return format and compression as the API names them: what was asked for, else what the file's name says."""
    endings = [ending.removeprefix(".").lower() for ending in path.suffixes]
    packed = {known.value: known for known in Compression}
    if endings and endings[-1] in packed:
        by_name = packed[endings.pop()]
        compression = compression or by_name
    kinds = {known.value: known for known in ExportFormat}
    kind = format or kinds.get(endings[-1] if endings else "", ExportFormat.CSV)
    return kind.name, compression and compression.name


def columns_named(names: str) -> list[str] | None:
    """Return the columns that a person has named, separated by commas, as the API names them; None for none.

    Raises:
        RequestFailed: one of them does not exist.
    """
    known = {column.value.lower(): column.name for column in ExportColumn}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name.lower() not in known:
            there = ", ".join(column.value for column in ExportColumn)
            raise RequestFailed(f"There is no column {name!r}; there are {there}.")
    return [known[name.lower()] for name in wanted] or None


def joined_filter(given: str | None, **wishes: Any) -> dict[str, Any] | None:
    """Return a CommentFilter of JSON that a person has written, and of what was asked for beside it.

    Raises:
        RequestFailed: it is no JSON object.
    """
    wanted = {name: value for name, value in wishes.items() if value}
    if given is None:
        return wanted or None
    try:
        parsed = orjson.loads(given)
    except orjson.JSONDecodeError as error:
        raise RequestFailed(f"--filter is no JSON: {error}.") from None
    if not isinstance(parsed, dict):
        raise RequestFailed('--filter takes a JSON object, such as \'{"minLikes": 5, "not": {"isReply": true}}\'.')
    return {"and": [parsed, wanted]} if wanted else parsed


async def group_ids(client: Client, references: Sequence[str]) -> list[str]:
    """Return the ids of communities that have been added.

    Raises:
        RequestFailed: one of them has not been, or is none.
    """
    found = []
    for reference in references:
        read = read_group_reference(reference)
        if not isinstance(read, GroupReference):
            raise RequestFailed(f"--group {reference!r} {read}.")
        name = {"vkId": int(read.name)} if read.name.isdecimal() else {"screenName": read.name}
        group = (await client.execute(FIND_GROUP, name))["group"]
        if group is None:
            raise RequestFailed(f"The community {reference!r} has not been added. Add it with `vk-comments collect`.")
        found.append(group["id"])
    return found


async def keyword_ids(client: Client, phrases: Sequence[str]) -> list[str]:
    """Return the ids of keywords with these phrases, whatever the case.

    Raises:
        RequestFailed: one of them is no keyword.
    """
    found = []
    for phrase in phrases:
        nodes = (await client.execute(FIND_KEYWORDS, {"search": phrase}))["keywords"]["nodes"]
        ids = [node["id"] for node in nodes if node["phrase"].casefold() == phrase.casefold()]
        if not ids:
            raise RequestFailed(f"There is no keyword {phrase!r}.")
        found += ids
    return found


def check_target(path: Path, *, force: bool) -> None:
    """Look whether a file can be written, before anything is asked for.

    Raises:
        RequestFailed: it is there already, or there is no directory for it.
    """
    if path.is_dir():
        raise RequestFailed(f"{path} is a directory: name a file in it.")
    if not path.parent.is_dir():
        raise RequestFailed(f"There is no directory {path.parent}.")
    if path.exists() and not force:
        raise RequestFailed(f"{path} is there already. Give --force to write over it.")


async def export(client: Client, console: Console, path: Path, *, force: bool, **wishes: Any) -> dict[str, Any]:
    """Export as wished, show the progress, bring the file to `path`, and return what it is.

    Raises:
        RequestFailed: the server refuses, or fails, or the file cannot be written.
    """
    check_target(path, force=force)
    result = await start_job(client, console, START_EXPORT, wishes, "export")
    await download(client, console, result, path)
    return result


async def download(client: Client, console: Console, result: dict[str, Any], path: Path) -> None:
    """Bring a file here; what is at `path` is replaced when all of it is there. A lost connection goes on where it was.

    Raises:
        RequestFailed: the server stays away, or refuses, or the file is damaged, or cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            await _Download(client, result, file).run(console)
        part.replace(path)
    except OSError as error:
        raise RequestFailed(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@dataclass(slots=True)
class _Download:
    """A file on its way. `size` and `hash` are of what is here."""

    client: Client
    result: dict[str, Any]
    file: Any
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    tries: int = 0

    async def run(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
        with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("downloading", total=self.result["byteCount"])
            while self.size < self.result["byteCount"]:
                try:
                    async for _ in self._parts():
                        bar.update(task, completed=self.size)
                except httpx2.HTTPError as error:
                    self.tries += 1
                    if self.tries > connection.RECONNECTS:
                        raise RequestFailed(
                            f"The connection to {self.client.url} is lost, and so is the file: begin again."
                        ) from error
                    await asyncio.sleep(connection.RECONNECT_SECONDS)
        if self.hash.hexdigest() != self.result["sha256"]:
            raise RequestFailed("The file that came is not the one that the server has written. Begin again.")

    async def _parts(self) -> AsyncIterator[None]:
        """Take what is missing, as far as it comes."""
        headers = {"Accept-Encoding": "identity", **self.client.headers}
        if self.size:
            headers |= {"Range": f"bytes={self.size}-", "If-Range": f'"{self.result["sha256"]}"'}
        url = f"{self.client.url}{self.result['url']}"
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http,
            http.stream("GET", url, headers=headers) as reply,
        ):
            if reply.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
                raise httpx2.RemoteProtocolError(f"the server answers {reply.status_code}")
            if reply.status_code != (httpx2.codes.PARTIAL_CONTENT if self.size else httpx2.codes.OK):
                raise RequestFailed(f"The server does not give the file: it answers {reply.status_code}.")
            async for data in reply.aiter_raw():
                self.file.write(data)
                self.hash.update(data)
                self.size += len(data)
                self.tries = 0
                yield


def summary(result: dict[str, Any], path: Path) -> str:
    """Say in a line what was exported."""
    cut = f" {result['cutTextCount']:,} texts were too long for Excel, and end with a mark." * bool(
        result["cutTextCount"]
    )
    return f"{result['rowCount']:,} comments, {result['byteCount']:,} bytes: {path}.{cut}"
