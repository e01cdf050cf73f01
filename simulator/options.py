"""This file holds what a simulated world is made from; equal options make equal worlds, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from simulator.faults import Fault, FaultRates
from simulator.limits import DAY_QUOTAS
from simulator.tokens import TokenKind

WallState = Literal["open", "members", "private", "disabled", "comments closed", "banned", "deleted"]
"""Who reads a community's wall: everybody; its members (a closed or a private community); nobody, as the wall is
switched off, or the community banned or deleted. With "comments closed" the posts are to be read, but no comment."""

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class ChurnRates:
    """How much happens on the walls while a client walks them: expected numbers of changes for each API call.

    A rate of 0.5 is one change in two calls on average, 3 are three in each. A call is one run of a method, those
    inside execute included. `limit` ends it after so many changes in all; `seed` draws what happens and where.

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

    `posts` and `comments` are for each group; `comments` counts replies and deleted stubs, and is met exactly wherever
    there is at least one post that takes comments. `rps` is the number of requests a second that one access token may
    make; 0 lifts the limit. `start_of_history` is the Unix time from which on posts appear; the posts spread over 200
    days after it.

    These shape the walls, each 0 (none) unless told; shares go from 0 to 1:
    - `biggest_post_share` of the comments stand under one post, and `longest_thread` replies in one thread of it (or as
      many as the post has comments for);
    - `closed_posts_share` of the posts have their comments switched off, and none there; `donut_share` of them are for
      paying readers: texts hidden, comments of the most loyal hidden, too;
    - `rich` is the share of comments and posts with attachments of all kinds that VK's schema knows;
    - `nasty` is the share of comments and posts with texts that are hard to store: `strange_texts` says which.
    `pinned` is whether each wall has a pinned post. `walls` gives communities (by positive id) a state.

    `churn` is what happens on the walls while they are read, `faults` and `fault_rates` what goes wrong with requests;
    nothing unless told.

    `tokens` tells the kinds of access tokens; any other one is a live user token. `service_may_execute` is whether
    service tokens may call execute: VK's schema says no, its page on execute says yes. `day_quotas` is how often a
    token may call a method within a day; an empty one lifts that limit.

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
