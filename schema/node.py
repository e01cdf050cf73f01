"""Global ids: opaque ids that are unique among all types, as Relay's `Node` requires."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Hashable
from typing import Annotated, Any, TypeVar

import strawberry

from app.errors import ValidationFailed
from app.store.keyset import Key
from schema.context import Info
from schema.loaders import Loader

Id = Annotated[strawberry.ID, strawberry.argument(description="The global id.")]
KEY_LENGTHS = {"Group": 1, "Post": 2, "Comment": 2, "Author": 1, "Keyword": 1, "Job": 1, "Wave": 1}
"""Type name -> the number of integers in its key: (owner_id, id) for objects of a wall."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@strawberry.interface(description="An object with an id that is unique among all types.")
class Node:
    """A type that `node(id:)` can return. `key` identifies its row."""

    key: strawberry.Private[Key]

    @strawberry.field(description="The global id. It is opaque: do not parse it.")
    def id(self) -> strawberry.ID:
        """Return the global id."""
        return global_id(type(self).__name__, self.key)


def global_id(type_name: str, key: Key) -> strawberry.ID:
    """Return the global id for a type and key."""
    text = f"{type_name}:{'_'.join(map(str, key))}"
    return strawberry.ID(urlsafe_b64encode(text.encode()).decode().rstrip("="))


def split_global_id(value: str, path: str = "id") -> tuple[str, Key]:
    """Return type name and key of a global id.

    Raises:
        ValidationFailed: it is not an id of this server; `path` names the argument in question.
    """
    try:
        text = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
        type_name, _, rest = text.partition(":")
        key = tuple(int(part) for part in rest.split("_"))
    except ValueError:
        type_name, key = "", ()
    is_known = KEY_LENGTHS.get(type_name) == len(key) and global_id(type_name, key) == value
    # key columns have 64 bits
    if not is_known or any(abs(part) >= 1 << 63 for part in key):
        raise ValidationFailed({path: f"{value!r} is not an id of this server"})
    return type_name, key


def key_of(value: str, type_name: str, path: str = "id") -> Key:
    """Return the key of an id that must belong to type `type_name`.

    Raises:
        ValidationFailed: it does not; `path` names the argument in question.
    """
    found, key = split_global_id(value, path)
    if found != type_name:
        raise ValidationFailed({path: f"{value!r} is the id of a {found}, not of a {type_name}"})
    return key


def relation(
    loader: Loader[K, V],
    key: Callable[[Any], K | None],  # Any: the parent, of the type with this field
    returns: object,
    description: str,
) -> Any:  # the declared type of the field, as strawberry.field does
    """Declare a field that returns what `loader` has for `key(parent)`; null if that is None.

    The resolver is a plain function that returns the loader's future, so a whole level
    of a query becomes one batch without a coroutine per field.
    """

    def resolve(root: strawberry.Parent[object], info: Info) -> Awaitable[V] | None:
        target = key(root)
        return None if target is None else info.context.loaders.load(loader, target)

    return strawberry.field(resolver=resolve, graphql_type=returns, description=description)
