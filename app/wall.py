"""What VK sent, as plain values: the nouns that `vk` reads from replies and `store` writes to tables.

They stand below both, so that neither has to know the other. Ids are VK's own:
`owner_id` and author ids are negative for communities. Times are Unix seconds.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class VkGroup:
    """A community. `id` is positive, as groups.getById gives it; as an owner it is `-id`."""

    id: int
    screen_name: str
    name: str
    description: str | None = None
    members_count: int | None = None
    is_closed: bool = False
    deactivated: str | None = None
    photo_url: str | None = None


@dataclass(frozen=True, slots=True)
class VkAuthor:
    """A person, or a community with a negative id."""

    id: int
    name: str
    screen_name: str | None = None
    photo_url: str | None = None
    deactivated: str | None = None


@dataclass(frozen=True, slots=True)
class VkPost:
    """A post. `comments` is the number of its comments and replies that VK states."""

    owner_id: int
    id: int
    from_id: int | None
    date: int
    text: str
    likes: int
    reposts: int
    views: int | None
    comments: int
    is_pinned: bool
    attachments: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class VkComment:
    """A comment, or a reply (`thread_id` is its top comment). A deleted stub has no author and an empty text.

    `thread_count` is how many replies a top comment states; None where VK did not say.
    """

    owner_id: int
    id: int
    post_id: int
    from_id: int | None
    date: int
    text: str
    likes: int
    attachments: list[dict[str, Any]]
    thread_id: int | None
    reply_to_id: int | None
    is_deleted: bool
    thread_count: int | None = None


@dataclass(frozen=True, slots=True)
class VkBrokenItem:
    """An item of a reply that cannot be used: where in the reply the wrong value stands, and what is wrong with it."""

    path: str
    reason: str

    @property
    def is_content(self) -> bool:
        """Whether it is a post, a comment or a reply, not one of the authors that come with them."""
        return self.path.startswith("items.")


@dataclass(frozen=True, slots=True)
class VkCommentPage:
    """One page of one level, oldest first, with the replies that came inside `items` of its threads.

    `level_count` is VK's current_level_count: how many comments this level has
    in all, `count` how many the post has with all replies; None where VK did
    not say. `replies` maps a top comment's id to the first replies of its
    thread. `broken` items could not be used; `left_out` of them stood among `items`.
    """

    items: list[VkComment]
    replies: dict[int, list[VkComment]]
    level_count: int | None
    authors: list[VkAuthor]
    count: int | None = None
    left_out: int = 0
    broken: list[VkBrokenItem] = field(default_factory=list)

    @property
    def shown(self) -> int:
        """How many items VK showed on this page."""
        return len(self.items) + self.left_out


@dataclass(frozen=True, slots=True)
class VkPostPage:
    """One page of a wall, newest first but for a pinned post, which comes first.

    `count` is the number of posts of the whole wall, None where VK did not say.
    `broken` items could not be used; `left_out` of them stood among `items`.
    """

    count: int | None
    items: list[VkPost]
    authors: list[VkAuthor]
    left_out: int = 0
    broken: list[VkBrokenItem] = field(default_factory=list)

    @property
    def shown(self) -> int:
        """How many items VK showed on this page."""
        return len(self.items) + self.left_out
