"""Serves the files of exports, with range requests, to authenticated clients, until the files expire."""

import asyncio
import os
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from app.errors import Fault, QueryTimedOut, ServiceUnavailable, Unauthenticated
from app.resources import Resources
from app.store.exports import export_by_key
from app.work.exporting.export_files import export_directory

LARGEST_ID = 2**63 - 1
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
    "gz": "application/gzip",
    "zst": "application/zstd",
}


async def download(request: Request) -> Response:
    """Handle GET and HEAD of /exports/{id}/{name}; `id` is the id of the job.

    The entity tag is the file's SHA-256, so a client can resume after a lost
    connection (Range, If-Range) and verify the file at the end.
    """
    resources: Resources = request.state.resources
    try:
        resources.keys.check(request.headers.get("authorization"))
        return await _file(request, resources)
    except Unauthenticated as fault:
        return _refusal(HTTPStatus.UNAUTHORIZED, fault, {"WWW-Authenticate": "Bearer"})
    except ServiceUnavailable as fault:
        return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, fault, {"Retry-After": f"{fault.retry_after_seconds:.0f}"})
    except QueryTimedOut as fault:
        return _refusal(HTTPStatus.GATEWAY_TIMEOUT, fault, {})


async def _file(request: Request, resources: Resources) -> Response:
    job_id, name = request.path_params["id"], request.path_params["name"]
    row = None
    if job_id <= LARGEST_ID and "\0" not in name:
        async with resources.database.connect() as connection:
            row = await export_by_key(connection, job_id, name)
    if row is None:
        return _not_found()
    # The path contains only values of the row, none of the request: no path traversal.
    path = export_directory(resources.settings) / str(row.job_id) / row.name
    try:
        facts = await asyncio.to_thread(os.stat, path)
    except FileNotFoundError:
        return _not_found()
    headers = {
        "ETag": f'"{row.sha256}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if row.sha256 in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    media_type = MEDIA_TYPES[row.name.rpartition(".")[2]]
    return FileResponse(path, headers=headers, media_type=media_type, filename=row.name, stat_result=facts)


def _not_found() -> Response:
    message = "This file does not exist. It may have expired."
    return JSONResponse({"code": "NOT_FOUND", "message": message}, status_code=HTTPStatus.NOT_FOUND)


def _refusal(status: HTTPStatus, fault: Fault, headers: dict[str, str]) -> Response:
    return JSONResponse({"code": fault.code.value, "message": fault.message}, status_code=status, headers=headers)
