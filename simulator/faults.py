"""This file holds faults and draws them, as a test has written them down or by rate; and it holds the server."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeVar, get_args

from simulator.contradictions import CHANGES

FaultKind = Literal["error", "http", "not_json", "truncated", "reset", "late", "timeout", "answer"]
_LATE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for the next `times` requests (or calls inside execute, when `inner`) that name `method`, or for any.

    What happens is `kind`, or what `code` or `http` say where it is left out:
    - error: VK's error `code` in VK's envelope with `message`, or with VK's usual one;
    - http: an HTML page with the HTTP status `http` (200 gives a body that is no JSON);
    - not_json: a body that is no JSON with status 200 and the content type of JSON;
    - truncated: the first half of the right reply, with a Content-Length that fits it;
    - reset: the head and the first half of the right reply, then the connection is reset;
    - late: the right reply, made at once and sent after `seconds` (30 unless told);
    - timeout: no reply; the connection is reset after `seconds`, else it stays until the client goes away;
    - answer: the right answer with a `change` to it, one of `contradictions.CHANGES`.

    Inside an execute only error and answer can happen. `where` restricts a fault to calls with these parameters, and
    `from_offset` to pages that begin there or later.

    Raises:
        ValueError: a fact has no meaning for this kind, or a value is out of range.
    """

    code: int = 10
    http: int | None = None
    kind: FaultKind | None = None
    seconds: float | None = None
    method: str | None = None
    times: int = 1
    inner: bool = False
    message: str | None = None
    change: str | None = None
    where: Mapping[str, str] | None = None
    from_offset: int = 0

    def __post_init__(self) -> None:
        if (self.what == "http") != (self.http is not None):
            raise ValueError("a fault of kind http, and no other, needs http, a status")
        if (self.what == "answer") != (self.change is not None):
            raise ValueError("a fault of kind answer, and no other, needs change")
        if self.what != "error" and self.message is not None:
            raise ValueError(f"only an error has a message, {self.what} has none")
        if self.inner and self.what not in {"error", "answer"}:
            raise ValueError(f"only an error or an answer can happen inside an execute, {self.what} cannot")
        if self.what not in {"late", "timeout"} and self.seconds is not None:
            raise ValueError(f"only late and timeout take seconds, {self.what} does not")

    @property
    def what(self) -> FaultKind:
        """What happens."""
        return self.kind or ("error" if self.http is None else "http")

    @property
    def label(self) -> str:
        """What happens, with its number where it has one: "error 6", "http 502", "reset"."""
        number = {"error": self.code, "http": self.http, "answer": self.change}.get(self.what)
        return self.what if number is None else f"{self.what} {number}"

    @property
    def delay_seconds(self) -> float | None:
        """How long the reply takes; None for ever."""
        return _LATE_SECONDS if self.what == "late" and self.seconds is None else self.seconds

    def fits(self, method: str, values: Mapping[str, str], *, inner: bool) -> bool:
        """Whether it can happen to this call with these parameters."""
        is_method = self.method == method if self.method else self.what != "answer" or method != "execute"
        offset = values.get("offset", "0")
        is_behind = not self.from_offset or (offset.isdecimal() and int(offset) >= self.from_offset)
        wanted = (self.where or {}).items()
        return self.inner == inner and is_method and is_behind and all(values.get(key) == each for key, each in wanted)


