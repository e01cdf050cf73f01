"""The VK tokens this server asks VK with: by fingerprint, for operators."""

from datetime import datetime

import strawberry

from app.store.keyset import StoredRow
from app.store.tokens import token_states
from app.vk.pace import TokenHealth, TokenKind
from schema.context import Info


@strawberry.type(description="A token of VK's API that this server uses. The token itself is told to nobody.")
class VkToken:
    """A token."""

    fingerprint: str = strawberry.field(description="The first 16 hexadecimal digits of the token's SHA-256.")
    kind: TokenKind | None = strawberry.field(description="What it was issued for; null until VK has shown it.")
    health: TokenHealth = strawberry.field(description="Whether it can be used.")
    reason: str | None = strawberry.field(description="Why it cannot be used, in words.")
    vk_code: int | None = strawberry.field(description="VK's error code for it.")
    rests_until: datetime | None = strawberry.field(description="When it will be used again.")
    requests_today: int = strawberry.field(description="HTTP requests made with it today (UTC).")
    calls_today: int = strawberry.field(description="Calls of methods made with it today (UTC), those in packs, too.")
    used_at: datetime | None = strawberry.field(description="When it was last used.")

    @classmethod
    def of(cls, row: StoredRow) -> "VkToken":
        """Make a token of its row."""
        return cls(
            fingerprint=row.fingerprint,
            kind=TokenKind(row.kind) if row.kind else None,
            health=TokenHealth(row.health),
            reason=row.reason,
            vk_code=row.vk_code,
            rests_until=row.rests_until,
            requests_today=row.requests_today,
            calls_today=row.calls_today,
            used_at=row.used_at,
        )


@strawberry.type
class TokenQuery:
    """The query of this file."""

    @strawberry.field(description="The VK tokens this server uses.")
    async def vk_tokens(self, info: Info) -> list[VkToken]:
        """Read how the tokens are."""
        resources = info.context.resources
        async with resources.database.connect() as connection:
            return [VkToken.of(row) for row in await token_states(connection, resources.vk.fingerprints)]
