"""The commands of `vk-comments` and their options. Each command imports its own slow modules."""

import asyncio
import sys
from collections.abc import Coroutine
from datetime import datetime
from enum import Enum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer
import uvloop
from rich.console import Console

from app.cli.client import Answer
from app.errors import Fault, StartFailed
from app.exports.options import Compression, Delimiter, ExportFormat
from app.settings import read_settings

HELP = """Collect the comments of VK communities and serve them over GraphQL.

Start with `vk-comments demo`: it needs neither VK, nor PostgreSQL, nor Redis. Environment variables configure
everything else; docs/settings.md lists them, and all have defaults.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
keywords = typer.Typer(help="Keywords of a running server.", no_args_is_help=True)
app.add_typer(keywords, name="keywords")
T = TypeVar("T")

console = Console()

CONCURRENCY = 10
"""The default number of concurrent jobs of a worker if WORKERS is 0, which is meant for the web server."""

ApiKey = Annotated[str | None, typer.Option(help="API key, if the server requires one.", envvar="VK_COMMENTS_API_KEY")]
Server = Annotated[str, typer.Option(help="URL of a running VK Comments server.", envvar="VK_COMMENTS_SERVER")]


Matching = Literal["word-forms", "exact-word", "substring", "case-sensitive"]


class CompressionName(Enum):
    """A compression, named after the program that unpacks it."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def compression(self) -> Compression:
        """The compression of the export."""
        return Compression[self.name]


def main() -> None:
    """Run the command line. An expected failure prints one line and exits with 1; typer exits with 130 after Ctrl-C."""
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
    once: Annotated[bool, typer.Option("--once", help="End after the export instead of serving on.")] = False,
    comments: Annotated[int, typer.Option(min=0, help="Number of comments in the simulated community.")] = 30_000,
) -> None:
    """Show everything on this machine: a VK simulator, a server, and a community that is collected."""
    from app.cli.demo import run_demo

    _require_simulator()
    try:
        _run(run_demo(read_settings(), console, comments=comments, once=once))
    except KeyboardInterrupt:
        console.print("Stopped.")


@app.command()
def serve() -> None:
    """Run the server: GraphQL, and up to WORKERS concurrent jobs."""
    from app.cli.serve_web import serve_web

    _run(serve_web(read_settings()))


@app.command()
def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help=f"Number of concurrent jobs. Default: WORKERS, or {CONCURRENCY} if that is 0."),
    ] = None,
    *,
    kinds: Annotated[str, typer.Option(help="Kinds of jobs to run, separated by commas. Default: all.")] = "",
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port for /metrics, on HOST. Default: no metrics.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Start no worker; exit with 0 if the worker on this DATA_DIR is alive, else with 1 and the reason.",
        ),
    ] = False,
) -> None:
    """Run only jobs, for servers that run with WORKERS=0."""
    settings = read_settings()
    if check:
        from app.cli.alive import require_alive

        require_alive(settings)
    else:
        from app.background import kinds_named
        from app.cli.serve_jobs import serve_jobs

        selected = kinds_named(kinds)
        _run(serve_jobs(settings, concurrency or settings.workers or CONCURRENCY, selected, metrics_port))


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Target version: head, base, or a number such as 0002.")] = "head",
) -> None:
    """Migrate the database to this version (or, with --to, to another one)."""
    from app.db.migrate import migrate as run_migrations
    from app.resources import open_postgresql

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
    max_posts: Annotated[
        int | None, typer.Option(min=1, help="Only this number of posts per community, newest first.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read all comments again, to detect edits and deletions.")
    ] = False,
) -> None:
    """Add communities to a running server, collect their comments and show the progress."""
    from app.cli.client import Client
    from app.cli.collect import add_groups, summary
    from app.cli.collect import collect as run_collection

    async def run() -> None:
        client = Client(server, api_key)
        options = {
            "since": since.isoformat() + "Z" if since else None,
            "maxPostsPerGroup": max_posts,
            "full": full,
        }
        job = await run_collection(client, console, await add_groups(client, references), **options)
        console.print(summary(job))

    _run(run())


