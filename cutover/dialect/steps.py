"""What all statements that are run a row at a time have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from cutover.dialect.choosing import by_keys
from cutover.dialect.context import Context
from cutover.dialect.naming import breaches_of
from cutover.dialect.translation import ByRow, Translation, rewrite, translation_of
from cutover.dialect.typed import ByKeys, Kind, Refused, Typed
from cutover.model.values import Row

_MOST = 64
"""Combinations of classes of a row's values for which its statement is remembered."""
_ARGUMENTS = (Kind.INT, Kind.REAL, Kind.TEXT, Kind.BLOB)

Each = Callable[[tuple[Kind, ...]], Translation]


def alone(single: exp.Expr, conflict: str | None, context: Context) -> Translation:
    """The statement for one row, which may fail as it will. Raises `Refused`."""
    context.by_row = True

    def naming() -> Translation | None:
        of_row = Context(context.catalog, context.kinds)
        of_row.by_row = True
        return breaches_of(single.copy(), conflict, of_row)

    try:
        written, columns, tree = rewrite(single.copy(), "ABORT" if conflict == "FAIL" else conflict, context)
    except ByKeys:
        assert isinstance(single, exp.Insert)
        return by_keys(single, conflict, context.catalog, context.kinds, naming)
    return translation_of(written, columns, tree, context, naming=naming)


_ONLY_SQLITE_KNOWS = "Refused if several rows come whose order matters, and only SQLite knows it."


def row_by_row(
    rows: Translation,
    columns: Sequence[Typed],
    accept: Callable[[list[Row]], list[Row]],
    translate: Each,
    conflict: str | None,
    *,
    accepts_all: bool = True,
) -> Translation:
    """`translate` for each of `rows`, whose columns are typed so. Raises `Refused`.

    `accepts_all`: `accept` refuses nothing, however many rows there are.
    """
    written = translate(tuple(typed.kind if typed.kind in _ARGUMENTS else Kind.TEXT for typed in columns))
    return replace(
        written,
        sparing=sparing(conflict),
        by_row=ByRow(rows, accept, _remembered(translate)),
        stored=True,
        caveat=" ".join(filter(None, [written.caveat, "" if accepts_all else _ONLY_SQLITE_KNOWS])),
        compared=rows.compared and written.compared,
    )


def sparing(conflict: str | None) -> str:
    """The word after OR, if it makes a row's failure its own."""
    return conflict if conflict in ("IGNORE", "FAIL") else ""


def at_most_one(rows: list[Row]) -> list[Row]:
    """`rows`, which have no order. Raises `Refused` where one would be needed."""
    if len(rows) > 1:
        raise Refused(
            "What depends on the order of rows that only SQLite knows",
            "Add ORDER BY, or send a statement for each row.",
        )
    return rows


def _remembered(translate: Each) -> Each:
    known: dict[tuple[Kind, ...], Translation] = {}

    def found(kinds: tuple[Kind, ...]) -> Translation:
        if kinds not in known:
            if len(known) >= _MOST:
                known.clear()
            known[kinds] = translate(kinds)
        return known[kinds]

    return found
