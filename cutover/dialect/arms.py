"""How SQLite reads for each SELECT of a compound."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.reading import Reading
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Refused


def reading_of_arm(
    node: exp.SetOperation, scope: Scope, written: list[exp.Expr], at: int, *, needed: bool
) -> Reading | None:
    """How SQLite reads the rows of an arm. Raises `Refused` where that is not known, and is needed."""
    arms: tuple[Reading, ...] = ()
    reading = scope.reading or scope.beneath
    if reading is not None:
        arms = reading.arms if node.args.get("order") is None else reading.merged
    if len(arms) != len(written) or arms[at].scans is None or (node.args.get("order") and not arms[at].sorts):
        if needed:
            raise Refused(f"{type(node).__name__.upper()} of rows that are equal without being the same")
        return None
    return arms[at]


def of_gathering(written: list[exp.Expr], arms: tuple[Reading, ...]) -> tuple[Reading | None, ...]:
    """How SQLite reads for the SELECTs where it sorts what they give, since the order in which rows come matters to
    functions in them or within."""
    if len(arms) != len(written):
        return (None,) * len(written)
    pairs = zip(arms, written, strict=True)
    return tuple(_bare(arm, one) if isinstance(one, exp.Select) else None for arm, one in pairs)


def _bare(arm: Reading, node: exp.Select) -> Reading:
    """Without the query that SQLite makes of a SELECT with windows to sort what it gives."""
    return arm.inside if arm.inside is not None and "ORDER BY" in arm.sorts and windows.has_own(node) else arm


def readings_of(reading: Reading | None, count: int) -> tuple[Reading | None, ...]:
    """How SQLite reads each of the last SELECTs of a compound, and what stands before them."""
    arms = reading.arms if reading is not None else ()
    if reading is None or len(arms) < count:
        return (None,) * count
    ahead = len(arms) - count + 1
    return (arms[0] if ahead == 1 else replace(reading, arms=arms[:ahead]), *arms[ahead:])
