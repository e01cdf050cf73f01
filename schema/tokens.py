"""The VK tokens of this server, by fingerprint, for operators."""

from datetime import datetime

import strawberry

from app.store.rows import TokenStateRow
from app.store.tokens import token_states
from app.vk.pace import TokenHealth, TokenKind
from schema.context import Info


@strawberry.type(description="A VK token of this server. The token itself is never returned.")
class VkToken:
    """A token."""

    fingerprint: str = strawberry.field(description="The first 16 hexadecimal digits of the token's SHA-256.")
    kind: TokenKind | None = strawberry.field(description="What VK issued it for; null until VK has revealed it.")
    health: TokenHealth = strawberry.field(description="Whether it is usable.")
    reason: str | None = strawberry.field(description="Why it is not usable, in words; null if it is.")
    vk_code: int | None = strawberry.field(description="VK's error code for it; null: VK gave none.")
    cooldown_until: datetime | None = strawberry.field(description="When it will be used again; null: no pause.")
    requests_today: int = strawberry.field(description="HTTP requests made with it today (UTC).")
    calls_today: int = strawberry.field(
        description="Method calls made with it today (UTC), including those inside `execute`."
    )
    used_at: datetime | None = strawberry.field(description="When it was last used; null: never.")

    @classmethod
    def of(cls, row: TokenStateRow) -> "VkToken":
        """Convert a row."""
        return cls(
            fingerprint=row.fingerprint,
            kind=TokenKind(row.kind) if row.kind else None,
            health=TokenHealth(row.health),
            reason=row.reason,
            vk_code=row.vk_code,
            cooldown_until=row.cooldown_until,
            requests_today=row.requests_today,
            calls_today=row.calls_today,
            used_at=row.used_at,
        )


@strawberry.type
class TokenQuery:
    """The query of this file."""

    @strawberry.field(description="The VK tokens of this server.")
    async def vk_tokens(self, info: Info) -> list[VkToken]:
        """Return the state of the tokens."""
        resources = info.context.resources
        async with resources.database.connect() as connection:
            return [VkToken.of(row) for row in await token_states(connection, resources.vk.fingerprints)]
