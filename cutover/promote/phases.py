"""The phases of a migration as one pure table. An absent entry is an illegal step: it raises and changes nothing."""

from __future__ import annotations

from enum import StrEnum

from cutover.errors import SwitchRefused
from cutover.model.control import Phase


class Event(StrEnum):
    """What can happen to a pair."""

    CAPTURE = "capture"
    """Capture is installed and both stores are known to each other."""
    COPIED = "copied"
    """Every mapped table is copied."""
    COPY_AGAIN = "copy_again"
    """Some table must be copied (again)."""
    PROMOTE = "promote"
    DEMOTE = "demote"
    ABORT = "abort"
    COMMIT = "commit"
    FINISH = "finish"


TABLE: dict[tuple[Phase, Event], Phase] = {
    (Phase.IDLE, Event.CAPTURE): Phase.BACKFILLING,
    (Phase.BACKFILLING, Event.COPIED): Phase.SHADOWING,
    (Phase.BACKFILLING, Event.PROMOTE): Phase.PROMOTING,  # only with every gate overridden
    (Phase.SHADOWING, Event.COPY_AGAIN): Phase.BACKFILLING,
    (Phase.SHADOWING, Event.PROMOTE): Phase.PROMOTING,
    (Phase.PROMOTING, Event.ABORT): Phase.SHADOWING,
    (Phase.PROMOTING, Event.COMMIT): Phase.PROMOTED,
    (Phase.PROMOTED, Event.COPY_AGAIN): Phase.PROMOTED,
    (Phase.PROMOTED, Event.COPIED): Phase.PROMOTED,
    (Phase.PROMOTED, Event.DEMOTE): Phase.DEMOTING,
    (Phase.DEMOTING, Event.ABORT): Phase.PROMOTED,
    (Phase.DEMOTING, Event.COMMIT): Phase.SHADOWING,
    (Phase.PROMOTED, Event.FINISH): Phase.FINISHED,
}


def after(phase: Phase, event: Event) -> Phase:
    """The phase after `event`. Raises `SwitchRefused` where it cannot happen."""
    try:
        return TABLE[phase, event]
    except KeyError:
        allowed = ", ".join(sorted(e for p, e in TABLE if p is phase)) or "nothing"
        raise SwitchRefused(
            f"{event} is not possible while the phase is {phase}.", "wrong_phase", hint=f"Possible now: {allowed}."
        ) from None
