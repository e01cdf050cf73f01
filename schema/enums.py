"""The enums of `app` as clients see them, each value with its description. Whoever uses one imports this first."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

import strawberry

from app.actions.add_groups import AddOutcome
from app.actions.change_keywords import KeywordOutcome
from app.analysis.keywords import KeywordMatching
from app.analysis.moods import Mood
from app.errors import ErrorCode
from app.health import HealthStatus
from app.jobs.states import JobEventKind, JobPriority, JobState
from app.store.statistics import Bucket, PostRanking
from app.vk.pace import TokenHealth, TokenKind
from app.work.kinds import JobKind

E = TypeVar("E", bound=Enum)


def described(enum: type[E], description: str, values: Mapping[E, str]) -> type[E]:
    """Make an enum a GraphQL type with a description of it and of each of its values."""
    exported: type[E] = strawberry.enum(enum, description=description)
    for value in exported.__strawberry_definition__.values:  # type: ignore[attr-defined]  # strawberry.enum sets it
        value.description = values[enum[value.name]]
    return exported


described(
    ErrorCode,
    "What went wrong, for programs. More codes may be added.",
    {
        ErrorCode.VALIDATION_FAILED: "The input is wrong: correct it.",
        ErrorCode.GROUP_NOT_FOUND: "A community has not been added.",
        ErrorCode.POST_NOT_FOUND: "A post does not exist, or VK does not show it.",
        ErrorCode.KEYWORD_NOT_FOUND: "There is no such keyword.",
        ErrorCode.KEYWORD_ALREADY_THERE: "There is another keyword with this phrase that matches in the same way.",
        ErrorCode.JOB_NOT_FOUND: "There is no such job.",
        ErrorCode.JOB_ALREADY_RUNNING: "A community is being collected, or removed, already.",
        ErrorCode.JOB_STATE_CONFLICT: "The job is in a state that does not allow this.",
        ErrorCode.JOB_TIMED_OUT: "A job ran longer than its time limit.",
        ErrorCode.JOB_GAVE_UP: "A job was begun too often without coming to an end.",
        ErrorCode.JOB_PROCESS_DIED: "The process that computed for a job ended before it was done.",
        ErrorCode.DISK_FULL: "The server's disk has no room for a file.",
        ErrorCode.QUEUE_FULL: "Too many jobs wait: try again later.",
        ErrorCode.SUBSCRIBER_TOO_SLOW: "A subscriber takes its messages too slowly: it may subscribe again.",
        ErrorCode.SERVICE_UNAVAILABLE: "A service this server depends on cannot answer: try again a little later.",
        ErrorCode.QUERY_TIMED_OUT: "The database took too long: ask for less at once.",
        ErrorCode.UNAUTHENTICATED: "An API key is asked for, and none or a wrong one was given.",
        ErrorCode.VK_UNAVAILABLE: "VK gives no usable answer: try again later.",
        ErrorCode.VK_ACCESS_DENIED: "VK does not let this be read.",
        ErrorCode.VK_RATE_LIMITED: "VK has been asked too often: wait.",
        ErrorCode.VK_TOKEN: "No VK token can be used: the operator has to look at them.",
        ErrorCode.VK_REQUEST_REFUSED: "VK finds the request wrong.",
        ErrorCode.INTERNAL: "Something unexpected; `errorId` is where the server's log has it.",
    },
)
described(
    AddOutcome,
    "What became of a reference to a community.",
    {
        AddOutcome.ADDED: "It is new here.",
        AddOutcome.ALREADY_ADDED: "It was here already; its data were refreshed.",
        AddOutcome.CLOSED: "It is here, new or not, but closed: only its members may read it.",
        AddOutcome.NOT_FOUND: "VK knows no such community.",
        AddOutcome.MALFORMED: "The reference is no id, screen name or link of a community.",
    },
)
described(
    KeywordMatching,
    "What of a text a keyword matches. Whatever the case, and е is ё, but for CASE_SENSITIVE.",
    {
        KeywordMatching.WORD_FORMS: "Its words in all their Russian forms: `банк` also `банками`, but not `банкомат`.",
        KeywordMatching.EXACT_WORD: "Its words as they are, as whole words.",
        KeywordMatching.SUBSTRING: "It as it is, also inside words.",
        KeywordMatching.CASE_SENSITIVE: "Its words exactly as they are written, as whole words: `США`, but not `сша`.",
    },
)
described(
    Mood,
    "The mood of a comment by its emoji and brackets alone: a weak signal, which knows nothing of words or irony.",
    {
        Mood.POSITIVE: "More glad marks than sad ones: `))`, 👍.",
        Mood.NEUTRAL: "No marks, or as many of both. Most comments.",
        Mood.NEGATIVE: "More sad marks than glad ones: `:(`, 😡.",
    },
)
described(
    KeywordOutcome,
    "What became of a keyword that was to be added.",
    {
        KeywordOutcome.ADDED: "It is new here.",
        KeywordOutcome.ALREADY_THERE: "It was here already, and stays as it was.",
        KeywordOutcome.MALFORMED: "It cannot be a keyword, or its category cannot be one: `message` says why.",
    },
)
described(
    HealthStatus,
    "How well something works.",
    {
        HealthStatus.HEALTHY: "As it should.",
        HealthStatus.DEGRADED: "Something does not; the rest goes on.",
        HealthStatus.UNHEALTHY: "Not at all.",
    },
)
described(
    TokenKind,
    "What VK issued a token for.",
    {
        TokenKind.USER: "A person's, or one that may do the same: read walls, with many calls in one request.",
        TokenKind.SERVICE: "An application's: it may read walls, one call a request.",
        TokenKind.GROUP: "A community's: it may not read walls.",
    },
)
described(
    TokenHealth,
    "Whether a token can be used.",
    {
        TokenHealth.READY: "It can.",
        TokenHealth.RESTING: "VK wants it to rest, or to see a person: not before `restsUntil`.",
        TokenHealth.REFUSED: "VK refuses it: replace it. Each start of a server tries it once more.",
    },
)
described(
    JobKind,
    "What a job does.",
    {
        JobKind.ANALYZE_COMMENTS: "It looks at what is in the texts of comments, and which are nearly the same.",
        JobKind.COLLECT_COMMENTS: "It collects the comments of communities.",
        JobKind.EXPORT_COMMENTS: "It writes comments into a file.",
        JobKind.MATCH_KEYWORDS: "It looks for keywords in the comments that are stored.",
        JobKind.REFRESH_GROUPS: "It asks VK for communities anew.",
        JobKind.REMOVE_GROUPS: "It removes communities with all that is stored of them.",
    },
)
described(JobState, "Where a job is in its life.", {state: f"The job {state.phrase}." for state in JobState})
described(
    JobPriority,
    "How soon a job is taken, compared to others.",
    {
        JobPriority.LOW: "After all others.",
        JobPriority.NORMAL: "The usual.",
        JobPriority.HIGH: "Before the usual ones.",
        JobPriority.CRITICAL: "Before all others.",
    },
)
described(
    JobEventKind,
    "What an event of a job tells.",
    {
        JobEventKind.STATE_CHANGED: "The job has come to another state, `facts.state`, for `facts.reason`.",
        JobEventKind.STAGE_CHANGED: "It has begun another part of its work: `facts.stage`.",
        JobEventKind.GROUP_FAILED: "A community could not be read: `facts.vkOwnerId` and `facts.code`.",
        JobEventKind.GROUP_INCOMPLETE: "VK states more posts of a community than it shows: `facts.vkOwnerId`, "
        "`facts.statedCount` and `facts.receivedCount`. None of its posts is marked as deleted.",
        JobEventKind.POST_FAILED: "A post could not be read to its end: `facts.vkPostId` and `facts.code`.",
        JobEventKind.POST_INCOMPLETE: "VK states more comments of a post than it shows: `facts.vkPostId`, "
        "`facts.statedCount` and `facts.receivedCount`. The next collection reads it again.",
        JobEventKind.ITEMS_BROKEN: "Items of VK's replies could not be used: `facts.count`, and the first of them "
        "as `facts.items`, each with `path` and `reason`. The rest was stored.",
        JobEventKind.ATTEMPT_FAILED: "A try has failed and there will be another: `facts.failure`.",
    },
)
described(
    Bucket,
    "The steps of a series.",
    {
        Bucket.HOUR: "Hours.",
        Bucket.DAY: "Days, from midnight in the time zone.",
        Bucket.WEEK: "Weeks, from Monday.",
        Bucket.MONTH: "Calendar months.",
    },
)
described(
    PostRanking,
    "By what posts are ranked.",
    {
        PostRanking.COMMENTS: "By the comments that are stored.",
        PostRanking.LIKES: "By VK's likes.",
        PostRanking.VIEWS: "By VK's views.",
    },
)
