"""Limits the size of client requests and checks their shape."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from cross_web import HTTPException, StarletteRequestAdapter
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from strawberry.file_uploads.utils import replace_placeholders_with_files
from strawberry.http import GraphQLRequestData

from schema.scalars import UploadedFile

LARGEST_BYTES = 1024 * 1024
"""The largest request body or WebSocket message. The largest sensible operation, `nodes` with 500 ids, has 20 KB."""

OPTIONAL_MEMBERS: dict[str, tuple[type, str]] = {
    "variables": (dict, "an object or null"),
    "operationName": (str, "a string or null"),
    "extensions": (dict, "an object or null"),
}
"""The optional members beside `query`: name -> Python type and its name in error messages."""
LARGEST_UPLOAD_BYTES = 11 * 1024 * 1024
"""The largest request body with a file: 10 MB and the form around it."""
FIELDS, FILES = 2, 1
MESSAGES_WITH_ID = ("subscribe", "complete")
PREFLIGHT_HEADERS = ("GraphQL-Require-Preflight", "Apollo-Require-Preflight", "X-Apollo-Operation-Name")
"""Headers that a page of another origin can send only if a CORS preflight request allows it."""


def may_execute_by_get(headers: Headers) -> bool:
    """Return whether a GET request may execute an operation: only if no page of another origin can have sent it.

    Browsers let any page send GET requests to any address, for example as the address of an image. They
    send these headers only for the page's own origin, or after a preflight request, or not at all.
    """
    return (
        headers.get("sec-fetch-site") == "same-origin"
        or headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        # browsers add credentials of the scheme Basic themselves
        or headers.get("authorization", "").lower().startswith("bearer ")
        or any(headers.get(name) for name in PREFLIGHT_HEADERS)
    )


class BoundedRequest(StarletteRequestAdapter):
    """A request whose body is limited to `LARGEST_BYTES`, or `LARGEST_UPLOAD_BYTES` with a file."""

    async def get_body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: 413, before more than the limit is in memory; the server discards the rest unread.
        """
        return b"".join([chunk async for chunk in self._bounded(LARGEST_BYTES)])

    async def read_form(self) -> dict[str, UploadedFile | str]:
        """Return the two fields and the file of an upload, according to the GraphQL multipart request specification.

        Raises:
            HTTPException: 413 as above; 400 if the body is not such a form.
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
            message = f"The form is not valid: it must have the fields `operations` and `map`, and {FILES} file."
            raise HTTPException(400, message) from error
        try:
            return {name: await _form_value(value) for name, value in form.items()}
        finally:
            await form.close()

    async def _bounded(self, largest: int) -> AsyncGenerator[bytes]:
        too_large = HTTPException(413, f"A request must have at most {largest} bytes.")
        if int(self.headers.get("content-length", 0)) > largest:
            raise too_large
        size = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            if size > largest:
                raise too_large
            yield chunk


async def _form_value(value: UploadFile | str) -> UploadedFile | str:
    return value if isinstance(value, str) else UploadedFile(value.filename or "", await value.read())


def place_files(
    operations: Any,  # parsed JSON that is not checked yet
    files_map: Any,  # as above
    form: Mapping[str, object],
) -> object:
    """Return an operation with the files of a form at the places that the map names.

    Raises:
        HTTPException: 400, the map names a place or a file that does not exist.
    """
    try:
        return replace_placeholders_with_files(operations, files_map, form)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = 'The `map` of a form must list the places of each file: {"0": ["variables.input.file"]}.'
        raise HTTPException(400, message) from error


def read_operation(sent: Any) -> GraphQLRequestData:  # Any: parsed JSON that is not checked yet
    """Return the operation in a JSON body or in URL parameters.

    Raises:
        HTTPException: 400, they contain no valid operation.
    """
    if problem := operation_problem(sent, "A request"):
        raise HTTPException(400, problem)
    return GraphQLRequestData(
        query=sent["query"],
        variables=sent.get("variables"),
        operation_name=sent.get("operationName"),
        extensions=sent.get("extensions"),
    )


def operation_problem(sent: object, what: str) -> str | None:
    """Return why `sent` is not a valid operation, None if it is; `what` names it in the message about a non-object."""
    if not isinstance(sent, dict):
        return f"{what} must be a JSON object with a `query`; batches are not supported."
    if not isinstance(sent.get("query"), str):
        return "`query` must be a string with a GraphQL operation."
    for name, (kind, type_phrase) in OPTIONAL_MEMBERS.items():
        if not isinstance(sent.get(name), kind | None):
            return f"`{name}` must be {type_phrase}."
    return None


def message_problem(message: object) -> str | None:
    """Return what is wrong with the shape of a graphql-transport-ws message, None if nothing is."""
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
