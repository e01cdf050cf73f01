"""Health: whether this server and what it depends on work, as a query and as a subscription."""

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

LOOK_SECONDS = 1.0
SHARED_SECONDS = 0.1
"""How old a look may be that serves several subscribers."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 300.0


@strawberry.type(description="How well one thing works that this server depends on.")
class ComponentHealth:
    """The health of a component."""

    name: str = strawberry.field(description="What it is.")
    status: HealthStatus = strawberry.field(description="How well it works.")
    latency_ms: float | None = strawberry.field(description="How long its answer took, in milliseconds.")
    detail: str = strawberry.field(description="More about it, for people.")

    @classmethod
    def of(cls, report: ComponentReport) -> "ComponentHealth":
        """Make it of a report."""
        return cls(name=report.name, status=report.status, latency_ms=report.latency_ms, detail=report.detail)


@strawberry.type(description="How well this server works.")
class Health:
    """The health of the whole."""

    status: HealthStatus = strawberry.field(description="As bad as the worst component.")
    components: list[ComponentHealth] = strawberry.field(description="Each thing this server depends on.")
    version: str = strawberry.field(description="The version of this server.")
    uptime_seconds: float = strawberry.field(description="How long it has been running.")

    @classmethod
    def of(cls, report: HealthReport) -> "Health":
        """Make it of a report."""
        return cls(
            status=report.status,
            components=[ComponentHealth.of(component) for component in report.components],
            version=report.version,
            uptime_seconds=report.uptime_seconds,
        )


HealthEvent = Annotated[
    Health | ValidationFailedError,
    strawberry.union("HealthEvent", description="The state of this server, or why it is not told."),
]


@strawberry.type
class HealthQuery:
    """The query of this file."""

    @strawberry.field(description="How well this server and what it depends on work.")
    async def health(self, info: Info) -> Health:
        """Look at the health."""
        return Health.of(await info.context.resources.health.report())


@strawberry.type
class HealthSubscription:
    """The subscription of this file."""

    @strawberry.subscription(
        description="The state at once, then each change within about a second, and a beat when nothing changes."
    )
    async def health(
        self,
        info: Info,
        interval_seconds: Annotated[
            float, strawberry.argument(description="How long it is silent at the most, 0.2 to 300.")
        ] = 10.0,
    ) -> AsyncIterator[HealthEvent]:
        """Follow the health."""
        if not SHORTEST_SECONDS <= interval_seconds <= LONGEST_SECONDS:
            wrong = {"intervalSeconds": f"must be between {SHORTEST_SECONDS:g} and {LONGEST_SECONDS:g}"}
            yield error_of(ValidationFailed(wrong))  # type: ignore[misc]  # it is the union's member
            return
        told: list[tuple[str, HealthStatus, str]] = []
        told_at = 0.0
        while True:
            report = await info.context.resources.health.latest(SHARED_SECONDS)
            state = [(component.name, component.status, component.detail) for component in report.components]
            now = time.monotonic()
            # a little early is better than a whole look late
            if state != told or now - told_at >= interval_seconds - 0.01:
                told, told_at = state, now
                yield Health.of(report)
            await asyncio.sleep(min(LOOK_SECONDS, interval_seconds))