@dataclass(frozen=True, slots=True)
class RatedFault(Fault):
    """A fault that happens to a share `rate` (0 to 1) of what it fits; `times` has no meaning for it."""

    rate: float = 0.0

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.times != 1:
            raise ValueError("a fault by rate has no times")


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Faults by rate: for each request (each call inside execute for `inner` ones) each is drawn, the first one holds.

    `limit` ends it after so many faults in all; None is no end.
    """

    rates: tuple[RatedFault, ...] = field(default=())
    seed: int = 1
    limit: int | None = None


class Faults:
    """Faults in the order they will be played, each gone when it was played often enough; then those by rate.

    `played` counts by label what has happened.
    """

    def __init__(self, script: Sequence[Fault] = (), rates: FaultRates | None = None) -> None:
        self.played: Counter[str] = Counter()
        self.replace(script)
        self.rate(rates)

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """What is still to be played by script, the next one first."""
        return tuple(self._waiting)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Forget what waits and play these."""
        self._waiting = [fault for fault in faults if fault.times > 0]

    def rate(self, rates: FaultRates | None) -> None:
        """Play these from now on, with a limit and a random source of their own; None ends them."""
        self.rates = rates
        self._left = rates.limit if rates else 0
        self._random = random.Random(f"faults:{rates.seed if rates else 0}")  # noqa: S311 - a world, not a secret

    def take(self, method: str, values: Mapping[str, str], *, inner: bool = False) -> Fault | None:
        """The fault of this call, once less to be played; None where there is none."""
        fault = self._next(method, values, inner=inner) or self._drawn(method, values, inner=inner)
        if fault is not None:
            self.played[fault.label] += 1
        return fault

    def _next(self, method: str, values: Mapping[str, str], *, inner: bool) -> Fault | None:
        for place, fault in enumerate(self._waiting):
            if fault.fits(method, values, inner=inner):
                self._waiting[place : place + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                return fault
        return None

    def _drawn(self, method: str, values: Mapping[str, str], *, inner: bool) -> Fault | None:
        if self.rates is None or self._left == 0:
            return None
        for fault in self.rates.rates:
            if fault.fits(method, values, inner=inner) and self._random.random() < fault.rate:
                self._left = None if self._left is None else self._left - 1
                return fault
        return None


AnyFault = TypeVar("AnyFault", bound=Fault)


def read_fault(kind: type[AnyFault], entry: object) -> AnyFault:
    """A fault, or one by rate, from JSON.

    Raises:
        ValueError: the entry is no object, names what a fault has not, or holds a wrong value; the message says which.
    """
    known = [each.name for each in fields(kind)]
    if not isinstance(entry, dict):
        raise ValueError("a fault is not an object")  # noqa: TRY004 - all that is wrong leaves by one door
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"a fault has no {name}; it may have {', '.join(known)}")
        if not _CHECKS[name](value):
            raise ValueError(f"{name} of a fault cannot be {value}")
    if kind is RatedFault and "rate" not in entry:
        raise ValueError("a fault by rate needs rate, a share from 0 to 1")
    fault = kind(**entry)
    if "code" in entry and fault.what != "error":
        raise ValueError(f"only an error has a code, {fault.what} has none")
    return fault


def read_fault_rates(entry: Mapping[str, Any]) -> FaultRates:
    """Faults by rate from {"rates": [...], "seed": 1, "limit": null}.

    Raises:
        ValueError: as `read_fault`, and when a value beside `rates` is wrong.
    """
    known = [each.name for each in fields(FaultRates)]
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"fault_rates has no {name}; it may have {', '.join(known)}")
        if name == "rates" and not isinstance(value, list):
            raise ValueError("rates of fault_rates is not a list")
        if name != "rates" and not (_is_whole(value) or (name == "limit" and value is None)):
            raise ValueError(f"{name} of fault_rates cannot be {value}")
    return FaultRates(**{**entry, "rates": tuple(read_fault(RatedFault, each) for each in entry.get("rates", ()))})


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "code": _is_whole,
    "http": lambda value: value is None or (_is_whole(value) and value in range(200, 600)),
    "kind": lambda value: value in (None, *get_args(FaultKind)),
    "seconds": lambda value: value is None or _is_number(value),
    "method": lambda value: value is None or isinstance(value, str),
    "times": _is_whole,
    "inner": lambda value: isinstance(value, bool),
    "message": lambda value: value is None or isinstance(value, str),
    "change": lambda value: value is None or value in CHANGES,
    "where": lambda value: (
        value is None or (isinstance(value, dict) and all(isinstance(each, str) for each in value.values()))
    ),
    "from_offset": _is_whole,
    "rate": lambda value: _is_number(value) and value <= 1,
}


class Brake:
    """Slows requests down or holds them until released; `waiting` is how many are held, or late, right now."""

    def __init__(self) -> None:
        self.delay_ms = 0
        self.waiting = 0
        self._free = asyncio.Event()
        self._free.set()
        self._released = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether requests wait to be released."""
        return not self._free.is_set()

    def hold(self, *, held: bool) -> None:
        """Hold all following requests, or release all that wait, late ones too."""
        if held:
            self._free.clear()
            return
        self._free.set()
        self._released.set()
        self._released = asyncio.Event()

    async def wait(self) -> None:
        """Wait until released, then as long as every reply is to take."""
        self.waiting += 1
        try:
            await self._free.wait()
        finally:
            self.waiting -= 1
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)

    async def pause(self, seconds: float | None, gone: Awaitable[object]) -> None:
        """Wait so long (None: for ever), or until released, or until the client is `gone`, whatever comes first."""
        self.waiting += 1
        ends = [asyncio.ensure_future(gone), asyncio.ensure_future(self._released.wait())]
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting -= 1
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
