"""Long lists of an answer are completed in parts, so that a process serves its other requests between them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLList, GraphQLOutputType, GraphQLResolveInfo
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import AwaitableOrValue, Path, gather_with_cancel
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.paging import LARGEST_SIZE

PART = 200
"""Items. With an object in each, and two counts of that from loaders, they take some 15 ms of the event loop."""


class InParts(StrawberryGraphQLCoreExecutionContext):
    """The engine's executor, but for lists that are longer than any page: mutations answer with up to 10,000 outcomes.

    The loaders of what the items lead to read one batch for each part.
    """

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> AwaitableOrValue[list[Any]]:
        """Complete a list."""
        given = (field_details_list, info, path)
        if isinstance(result, list) and len(result) > LARGEST_SIZE:
            return self._in_parts(return_type.of_type, *given, result, position_context)
        return super().complete_list_value(return_type, *given, result, position_context)

    async def _in_parts(
        self,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: Sequence[Any],
        position_context: Any,
    ) -> list[Any]:
        completed: list[Any] = []
        for start in range(0, len(items), PART):
            waiting: list[int] = []
            try:
                for number, item in enumerate(items[start : start + PART], start):
                    place = path.add_key(number, None)
                    if self.complete_list_item_value(
                        item, completed, item_type, field_details_list, info, place, position_context
                    ):
                        waiting.append(number)
            except Exception:
                # the list is null; what it waits for has to end all the same, as the engine has it for other lists
                self.settle_in_background([completed[number] for number in waiting])
                raise
            found = await gather_with_cancel(*(completed[number] for number in waiting))
            for number, value in zip(waiting, found, strict=True):
                completed[number] = value
            await asyncio.sleep(0)
        return completed
