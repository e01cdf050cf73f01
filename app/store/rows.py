"""The types of the rows that `store` returns: one protocol per table, and one per statement with columns of its own.

They cost nothing at run time: a row stays SQLAlchemy's `Row`, which the type checker accepts as
any of these protocols, because it may have any attribute. So a function of `store` states the
type of its rows once, in its signature. tests/store/test_rows.py compares each protocol with the
columns of its table or statement. Rows are immutable: do not set an attribute.

Times are aware and in UTC unless a protocol says otherwise. `owner_id` is negative for a community.
"""

from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypedDict

from app.job_states import JobEventKind, JobState
from app.json_types import JsonObject

# walls


class GroupRow(Protocol):
    """A community: a row of `groups`."""

    owner_id: int
    screen_name: str
    name: str
    description: str | None
    members_count: int | None
    is_closed: bool
    deactivated: str | None
    photo_url: str | None
    added_at: datetime
    collected_at: datetime | None
    note: str | None
    labels: list[str]


class PostRow(Protocol):
    """A post: a row of `posts`."""

    owner_id: int
    id: int
    from_id: int | None
    text: str
    published_at: datetime
    like_count: int
    repost_count: int
    view_count: int | None
    comment_count: int
    is_pinned: bool
    attachments: list[JsonObject]
    first_seen_at: datetime
    last_seen_at: datetime
    changed_at: datetime | None
    collected_count: int | None
    collected_at: datetime | None
    read_calls: int | None
    is_deleted: bool
    collection_number: int


class AuthorRow(Protocol):
    """A person or community that wrote something: a row of `authors`."""

    id: int
    name: str
    screen_name: str | None
    photo_url: str | None
    deactivated: str | None
    first_seen_at: datetime
    last_seen_at: datetime


class CommentRow(Protocol):
    """A comment or reply: a row of `comments`."""

    owner_id: int
    id: int
    post_id: int
    from_id: int | None
    text: str
    published_at: datetime
    like_count: int
    attachments: list[JsonObject]
    thread_id: int | None
    reply_to_id: int | None
    is_deleted: bool
    first_seen_at: datetime
    last_seen_at: datetime
    changed_at: datetime | None
    viewed_at: datetime | None
    archived_at: datetime | None
    thread_read_count: int | None
    thread_read_to: int | None
    collection_number: int


class PostToCollectRow(Protocol):
    """A post whose comments a collection has to read; `has_comments`: whether any of them is stored."""

    owner_id: int
    id: int
    comment_count: int
    has_comments: bool


# jobs


class StoredFailure(TypedDict):
    """The failure of a job as its row stores it: an `ErrorCode`, a sentence, and the facts."""

    code: str
    message: str
    facts: JsonObject


class FollowedJobRow(Protocol):
    """A job as its followers receive it: a row of `jobs` without its heartbeat and checkpoint."""

    id: int
    kind: str
    arguments: JsonObject
    state: JobState
    priority: int
    done: int
    total: int | None
    stage: str
    message: str | None
    rate_per_second: float | None
    result: JsonObject | None
    failure: StoredFailure | None
    attempts: int
    max_attempts: int
    timeout_seconds: float
    worker: str | None
    epoch: int
    last_seq: int
    queue_id: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    queued_at: datetime
    enqueued_at: datetime
    claims: list[int]
    removes_claims: bool


class JobRow(FollowedJobRow, Protocol):
    """A job: a row of `jobs`."""

    checkpoint: JsonObject | None
    heartbeat_at: datetime | None


class ClaimedJobRow(JobRow, Protocol):
    """A job that a worker has just claimed; `former` is the state that it had before."""

    queue_id: int
    started_at: datetime
    heartbeat_at: datetime
    former: JobState


class LockedJobRow(Protocol):
    """What a step of a running job reads from the row that it locks."""

    cancel_requested_at: datetime | None


class LostJobRow(Protocol):
    """An unfinished job without a queue entry."""

    id: int
    kind: str
    priority: int


class JobEventRow(Protocol):
    """An event of a job: a row of `job_events`."""

    job_id: int
    seq: int
    at: datetime
    kind: JobEventKind
    message: str
    facts: JsonObject


class QueuePositionRow(Protocol):
    """The queue position of a waiting job, from 1; `not_before` is the time of its retry, None: at once."""

    id: int
    position: int
    not_before: datetime | None


class HeartbeatAgeRow(Protocol):
    """The seconds since the last heartbeat of a running job."""

    id: int
    seconds: Decimal


class JobCountRow(Protocol):
    """The `number` of jobs of one kind in one state."""

    kind: str
    state: JobState
    number: int


class JobTimesRow(Protocol):
    """Times of the jobs of one kind that have ended: percentiles (50, 90, 99, 100) in seconds.

    A percentile is None if no job was measured. `longest_wait` is that of the jobs that are queued.
    """

    kind: str
    ended: int
    waiting: list[float | None] | None
    duration: list[float | None] | None
    longest_wait: float | None


class ActiveWorkerRow(Protocol):
    """A worker: a row of `workers` with its heartbeat age in seconds and the number of its running jobs."""

    name: str
    concurrency: int
    kinds: list[str]
    started_at: datetime
    seen_at: datetime
    heartbeat_age_seconds: Decimal
    running_count: int


class ExportRow(Protocol):
    """The file of an export: a row of `exports`."""

    job_id: int
    name: str
    format: str
    compression: str | None
    rows: int
    bytes: int
    sha256: str
    created_at: datetime
    expires_at: datetime


# monitorings and tokens


class MonitoringRow(Protocol):
    """The periodic collection of a community: a row of `monitorings`."""

    owner_id: int
    is_enabled: bool
    interval_seconds: int
    priority: int
    next_run_at: datetime | None
    job_id: int | None
    last_run_at: datetime | None
    last_state: JobState | None
    last_result: JsonObject | None
    last_failure: StoredFailure | None


