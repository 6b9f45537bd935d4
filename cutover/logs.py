"""Structured logs: JSON lines in production, coloured text on a terminal, always on standard error."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Literal

import orjson
import structlog


def configure_logs(style: Literal["auto", "json", "console"] = "auto", level: str = "info") -> None:
    """Set the process's logging up. Called once, by the composition root and the command line."""
    terminal = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        _console() if terminal else structlog.processors.JSONRenderer(serializer=_line)
    )
    factory = structlog.PrintLoggerFactory(sys.stderr) if terminal else structlog.BytesLoggerFactory(sys.stderr.buffer)
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _console() -> structlog.types.Processor:
    """With plain tracebacks: the pretty ones show local variables, and those hold what applications sent."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _line(event: Any, **options: Any) -> bytes:  # noqa: ANN401  # structlog's signature
    """orjson where it can, which is what a line for every request can afford."""
    try:
        return orjson.dumps(event, default=options.get("default", str))
    except TypeError:  # text that is not valid Unicode, integers beyond 64 bits
        return json.dumps(event, default=str).encode()


def verbose() -> bool:
    """Whether lines of the level debug are logged: for those who would not even build one otherwise."""
    return bool(structlog.get_logger().is_enabled_for(logging.DEBUG))


def unheard() -> logging.Logger:
    """For a library that logs what clients have sent to it, and nothing that is not answered as well."""
    logger = logging.getLogger("cutover.unheard")
    logger.disabled = True
    return logger


def counted(count: int, what: str) -> str:
    """ "1 row", "1,200 rows": for sentences about regular nouns."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for one part of the service, named in each line as `room`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
