"""This file holds what a simulated world is made from; equal options make equal worlds, byte for byte."""

from dataclasses import dataclass

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class SimulatorOptions:
    """The size and the rules of a simulated VK.

    `posts` and `comments` are for each group; `comments` counts replies and deleted stubs, and is met exactly wherever
    there is at least one post. `rps` is the number of requests a second that one access token may make; 0 lifts the
    limit. `start_of_history` is the Unix time from which on posts appear; the posts spread over 200 days after it.

    Raises:
        ValueError: a number is negative.
    """

    groups: int = 1
    posts: int = 60
    comments: int = 30_000
    seed: int = 1
    rps: float = 3.0
    start_of_history: int = 1_772_323_200  # 2026-03-01T00:00:00Z
    history_seconds: int = 200 * _DAY

    def __post_init__(self) -> None:
        for name in ("groups", "posts", "comments", "rps", "start_of_history", "history_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
