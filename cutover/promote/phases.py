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


def at_rest(*, promoted: bool = False, finished: bool = False, copying: bool = False) -> Phase:
    """The phase that durable state alone tells of, outside of a switch: what a start or a recovery finds."""
    if finished:
        return Phase.FINISHED
    if promoted:
        return Phase.PROMOTED
    return Phase.BACKFILLING if copying else Phase.SHADOWING


def table_text() -> str:
    """The table as Markdown, which stands in docs/reliability.md: a row a phase, a column an event."""
    events = list(Event)
    lines = ["| | " + " | ".join(f"`{event}`" for event in events) + " |", "| --- |" + " --- |" * len(events)]
    for phase in Phase:
        cells = (str(TABLE.get((phase, event), "")) for event in events)
        lines.append(f"| **{phase}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


_COMMANDS = (Event.PROMOTE, Event.DEMOTE, Event.FINISH)
"""The events that are an operator's to bring about."""
_NO_COMMAND = (
    "Wait until the phase is another one; `cutover status` shows it.",
    "The migration has ended; nothing is left to be done.",
)


def after(phase: Phase, event: Event) -> Phase:
    """The phase after `event`. Raises `SwitchRefused` where it cannot happen."""
    try:
        return TABLE[phase, event]
    except KeyError:
        commands = ", ".join(f"cutover {e}" for e in _COMMANDS if (phase, e) in TABLE)
        hint = f"Possible now: {commands}." if commands else _NO_COMMAND[phase is Phase.FINISHED]
        raise SwitchRefused(f"{event} is not possible while the phase is {phase}.", "wrong_phase", hint=hint) from None
