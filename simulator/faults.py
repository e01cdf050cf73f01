"""Faults: which ones are scripted or drawn by rate, and the brake that delays or holds requests."""

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
    """A fault of the next `times` requests (or with `inner`, calls inside execute) of `method`, or of any method.

    The kind of fault is `kind`; if absent, it follows from `code` or `http`:
    - error: VK's error `code` in VK's envelope with `message`, or with VK's usual one;
    - http: an HTML page with the HTTP status `http` (200: a body that is not JSON);
    - not_json: a body that is not JSON, with status 200 and the content type of JSON;
    - truncated: the first half of the correct reply, with a Content-Length that fits it;
    - reset: the head and the first half of the correct reply, then the connection is reset;
    - late: the correct reply, made at once and sent after `seconds` (default: 30);
    - timeout: no reply; the connection is reset after `seconds`, without `seconds` it stays until the client closes it;
    - answer: the correct answer with a `change`, one of `contradictions.CHANGES`.

    Inside an execute only error and answer are possible. `where` restricts a fault to calls with these parameters, and
    `from_offset` to pages that begin at this offset or later.

    Raises:
        ValueError: an attribute has no meaning for this kind, or a value is out of range.
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
        if (self.effective_kind == "http") != (self.http is not None):
            raise ValueError("http (a status) is required for the kind http and invalid for others")
        if (self.effective_kind == "answer") != (self.change is not None):
            raise ValueError("change is required for the kind answer and invalid for others")
        if self.effective_kind != "error" and self.message is not None:
            raise ValueError(f"message is valid for the kind error, not for {self.effective_kind}")
        if self.inner and self.effective_kind not in {"error", "answer"}:
            raise ValueError(f"inner is valid for the kinds error and answer, not for {self.effective_kind}")
        if self.effective_kind not in {"late", "timeout"} and self.seconds is not None:
            raise ValueError(f"seconds is valid for the kinds late and timeout, not for {self.effective_kind}")

    @property
    def effective_kind(self) -> FaultKind:
        """The kind of fault, given or derived."""
        return self.kind or ("error" if self.http is None else "http")

    @property
    def label(self) -> str:
        """The kind of fault with its number, if it has one: "error 6", "http 502", "reset"."""
        number = {"error": self.code, "http": self.http, "answer": self.change}.get(self.effective_kind)
        return self.effective_kind if number is None else f"{self.effective_kind} {number}"

    @property
    def delay_seconds(self) -> float | None:
        """The delay of the reply; None: no reply ever comes."""
        return _LATE_SECONDS if self.effective_kind == "late" and self.seconds is None else self.seconds

    def applies_to(self, method: str, values: Mapping[str, str], *, inner: bool) -> bool:
        """Return whether the fault applies to this call with these parameters."""
        is_method = self.method == method if self.method else self.effective_kind != "answer" or method != "execute"
        offset = values.get("offset", "0")
        is_from_offset = not self.from_offset or (offset.isdecimal() and int(offset) >= self.from_offset)
        conditions = (self.where or {}).items()
        return (
            self.inner == inner
            and is_method
            and is_from_offset
            and all(values.get(key) == each for key, each in conditions)
        )


@dataclass(frozen=True, slots=True)
class RatedFault(Fault):
    """A fault of a share `rate` (0 to 1) of the calls that it applies to; `times` has no meaning for it."""

    rate: float = 0.0

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.times != 1:
            raise ValueError("times is invalid for a fault by rate")


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Faults by rate: for each request (for `inner` faults, each call inside execute) the first one drawn applies.

    `limit` is the maximum of faults in total; None: no maximum.
    """

    rates: tuple[RatedFault, ...] = field(default=())
    seed: int = 1
    limit: int | None = None


