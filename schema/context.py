"""What resolvers are given: the process' resources, and loaders that batch what one operation asks for."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import strawberry

from app.resources import Resources

if TYPE_CHECKING:
    from schema.loaders import Loaders


@dataclass(slots=True)
class Context:
    """The context of one HTTP request, or of one WebSocket with all its operations."""

    resources: Resources
    loaders: "Loaders"
    connection_params: dict[str, Any] = field(default_factory=dict)
    """The payload of connection_init; empty for HTTP."""


Info = strawberry.Info[Context, None]
