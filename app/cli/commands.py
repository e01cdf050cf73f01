"""The commands of `vk-comments` and their options. What takes long to import, the command imports that needs it."""

import asyncio
import sys
from collections.abc import Coroutine
from datetime import datetime
from enum import Enum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import uvloop
from rich.console import Console

from app.errors import Fault, StartFailed
from app.exports.options import Compression, Delimiter, ExportFormat
from app.settings import read_settings

HELP = """Collect the comments of VK communities and serve them over GraphQL.

Begin with `vk-comments demo`: it needs neither VK, nor PostgreSQL, nor Redis. Everything else is set by
environment variables, which docs/settings.md lists; all of them have defaults.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
keywords = typer.Typer(help="Keywords of a running server.", no_args_is_help=True)
app.add_typer(keywords, name="keywords")
console = Console()

CONCURRENCY = 10
"""How many jobs a worker runs at once where nothing says so: WORKERS=0 is meant for the web server beside it."""

ApiKey = Annotated[str | None, typer.Option(help="Key, where the server asks for one.", envvar="VK_COMMENTS_API_KEY")]
Server = Annotated[str, typer.Option(help="Address of a running VK Comments server.", envvar="VK_COMMENTS_SERVER")]


Matching = Literal["word-forms", "exact-word", "substring", "case-sensitive"]


class Packing(Enum):
    """How a file is packed, by the names of the programs that do."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def compression(self) -> Compression:
        """The same for exports."""
        return Compression[self.name]


def main() -> None:
    """Run the command line. An expected failure is one line and exit code 1; typer makes Ctrl-C exit code 130."""
    try:
        app()
    except Fault as fault:
        Console(stderr=True, soft_wrap=True).print(
            f"error: {fault.message}", style="red", markup=False, highlight=False
        )
        sys.exit(1)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        console.print(version("vk-comments"), highlight=False)
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the collection instead of serving on.")] = False,
    comments: Annotated[int, typer.Option(min=0, help="How many comments the simulated community has.")] = 30_000,
) -> None:
    """Show everything on this machine: a simulated VK, a server, and a community that is collected."""
    from app.cli.demo import run_demo  # noqa: PLC0415

    _require_simulator()
    try:
        _run(run_demo(read_settings(), console, comments=comments, once=once))
    except KeyboardInterrupt:
        console.print("Stopped.")


@app.command()
def serve() -> None:
    """Run the server: GraphQL, and as many jobs at once as WORKERS says."""
    from app.cli.serve_web import serve_web  # noqa: PLC0415

    _run(serve_web(read_settings()))


@app.command()
def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help=f"How many jobs run at once; else WORKERS, or {CONCURRENCY} where that is 0."),
    ] = None,
    *,
    kinds: Annotated[
        str, typer.Option(help="Which kinds of jobs it takes, separated by commas; all where it is left out.")
    ] = "",
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of /metrics, on HOST; none where it is left out.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Start none; exit code 0 if one is alive on this DATA_DIR, else 1 and a line that says why not.",
        ),
    ] = False,
) -> None:
    """Run jobs only, for servers that run with WORKERS=0."""
    settings = read_settings()
    if check:
        from app.cli.alive import require_alive  # noqa: PLC0415

        require_alive(settings)
    else:
        from app.background import kinds_named  # noqa: PLC0415
        from app.cli.serve_jobs import serve_jobs  # noqa: PLC0415

        wanted = kinds_named(kinds)
        _run(serve_jobs(settings, concurrency or settings.workers or CONCURRENCY, wanted, metrics_port))


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Which version: head, base, or a number such as 0002.")] = "head",
) -> None:
    """Bring the database to the tables of this version (or, with --to, of another one)."""
    from app.db.migrate import migrate as run_migrations  # noqa: PLC0415
    from app.resources import open_postgresql  # noqa: PLC0415

    async def run() -> str | None:
        async with open_postgresql(read_settings()) as database:
            return await run_migrations(database, to)

    console.print(f"The database is at {_run(run()) or 'base'}.", highlight=False)


@app.command()
def collect(
    references: Annotated[list[str], typer.Argument(help="Communities: ids, screen names or links.")],
    *,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    since: Annotated[datetime | None, typer.Option(help="Only posts published at this time (UTC) or later.")] = None,
    max_posts: Annotated[int | None, typer.Option(min=1, help="Only so many posts a community, newest first.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read all comments again: so edits and deletions are noticed.")
    ] = False,
) -> None:
    """Add communities to a running server, collect their comments and show the progress."""
    from app.cli.client import Client  # noqa: PLC0415
    from app.cli.collect import add_groups, summary  # noqa: PLC0415
    from app.cli.collect import collect as run_collection  # noqa: PLC0415

    async def run() -> None:
        client = Client(server, api_key)
        wishes = {
            "since": since.isoformat() + "Z" if since else None,
            "maxPostsPerGroup": max_posts,
            "full": full,
        }
        job = await run_collection(client, console, await add_groups(client, references), **wishes)
        console.print(summary(job))

    _run(run())


