"""Starts an export: validates the request and enqueues a job."""

from app.actions.start_collection import LONGEST_TIMEOUT_SECONDS
from app.errors import ValidationFailed
from app.exports.options import CsvOptions, ExportFormat, ExportOptions
from app.exports.parquet import require_parquet
from app.job_states import JobPriority
from app.jobs.queue import NewJob, start_job
from app.json_models import contains_nul, to_json
from app.resources import Resources
from app.store.comment_conditions import CommentConditions
from app.store.rows import JobRow
from app.work.exporting.export_comments import EXPORT_COMMENTS
from app.work.exporting.export_request import ExportRequest


async def start_export(
    resources: Resources,
    conditions: CommentConditions,
    options: ExportOptions,
    *,
    priority: JobPriority = JobPriority.NORMAL,
    timeout_seconds: float | None = None,
) -> JobRow:
    """Enqueue a job that writes the selected comments to a file and return its row.

    Raises:
        ValidationFailed: options contradict each other, or this server cannot write the format.
        QueueFull: too many jobs wait.
    """
    _check(options, timeout_seconds)
    request = ExportRequest.of(conditions, options)
    if contains_nul(to_json(request)):
        raise ValidationFailed({"filter": "contains a text with a NUL character, which no comment has"})
    return await start_job(resources, NewJob(EXPORT_COMMENTS, request, priority, timeout_seconds))


def _check(options: ExportOptions, timeout_seconds: float | None) -> None:
    problems: dict[str, str] = {}
    if not options.columns:
        problems["columns"] = "must contain at least one column, or be omitted"
    if len(set(options.columns)) < len(options.columns):
        problems["columns"] = "must contain each column only once"
    if options.compression and options.format is ExportFormat.XLSX:
        problems["compression"] = "must be omitted for XLSX, which is compressed already"
    if options.csv != CsvOptions() and options.format is not ExportFormat.CSV:
        problems["csv"] = "is only allowed for the format CSV"
    if timeout_seconds is not None and not 1 <= timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        problems["timeoutSeconds"] = f"must be between 1 and {LONGEST_TIMEOUT_SECONDS}"
    if problems:
        raise ValidationFailed(problems)
    if options.format is ExportFormat.PARQUET:
        require_parquet()
