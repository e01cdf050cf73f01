"""The GraphQL API: Query, Mutation and Subscription. `schema.graphql` is the exported SDL."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from app.errors import ValidationFailed
from app.store.keyset import Key
from schema.analysis import AnalysisMutation
from schema.context import Info
from schema.errors import CodeEngineErrors, MaskUnexpected, fault_handlers
from schema.exports import ExportMutation
from schema.findings import WAVES, FindingsQuery
from schema.groups import GroupMutation
from schema.health import HealthQuery, HealthSubscription
from schema.job_changes import JobMutation
from schema.job_progress import JobSubscription
from schema.job_stats import JobStatsQuery
from schema.jobs import JOBS, JobFailure, JobQuery
from schema.keyword_changes import KeywordMutation
from schema.keywords import KEYWORDS, KeywordQuery
from schema.limits import LimitShape
from schema.loaders import Loader
from schema.logging import LogOperation
from schema.long_lists import ChunkedExecution
from schema.marking import MarkingMutation
from schema.monitoring import MonitoringMutation, MonitoringQuery
from schema.node import Id, Node, split_global_id
from schema.scalars import SCALARS
from schema.socket_only import SubscriptionsNeedSocket
from schema.statistics import StatisticsQuery
from schema.tokens import TokenQuery
from schema.wall import AUTHORS, COMMENTS, GROUPS, POSTS
from schema.wall_query import WallQuery

LARGEST_NODES = 500
NODES: Mapping[str, Loader[Key, Any]] = {  # Any: each type of node has its own loader
    "Group": GROUPS,
    "Post": POSTS,
    "Comment": COMMENTS,
    "Author": AUTHORS,
    "Keyword": KEYWORDS,
    "Job": JOBS,
    "Wave": WAVES,
}
"""Type name -> the loader of its rows."""


def _loaded(info: Info, value: str, path: str) -> Awaitable[Node | None]:
    type_name, key = split_global_id(value, path)
    return info.context.loaders.load(NODES[type_name], key)


@strawberry.type(description="All queries.")
class Query(
    WallQuery,
    KeywordQuery,
    JobQuery,
    JobStatsQuery,
    MonitoringQuery,
    TokenQuery,
    HealthQuery,
    StatisticsQuery,
    FindingsQuery,
):
    """All queries."""

    @strawberry.field(description="Anything by its global id; null if nothing has this id.", graphql_type=Node | None)
    def node(self, info: Info, id: Id) -> Awaitable[Node | None]:
        """Return anything by its id."""
        return _loaded(info, id, "id")

    @strawberry.field(
        description="Things of any type by global ids, at most 500, in the order of the ids; null for each id "
        "that does not exist."
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The global ids.")],
    ) -> list[Node | None]:
        """Return many things by their ids."""
        if len(ids) > LARGEST_NODES:
            raise ValidationFailed({"ids": f"must contain at most {LARGEST_NODES} ids"})
        return list(await asyncio.gather(*(_loaded(info, value, f"ids.{number}") for number, value in enumerate(ids))))


@strawberry.type(description="All mutations. Each returns a union: a success or an expected failure.")
class Mutation(
    GroupMutation, KeywordMutation, JobMutation, MonitoringMutation, MarkingMutation, AnalysisMutation, ExportMutation
):
    """All mutations."""


@strawberry.type(description="All subscriptions, over graphql-transport-ws.")
class Subscription(JobSubscription, HealthSubscription):
    """All subscriptions."""


class Schema(strawberry.Schema):
    """Strawberry's schema, except that `MaskUnexpected` alone logs errors, once and with an id."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Do nothing: `MaskUnexpected` handles errors."""


def make_schema() -> Schema:
    """Return the schema, ready to execute."""
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[JobFailure],
        extensions=[LogOperation, CodeEngineErrors, LimitShape, SubscriptionsNeedSocket, MaskUnexpected],
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=ChunkedExecution,
        exception_handlers=fault_handlers(),
    )
