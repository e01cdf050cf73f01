"""The request of an export job: plain values, in the form that the job's row stores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.exports.options import Compression, CsvOptions, Delimiter, ExportColumn, ExportFormat, ExportOptions
from app.store.comment_conditions import CommentConditions
from app.store.conditions_json import from_json, to_json


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which comments to export, and to which file format."""

    conditions: CommentConditions
    options: ExportOptions

    def arguments(self) -> dict[str, Any]:
        """Return the request as job arguments."""
        options = self.options
        return {
            "conditions": to_json(self.conditions),
            "format": options.format.value,
            "columns": [column.value for column in options.columns],
            "compression": options.compression and options.compression.value,
            "csv": {
                "delimiter": options.csv.delimiter.value,
                "escapes_formulas": options.csv.escapes_formulas,
                "has_byte_order_mark": options.csv.has_byte_order_mark,
            },
        }

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "ExportRequest":
        """Parse the request from job arguments."""
        csv = arguments["csv"]
        return cls(
            from_json(CommentConditions, arguments["conditions"]),
            ExportOptions(
                ExportFormat(arguments["format"]),
                tuple(ExportColumn(name) for name in arguments["columns"]),
                arguments["compression"] and Compression(arguments["compression"]),
                CsvOptions(Delimiter(csv["delimiter"]), csv["escapes_formulas"], csv["has_byte_order_mark"]),
            ),
        )
