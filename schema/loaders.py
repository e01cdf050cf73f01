"""Dataloaders: batch the reads of one level of a query into one SQL statement.

A level is one batch, whatever its size, so nothing in it is read twice. Dataloaders do not
cache: one context serves a WebSocket with all its operations, and a later operation must not
get results of an earlier one.

Each type declares its loaders beside itself, so this module imports no type of the API.
"""

from asyncio import Future
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from aiodataloader import DataLoader

from app.resources import Resources
from app.store.keyset import CountByKey, Key, ReadRows

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")
R_contra = TypeVar("R_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Loader(Generic[K, V]):
    """A way to read values of type V by keys of type K: `read` returns the values of many keys, in their order."""

    read: Callable[[Resources, list[K]], Coroutine[object, object, list[V]]]


class Loaders:
    """The dataloaders of one HTTP request or one WebSocket, each created when it is first used."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        # Any: each loader has its own types of keys and values; `of` returns them
        self._opened: dict[Loader[Any, Any], DataLoader[Any, Any]] = {}

    def of(self, loader: Loader[K, V]) -> DataLoader[K, V]:
        """Return the dataloader that batches the keys of a loader."""
        return self._opened.get(loader) or self._open(loader)

    def load(self, loader: Loader[K, V], key: K) -> "Future[V]":
        """Return the value of a key, read in one batch with the other keys of this level of a query."""
        opened = self._opened.get(loader)  # not through `of`: every field of every row comes here
        return (opened or self._open(loader)).load(key)

    def _open(self, loader: Loader[K, V]) -> DataLoader[K, V]:
        opened = self._opened[loader] = DataLoader(partial(loader.read, self._resources), cache=False)
        return opened


class Converts(Protocol[R_contra, T_co]):
    """A type of the API that `of` makes of a row."""

    def of(self, row: R_contra, /) -> T_co:
        """Convert a row."""


def rows_loader(read: ReadRows[R], type_: Callable[[], Converts[R, T]]) -> Loader[Key, T | None]:
    """Declare a loader of rows by key; None for a key without a row.

    `type_` returns the type whose `of` converts a row. It is called for each batch, so a file can declare the loader
    before the type.
    """

    async def load(resources: Resources, keys: list[Key]) -> list[T | None]:
        async with resources.database.connect() as connection:
            found = await read(connection, unique(keys))
        of = type_().of
        converted = {key: of(row) for key, row in found.items()}
        return [converted.get(key) for key in keys]

    return Loader(load)


def rows_loader_or(
    default: Callable[[Key], T], read: ReadRows[R], type_: Callable[[], Converts[R, T]]
) -> Loader[Key, T]:
    """Declare a loader of rows by key as `rows_loader` does; `default` returns the value for a key without a row."""

    async def load(resources: Resources, keys: list[Key]) -> list[T]:
        async with resources.database.connect() as connection:
            found = await read(connection, unique(keys))
        of = type_().of
        return [of(found[key]) if key in found else default(key) for key in keys]

    return Loader(load)


def values_loader(default: T, read: ReadRows[R], value_of: Callable[[R], T]) -> Loader[Key, T]:
    """Declare a loader of a plain value of rows by key; `default` for a key without a row."""

    async def load(resources: Resources, keys: list[Key]) -> list[T]:
        async with resources.database.connect() as connection:
            found = await read(connection, unique(keys))
        return [value_of(found[key]) if key in found else default for key in keys]

    return Loader(load)


def counts_loader(count: CountByKey) -> Loader[Key, int]:
    """Declare a loader of the number of children of each parent."""

    async def load(resources: Resources, keys: list[Key]) -> list[int]:
        async with resources.database.connect() as connection:
            found = await count(connection, unique(keys))
        return [found.get(key, 0) for key in keys]

    return Loader(load)


def unique(keys: Sequence[K]) -> list[K]:
    """Return the keys of a batch without repetitions."""
    return list(dict.fromkeys(keys))


def parents_by_request(keys: Sequence[tuple[Key, K]]) -> Mapping[K, list[Key]]:
    """Group keys of parents by what is requested for them, which is the second part of a key."""
    grouped: dict[K, dict[Key, None]] = {}
    for parent, request in keys:
        grouped.setdefault(request, {})[parent] = None
    return {request: list(parents) for request, parents in grouped.items()}