class LockedMonitoringRow(MonitoringRow, Protocol):
    """A locked monitoring with PostgreSQL's time."""

    now: datetime


class DueMonitoringRow(Protocol):
    """A monitoring that was due at `due_at` and has been claimed."""

    owner_id: int
    priority: int
    due_at: datetime


class MonitoringOverviewRow(Protocol):
    """Counts of monitorings; `next_run_at` is the earliest one, None if none is enabled."""

    enabled: int
    due: int
    failing: int
    next_run_at: datetime | None
    running: int


class TokenStateRow(Protocol):
    """The state of a VK token; `health` is READY, COOLING_DOWN or REJECTED, `kind` None while unknown."""

    fingerprint: str
    kind: str | None
    health: str
    used_at: datetime | None
    cooldown_until: datetime | None
    reason: str | None
    vk_code: int | None
    requests_today: int
    calls_today: int


# keywords


class ActiveKeywordRow(Protocol):
    """What a matcher needs of an active keyword."""

    id: int
    phrase: str
    matching: str


class KeywordRow(ActiveKeywordRow, Protocol):
    """A keyword: a row of `keywords`."""

    category: str | None
    is_active: bool
    revision: int
    created_at: datetime
    changed_at: datetime


class MatchRow(KeywordRow, Protocol):
    """A keyword that matches a comment, with the comment's `text`.

    `positions` are start, end, start, end ... in code points of the text.
    """

    owner_id: int
    comment_id: int
    positions: list[int]
    text: str


class MatchCountsRow(Protocol):
    """How many comments a keyword matches, and how often."""

    keyword_id: int
    comments: int
    matches: int


class CategoryRow(Protocol):
    """A category of keywords: how many it has, and how often these match."""

    name: str
    keywords: int
    matches: int


class TextRow(Protocol):
    """The text of a comment."""

    owner_id: int
    id: int
    published_at: datetime
    text: str


# analysis


class PlainRow(Protocol):
    """A row of plain JSON values."""

    def _asdict(self) -> JsonObject:
        """Return the values by column."""


class TextToAnalyzeRow(Protocol):
    """The text of a comment to analyse, with its hash."""

    owner_id: int
    id: int
    text: str
    text_hash: str


class FeaturesRow(Protocol):
    """What an analysis has found in the text of a comment: a row of `comment_features`."""

    owner_id: int
    comment_id: int
    published_at: datetime
    language: str
    term_ids: list[int]
    links: list[str]
    phones: list[str]
    mention_ids: list[int]
    mood: int
    wave_id: int | None
    analyzed_at: datetime


class WaveRow(Protocol):
    """A cluster of near-duplicate comments: a row of `waves`. `comment_id` is its first comment."""

    id: int
    comment_count: int
    author_count: int
    post_count: int
    owner_id: int
    comment_id: int
    first_at: datetime
    last_at: datetime


class FeatureTotalsRow(PlainRow, Protocol):
    """How many of the analysed comments have a feature."""

    comments: int
    positive: int
    negative: int
    with_links: int
    with_phones: int
    with_mentions: int
    waves: int
    in_waves: int


class SourceCountsRow(PlainRow, Protocol):
    """The authors and posts of analysed comments, and how many of the comments keywords match."""

    authors: int
    posts: int
    matched: int


class KeywordUseRow(PlainRow, Protocol):
    """A keyword, how many analysed comments it matches, and how often."""

    id: int
    phrase: str
    comments: int
    matches: int


class MonthRow(Protocol):
    """How many comments were published in a month (UTC), which begins at `month`."""

    month: datetime
    comments: int


class TermUseRow(Protocol):
    """A term, how many selected comments contain it, and how many of all analysed comments do (`everywhere`)."""

    lemma: str
    comments: int
    everywhere: int


# statistics


class TotalsRow(Protocol):
    """Totals of the comments of a scope; `likes` is the sum of their likes."""

    comments: int
    replies: int
    deleted: int
    viewed: int
    archived: int
    likes: int


class ActivityRow(Protocol):
    """The comments of a time step; `start` is its local time, without a zone; for hours UTC."""

    start: datetime
    comments: int
    replies: int
    deleted: int
    likes: int


class HourOfWeekRow(PlainRow, Protocol):
    """The comments of an hour (0 to 23) of a weekday (1 is Monday)."""

    weekday: int
    hour: int
    comments: int


class RankedAuthorRow(Protocol):
    """An author in a ranking."""

    author_id: int
    comments: int
    replies: int
    likes: int


class AuthorCountRow(Protocol):
    """The number of authors of a scope."""

    authors: int


class RankedPostRow(Protocol):
    """A post in a ranking; `engagement` is None if VK states no views."""

    owner_id: int
    post_id: int
    comments: int
    replies: int
    likes: int
    engagement: float | None


class PostsSummaryRow(Protocol):
    """Sums over posts; `views` and `engagement` are None if VK states no views of any of them.

    `within_10_minutes` to `later` count the stored comments by their delay after the post.
    """

    posts: int
    likes: int
    reposts: int
    views: int | None
    comments: int
    engagement: float | None
    within_10_minutes: int
    within_hour: int
    within_6_hours: int
    within_day: int
    within_3_days: int
    within_week: int
    later: int


class RankedKeywordRow(Protocol):
    """A keyword in a ranking."""

    keyword_id: int
    comments: int
    matches: int


class LanguageRow(Protocol):
    """How many analysed comments are in a language."""

    language: str
    comments: int


class TermRow(Protocol):
    """How many analysed comments contain a term."""

    lemma: str
    comments: int
