"""What is wrong with us in looking at one statement is that statement's error, and nobody else's."""

from __future__ import annotations

import traceback

from cutover import tracing
from cutover.errors import Defect
from cutover.logs import get_logger

_log = get_logger("front")


def defect(error: Exception) -> Defect:
    """Log where it happened, without the error's text, which may hold an application's data."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("A statement could not be looked at.", kind=type(error).__name__, where=where, **tracing.told())
    return Defect(
        "The service failed before it ran this statement; nothing of it was executed. The log says where.",
        "SQLITE_UNKNOWN",
    )
