"""What a write is told that was not even begun."""

from __future__ import annotations

from cutover.errors import StatementError


class HeldTooLong(StatementError):
    """A write waited for a switch longer than it may. It was not executed and never will be."""

    def __init__(self, waited: float) -> None:
        super().__init__(
            f"This waited {waited:g} s for a switch to end, or for the primary to come back, and was not executed; "
            "repeat it.",
            "SQLITE_BUSY",
            retry=True,
        )


class ShuttingDown(StatementError):
    """The service takes no new work. Nothing was executed."""

    def __init__(self) -> None:
        super().__init__("The service is shutting down; nothing was executed. Repeat it.", "SQLITE_BUSY", retry=True)
