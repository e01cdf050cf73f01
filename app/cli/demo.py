"""The demo: a VK simulator and a server, which collect, analyse and export a community, and then keep running."""

import asyncio
import re
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import zip_longest
from pathlib import Path

import httpx2
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.client import ADD_KEYWORDS, READ_COMMENTS, READ_STATISTICS, START_ANALYSIS, Client
from app.cli.collect import add_groups, show_progress, start_collection, start_job, summary
from app.cli.export import export
from app.cli.export import summary as summary_of_export
from app.cli.processes import free_port, running
from app.errors import StartFailed
from app.settings import Settings

FIRST_PORT = 8000
ADDRESS_FILE = "demo.json"
"""The file in DATA_DIR that contains the URL of a running demo."""
EXPORT_FILE = "demo-comments.csv"
"""The file in DATA_DIR to which the comments are exported."""
KEYWORDS = ("кофе", "бариста", "очередь", "вкусный", "спасибо")
POSTS, SEED = 60, 1
TOKEN = "demo-token"  # noqa: S105 - the simulator accepts any token
SHOWN_COMMENTS = 5
LONGEST_TEXT = 70
MENTION = re.compile(r"\[(?:id|club)\d+\|([^\]]*)\]")
"""VK's mention of a person or community in a text: [id1|Name]."""


async def run_demo(settings: Settings, console: Console, *, comments: int, once: bool) -> None:
    """Start a VK simulator and a server; collect, analyse and export a community; then keep serving, unless `once`.

    If a demo is running on this DATA_DIR already, use its server, which keeps running
    after this demo. `comments` is the size of the simulated community.

    Raises:
        StartFailed: a process does not start, or ends unexpectedly.
        RequestFailed: one of the jobs fails.
    """
    file = settings.data_dir / EXPORT_FILE
    if live := await _live_server(settings):
        console.print(f"A demo is running at {live} already: following that one.")
        await _run_steps(Client(live), console, file)
        _print_links(console, live)
        return
    async with _own_servers(settings, console, comments) as (url, processes):
        await _run_steps(Client(url), console, file)
        if not once:
            _print_links(console, url)
            console.print("\nPress Ctrl-C to stop.")
            await _any_end(processes)
            raise StartFailed(f"The server or the simulator has ended. See the logs in {settings.data_dir}.")


async def _run_steps(client: Client, console: Console, file: Path) -> None:
    """Add keywords, then collect, analyse and export the comments, and show the results."""
    await client.execute(ADD_KEYWORDS, {"keywords": [{"phrase": phrase, "category": "demo"} for phrase in KEYWORDS]})
    group = await _collect(client, console)
    console.print("Analysing them: languages, words, links, sentiment, waves of spam ...")
    await start_job(client, console, START_ANALYSIS, {"groupIds": [group]}, "analysis")
    await _show_statistics(client, console, group)
    console.print("Exporting them for Excel ...")
    result = await export(client, console, file, force=True, format="CSV")
    console.print(summary_of_export(result, file), soft_wrap=True)


async def _collect(client: Client, console: Console) -> str:
    """Collect the community, show some of its comments, and return its id."""
    from simulator import DEMO_SCREEN_NAME  # noqa: PLC0415 - avoid its imports when only --help is shown

    [group] = await add_groups(client, [f"https://vk.com/{DEMO_SCREEN_NAME}"])
    # a running collection is that of an interrupted demo, and serves as well as a new one
    job, _ = await start_collection(client, groupIds=[group["id"]])
    console.print(f"Collecting the comments of {group['name']} ({group['screenName']}) ...")
    console.print(summary(await show_progress(client, console, job["id"])))
    found = (await client.execute(READ_COMMENTS, {"groupIds": [group["id"]], "first": SHOWN_COMMENTS}))["comments"]
    table = Table(title=f"The most liked of {found['totalCount']:,} comments", title_justify="left", expand=True)
    table.add_column("author", no_wrap=True, style="cyan")
    table.add_column("comment", ratio=1)
    table.add_column("likes", justify="right", style="magenta")
    for comment in found["nodes"]:
        author = (comment["author"] or {}).get("name", "")
        # Text, because rich would interpret VK's brackets as markup
        table.add_row(Text(author), Text(_shown(comment["text"])), str(comment["likeCount"]))
    console.print(table)
    return str(group["id"])


