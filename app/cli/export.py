"""Exports comments through a running server, with a progress bar, and downloads the file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

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
from app.cli.client import START_EXPORT, TIMEOUT_SECONDS, Answer, Client, RequestFailed
from app.cli.collect import start_job
from app.exports.options import Compression, ExportColumn, ExportFormat
from app.vk.references import GroupReference, read_group_reference

FIND_GROUP = (
    "query FindGroup($vkId: BigInt, $screenName: String) { group(vkId: $vkId, screenName: $screenName) { id } }"
)
FIND_KEYWORDS = """
query FindKeywords($search: String!) { keywords(first: 500, filter: {search: $search}) { nodes { id phrase } } }"""


def kind_of(path: Path, format: ExportFormat | None, compression: Compression | None) -> tuple[str, str | None]:
    """Return format and compression as the API names them: the given ones, otherwise those of the file's suffixes."""
    endings = [ending.removeprefix(".").lower() for ending in path.suffixes]
    compressions = {known.value: known for known in Compression}
    if endings and endings[-1] in compressions:
        from_name = compressions[endings.pop()]
        compression = compression or from_name
    kinds = {known.value: known for known in ExportFormat}
    kind = format or kinds.get(endings[-1] if endings else "", ExportFormat.CSV)
    return kind.name, compression and compression.name


def columns_named(names: str) -> list[str] | None:
    """Parse comma-separated columns and return them as the API names them; None if no column was given.

    Raises:
        RequestFailed: one of them does not exist.
    """
    known = {column.value.lower(): column.name for column in ExportColumn}
    requested = [name.strip() for name in names.split(",") if name.strip()]
    for name in requested:
        if name.lower() not in known:
            names = ", ".join(column.value for column in ExportColumn)
            raise RequestFailed(f"{name!r} is not a column. The columns are {names}.")
    return [known[name.lower()] for name in requested] or None


def joined_filter(given: str | None, **options: object) -> Answer | None:
    """Combine a CommentFilter given as JSON with the filters of other options; None if neither was given.

    Raises:
        RequestFailed: `given` is not a JSON object.
    """
    requested = {name: value for name, value in options.items() if value}
    if given is None:
        return requested or None
    try:
        parsed = orjson.loads(given)
    except orjson.JSONDecodeError as error:
        raise RequestFailed(f"--filter is not JSON: {error}.") from None
    if not isinstance(parsed, dict):
        raise RequestFailed('--filter must be a JSON object, such as \'{"minLikes": 5, "not": {"isReply": true}}\'.')
    return {"and": [parsed, requested]} if requested else parsed


async def group_ids(client: Client, references: Sequence[str]) -> list[str]:
    """Return the ids of communities that have been added.

    Raises:
        RequestFailed: one of them has not been added, or its reference is not valid.
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
    """Return the ids of keywords with these phrases, ignoring case.

    Raises:
        RequestFailed: one of the phrases is not a keyword.
    """
    found = []
    for phrase in phrases:
        nodes = (await client.execute(FIND_KEYWORDS, {"search": phrase}))["keywords"]["nodes"]
        ids = [node["id"] for node in nodes if node["phrase"].casefold() == phrase.casefold()]
        if not ids:
            raise RequestFailed(f"The keyword {phrase!r} does not exist.")
        found += ids
    return found


def check_target(path: Path, *, force: bool) -> None:
    """Check that the file can be written, before the server is contacted.

    Raises:
        RequestFailed: the file exists already, or its directory does not exist.
    """
    if path.is_dir():
        raise RequestFailed(f"{path} is a directory. Give the path of a file.")
    if not path.parent.is_dir():
        raise RequestFailed(f"The directory {path.parent} does not exist.")
    if path.exists() and not force:
        raise RequestFailed(f"{path} exists already. Use --force to overwrite it.")


async def export(client: Client, console: Console, path: Path, *, force: bool, **options: object) -> Answer:
    """Run an export with these options, show its progress, download the file to `path`, and return its result.

    Raises:
        RequestFailed: the server rejects or fails the export, or the file cannot be written.
    """
    check_target(path, force=force)
    result = await start_job(client, console, START_EXPORT, options, "export")
    await download(client, console, result, path)
    return result


async def download(client: Client, console: Console, result: Answer, path: Path) -> None:
    """Download a file; replace `path` only when the download is complete. After a lost connection, resume the download.

    Raises:
        RequestFailed: the server cannot be reached any more, or refuses the file; or the file is damaged, or
            cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            await _Download(client, result, file).run(console)
        partial.replace(path)
    except OSError as error:
        raise RequestFailed(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@dataclass(slots=True)
class _Download:
    """A running download. `size` and `hash` describe the bytes received so far."""

    client: Client
    result: Answer
    file: IO[bytes]
    size: int = 0
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    tries: int = 0

    async def run(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
        with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("downloading", total=self.result["byteCount"])
            while self.size < self.result["byteCount"]:
                try:
                    async for _ in self._chunks():
                        bar.update(task, completed=self.size)
                except httpx2.HTTPError as error:
                    self.tries += 1
                    if self.tries > connection.RECONNECTS:
                        raise RequestFailed(
                            f"The connection to {self.client.url} is lost, so the download failed. Try again."
                        ) from error
                    await asyncio.sleep(connection.RECONNECT_SECONDS)
        if self.hash.hexdigest() != self.result["sha256"]:
            raise RequestFailed("The downloaded file is damaged: its checksum is wrong. Try again.")

    async def _chunks(self) -> AsyncIterator[None]:
        """Receive the missing bytes; yield after each chunk."""
        headers = {"Accept-Encoding": "identity", **self.client.headers}
        if self.size:
            headers |= {"Range": f"bytes={self.size}-", "If-Range": f'"{self.result["sha256"]}"'}
        url = f"{self.client.url}{self.result['url']}"
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http,
            http.stream("GET", url, headers=headers) as reply,
        ):
            if reply.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
                raise httpx2.RemoteProtocolError(f"the server replied with status {reply.status_code}")
            if reply.status_code != (httpx2.codes.PARTIAL_CONTENT if self.size else httpx2.codes.OK):
                raise RequestFailed(f"The server refuses the file with status {reply.status_code}.")
            async for data in reply.aiter_raw():
                self.file.write(data)
                self.hash.update(data)
                self.size += len(data)
                self.tries = 0
                yield


def summary(result: Answer, path: Path) -> str:
    """Return one line that describes the export."""
    cut = f" {result['truncatedTextCount']:,} texts were too long for Excel; they are cut and end with a mark." * bool(
        result["truncatedTextCount"]
    )
    return f"{result['rowCount']:,} comments, {result['byteCount']:,} bytes: {path}.{cut}"
