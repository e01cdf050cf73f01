"""Completes long result lists in chunks, so that the process serves other requests between them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLList, GraphQLOutputType, GraphQLResolveInfo
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import AwaitableOrValue, Path, gather_with_cancel
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.paging import LARGEST_SIZE

CHUNK = 200
"""Items per chunk. With one object each, and two counts of it from loaders, they take some 15 ms of the event loop."""


class ChunkedExecution(StrawberryGraphQLCoreExecutionContext):
    """The engine's executor, except for lists longer than any page: mutations return up to 10,000 outcomes.

    The loaders that the items use read one batch per chunk.
    """

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],  # the engine's signature
        path: Path,
        result: Any,  # as above
        position_context: Any,  # as above
    ) -> AwaitableOrValue[list[object]]:
        """Complete a list."""
        given = (field_details_list, info, path)
        if isinstance(result, list) and len(result) > LARGEST_SIZE:
            return self._complete_in_chunks(return_type.of_type, *given, result, position_context)
        return super().complete_list_value(return_type, *given, result, position_context)

    async def _complete_in_chunks(
        self,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],  # the engine's signature
        path: Path,
        items: Sequence[object],
        position_context: Any,  # as above
    ) -> list[object]:
        completed: list[Any] = []  # as the engine declares it
        for start in range(0, len(items), CHUNK):
            waiting: list[int] = []
            try:
                for number, item in enumerate(items[start : start + CHUNK], start):
                    place = path.add_key(number, None)
                    if self.complete_list_item_value(
                        item, completed, item_type, field_details_list, info, place, position_context
                    ):
                        waiting.append(number)
            except Exception:
                # the list becomes null, but its pending items must still be awaited, as the engine does for other lists
                self.settle_in_background([completed[number] for number in waiting])
                raise
            found = await gather_with_cancel(*(completed[number] for number in waiting))
            for number, value in zip(waiting, found, strict=True):
                completed[number] = value
            await asyncio.sleep(0)
        return completed
