"""Adds the keywords of a file through a running server, and follows the job that matches stored comments."""

import asyncio
from collections import Counter
from pathlib import Path

from rich.console import Console

from app.cli.client import Answer, Client, RequestFailed
from app.cli.collect import result_of

IMPORT_KEYWORDS = """
mutation ImportKeywords($file: Upload!, $category: String, $matching: KeywordMatching!) {
  importKeywords(input: {file: $file, category: $category, matching: $matching}) {
    __typename
    ... on ImportKeywordsSuccess { outcomes { phrase outcome message } job { id } }
    ... on Error { message }
  }
}"""
MOST_SHOWN = 20


async def import_keywords(client: Client, console: Console, path: Path, category: str | None, matching: str) -> None:
    """Add the keywords of a file, print the outcomes, and show the progress of matching until it has ended.

    Raises:
        RequestFailed: the file cannot be read, the server rejects it, or the matching fails.
    """
    data = await asyncio.to_thread(_contents_of, path)
    variables = {"file": None, "category": category, "matching": matching.upper().replace("-", "_")}
    answer = (await client.upload(IMPORT_KEYWORDS, variables, path.name, data))["importKeywords"]
    if answer["__typename"] != "ImportKeywordsSuccess":
        raise RequestFailed(answer["message"])
    _print_outcomes(console, answer["outcomes"])
    if answer["job"]:
        result = await result_of(client, console, answer["job"]["id"], "matching")
        _say(
            console, f"{result['matchedCommentCount']:,} comments searched, {result['newMatchCount']:,} matches found."
        )


def _contents_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestFailed(f"Cannot read {path}: {error.strerror}.") from error


def _print_outcomes(console: Console, outcomes: list[Answer]) -> None:
    counts = Counter(each["outcome"] for each in outcomes)
    _say(console, f"{counts['ADDED']:,} keywords added, {counts['ALREADY_EXISTS']:,} existed already.")
    malformed = [each for each in outcomes if each["outcome"] == "MALFORMED"]
    for each in malformed[:MOST_SHOWN]:
        _say(console, f"{each['phrase']!r} was skipped. {each['message']}", style="yellow")
    if len(malformed) > MOST_SHOWN:
        _say(console, f"{len(malformed) - MOST_SHOWN:,} more were skipped.", style="yellow")


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
