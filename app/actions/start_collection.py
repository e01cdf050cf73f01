"""Starts a collection: checks what is asked for and puts one job for it into the queue."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.errors import ValidationFailed
from app.events import job_topic
from app.jobs.queue import NewJob, enqueue
from app.jobs.states import JobPriority
from app.log import log
from app.resources import Resources
from app.store import groups
from app.vk.references import PostReference, read_post_reference
from app.work.collecting.collection import CollectionRequest
from app.work.kinds import JobKind

MOST_GROUPS = 1_000
MOST_POSTS = 10_000
LONGEST_TIMEOUT_SECONDS = 7 * 86_400


async def start_collection(
    resources: Resources,
    *,
    owner_ids: Sequence[int],
    post_urls: Sequence[str] = (),
    since: datetime | None = None,
    max_posts: int | None = None,
    full: bool = False,
    priority: JobPriority = JobPriority.NORMAL,
    timeout_seconds: float | None = None,
) -> Row[Any]:
    """Queue one job that collects communities, and single posts of communities, and return its row.

    If one community is being collected already, nothing starts. Single posts
    may be collected beside: both store the same rows.

    Raises:
        ValidationFailed: nothing is asked for, or too much, or a link is none.
        GroupNotFound: a community has not been added.
        JobAlreadyRunning: a community is being collected as a whole, or removed.
        QueueFull: too many jobs wait.
    """
    posts = _posts_of(post_urls)
    whole = list(dict.fromkeys(owner_ids))
    # a community that is collected as a whole has its single posts in it, unless only a part of it is wanted
    single = {owner_id: ids for owner_id, ids in posts.items() if owner_id not in whole}
    request = CollectionRequest(whole, single, since, max_posts, full)
    _check(request, timeout_seconds)
    if len(single) < len(posts) and (since or max_posts):
        message = "names a post of a community in groupIds, of which since or maxPostsPerGroup wants only some"
        raise ValidationFailed({"postUrls": message})
    topics: list[str] = []
    async with resources.events.telling(topics) as connection:
        await groups.require_groups(connection, request.owner_ids)
        new = NewJob(JobKind.COLLECT_COMMENTS, request.arguments(), request.wall_ids, priority, timeout_seconds)
        row = await enqueue(connection, resources, new)
        topics.append(job_topic(row.id))
    log.info("job_queued", job_id=row.id, kind=row.kind, groups=len(request.owner_ids))
    return row


def _posts_of(urls: Sequence[str]) -> dict[int, list[int]]:
    wrong: dict[str, str] = {}
    posts: dict[int, list[int]] = {}
    for number, url in enumerate(urls):
        reference = read_post_reference(url)
        if isinstance(reference, PostReference):
            ids = posts.setdefault(reference.owner_id, [])
            if reference.post_id not in ids:
                ids.append(reference.post_id)
        else:
            wrong[f"postUrls.{number}"] = reference
    if wrong:
        raise ValidationFailed(wrong)
    return posts


def _check(request: CollectionRequest, timeout_seconds: float | None) -> None:
    wrong: dict[str, str] = {}
    if not request.owner_ids:
        wrong["groupIds"] = "give at least one community or one post"
    if len(request.owner_ids) > MOST_GROUPS:
        wrong["groupIds"] = f"a collection takes {MOST_GROUPS} communities at most"
    if sum(map(len, request.post_ids.values())) > MOST_POSTS:
        wrong["postUrls"] = f"a collection takes {MOST_POSTS} single posts at most"
    if request.max_posts is not None and request.max_posts < 1:
        wrong["maxPostsPerGroup"] = "must be 1 or more"
    if timeout_seconds is not None and not 1 <= timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        wrong["timeoutSeconds"] = f"must be between 1 and {LONGEST_TIMEOUT_SECONDS}"
    if wrong:
        raise ValidationFailed(wrong)
