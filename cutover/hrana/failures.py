"""Something of ours is wrong: what the log says, and what the client is told."""

from __future__ import annotations

import traceback

from cutover import tracing
from cutover.errors import StatementError
from cutover.logs import get_logger

_log = get_logger("front")


def outcome_unknown(error: BaseException) -> StatementError:
    """Log where it happened, without the error's text, which may hold an application's data. The client learns that
    the outcome is not known."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("A request failed.", kind=type(error).__name__, where=where, **tracing.told())
    return StatementError(
        "The service failed while it ran this request; whether it was executed is not known.", "OUTCOME_UNKNOWN"
    )