async def _show_statistics(client: Client, console: Console, group_id: str) -> None:
    found = (await client.execute(READ_STATISTICS, {"groupIds": [group_id]}))["statistics"]
    table = Table(title="What they say", title_justify="left", expand=True)
    columns = (
        ("keyword", "comments", [(each["keyword"]["phrase"], each["commentCount"]) for each in found["topKeywords"]]),
        ("term", "comments", [(each["term"], each["commentCount"]) for each in found["terms"]]),
        (
            "author",
            "comments",
            [((each["author"] or {}).get("name", ""), each["commentCount"]) for each in found["topAuthors"]],
        ),
    )
    for name, counted, _ in columns:
        table.add_column(name, style="cyan", no_wrap=True, ratio=1)
        table.add_column(counted, justify="right", style="magenta", no_wrap=True)
    for row in zip_longest(*(rows for _, _, rows in columns), fillvalue=("", 0)):
        table.add_row(*(Text(part) for name, count in row for part in (name, f"{count:,}" if count else "")))
    console.print(table)


def _shown(text: str) -> str:
    """Return a comment as one line: mentions as names, long texts truncated."""
    line = " ".join(MENTION.sub(r"\1", text).split()) or "(no text)"
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def _print_links(console: Console, url: str) -> None:
    for what, path in (
        ("GraphiQL, to explore the API", "/graphql"),
        ("health", "/health"),
        ("metrics", "/metrics"),
    ):
        console.print(f"  [link={url}{path}]{url}{path}[/link]  {what}", highlight=False)


async def _any_end(processes: Sequence[Process]) -> None:
    waits = [asyncio.create_task(process.wait()) for process in processes]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


def _port(settings: Settings, console: Console) -> int:
    """Return the port for the server: PORT if it is set, otherwise a free one."""
    if "port" in settings.model_fields_set:
        return settings.port or free_port()
    port = free_port(FIRST_PORT)
    if port != FIRST_PORT:
        console.print(f"Port {FIRST_PORT} is in use; using {port}.")
    return port


@asynccontextmanager
async def _own_servers(
    settings: Settings, console: Console, comments: int
) -> AsyncIterator[tuple[str, Sequence[Process]]]:
    """Run a simulator and a server; yield the server's URL and both processes."""
    port = _port(settings, console)
    url, vk_port = f"http://127.0.0.1:{port}", free_port()
    vk_url = f"http://127.0.0.1:{vk_port}"
    logs = settings.data_dir / "logs"
    size = ("--posts", str(POSTS), "--comments", str(comments), "--seed", str(SEED))
    simulate = ["simulate-vk", "--port", str(vk_port), *size]
    # these settings override the environment, because the demo sends no API key and needs a worker
    server = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "AUTH": "none",
        "WORKERS": str(settings.workers or 1),
        "VK_API_URL": vk_url,
        "VK_TOKENS": TOKEN,
    }
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(
            stack.enter_async_context(running(simulate, {}, logs / "simulator.log", f"{vk_url}/_control")),
            stack.enter_async_context(running(["serve"], server, logs / "server.log", f"{url}/health/ready")),
            return_exceptions=True,
        )
        for failure in started:
            if isinstance(failure, BaseException):
                raise failure
        address_file = settings.data_dir / ADDRESS_FILE
        address_file.write_bytes(orjson.dumps({"url": url}))
        stack.callback(address_file.unlink, missing_ok=True)
        console.print(
            f"PostgreSQL, a simulated VK and the server are up; data and logs are in {settings.data_dir}.",
            soft_wrap=True,
        )
        yield url, [process for process in started if not isinstance(process, BaseException)]


async def _live_server(settings: Settings) -> str | None:
    """Return the URL of a demo that is already running on this DATA_DIR; None if no demo is running."""
    try:
        url = str(orjson.loads((settings.data_dir / ADDRESS_FILE).read_bytes())["url"])
        async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
            return url if (await http.get(f"{url}/health/live")).is_success else None
    except (OSError, ValueError, KeyError, httpx2.HTTPError):
        return None
