"""The options of a simulated world; equal options make equal worlds, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from simulator.faults import Fault, FaultRates
from simulator.limits import DAY_QUOTAS
from simulator.tokens import TokenKind

WallState = Literal["open", "members", "private", "disabled", "comments closed", "banned", "deleted"]
"""Who can read a community's wall: all users (open); its members (members, private: a closed or a private community);
no user (disabled, banned, deleted). With "comments closed", posts can be read, comments not."""

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class ChurnRates:
    """How much changes on the walls while a client reads them: expected numbers of changes per API call.

    A rate of 0.5 is one change in two calls on average, a rate of 3 is three per call. A call is one run of a method,
    including those inside execute. `limit` is the maximum of changes in total; `seed` determines what changes and
    where.

    Raises:
        ValueError: a number is negative.
    """

    seed: int = 1
    comments: float = 0.0
    replies: float = 0.0
    likes: float = 0.0
    edits: float = 0.0
    deletions: float = 0.0
    posts: float = 0.0
    post_deletions: float = 0.0
    limit: int = 1000

    def __post_init__(self) -> None:
        for name in (*CHURN_KINDS, "limit"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


CHURN_KINDS: Final = ("comments", "replies", "likes", "edits", "deletions", "posts", "post_deletions")


@dataclass(frozen=True)
class SimulatorOptions:
    """The size and the rules of a simulated VK.

    `posts` and `comments` are per group; `comments` includes replies and deleted stubs, and is exact wherever at
    least one post takes comments. `rps` is the maximum of requests per second of one access token; 0 disables the
    limit. `start_of_history` is the Unix time of the first posts; the posts spread over 200 days after it.

    These shape the walls, each with the default 0 (none); shares are from 0 to 1:
    - `biggest_post_share` of the comments belong to one post, and `longest_thread` replies to one of its threads (or as
      many as the post has comments for);
    - `closed_posts_share` of the posts have closed comments, and none of them; `donut_share` of them are for paying
      readers: their texts are hidden, and so are the comments of the most loyal readers;
    - `rich` is the share of comments and posts with attachments of all kinds of VK's schema;
    - `nasty` is the share of comments and posts with texts that are hard to store (see `strange_texts`).
    `pinned` is whether each wall has a pinned post. `walls` sets the state of communities (by positive id).

    `churn` sets the changes of walls while they are read, `faults` and `fault_rates` the faults of requests; by
    default both are absent.

    `tokens` sets the kinds of access tokens; any other token is a live user token. `service_may_execute` is whether
    service tokens may call execute: VK's schema says no, its page on execute says yes. `day_quotas` sets how often a
    token may call a method per day; an empty mapping disables all quotas.

    Raises:
        ValueError: a number is negative, or a share is more than 1.
    """

    groups: int = 1
    posts: int = 60
    comments: int = 30_000
    seed: int = 1
    rps: float = 3.0
    start_of_history: int = 1_772_323_200  # 2026-03-01T00:00:00Z
    history_seconds: int = 200 * _DAY
    biggest_post_share: float = 0.0
    longest_thread: int = 0
    closed_posts_share: float = 0.0
    donut_share: float = 0.0
    rich: float = 0.0
    nasty: float = 0.0
    pinned: bool = True
    walls: Mapping[int, WallState] = field(default_factory=dict)
    churn: ChurnRates | None = None
    faults: tuple[Fault, ...] = ()
    fault_rates: FaultRates | None = None
    tokens: Mapping[str, TokenKind] = field(default_factory=dict, repr=False)
    service_may_execute: bool = False
    day_quotas: Mapping[str, int] = field(default_factory=lambda: dict(DAY_QUOTAS))

    def __post_init__(self) -> None:
        for name in (
            "groups",
            "posts",
            "comments",
            "rps",
            "start_of_history",
            "history_seconds",
            "longest_thread",
            *_SHARES,
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must not be more than 1")


_SHARES: Final = ("biggest_post_share", "closed_posts_share", "donut_share", "rich", "nasty")
