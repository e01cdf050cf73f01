"""Collects communities through a running server, with a progress bar."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from app.cli.client import ADD_GROUPS, START_COLLECTION, Client, RequestFailed

MOST_TRIES = 20
"""How often a collection is started that others are in the way of, each time after theirs has ended."""


class _RateColumn(ProgressColumn):
    """Comments a second, as the server measures them."""

    def render(self, task: Task) -> Text:
        rate = task.fields.get("rate")
        return Text(f"{rate:,.0f}/s" if rate else "", style="progress.data.speed")


class _LeftColumn(ProgressColumn):
    """The time left, as the server estimates it; at the end the time that it took."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if task.finished:
            return Text(f"in {_clock(task.finished_time or 0)}", style="progress.elapsed")
        return Text("-:--" if left is None else f"{_clock(left)} left", style="progress.remaining")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


async def add_groups(client: Client, references: Sequence[str]) -> list[dict[str, Any]]:
    """Add communities and return those that exist: id, name, screenName, vkId.

    Raises:
        RequestFailed: one of the references is none, or VK fails.
    """
    answer = (await client.execute(ADD_GROUPS, {"references": list(references)}))["addGroups"]
    if answer["__typename"] != "AddGroupsSuccess":
        raise RequestFailed(answer["message"])
    for outcome in answer["outcomes"]:
        if outcome["group"] is None:
            raise RequestFailed(outcome["message"])
    return [outcome["group"] for outcome in answer["outcomes"]]


async def start_collection(client: Client, **wishes: Any) -> tuple[dict[str, Any], bool]:
    """Start a collection and return its job, and whether that is another one, which is in the way of this one.

    A job has an id; another one has groups as well, each with id and name.

    Raises:
        RequestFailed: the server refuses.
    """
    answer = (await client.execute(START_COLLECTION, {"input": wishes}))["startCollection"]
    if answer["__typename"] not in ("StartCollectionSuccess", "JobAlreadyRunningError"):
        raise RequestFailed(answer["message"])
    return answer["job"], answer["__typename"] == "JobAlreadyRunningError"


async def collect(client: Client, console: Console, groups: Sequence[dict[str, Any]], **wishes: Any) -> dict[str, Any]:
    """Collect communities as wished, show the progress and return the job.

    A collection of one of them that runs already was asked for by somebody
    else, of other communities or posts: it is followed to its end, whichever
    that is, and then this one is started.

    Raises:
        RequestFailed: the server refuses, or others are always first.
    """
    ids = [group["id"] for group in groups]
    for _ in range(MOST_TRIES):
        job, is_in_the_way = await start_collection(client, groupIds=ids, **wishes)
        if not is_in_the_way:
            _say(console, f"Started a collection of {_names(groups)}.")
            return await show_progress(client, console, job["id"])
        busy = [group for group in job["groups"] if group["id"] in ids] or groups
        verb = "are" if len(busy) > 1 else "is"
        work = "removed" if job["kind"] == "REMOVE_GROUPS" else "collected"
        _say(console, f"{_names(busy)} {verb} being {work} already: following that first.")
        ended = await show_progress(client, console, job["id"])
        if ended["state"] != "SUCCEEDED":
            _say(console, f"That job is {ended['state']}.")
    raise RequestFailed(f"{MOST_TRIES} jobs of others came first, so nothing was started. Try again later.")


def _names(groups: Sequence[dict[str, Any]]) -> str:
    return ", ".join(group["name"] for group in groups)


def _say(console: Console, text: str) -> None:
    # a community may be called [b], which rich would take for its own
    console.print(text, markup=False, highlight=False, soft_wrap=True)


async def show_progress(client: Client, console: Console, job_id: str) -> dict[str, Any]:
    """Show a job's progress until it has ended, however that is, and return the job.

    Raises:
        RequestFailed: the server stays away, or refuses.
    """
    job: dict[str, Any] = {}
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        _RateColumn(),
        _LeftColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("waiting", total=None)
        async for message in client.follow(job_id):
            job, event = message["job"], message["event"]
            progress = job["progress"]
            bar.update(
                task,
                description=" · ".join(filter(None, (progress["stage"] or "waiting", progress["message"]))),
                completed=progress["done"],
                total=progress["total"],
                rate=progress["ratePerSecond"],
                left=progress["etaSeconds"],
            )
            if event and event["kind"].endswith("_FAILED"):
                bar.console.print(event["message"], style="yellow", highlight=False)
    return job


async def start_job(
    client: Client, console: Console, mutation: str, wishes: dict[str, Any], what: str
) -> dict[str, Any]:
    """Start a job by a mutation, show its progress until it has ended, and return what it has brought.

    `what` names it in failures: `export`.

    Raises:
        RequestFailed: the server refuses, or the job did not succeed.
    """
    [answer] = (await client.execute(mutation, {"input": wishes})).values()
    if "job" not in answer:
        raise RequestFailed(answer["message"])
    return await result_of(client, console, answer["job"]["id"], what)


async def result_of(client: Client, console: Console, job_id: str, what: str) -> dict[str, Any]:
    """Show a job's progress until it has ended and return what it has brought.

    Raises:
        RequestFailed: it did not succeed.
    """
    job = await show_progress(client, console, job_id)
    if job["state"] != "SUCCEEDED":
        failure = job["failure"]["message"] if job["failure"] else ""
        raise RequestFailed(f"The {what} is {job['state']}. {failure}".strip())
    result: dict[str, Any] = job["result"]
    return result


def summary(job: dict[str, Any]) -> str:
    """Say in a line what a collection has brought.

    Raises:
        RequestFailed: it did not succeed.
    """
    if job["state"] != "SUCCEEDED":
        failure = job["failure"]["message"] if job["failure"] else ""
        raise RequestFailed(f"The collection is {job['state']}. {failure}".strip())
    result = job["result"]
    asked = f"VK was asked {_times(result['requestCount'])}"
    if result["savedCallCount"]:
        asked += f"; {result['savedCallCount']:,} calls were saved where nothing had changed"
    if not result["commentCount"] and not result["failedPostCount"]:
        return f"Nothing to read: no post's number of comments has changed since it was read. {asked}."
    also = "".join(
        f", {result[name]:,} {words}"
        for name, words in (
            ("changedCommentCount", "edited"),
            ("deletedCommentCount", "gone"),
            ("failedPostCount", "posts could not be read"),
        )
        if result[name]
    )
    return (
        f"{result['commentCount']:,} comments of {result['postCount']:,} posts read, "
        f"{result['newCommentCount']:,} of them new{also}. {asked}."
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