@app.command()
def export(  # noqa: PLR0913 - each parameter is a command-line option
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    *,
    format: Annotated[
        ExportFormat | None, typer.Option(help="File format. Default: by the suffix of the file.")
    ] = None,
    compression: Annotated[
        CompressionName | None, typer.Option(help="Compression of the file. Default: by its suffix, .gz or .zst.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Columns, separated by commas: vkUrl,publishedAt,text ... Default: the usual ones.")
    ] = "",
    group: Annotated[
        list[str] | None, typer.Option(help="Only comments of this community: id, screen name or link. Repeatable.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help='Only comments with these words: words, "phrases", -words, or.')
    ] = None,
    keyword: Annotated[
        list[str] | None, typer.Option(help="Only comments that match this keyword. Repeatable.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Only comments published at this time (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only comments published before this time (UTC).")] = None,
    filter: Annotated[str | None, typer.Option(help="Only these comments: a CommentFilter of the API as JSON.")] = None,
    delimiter: Annotated[Delimiter, typer.Option(help="Separator of CSV values.")] = Delimiter.SEMICOLON,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas/--no-escape-formulas",
            help="Whether to put an apostrophe before CSV texts that spreadsheets would run as formulas.",
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Export comments from a running server to a file, as CSV, JSON lines, XLSX or Parquet."""
    from app.cli import export as exports
    from app.cli.client import Client

    async def run() -> None:
        client = Client(server, api_key)
        exports.check_target(output, force=force)
        kind, compression_name = exports.kind_of(output, format, compression and compression.compression)
        selected = exports.joined_filter(
            filter,
            groupIds=await exports.group_ids(client, group or ()),
            keywordIds=await exports.keyword_ids(client, keyword or ()),
            search=search,
            publishedFrom=since and since.isoformat() + "Z",
            publishedTo=until and until.isoformat() + "Z",
        )
        options: Answer = {
            "format": kind,
            "compression": compression_name,
            "columns": exports.columns_named(columns),
            "filter": selected,
        }
        if kind == ExportFormat.CSV.name:
            options["csv"] = {"delimiter": delimiter.name, "escapeFormulas": escape_formulas}
        result = await exports.export(client, console, output, force=force, **options)
        console.print(exports.summary(result, output), markup=False, highlight=False, soft_wrap=True)

    _run(run())


@keywords.command("import")
def import_keywords(
    file: Annotated[
        Path, typer.Argument(help="Text or CSV: one phrase per line, or a table of phrase, category and matching.")
    ],
    *,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    category: Annotated[str | None, typer.Option(help="Category of the keywords for which the file has none.")] = None,
    matching: Annotated[
        Matching, typer.Option(help="Matching of the keywords for which the file has none.")
    ] = "word-forms",
) -> None:
    """Add the keywords of a file to a running server and match them with the stored comments."""
    from app.cli.client import Client
    from app.cli.keywords import import_keywords as run_import

    _run(run_import(Client(server, api_key), console, file, category, matching))


@app.command("simulate-vk")
def simulate_vk(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 8001,
    groups: Annotated[int, typer.Option(min=1, help="Number of communities.")] = 1,
    posts: Annotated[int, typer.Option(min=0, help="Posts per community.")] = 60,
    comments: Annotated[int, typer.Option(min=0, help="Comments and replies per community.")] = 30_000,
    seed: Annotated[int, typer.Option(help="The same seed generates the same data.")] = 1,
    rps: Annotated[float, typer.Option(min=0, help="Requests per second per token; 0: no limit.")] = 3.0,
) -> None:
    """Run a VK API with invented communities, for demos and tests. It sends no request to other machines."""
    _require_simulator()
    from app.cli.serve_simulator import serve_simulator
    from simulator import SimulatorOptions

    options = SimulatorOptions(groups=groups, posts=posts, comments=comments, seed=seed, rps=rps)
    _run(serve_simulator(options, port))


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. Default: the terminal.")] = None,
) -> None:
    """Write the GraphQL schema as SDL."""
    from schema import make_schema

    text = make_schema().as_str() + "\n"
    if output:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StartFailed(f"Cannot write {output}: {error.strerror}.") from error
    else:
        sys.stdout.write(text)


def _require_simulator() -> None:
    """Check that the VK simulator is installed.

    Raises:
        StartFailed: this installation does not contain it.
    """
    if find_spec("simulator") is None:
        raise StartFailed("This installation does not contain the VK simulator. Use a clone or the wheel for the demo.")


def _run(coroutine: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)
