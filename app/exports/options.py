"""The options of an export: format, columns, compression, and details of CSV."""

from dataclasses import dataclass
from enum import Enum


class ExportFormat(Enum):
    """The format of a file. The value is the suffix of its name."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    XLSX = "xlsx"
    PARQUET = "parquet"


class Compression(Enum):
    """The compression of a file. The value is the suffix that is added to its name."""

    GZIP = "gz"
    ZSTD = "zst"


class Delimiter(Enum):
    """The delimiter of the values in a line of CSV."""

    SEMICOLON = ";"
    COMMA = ","


class Kind(Enum):
    """The type of the values of a column."""

    TEXT = "text"
    INTEGER = "integer"
    TIME = "time"
    BOOLEAN = "boolean"
    LIST = "list of texts"


class ExportColumn(Enum):
    """A column of an export. The value is its name in files, which is the GraphQL name if one exists."""

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
        """The type of its values."""
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
    **dict.fromkeys((ExportColumn.IS_REPLY, ExportColumn.IS_DELETED), Kind.BOOLEAN),
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
"""The columns of an export for which none are given."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The options of CSV. With the defaults, Excel opens the file with a double click and runs no formula in it."""

    delimiter: Delimiter = Delimiter.SEMICOLON
    escapes_formulas: bool = True
    has_byte_order_mark: bool = True


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of an export file."""

    format: ExportFormat
    columns: tuple[ExportColumn, ...] = DEFAULT_COLUMNS
    compression: Compression | None = None
    csv: CsvOptions = CsvOptions()

    def file_name(self, stem: str) -> str:
        """Return the name of the file: the stem with the suffixes of format and compression."""
        # Parquet compresses its columns itself, so its name gets no second suffix.
        is_wrapped = self.compression and self.format is not ExportFormat.PARQUET
        return f"{stem}.{self.format.value}" + (f".{self.compression.value}" if is_wrapped and self.compression else "")
