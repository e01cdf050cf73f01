"""The enums of `app` as GraphQL types, each value with a description. Import this module before using one."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

import strawberry

from app.actions.add_groups import AddOutcome
from app.actions.change_keywords import KeywordOutcome
from app.analysis.keywords import KeywordMatching
from app.analysis.moods import Mood
from app.background import DEFINITIONS
from app.errors import ErrorCode
from app.health import HealthStatus
from app.job_states import JobEventKind, JobPriority, JobState
from app.store.statistics import Bucket, PostRanking
from app.vk.pace import TokenHealth, TokenKind
from app.work.kinds import JobKind

E = TypeVar("E", bound=Enum)


def described(enum: type[E], description: str, values: Mapping[E, str]) -> type[E]:
    """Export an enum as a GraphQL type, with a description of it and of each value."""
    exported: type[E] = strawberry.enum(enum, description=description)
    for value in exported.__strawberry_definition__.values:  # type: ignore[attr-defined]  # strawberry.enum sets it
        value.description = values[enum[value.name]]
    return exported


described(
    ErrorCode,
    "The kind of an error, for programs. More codes may be added.",
    {
        ErrorCode.VALIDATION_FAILED: "The input is not valid: correct it.",
        ErrorCode.GROUP_NOT_FOUND: "A community has not been added.",
        ErrorCode.POST_NOT_FOUND: "A post does not exist, or VK does not show it.",
        ErrorCode.KEYWORD_NOT_FOUND: "The keyword does not exist.",
        ErrorCode.KEYWORD_ALREADY_EXISTS: "Another keyword has this phrase and this matching.",
        ErrorCode.JOB_NOT_FOUND: "The job does not exist.",
        ErrorCode.JOB_ALREADY_RUNNING: "A community is being collected or removed already.",
        ErrorCode.JOB_STATE_CONFLICT: "The state of the job does not allow this.",
        ErrorCode.JOB_TIMED_OUT: "A job exceeded its timeout.",
        ErrorCode.JOB_GAVE_UP: "A job was started too often without ending.",
        ErrorCode.JOB_PROCESS_DIED: "The process that computed for a job died.",
        ErrorCode.DISK_FULL: "The server's disk has no space for a file.",
        ErrorCode.QUEUE_FULL: "Too many jobs are waiting: try again later.",
        ErrorCode.SUBSCRIBER_TOO_SLOW: "A subscriber reads its messages too slowly: it may subscribe again.",
        ErrorCode.OPERATION_TOO_LARGE: "The GraphQL document exceeds a limit of its size: split it.",
        ErrorCode.PREFLIGHT_REQUIRED: "A GET request has no header that only pages of listed origins can send.",
        ErrorCode.TOO_MANY_OPERATIONS: "The WebSocket has as many operations as it may have: complete one first.",
        ErrorCode.WEBSOCKET_REQUIRED: "Subscriptions need a WebSocket with graphql-transport-ws.",
        ErrorCode.GRAPHQL_PARSE_FAILED: "The request is not a GraphQL document.",
        ErrorCode.GRAPHQL_VALIDATION_FAILED: "The GraphQL document does not fit the schema.",
        ErrorCode.SERVICE_UNAVAILABLE: "A service that this server depends on is unavailable: try again a little "
        "later.",
        ErrorCode.QUERY_TIMED_OUT: "The database query timed out: request less at once.",
        ErrorCode.UNAUTHENTICATED: "The request needs an API key, and has none or a wrong one.",
        ErrorCode.VK_UNAVAILABLE: "VK is unavailable, or its reply is unusable: try again later.",
        ErrorCode.VK_ACCESS_DENIED: "VK denies access to this.",
        ErrorCode.VK_RATE_LIMITED: "VK's rate limit is exceeded: wait.",
        ErrorCode.VK_TOKEN: "No VK token is usable: the operator has to check them.",
        ErrorCode.VK_REQUEST_REFUSED: "VK rejects the request as wrong.",
        ErrorCode.INTERNAL: "An unexpected error; the server's log has it under `errorId`.",
    },
)
described(
    AddOutcome,
    "The outcome of adding a community by a reference.",
    {
        AddOutcome.ADDED: "It was added.",
        AddOutcome.ALREADY_ADDED: "It had already been added; its data were refreshed.",
        AddOutcome.CLOSED: "It was added, now or before, but it is closed: only its members can read it.",
        AddOutcome.NOT_FOUND: "VK does not know this community.",
        AddOutcome.MALFORMED: "The reference is not an id, screen name or link of a community.",
    },
)
described(
    KeywordMatching,
    "Which parts of a text a keyword matches. Case is ignored and ё equals е, except for CASE_SENSITIVE.",
    {
        KeywordMatching.WORD_FORMS: "Its words as whole words in all Russian forms: `банк` also matches `банками`, "
        "but not `банкомат`.",
        KeywordMatching.EXACT_WORD: "Its words as whole words, in exactly these forms.",
        KeywordMatching.SUBSTRING: "The phrase itself, also inside words.",
        KeywordMatching.CASE_SENSITIVE: "Its words as whole words, exactly as written: `США`, but not `сша`.",
    },
)
described(
    Mood,
    "The sentiment of a comment, derived only from emoji and brackets: a weak signal, which ignores words and irony.",
    {
        Mood.POSITIVE: "More positive than negative marks: `))`, 👍.",
        Mood.NEUTRAL: "No marks, or as many positive as negative ones. Most comments.",
        Mood.NEGATIVE: "More negative than positive marks: `:(`, 😡.",
    },
)
described(
    KeywordOutcome,
    "The outcome of adding a keyword.",
    {
        KeywordOutcome.ADDED: "It was added.",
        KeywordOutcome.ALREADY_EXISTS: "It exists already, and stays unchanged.",
        KeywordOutcome.MALFORMED: "The phrase or the category is not valid: `message` gives the reason.",
    },
)
described(
    HealthStatus,
    "The health of the server or of a component.",
    {
        HealthStatus.HEALTHY: "It works.",
        HealthStatus.DEGRADED: "Something does not work; the rest does.",
        HealthStatus.UNHEALTHY: "It does not work.",
    },
)
described(
    TokenKind,
    "What VK issued a token for.",
    {
        TokenKind.USER: "For a user, or with the same rights: it can read walls, with many calls in one request.",
        TokenKind.SERVICE: "For an application: it can read walls, with one call per request.",
        TokenKind.GROUP: "For a community: it cannot read walls.",
    },
)
described(
    TokenHealth,
    "Whether a token is usable.",
    {
        TokenHealth.READY: "It is usable.",
        TokenHealth.COOLING_DOWN: "VK demands a pause or a captcha: the token is not used before `cooldownUntil`.",
        TokenHealth.REJECTED: "VK rejects it: replace it. Each start of a server tries it once again.",
    },
)
described(
    JobKind,
    "What a job does.",
    {kind: DEFINITIONS[kind.value].description for kind in JobKind},
)
described(JobState, "The state of a job.", {state: f"The job {state.phrase}." for state in JobState})
described(
    JobPriority,
    "The priority of a job in the queue.",
    {
        JobPriority.LOW: "Runs after all others.",
        JobPriority.NORMAL: "The default.",
        JobPriority.HIGH: "Runs before NORMAL jobs.",
        JobPriority.CRITICAL: "Runs before all others.",
    },
)
described(
    JobEventKind,
    "What a job event reports.",
    {
        JobEventKind.STATE_CHANGED: "The job has changed its state to `facts.state`, for the reason `facts.reason`.",
        JobEventKind.STAGE_CHANGED: "It has started another stage of its work: `facts.stage`.",
        JobEventKind.GROUP_FAILED: "A community could not be read: `facts.vkOwnerId` and `facts.code`.",
        JobEventKind.GROUP_INCOMPLETE: "VK states more posts of a community than it shows: `facts.vkOwnerId`, "
        "`facts.statedCount` and `facts.receivedCount`. None of its posts is marked as deleted.",
        JobEventKind.POST_FAILED: "A post could not be read completely: `facts.vkPostId` and `facts.code`.",
        JobEventKind.POST_INCOMPLETE: "VK states more comments of a post than it shows: `facts.vkPostId`, "
        "`facts.statedCount` and `facts.receivedCount`. The next collection reads it again.",
        JobEventKind.ITEMS_BROKEN: "Items of VK's replies could not be used: `facts.count`, and the first of them as "
        "`facts.items`, each with `path` and `reason`. The other items were stored.",
        JobEventKind.ATTEMPT_FAILED: "An attempt failed and will be retried: `facts.failure`.",
    },
)
described(
    Bucket,
    "The length of a time step.",
    {
        Bucket.HOUR: "Hours.",
        Bucket.DAY: "Days, from midnight in the time zone.",
        Bucket.WEEK: "Weeks, from Monday.",
        Bucket.MONTH: "Calendar months.",
    },
)
described(
    PostRanking,
    "The ranking of posts.",
    {
        PostRanking.COMMENTS: "By the number of stored comments.",
        PostRanking.LIKES: "By VK's likes.",
        PostRanking.VIEWS: "By VK's views.",
    },
)
