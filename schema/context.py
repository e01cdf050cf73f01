"""The context of resolvers: the resources of the process, and loaders that batch the reads of one operation."""

from dataclasses import dataclass

import strawberry

from app.resources import Resources
from schema.loaders import Loaders


@dataclass(slots=True)
class Context:
    """The context of one HTTP request, or of one WebSocket with all its operations."""

    resources: Resources
    loaders: Loaders
    is_socket: bool = False
    """Whether the client is connected by WebSocket, so that it can receive the events of subscriptions."""


Info = strawberry.Info[Context, None]
