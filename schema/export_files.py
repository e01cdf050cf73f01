"""Files of exports as clients see them: what they can be like, and what a job has made."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import strawberry

from app.exports.options import Compression, Delimiter, ExportColumn, ExportFormat
from schema.enums import described
from schema.scalars import BigInt

described(
    ExportFormat,
    "What kind of file an export is.",
    {
        ExportFormat.CSV: "CSV that Excel opens with a double click. Times are UTC: `2026-01-31 12:00:00`; lists have "
        "commas between their texts.",
        ExportFormat.JSON_LINES: "An object a line, with times in ISO 8601 and lists as arrays. Nothing is changed.",
        ExportFormat.XLSX: "A workbook for Excel, with a further sheet after each 1,048,575 comments. Times are UTC, "
        "which Excel does not know. Texts of more than 32,767 UTF-16 units are cut, and end with `… [cut]`.",
        ExportFormat.PARQUET: "Typed columns for data tools, packed by themselves. Servers may lack it.",
    },
)
described(
    Compression,
    "How a file is packed.",
    {
        Compression.GZIP: "By gzip: opened everywhere. In Parquet, each column.",
        Compression.ZSTD: "By Zstandard: faster and smaller. In Parquet, each column, as without asking.",
    },
)
described(
    Delimiter,
    "What stands between the values of a line of CSV.",
    {
        Delimiter.SEMICOLON: "`;`, which Excel takes for one where numbers have a decimal comma, as in Russian.",
        Delimiter.COMMA: "`,`, which most programs take for one.",
    },
)
described(
    ExportColumn,
    "What an export can tell of a comment. Files name the columns in camel case, as fields of this API.",
    {
        ExportColumn.VK_OWNER_ID: "VK's id of the wall: negative for a community.",
        ExportColumn.GROUP_NAME: "The name of the community.",
        ExportColumn.GROUP_SCREEN_NAME: "The last part of the community's address.",
        ExportColumn.VK_POST_ID: "VK's id of the post, unique on its wall only.",
        ExportColumn.POST_URL: "The address of the post.",
        ExportColumn.POST_TEXT: "The text of the post.",
        ExportColumn.POST_PUBLISHED_AT: "When the post was published.",
        ExportColumn.VK_ID: "VK's id of the comment, unique on its wall only.",
        ExportColumn.VK_URL: "The address of the comment.",
        ExportColumn.IS_REPLY: "Whether it is in the thread of another comment.",
        ExportColumn.THREAD_VK_ID: "VK's id of the top comment in whose thread it is.",
        ExportColumn.IN_REPLY_TO_VK_ID: "VK's id of the comment that it answers.",
        ExportColumn.AUTHOR_VK_ID: "VK's id of who wrote it: negative for a community.",
        ExportColumn.AUTHOR_NAME: "The name of who wrote it.",
        ExportColumn.AUTHOR_URL: "The address of who wrote it.",
        ExportColumn.TEXT: "Its text, with VK's mentions as they came: [id1|Name].",
        ExportColumn.PUBLISHED_AT: "When it was published.",
        ExportColumn.CHANGED_AT: "When a change of it was last noticed.",
        ExportColumn.FIRST_SEEN_AT: "When it was first seen by this server.",
        ExportColumn.LIKE_COUNT: "How many likes it had when it was last seen.",
        ExportColumn.IS_DELETED: "Whether it was deleted at VK.",
        ExportColumn.ATTACHMENTS: "The kinds of what is attached to it: photo, video, sticker ...",
        ExportColumn.KEYWORDS: "The keywords that match it.",
        ExportColumn.LANGUAGE: "Its language, as an analysis has found it.",
        ExportColumn.VIEWED_AT: "When somebody here marked it as viewed.",
        ExportColumn.ARCHIVED_AT: "When somebody here archived it.",
    },
)


@strawberry.type(description="The file that an export has written.")
class ExportResult:
    """The result of an export."""

    job_id: strawberry.Private[int]
    name: str = strawberry.field(description="The name of the file.")
    format: ExportFormat = strawberry.field(description="What kind of file it is.")
    compression: Compression | None = strawberry.field(description="How it is packed.")
    columns: list[ExportColumn] = strawberry.field(description="Its columns.")
    row_count: int = strawberry.field(description="How many comments are in it.")
    cut_text_count: int = strawberry.field(description="How many texts were too long for XLSX and were cut.")
    byte_count: BigInt = strawberry.field(description="Its size.")
    sha256: str = strawberry.field(description="Its SHA-256, in hexadecimal digits.")
    expires_at: datetime = strawberry.field(description="When it is removed.")

    @strawberry.field(
        description="Where it is: a path on this server, asked for with the same API key, by GET, also in parts by "
        "`Range`. Null once it has expired."
    )
    def url(self) -> str | None:
        """Return the address."""
        return None if self.expires_at <= datetime.now(UTC) else f"/exports/{self.job_id}/{quote(self.name)}"

    @classmethod
    def of(cls, job_id: int, stored: dict[str, Any]) -> "ExportResult":
        """Make a result of what a job's row holds."""
        return cls(
            job_id=job_id,
            name=stored["name"],
            format=ExportFormat(stored["format"]),
            compression=stored["compression"] and Compression(stored["compression"]),
            columns=[ExportColumn(name) for name in stored["columns"]],
            row_count=stored["rows"],
            cut_text_count=stored["cut_texts"],
            byte_count=BigInt(stored["bytes"]),
            sha256=stored["sha256"],
            expires_at=datetime.fromisoformat(stored["expires_at"]),
        )
