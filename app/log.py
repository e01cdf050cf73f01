"""Logging: structlog for this application and its libraries, to the console or as JSON, without secrets."""

import logging
import logging.config
import sys
from collections.abc import Iterable
from typing import TextIO

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger()
"""The logger of all modules. Events are short stable verbs; facts are keys."""


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Write the log of this process to `stream` (default: standard error), according to LOG_FORMAT and LOG_LEVEL.

    Request id, operation name and job id come from context variables. Secrets of the
    settings with 8 characters or more are masked in all values.
    """
    target = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *_renderers(settings, colors=target.isatty()),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx2", "httpcore2", "uvicorn.access", "uvicorn.error", "asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    # The worker logs a lost queue in one line; PgQueuer would add a traceback for each of its tasks.
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderers(settings: Settings, *, colors: bool) -> list[Processor]:
    blank = BlankSecrets(settings.secrets())
    if settings.log_format == "json":
        # Omit the values of local variables: they are truncated, and part of a secret cannot be masked.
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        return [tracebacks, blank, structlog.processors.JSONRenderer(_to_json)]
    return [structlog.processors.format_exc_info, blank, structlog.dev.ConsoleRenderer(colors=colors)]


def _to_json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()


class BlankSecrets:
    """A structlog processor that replaces each known secret in the values of an event, at any depth, by `[secret]`.

    The field names of the event are constants of this application and are not changed.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: one secret may be part of another.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Return the event without secrets."""
        return {key: self._clean(value) for key, value in event.items()}

    def _clean(self, value: object) -> object:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, "[secret]")
            return value
        if isinstance(value, dict):
            return {self._clean(key): self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        if isinstance(value, int | float | None):
            return value
        return self._clean(str(value))