class Faults:
    """Scripted faults in their order, each removed when it was played often enough; then those by rate.

    `played` counts the played faults by label.
    """

    def __init__(self, script: Sequence[Fault] = (), rates: FaultRates | None = None) -> None:
        self.played: Counter[str] = Counter()
        self.replace(script)
        self.rate(rates)

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """The scripted faults that are still to be played, the next one first."""
        return tuple(self._waiting)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Replace the scripted faults."""
        self._waiting = [fault for fault in faults if fault.times > 0]

    def rate(self, rates: FaultRates | None) -> None:
        """Use these rates from now on, with a new limit and a new random source; None: none."""
        self.rates = rates
        self._left = rates.limit if rates else 0
        self._random = random.Random(f"faults:{rates.seed if rates else 0}")  # noqa: S311 - simulated data, not a secret

    def play(self, method: str, values: Mapping[str, str], *, inner: bool = False) -> Fault | None:
        """Return the fault of this call and count it as played; None if the call has none."""
        fault = self._scripted(method, values, inner=inner) or self._drawn(method, values, inner=inner)
        if fault is not None:
            self.played[fault.label] += 1
        return fault

    def _scripted(self, method: str, values: Mapping[str, str], *, inner: bool) -> Fault | None:
        for place, fault in enumerate(self._waiting):
            if fault.applies_to(method, values, inner=inner):
                self._waiting[place : place + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                return fault
        return None

    def _drawn(self, method: str, values: Mapping[str, str], *, inner: bool) -> Fault | None:
        if self.rates is None or self._left == 0:
            return None
        for fault in self.rates.rates:
            if fault.applies_to(method, values, inner=inner) and self._random.random() < fault.rate:
                self._left = None if self._left is None else self._left - 1
                return fault
        return None


AnyFault = TypeVar("AnyFault", bound=Fault)


def read_fault(kind: type[AnyFault], entry: object) -> AnyFault:
    """Parse a fault, or one by rate, from JSON.

    Raises:
        ValueError: the entry is not an object, has an unknown name, or an invalid value; the message names it.
    """
    known = [each.name for each in fields(kind)]
    if not isinstance(entry, dict):
        raise ValueError("a fault is not an object")  # noqa: TRY004 - all invalid entries raise the same type
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"a fault has no {name}; valid names: {', '.join(known)}")
        if not _CHECKS[name](value):
            raise ValueError(f"{name} of a fault cannot be {value}")
    if kind is RatedFault and "rate" not in entry:
        raise ValueError("a fault by rate needs rate: a share from 0 to 1")
    fault = kind(**entry)
    if "code" in entry and fault.effective_kind != "error":
        raise ValueError(f"code is valid for the kind error, not for {fault.effective_kind}")
    return fault


def read_fault_rates(entry: Mapping[str, Any]) -> FaultRates:
    """Parse faults by rate from {"rates": [...], "seed": 1, "limit": null}.

    Raises:
        ValueError: as `read_fault`, and if a value beside `rates` is invalid.
    """
    known = [each.name for each in fields(FaultRates)]
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"fault_rates has no {name}; valid names: {', '.join(known)}")
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
    """Delays requests, or holds them until released; `waiting` is the number of those held or late at the moment."""

    def __init__(self) -> None:
        self.delay_ms = 0
        self.waiting = 0
        self._open = asyncio.Event()
        self._open.set()
        self._released = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether requests are held."""
        return not self._open.is_set()

    def hold(self, *, held: bool) -> None:
        """Hold all following requests, or release all that wait, including late ones."""
        if held:
            self._open.clear()
            return
        self._open.set()
        self._released.set()
        self._released = asyncio.Event()

    async def wait(self) -> None:
        """Wait until released, then for the configured delay of replies."""
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)

    async def pause(self, seconds: float | None, gone: Awaitable[object]) -> None:
        """Wait this long (None: without limit), until released, or until the client is `gone`, whatever comes first."""
        self.waiting += 1
        ends = [asyncio.ensure_future(gone), asyncio.ensure_future(self._released.wait())]
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting -= 1
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
