"""What a client may send: how much of it, and in which shape."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from cross_web import HTTPException, StarletteRequestAdapter
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from strawberry.file_uploads.utils import replace_placeholders_with_files
from strawberry.http import GraphQLRequestData

from schema.scalars import UploadedFile

LARGEST_BYTES = 1024 * 1024
"""The largest body or WebSocket message. The largest sensible operation, 500 ids for `nodes`, takes some 20 KB."""

PARTS: dict[str, tuple[type, str]] = {
    "variables": (dict, "an object or null"),
    "operationName": (str, "a string or null"),
    "extensions": (dict, "an object or null"),
}
"""What may stand beside a query: name -> its type in Python, and in words."""
LARGEST_UPLOAD_BYTES = 11 * 1024 * 1024
"""The largest body with a file: 10 MB, and what stands around them."""
FIELDS, FILES = 2, 1
MESSAGES_WITH_ID = ("subscribe", "complete")


class BoundedRequest(StarletteRequestAdapter):
    """A request whose body is read up to `LARGEST_BYTES`, or `LARGEST_UPLOAD_BYTES` where there is a file in it."""

    async def get_body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: 413, before more than the limit is held; what else comes, the server drops unseen.
        """
        return b"".join([chunk async for chunk in self._bounded(LARGEST_BYTES)])

    async def read_form(self) -> dict[str, Any]:
        """Return the two fields and the file of an upload, by the GraphQL multipart request specification.

        Raises:
            HTTPException: 413 as above, or 400: the body is no such form.
        """
        parser = MultiPartParser(
            self._request.headers,
            self._bounded(LARGEST_UPLOAD_BYTES),
            max_files=FILES,
            max_fields=FIELDS,
            max_part_size=LARGEST_BYTES,
        )
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError) as error:
            message = f"The form cannot be read: it has the fields `operations` and `map`, and {FILES} file."
            raise HTTPException(400, message) from error
        try:
            return {name: await _part(value) for name, value in form.items()}
        finally:
            await form.close()

    async def _bounded(self, largest: int) -> AsyncGenerator[bytes]:
        too_large = HTTPException(413, f"A request may have {largest} bytes at most.")
        if int(self.headers.get("content-length", 0)) > largest:
            raise too_large
        size = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            if size > largest:
                raise too_large
            yield chunk


async def _part(value: UploadFile | str) -> UploadedFile | str:
    return value if isinstance(value, str) else UploadedFile(value.filename or "", await value.read())


def place_files(operations: Any, files_map: Any, form: Mapping[str, Any]) -> Any:
    """Return an operation with the files of a form where the map says that they belong.

    Raises:
        HTTPException: 400, the map names a place or a file that is not there.
    """
    try:
        return replace_placeholders_with_files(operations, files_map, form)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = 'The `map` of a form names for each file its places: {"0": ["variables.input.file"]}.'
        raise HTTPException(400, message) from error


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
