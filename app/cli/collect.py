"""Collects communities through a running server, with a progress bar."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from app.cli.client import ADD_GROUPS, START_COLLECTION, Answer, Client, RequestFailed

MAX_TRIES = 20
"""How often a collection is started while jobs of others block it; each time their job is followed first."""


class _RateColumn(ProgressColumn):
    """Comments per second, as the server measures them."""

    def render(self, task: Task) -> Text:
        rate = task.fields.get("rate")
        return Text(f"{rate:,.0f}/s" if rate else "", style="progress.data.speed")


class _LeftColumn(ProgressColumn):
    """The remaining time that the server estimates; at the end the elapsed time."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if task.finished:
            return Text(f"in {_clock(task.finished_time or 0)}", style="progress.elapsed")
        return Text("-:--" if left is None else f"{_clock(left)} left", style="progress.remaining")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


async def add_groups(client: Client, references: Sequence[str]) -> list[Answer]:
    """Add communities and return them: id, name, screenName, vkId.

    Raises:
        RequestFailed: a reference is not valid or unknown to VK, or VK fails.
    """
    answer = (await client.execute(ADD_GROUPS, {"references": list(references)}))["addGroups"]
    if answer["__typename"] != "AddGroupsSuccess":
        raise RequestFailed(answer["message"])
    for outcome in answer["outcomes"]:
        if outcome["group"] is None:
            raise RequestFailed(outcome["message"])
    return [outcome["group"] for outcome in answer["outcomes"]]


async def start_collection(client: Client, **options: object) -> tuple[Answer, bool]:
    """Start a collection. Return its job and False, or the job that blocks it and True.

    A job has an id; a blocking job also has groups, each with id and name.

    Raises:
        RequestFailed: the server rejects the collection.
    """
    answer = (await client.execute(START_COLLECTION, {"input": options}))["startCollection"]
    if answer["__typename"] not in ("StartCollectionSuccess", "JobAlreadyRunningError"):
        raise RequestFailed(answer["message"])
    return answer["job"], answer["__typename"] == "JobAlreadyRunningError"


async def collect(client: Client, console: Console, groups: Sequence[Answer], **options: object) -> Answer:
    """Collect communities with these options, show the progress and return the job.

    If another client's job blocks the collection, of whatever communities or posts, follow it
    until it has ended, however it ends, and then start the collection.

    Raises:
        RequestFailed: the server rejects the collection, or jobs of other clients always come first.
    """
    ids = [group["id"] for group in groups]
    for _ in range(MAX_TRIES):
        job, is_blocked = await start_collection(client, groupIds=ids, **options)
        if not is_blocked:
            _say(console, f"Started a collection of {_names(groups)}.")
            return await show_progress(client, console, job["id"])
        busy = [group for group in job["groups"] if group["id"] in ids] or groups
        verb = "are" if len(busy) > 1 else "is"
        work = "removed" if job["kind"] == "REMOVE_GROUPS" else "collected"
        _say(console, f"{_names(busy)} {verb} being {work} already: following that first.")
        ended = await show_progress(client, console, job["id"])
        if ended["state"] != "SUCCEEDED":
            _say(console, f"That job is {ended['state']}.")
    raise RequestFailed(f"Jobs of others came first {MAX_TRIES} times, so nothing was started. Try again later.")


def _names(groups: Sequence[Answer]) -> str:
    return ", ".join(group["name"] for group in groups)


def _say(console: Console, text: str) -> None:
    # no markup: a community may be named [b], which rich would interpret
    console.print(text, markup=False, highlight=False, soft_wrap=True)


async def show_progress(client: Client, console: Console, job_id: str) -> Answer:
    """Show a job's progress until it has ended, however it ends, and return the job.

    Raises:
        RequestFailed: the server cannot be reached any more, or rejects the subscription.
    """
    job: Answer = {}
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


async def start_job(client: Client, console: Console, mutation: str, options: Answer, what: str) -> Answer:
    """Start a job with a mutation, show its progress until it has ended, and return its result.

    `what` names the job in error messages, such as `export`.

    Raises:
        RequestFailed: the server rejects the job, or the job fails.
    """
    [answer] = (await client.execute(mutation, {"input": options})).values()
    if "job" not in answer:
        raise RequestFailed(answer["message"])
    return await result_of(client, console, answer["job"]["id"], what)


async def result_of(client: Client, console: Console, job_id: str, what: str) -> Answer:
    """Show a job's progress until it has ended and return its result.

    Raises:
        RequestFailed: the job did not succeed.
    """
    job = await show_progress(client, console, job_id)
    if job["state"] != "SUCCEEDED":
        failure = job["failure"]["message"] if job["failure"] else ""
        raise RequestFailed(f"The {what} is {job['state']}. {failure}".strip())
    result: Answer = job["result"]
    return result


def summary(job: Answer) -> str:
    """Return one line that describes the result of a collection.

    Raises:
        RequestFailed: the collection did not succeed.
    """
    if job["state"] != "SUCCEEDED":
        failure = job["failure"]["message"] if job["failure"] else ""
        raise RequestFailed(f"The collection is {job['state']}. {failure}".strip())
    result = job["result"]
    requests = f"VK received {_request_count(result['requestCount'])}"
    if result["savedCallCount"]:
        requests += f"; {result['savedCallCount']:,} calls were skipped because nothing had changed"
    if not result["commentCount"] and not result["failedPostCount"]:
        return f"Nothing to read: the comment count of no post has changed since it was read. {requests}."
    details = "".join(
        f", {result[name]:,} {words}"
        for name, words in (
            ("changedCommentCount", "edited"),
            ("deletedCommentCount", "deleted"),
            ("failedPostCount", "posts could not be read"),
        )
        if result[name]
    )
    return (
        f"{result['commentCount']:,} comments of {result['postCount']:,} posts read, "
        f"{result['newCommentCount']:,} of them new{details}. {requests}."
    )


def _request_count(number: int) -> str:
    return "1 request" if number == 1 else f"{number:,} requests"
