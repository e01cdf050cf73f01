"""What an export can be asked for: its format, its columns, how it is packed, and how CSV is written."""

from dataclasses import dataclass
from enum import Enum


class ExportFormat(Enum):
    """What kind of file. The value is the ending of its name."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    XLSX = "xlsx"
    PARQUET = "parquet"


class Compression(Enum):
    """How a file is packed. The value is what is appended to its name."""

    GZIP = "gz"
    ZSTD = "zst"


class Delimiter(Enum):
    """What stands between the values of a line of CSV."""

    SEMICOLON = ";"
    COMMA = ","


class Kind(Enum):
    """What the values of a column are."""

    TEXT = "text"
    INTEGER = "integer"
    TIME = "time"
    TRUTH = "truth"
    LIST = "list of texts"


class ExportColumn(Enum):
    """What can be told of a comment. The value is the column's name in files, as GraphQL has it where it has it."""

    VK_OWNER_ID = "vkOwnerId"
    GROUP_NAME = "groupName"
    GROUP_SCREEN_NAME = "groupScreenName"
    VK_POST_ID = "vkPostId"
    POST_URL = "postUrl"
    POST_TEXT = "postText"
    POST_PUBLISHED_AT = "postPublishedAt"
    VK_ID = "vkId"
    VK_URL = "vkUrl"
    IS_REPLY = "isReply"
    THREAD_VK_ID = "threadVkId"
    IN_REPLY_TO_VK_ID = "inReplyToVkId"
    AUTHOR_VK_ID = "authorVkId"
    AUTHOR_NAME = "authorName"
    AUTHOR_URL = "authorUrl"
    TEXT = "text"
    PUBLISHED_AT = "publishedAt"
    CHANGED_AT = "changedAt"
    FIRST_SEEN_AT = "firstSeenAt"
    LIKE_COUNT = "likeCount"
    IS_DELETED = "isDeleted"
    ATTACHMENTS = "attachments"
    KEYWORDS = "keywords"
    LANGUAGE = "language"
    VIEWED_AT = "viewedAt"
    ARCHIVED_AT = "archivedAt"

    @property
    def kind(self) -> Kind:
        """What its values are."""
        return _KINDS.get(self, Kind.TEXT)


_KINDS = {
    **dict.fromkeys(
        (
            ExportColumn.VK_OWNER_ID,
            ExportColumn.VK_POST_ID,
            ExportColumn.VK_ID,
            ExportColumn.THREAD_VK_ID,
            ExportColumn.IN_REPLY_TO_VK_ID,
            ExportColumn.AUTHOR_VK_ID,
            ExportColumn.LIKE_COUNT,
        ),
        Kind.INTEGER,
    ),
    **dict.fromkeys(
        (
            ExportColumn.POST_PUBLISHED_AT,
            ExportColumn.PUBLISHED_AT,
            ExportColumn.CHANGED_AT,
            ExportColumn.FIRST_SEEN_AT,
            ExportColumn.VIEWED_AT,
            ExportColumn.ARCHIVED_AT,
        ),
        Kind.TIME,
    ),
    **dict.fromkeys((ExportColumn.IS_REPLY, ExportColumn.IS_DELETED), Kind.TRUTH),
    **dict.fromkeys((ExportColumn.ATTACHMENTS, ExportColumn.KEYWORDS), Kind.LIST),
}

DEFAULT_COLUMNS = (
    ExportColumn.GROUP_NAME,
    ExportColumn.VK_OWNER_ID,
    ExportColumn.VK_POST_ID,
    ExportColumn.VK_ID,
    ExportColumn.VK_URL,
    ExportColumn.PUBLISHED_AT,
    ExportColumn.AUTHOR_VK_ID,
    ExportColumn.AUTHOR_NAME,
    ExportColumn.TEXT,
    ExportColumn.LIKE_COUNT,
    ExportColumn.IS_REPLY,
    ExportColumn.IS_DELETED,
    ExportColumn.ATTACHMENTS,
    ExportColumn.KEYWORDS,
    ExportColumn.LANGUAGE,
)
"""The columns of an export that names none."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How CSV is written. As it is here, Excel opens it with a double click and runs nothing that is in it."""

    delimiter: Delimiter = Delimiter.SEMICOLON
    escapes_formulas: bool = True
    has_byte_order_mark: bool = True


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a file is to be like."""

    format: ExportFormat
    columns: tuple[ExportColumn, ...] = DEFAULT_COLUMNS
    compression: Compression | None = None
    csv: CsvOptions = CsvOptions()

    def file_name(self, stem: str) -> str:
        """Return the name of the file: its stem with the endings that say what is in it."""
        # Parquet packs its columns itself, and stays what it is
        is_wrapped = self.compression and self.format is not ExportFormat.PARQUET
        return f"{stem}.{self.format.value}" + (f".{self.compression.value}" if is_wrapped and self.compression else "")
