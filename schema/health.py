"""Health of this server and of the services that it depends on, as a query and as a subscription."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from app.errors import ValidationFailed
from app.health import ComponentHealth as ComponentReport
from app.health import HealthReport, HealthStatus
from schema.context import Info
from schema.errors import ValidationFailedError, error_of

CHECK_SECONDS = 1.0
SHARED_SECONDS = 0.1
"""The maximum age of a health check that is shared by several subscribers."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 300.0


@strawberry.type(description="The health of one component that this server depends on.")
class ComponentHealth:
    """The health of a component."""

    name: str = strawberry.field(description="The name of the component.")
    status: HealthStatus = strawberry.field(description="The health of the component.")
    latency_ms: float | None = strawberry.field(
        description="The response time in milliseconds; null if it was not measured."
    )
    detail: str = strawberry.field(description="Details for people.")

    @classmethod
    def of(cls, report: ComponentReport) -> "ComponentHealth":
        """Convert a report."""
        return cls(name=report.name, status=report.status, latency_ms=report.latency_ms, detail=report.detail)


@strawberry.type(description="The health of this server.")
class Health:
    """The health of the server."""

    status: HealthStatus = strawberry.field(description="The status of the worst component.")
    components: list[ComponentHealth] = strawberry.field(description="The components that this server depends on.")
    version: str = strawberry.field(description="The version of this server.")
    uptime_seconds: float = strawberry.field(description="How long the server has been running.")

    @classmethod
    def of(cls, report: HealthReport) -> "Health":
        """Convert a report."""
        return cls(
            status=report.status,
            components=[ComponentHealth.of(component) for component in report.components],
            version=report.version,
            uptime_seconds=report.uptime_seconds,
        )


HealthEvent = Annotated[
    Health | ValidationFailedError,
    strawberry.union("HealthEvent", description="The health of this server, or why it is not sent."),
]


@strawberry.type
class HealthQuery:
    """The query of this file."""

    @strawberry.field(description="The health of this server and of the services that it depends on.")
    async def health(self, info: Info) -> Health:
        """Return the health."""
        return Health.of(await info.context.resources.health.report())


@strawberry.type
class HealthSubscription:
    """The subscription of this file."""

    @strawberry.subscription(
        description="The current health at once, then each change within about a second, and a heartbeat if "
        "nothing changes."
    )
    async def health(
        self,
        info: Info,
        interval_seconds: Annotated[
            float, strawberry.argument(description="The maximum number of seconds between two messages, 0.2 to 300.")
        ] = 10.0,
    ) -> AsyncIterator[HealthEvent]:
        """Follow the health."""
        if not SHORTEST_SECONDS <= interval_seconds <= LONGEST_SECONDS:
            problem = {"intervalSeconds": f"must be between {SHORTEST_SECONDS:g} and {LONGEST_SECONDS:g}"}
            yield error_of(ValidationFailed(problem))  # type: ignore[misc]  # it is the union's member
            return
        last_sent: list[tuple[str, HealthStatus, str]] = []
        last_sent_at = 0.0
        while True:
            report = await info.context.resources.health.latest(SHARED_SECONDS)
            state = [(component.name, component.status, component.detail) for component in report.components]
            now = time.monotonic()
            # send slightly early rather than one whole check late
            if state != last_sent or now - last_sent_at >= interval_seconds - 0.01:
                last_sent, last_sent_at = state, now
                yield Health.of(report)
            await asyncio.sleep(min(CHECK_SECONDS, interval_seconds))
