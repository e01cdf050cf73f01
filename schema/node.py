"""Global ids: opaque ids that are unique among all types, as Relay's `Node` requires."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any

import strawberry

from app.errors import ValidationFailed
from schema.context import Info

Key = tuple[int, ...]
Id = Annotated[strawberry.ID, strawberry.argument(description="The global id.")]
NODE_TYPES = {
    "Group": ("groups", 1),
    "Post": ("posts", 2),
    "Comment": ("comments", 2),
    "Author": ("authors", 1),
    "Keyword": ("keywords", 1),
    "Job": ("jobs", 1),
    "Wave": ("waves", 1),
}
"""Type name -> its loader, and the number of integers in its key: (owner_id, id) for objects of a wall."""


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
    _, length = NODE_TYPES.get(type_name, ("", -1))
    is_known = length == len(key) and global_id(type_name, key) == value
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


def relation(loader: str, key: Any, returns: Any, description: str) -> Any:
    """Declare a field that returns another row: `key(parent)` is its key for the loader of that name, None for no row.

    The resolver is a plain function that returns the loader's future, so a whole level
    of a query becomes one batch without a coroutine per field.
    """

    def resolve(root: strawberry.Parent[Any], info: Info) -> Any:
        target = key(root)
        return None if target is None else getattr(info.context.loaders, loader).load(target)

    return strawberry.field(resolver=resolve, graphql_type=returns, description=description)
