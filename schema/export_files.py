"""Files of exports: their formats and columns, and the result of an export job."""

from datetime import UTC, datetime
from urllib.parse import quote

import strawberry

from app.exports.options import Compression, Delimiter, ExportColumn, ExportFormat
from app.work.exporting.export_request import ExportSummary
from schema.enums import described
from schema.scalars import BigInt

described(
    ExportFormat,
    "The file format of an export.",
    {
        ExportFormat.CSV: "CSV that Excel opens with a double click. Times are UTC: `2026-01-31 12:00:00`; the "
        "items of lists are separated by commas.",
        ExportFormat.JSON_LINES: "One JSON object per line, with times in ISO 8601 and lists as arrays. Values are "
        "unchanged.",
        ExportFormat.XLSX: "An Excel workbook, with another sheet after each 1,048,575 comments. Times are UTC, "
        "without a zone, because Excel has none. Texts of more than 32,767 UTF-16 units are "
        "truncated and end with `… [cut]`.",
        ExportFormat.PARQUET: "Typed columns for data tools, compressed by the format itself. A server may not support "
        "it.",
    },
)
described(
    Compression,
    "The compression of a file.",
    {
        Compression.GZIP: "gzip: supported everywhere. In Parquet, per column.",
        Compression.ZSTD: "Zstandard: faster and smaller. In Parquet, per column; the default there.",
    },
)
described(
    Delimiter,
    "The separator of values in a line of CSV.",
    {
        Delimiter.SEMICOLON: "`;`, which Excel expects where numbers have a decimal comma, as in Russian.",
        Delimiter.COMMA: "`,`, which most programs expect.",
    },
)
described(
    ExportColumn,
    "The columns of an export. Files name the columns in camel case, like the fields of this API.",
    {
        ExportColumn.VK_OWNER_ID: "VK's id of the wall: negative for a community.",
        ExportColumn.GROUP_NAME: "The name of the community.",
        ExportColumn.GROUP_SCREEN_NAME: "The last part of the community's URL.",
        ExportColumn.VK_POST_ID: "VK's id of the post, unique only on its wall.",
        ExportColumn.POST_URL: "The URL of the post.",
        ExportColumn.POST_TEXT: "The text of the post.",
        ExportColumn.POST_PUBLISHED_AT: "When the post was published.",
        ExportColumn.VK_ID: "VK's id of the comment, unique only on its wall.",
        ExportColumn.VK_URL: "The URL of the comment.",
        ExportColumn.IS_REPLY: "Whether it is a reply in the thread of another comment.",
        ExportColumn.THREAD_VK_ID: "VK's id of the top comment of its thread.",
        ExportColumn.IN_REPLY_TO_VK_ID: "VK's id of the comment that it replies to.",
        ExportColumn.AUTHOR_VK_ID: "VK's id of its author: negative for a community.",
        ExportColumn.AUTHOR_NAME: "The name of its author.",
        ExportColumn.AUTHOR_URL: "The URL of its author.",
        ExportColumn.TEXT: "Its text, with VK's mentions unchanged: [id1|Name].",
        ExportColumn.PUBLISHED_AT: "When it was published.",
        ExportColumn.CHANGED_AT: "When a change of it was last detected.",
        ExportColumn.FIRST_SEEN_AT: "When this server first read it.",
        ExportColumn.LIKE_COUNT: "The number of likes, as last read from VK.",
        ExportColumn.IS_DELETED: "Whether it was deleted at VK.",
        ExportColumn.ATTACHMENTS: "The kinds of its attachments: photo, video, sticker ...",
        ExportColumn.KEYWORDS: "The keywords that match it.",
        ExportColumn.LANGUAGE: "Its language, as detected by an analysis.",
        ExportColumn.VIEWED_AT: "When a user of this server marked it as viewed.",
        ExportColumn.ARCHIVED_AT: "When a user of this server archived it.",
    },
)


@strawberry.type(description="The file of an export.")
class ExportResult:
    """The result of an export."""

    job_id: strawberry.Private[int]
    name: str = strawberry.field(description="The name of the file.")
    format: ExportFormat = strawberry.field(description="The file format.")
    compression: Compression | None = strawberry.field(description="The compression; null: none.")
    columns: list[ExportColumn] = strawberry.field(description="The columns.")
    row_count: int = strawberry.field(description="The number of comments in it.")
    truncated_text_count: int = strawberry.field(
        description="The number of texts that were too long for XLSX and were truncated."
    )
    byte_count: BigInt = strawberry.field(description="The size in bytes.")
    sha256: str = strawberry.field(description="The SHA-256 hash, in hexadecimal digits.")
    expires_at: datetime = strawberry.field(description="When it is removed.")

    @strawberry.field(
        description="The path of its URL on this server, to GET with the same API key, also partially with "
        "`Range`; null once it has expired."
    )
    def url(self) -> str | None:
        """Return the URL path."""
        return None if self.expires_at <= datetime.now(UTC) else f"/exports/{self.job_id}/{quote(self.name)}"

    @classmethod
    def of(cls, job_id: int, summary: ExportSummary) -> "ExportResult":
        """Convert the result of a job."""
        return cls(
            job_id=job_id,
            name=summary.name,
            format=summary.format,
            compression=summary.compression,
            columns=list(summary.columns),
            row_count=summary.rows,
            truncated_text_count=summary.truncated_texts,
            byte_count=BigInt(summary.bytes),
            sha256=summary.sha256,
            expires_at=summary.expires_at,
        )
