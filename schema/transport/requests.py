"""What a client may send: how much of it, and in which shape."""

from typing import Any

from cross_web import HTTPException, StarletteRequestAdapter
from strawberry.http import GraphQLRequestData

LARGEST_BYTES = 1024 * 1024
"""The largest body or WebSocket message. The largest sensible operation, 500 ids for `nodes`, takes some 20 KB."""

PARTS: dict[str, tuple[type, str]] = {
    "variables": (dict, "an object or null"),
    "operationName": (str, "a string or null"),
    "extensions": (dict, "an object or null"),
}
"""What may stand beside a query: name -> its type in Python, and in words."""
MESSAGES_WITH_ID = ("subscribe", "complete")


class BoundedRequest(StarletteRequestAdapter):
    """A request whose body is read up to `LARGEST_BYTES`."""

    async def get_body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: 413, before more than the limit is held; what else comes, the server drops unseen.
        """
        too_large = HTTPException(413, f"A request may have {LARGEST_BYTES} bytes at most.")
        if int(self.headers.get("content-length", 0)) > LARGEST_BYTES:
            raise too_large
        body = bytearray()
        async for chunk in self._request.stream():
            body += chunk
            if len(body) > LARGEST_BYTES:
                raise too_large
        return bytes(body)


def read_operation(sent: Any) -> GraphQLRequestData:
    """Return the operation that a JSON body or the parameters of a URL hold.

    Raises:
        HTTPException: 400, they hold none.
    """
    if problem := operation_problem(sent, "A request"):
        raise HTTPException(400, problem)
    return GraphQLRequestData(
        query=sent["query"],
        variables=sent.get("variables"),
        operation_name=sent.get("operationName"),
        extensions=sent.get("extensions"),
    )


def operation_problem(sent: Any, what: str) -> str | None:
    """Return why this is no operation, if it is none; `what` begins the sentence about something that is no object."""
    if not isinstance(sent, dict):
        return f"{what} must be a JSON object with a `query`; batches are not supported."
    if not isinstance(sent.get("query"), str):
        return "`query` must be a string with a GraphQL operation."
    for name, (kind, in_words) in PARTS.items():
        if not isinstance(sent.get(name), kind | None):
            return f"`{name}` must be {in_words}."
    return None


def message_problem(message: Any) -> str | None:
    """Return what is wrong with the shape of a message of graphql-transport-ws, if anything is."""
    if not isinstance(message, dict):
        return "A message must be a JSON object."
    kind = message.get("type")
    if not isinstance(kind, str):
        return "A message's `type` must be a string."
    if kind in MESSAGES_WITH_ID and not (isinstance(message.get("id"), str) and message["id"]):
        return f"The `id` of {kind} must be a string that is not empty."
    if kind == "subscribe":
        return operation_problem(message.get("payload"), "The `payload` of subscribe")
    if not isinstance(message.get("payload"), dict | None):
        return "A message's `payload` must be an object or null."
    return None