@app.command()
def export(  # noqa: PLR0913 - each is an option of its own
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    *,
    format: Annotated[
        ExportFormat | None, typer.Option(help="Kind of file; where it is left out, the ending of FILE says it.")
    ] = None,
    compression: Annotated[
        Packing | None, typer.Option(help="How the file is packed; by its ending, too: .gz or .zst.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Which columns, separated by commas: vkUrl,publishedAt,text ...; else the usual ones.")
    ] = "",
    group: Annotated[
        list[str] | None, typer.Option(help="Only under posts of this community: id, screen name or link. Repeatable.")
    ] = None,
    search: Annotated[str | None, typer.Option(help='Only what has these words: words, "phrases", -words, or.')] = None,
    keyword: Annotated[list[str] | None, typer.Option(help="Only with a match of this keyword. Repeatable.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only comments published at this time (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only comments published before this time (UTC).")] = None,
    filter: Annotated[str | None, typer.Option(help="Only these comments: a CommentFilter of the API as JSON.")] = None,
    delimiter: Annotated[Delimiter, typer.Option(help="What stands between values of CSV.")] = Delimiter.SEMICOLON,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas/--no-escape-formulas",
            help="Whether CSV has an apostrophe before texts that spreadsheets would run.",
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Export comments from a running server into a file, as CSV, JSON lines, XLSX or Parquet."""
    from app.cli import export as exports  # noqa: PLC0415
    from app.cli.client import Client  # noqa: PLC0415

    async def run() -> None:
        client = Client(server, api_key)
        exports.check_target(output, force=force)
        kind, packing = exports.kind_of(output, format, compression and compression.compression)
        wanted = exports.joined_filter(
            filter,
            groupIds=await exports.group_ids(client, group or ()),
            keywordIds=await exports.keyword_ids(client, keyword or ()),
            search=search,
            publishedFrom=since and since.isoformat() + "Z",
            publishedTo=until and until.isoformat() + "Z",
        )
        wishes: dict[str, Any] = {
            "format": kind,
            "compression": packing,
            "columns": exports.columns_named(columns),
            "filter": wanted,
        }
        if kind == ExportFormat.CSV.name:
            wishes["csv"] = {"delimiter": delimiter.name, "escapeFormulas": escape_formulas}
        result = await exports.export(client, console, output, force=force, **wishes)
        console.print(exports.summary(result, output), markup=False, highlight=False, soft_wrap=True)

    _run(run())


@keywords.command("import")
def import_keywords(
    file: Annotated[
        Path, typer.Argument(help="Text or CSV: a phrase a line, or a table of phrase, category and matching.")
    ],
    *,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    category: Annotated[str | None, typer.Option(help="Category of those for which the file has none.")] = None,
    matching: Annotated[
        Matching, typer.Option(help="How those match for which the file does not say it.")
    ] = "word-forms",
) -> None:
    """Add the keywords of a file to a running server and look for them in the comments that are stored."""
    from app.cli.client import Client  # noqa: PLC0415
    from app.cli.keywords import import_keywords as run_import  # noqa: PLC0415

    _run(run_import(Client(server, api_key), console, file, category, matching))


@app.command("simulate-vk")
def simulate_vk(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8001,
    groups: Annotated[int, typer.Option(min=1, help="How many communities there are.")] = 1,
    posts: Annotated[int, typer.Option(min=0, help="How many posts each has.")] = 60,
    comments: Annotated[int, typer.Option(min=0, help="How many comments and replies each has.")] = 30_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 1,
    rps: Annotated[float, typer.Option(min=0, help="Requests a second per token; 0 is no limit.")] = 3.0,
) -> None:
    """Run a VK API of invented communities, for demos and tests. No request of it leaves this machine."""
    _require_simulator()
    from app.cli.serve_simulator import serve_simulator  # noqa: PLC0415
    from simulator import SimulatorOptions  # noqa: PLC0415

    options = SimulatorOptions(groups=groups, posts=posts, comments=comments, seed=seed, rps=rps)
    _run(serve_simulator(options, port))


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; the terminal if not given.")
    ] = None,
) -> None:
    """Write the GraphQL schema as SDL."""
    from schema import make_schema  # noqa: PLC0415

    text = make_schema().as_str() + "\n"
    if output:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StartFailed(f"Cannot write {output}: {error.strerror}.") from error
    else:
        sys.stdout.write(text)


def _require_simulator() -> None:
    """Check that the simulated VK is there.

    Raises:
        StartFailed: this installation leaves it out.
    """
    if find_spec("simulator") is None:
        raise StartFailed("The simulated VK is not part of this installation. Use a clone or the wheel for the demo.")


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)
