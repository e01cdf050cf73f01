"""The context of resolvers: the resources of the process, and loaders that batch the reads of one operation."""

from dataclasses import dataclass, field

import strawberry

from app.resources import Resources
from schema.loaders import Loaders


@dataclass(slots=True)
class Context:
    """The context of one HTTP request, or of one WebSocket with all its operations."""

    resources: Resources
    loaders: Loaders
    connection_params: dict[str, object] = field(default_factory=dict)
    """The payload of connection_init; empty for HTTP."""


Info = strawberry.Info[Context, None]
