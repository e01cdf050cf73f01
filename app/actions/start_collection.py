"""Starts a collection: validates the request and enqueues one job for it."""

from collections.abc import Sequence
from datetime import datetime

from app.errors import ValidationFailed
from app.job_states import JobPriority
from app.jobs.queue import NewJob, start_job
from app.resources import Resources
from app.store.rows import JobRow
from app.vk.references import PostReference, read_post_reference
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.collecting.collection import CollectionRequest

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
) -> JobRow:
    """Enqueue one job that collects communities, and single posts of communities, and return its row.

    If one of the communities is being collected already, no job starts. Single posts may be
    collected concurrently with their community: both jobs store the same rows.

    Raises:
        ValidationFailed: the request is empty or too large, or a URL is not a link to a post.
        GroupNotFound: a community has not been added.
        JobAlreadyRunning: a community is being collected completely, or removed.
        QueueFull: too many jobs wait.
    """
    posts = _posts_of(post_urls)
    complete = tuple(dict.fromkeys(owner_ids))
    # a complete collection includes single posts of the community, unless the request limits its posts
    single = {owner_id: tuple(ids) for owner_id, ids in posts.items() if owner_id not in complete}
    request = CollectionRequest(complete, single, since, max_posts, full)
    _check(request, timeout_seconds)
    if len(single) < len(posts) and (since or max_posts):
        message = "contains a post of a community in groupIds; since and maxPostsPerGroup cannot be combined with that"
        raise ValidationFailed({"postUrls": message})
    return await start_job(resources, NewJob(COLLECT_COMMENTS, request, priority, timeout_seconds))


def _posts_of(urls: Sequence[str]) -> dict[int, list[int]]:
    problems: dict[str, str] = {}
    posts: dict[int, list[int]] = {}
    for number, url in enumerate(urls):
        reference = read_post_reference(url)
        if isinstance(reference, PostReference):
            ids = posts.setdefault(reference.owner_id, [])
            if reference.post_id not in ids:
                ids.append(reference.post_id)
        else:
            problems[f"postUrls.{number}"] = reference
    if problems:
        raise ValidationFailed(problems)
    return posts


def _check(request: CollectionRequest, timeout_seconds: float | None) -> None:
    problems: dict[str, str] = {}
    if not request.owner_ids:
        problems["groupIds"] = "must contain a community, unless postUrls contains a post"
    if len(request.owner_ids) > MOST_GROUPS:
        problems["groupIds"] = f"must contain at most {MOST_GROUPS} communities, including those of postUrls"
    if sum(map(len, request.post_ids.values())) > MOST_POSTS:
        problems["postUrls"] = f"must contain at most {MOST_POSTS} posts"
    if request.max_posts is not None and request.max_posts < 1:
        problems["maxPostsPerGroup"] = "must be 1 or more"
    if timeout_seconds is not None and not 1 <= timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        problems["timeoutSeconds"] = f"must be between 1 and {LONGEST_TIMEOUT_SECONDS}"
    if problems:
        raise ValidationFailed(problems)
