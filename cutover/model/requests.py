"""What operators ask for, and who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator", "admin"]

STATUSES = ("unseen", "ready", "refused", "failing", "invalid")
"""Of the readiness of a statement."""
RESULTS = ("match", "mismatch", "inconclusive", "none")
"""Of its replays."""


@dataclass(frozen=True)
class SwitchRequest:
    """Body of promote, demote and finish."""

    approval: str
    reason: str = ""
    override: tuple[str, ...] = ()
    dry_run: bool = False
    force: bool = False
    accept_data_loss: bool = False


@dataclass(frozen=True)
class StatementsRequest:
    """Which of the statements that were seen."""

    limit: int | None = None
    """None: all of them."""
    after: str = ""
    """Where the page before ended, as it said."""
    status: str = ""
    """Of their readiness; empty: any."""
    result: str = ""
    """Of their replays; `none`: there was none."""

    @property
    def is_placed(self) -> bool:
        """Whether `after` is what a page may have said."""
        parts = self.after.split(".")
        return not self.after or (len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts[:2]))


@dataclass(frozen=True)
class Actor:
    """Who asks: a name for the audit log, and what they may do."""

    name: str
    role: Role


SERVICE = Actor("cutover", "admin")
"""The service itself, as in recoveries."""
