"""The ASGI application: routes, middleware, and the state of requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from asgi_correlation_id import CorrelationIdMiddleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.analysis.searches import forms_of_search
from app.auth import answered_hosts
from app.downloads import download
from app.errors import ErrorCode
from app.health import HealthStatus
from app.resources import Resources
from app.response_headers import RESPONSE_HEADERS, AddResponseHeaders
from schema import make_schema
from schema.transport import PAGE_HEADERS, GraphQLView

PAGES = Path(__file__).with_name("pages")


class State(TypedDict):
    """The contents of `request.state`."""

    resources: Resources


class _StaticPages(StaticFiles):
    """Static files; HTML pages get the same headers as /graphql."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.headers.get("content-type", "").startswith("text/html"):
            response.headers.update(PAGE_HEADERS)
        return response


def create_app(resources: Resources) -> Starlette:
    """Return the application. The caller opens the resources before it runs and closes them afterwards."""
    settings = resources.settings

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        # Load the dictionary, which takes a while: otherwise the first search would wait for it.
        await asyncio.to_thread(forms_of_search, "слово")
        yield State(resources=resources)

    view = GraphQLView(make_schema(), PAGES / "graphiql.html", settings)
    return Starlette(
        lifespan=lifespan,
        exception_handlers={Exception: unexpected},
        middleware=[
            Middleware(AddResponseHeaders),
            Middleware(CorrelationIdMiddleware),
            Middleware(TrustedHostMiddleware, allowed_hosts=answered_hosts(settings), www_redirect=False),
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors_origins),
                allow_methods=["GET", "POST"],
                # tracing and client libraries add headers of their own; none of them gives a page more rights
                allow_headers=["*"],
                expose_headers=["X-Request-ID", "Content-Disposition", "Content-Range", "ETag"],
            ),
        ],
        routes=[
            Route("/", lambda _: RedirectResponse("/graphql")),
            Route("/graphql", view, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", view),
            Route("/health", health),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            Route("/exports/{id:int}/{name}", download),
            Mount("/static", _StaticPages(directory=PAGES, check_dir=False)),
        ],
    )


async def unexpected(_: Request, __: Exception) -> Response:
    """Return 500. Starlette raises the exception again, so that the log has it."""
    error = {"message": "An unexpected error.", "extensions": {"code": ErrorCode.INTERNAL.value}}
    # sent outside of all middleware
    return JSONResponse({"errors": [error]}, 500, RESPONSE_HEADERS)


async def health(request: Request) -> Response:
    """Return the state of each component; 503 if this server cannot work."""
    report = await request.state.resources.health.report()
    content = asdict(report) | {"status": report.status.value}
    content["components"] = [asdict(part) | {"status": part.status.value} for part in report.components]
    return JSONResponse(content, status_code=503 if report.status is HealthStatus.UNHEALTHY else 200)


async def live(_: Request) -> Response:
    """Return that the process runs."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    """Return whether this process can serve requests (else 503): PostgreSQL answers, and it is not ending."""
    if request.state.resources.health.is_draining:
        return JSONResponse({"status": "draining"}, status_code=503)
    state = await request.state.resources.health.postgresql()
    is_ready = state.status is HealthStatus.HEALTHY
    return JSONResponse({"status": "ready" if is_ready else "not ready"}, status_code=200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Return the metrics of this process in Prometheus' format."""
    await request.state.resources.health.measure()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
