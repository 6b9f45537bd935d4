"""What operators ask for, and who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator", "admin"]


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
class Actor:
    """Who asks: a name for the audit log, and what they may do."""

    name: str
    role: Role


SERVICE = Actor("cutover", "admin")
"""The service itself, as in recoveries."""
