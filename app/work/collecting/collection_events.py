"""Records what a collection could not read or must not trust, as events of its job and in its counts."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ErrorCode
from app.job_states import JobEventKind
from app.json_types import JsonObject, JsonValue
from app.vk.replies import broken_facts
from app.vk.wall_pager import WallPager
from app.vk.wire import VkFault
from app.wall import VkBrokenItem
from app.work.collecting.collection import CollectionJob, CollectionState, OpenPost, Refusal


class CollectionEvents:
    """The events of one run of a collection; each method is called inside a step of the job."""

    def __init__(self, job: CollectionJob, state: CollectionState) -> None:
        self._job = job
        self._state = state

    async def failed_post(self, connection: AsyncConnection, post: OpenPost, fault: VkFault) -> None:
        """Record that a post could not be read completely."""
        self._state.counts.failed_posts += 1
        facts = {"vkOwnerId": post.owner_id, "vkPostId": post.id, "code": fault.code.value, **fault.facts()}
        message = f"Post {post.owner_id}_{post.id} could not be read to the end. {fault.message}"
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def missing_post(self, connection: AsyncConnection, owner_id: int, post_id: int) -> None:
        """Record that VK does not show a post that was requested by id; a second read does not record it again."""
        if self._state.is_confirming:
            return  # the first read has recorded it
        self._state.missing.append((owner_id, post_id))
        self._state.counts.failed_posts += 1
        facts: JsonObject = {"vkOwnerId": owner_id, "vkPostId": post_id, "code": ErrorCode.POST_NOT_FOUND.value}
        message = f"Post {owner_id}_{post_id} does not exist, or VK does not show it."
        await self._job.event(connection, JobEventKind.POST_FAILED, message, facts)

    async def incomplete_post(self, connection: AsyncConnection, post: OpenPost) -> None:
        """Record that VK keeps stating more comments of a post than it shows."""
        self._state.counts.incomplete_posts += 1
        facts: JsonObject = {
            "vkOwnerId": post.owner_id,
            "vkPostId": post.id,
            "statedCount": post.comment_count,
            "receivedCount": post.received,
        }
        message = (
            f"Post {post.owner_id}_{post.id} is incomplete: VK contradicts itself about its comments. It states "
            f"{post.comment_count}, and {post.received} were received. The next collection reads it again."
        )
        await self._job.event(connection, JobEventKind.POST_INCOMPLETE, message, facts)

    def note_incomplete(self, owner_id: int) -> None:
        """Note a community as incomplete: none of its posts is marked as deleted, and it does not become collected."""
        if owner_id not in self._state.incomplete:
            self._state.incomplete.append(owner_id)

    async def incomplete_wall(self, connection: AsyncConnection, wall: WallPager) -> None:
        """Record that VK keeps stating more posts of a community than it shows."""
        self.note_incomplete(wall.owner_id)
        received = wall.received + wall.has_pinned
        facts = {"vkOwnerId": wall.owner_id, "statedCount": wall.count, "receivedCount": received}
        message = (
            f"Community {-wall.owner_id} is incomplete: VK contradicts itself about its posts. It states "
            f"{wall.count}, and {received} were received. No post of it is marked as deleted."
        )
        await self._job.event(connection, JobEventKind.GROUP_INCOMPLETE, message, facts)

    async def broken_items(
        self, connection: AsyncConnection, where: Mapping[str, JsonValue], name: str, items: Sequence[VkBrokenItem]
    ) -> None:
        """Record unusable items of VK's replies. `where` are facts of the event, `name` says the same in words."""
        self._state.counts.broken_items += len(items)
        facts: JsonObject = {**where, **broken_facts(items)}
        message = (
            f"{len(items)} item(s) in VK's replies about {name} cannot be used and were skipped. "
            f"The first one is {items[0].path}: {items[0].reason}."
        )
        await self._job.event(connection, JobEventKind.ITEMS_BROKEN, message, facts)

    async def refusal(self, connection: AsyncConnection, owner_id: int, fault: VkFault) -> None:
        """Record that VK refuses to show a community, and drop its open items."""
        facts = {"vkOwnerId": owner_id, "code": fault.code.value, "message": fault.message, **fault.facts()}
        self._state.refuse(Refusal(owner_id, fault.message, fault.vk_code, fault.method))
        message = f"Community {-owner_id} could not be read. {fault.message}"
        await self._job.event(connection, JobEventKind.GROUP_FAILED, message, facts)
