"""VK's data as plain values: the types that `vk` parses from replies and `store` writes to tables.

This module is below both, so that neither imports the other. Ids are VK's own:
`owner_id` and author ids are negative for communities. Times are Unix seconds.
"""

from dataclasses import dataclass, field

from app.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class VkGroup:
    """A community. `id` is positive, as in groups.getById; as an owner it is `-id`."""

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
    """A post. `comments` is the number of comments and replies that VK states. `date` is in Unix seconds."""

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
    attachments: list[JsonObject]


@dataclass(frozen=True, slots=True)
class VkComment:
    """A comment, or a reply (`thread_id` is its top comment). A deleted stub has no author and an empty text.

    `thread_count` is the number of replies that VK states for a top comment; None if it states none.
    """

    owner_id: int
    id: int
    post_id: int
    from_id: int | None
    date: int
    text: str
    likes: int
    attachments: list[JsonObject]
    thread_id: int | None
    reply_to_id: int | None
    is_deleted: bool
    thread_count: int | None = None


@dataclass(frozen=True, slots=True)
class VkBrokenItem:
    """An unusable item of a reply: the path of the wrong value in the reply, and what is wrong with it."""

    path: str
    reason: str

    @property
    def is_content(self) -> bool:
        """Whether it is a post, a comment or a reply, not one of the authors."""
        return self.path.startswith("items.")


@dataclass(frozen=True, slots=True)
class VkCommentPage:
    """One page of one level of comments, oldest first, with the first replies of the threads of its `items`.

    `level_count` is VK's current_level_count, the number of comments of this level;
    `count` is the number of comments of the post including all replies; None if VK
    does not state it. `replies` maps a top comment's id to the first replies of its
    thread. `broken` are the unusable items; `left_out` of them were among `items`.
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
    """One page of a wall, newest first, except for a pinned post, which comes first.

    `count` is the number of posts of the whole wall; None if VK does not state it.
    `broken` are the unusable items; `left_out` of them were among `items`.
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
