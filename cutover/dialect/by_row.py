"""Statements that SQLite carries out row after row where that shows: each row becomes a statement of its own.

What a row meets is then what the rows before it have left, and a row that fails can be passed over alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.scope import Context
from cutover.dialect.translation import ByRow, Translation, parse, rewrite, translation_of
from cutover.dialect.typed import Kind, Refused

_MOST = 64
"""Combinations of classes of a row's values for which its statement is remembered."""


def by_row(sql: str, catalog: Catalog, kinds: Sequence[Kind]) -> Translation:
    """The statement with its rows run one after the other. Raises `Refused`."""
    parsed, conflict = parse(sql)
    if not isinstance(parsed, exp.Insert) or parsed.expression is None:
        raise Refused("The statement row by row")
    if isinstance(parsed.expression, exp.Values) and not _asks(parsed.expression):
        return _in_parts(parsed, conflict, catalog, kinds)
    return _of_query(parsed, conflict, catalog, kinds, sql)


def _asks(values: exp.Values) -> bool:
    """Whether VALUES have queries, which see none of the new rows."""
    return values.find(exp.Query) is not None


def _in_parts(parsed: exp.Insert, conflict: str | None, catalog: Catalog, kinds: Sequence[Kind]) -> Translation:
    """An INSERT with a statement for each row of its VALUES."""
    rows = parsed.expression.expressions
    parsed.expression.set("expressions", [])
    parts = []
    for row in rows:
        single = parsed.copy()
        single.expression.set("expressions", [row])
        parts.append(_alone(single, conflict, Context(catalog, kinds)))
    return replace(
        parts[0],
        before=None,
        parts=tuple(parts),
        sparing=_sparing(conflict),
        compared=all(part.compared for part in parts),
    )


def _of_query(
    parsed: exp.Insert, conflict: str | None, catalog: Catalog, kinds: Sequence[Kind], sql: str
) -> Translation:
    """An INSERT of the rows of a query, which is answered before the first of them is stored."""
    query = parsed.expression
    query.set("with_", query.args.get("with_") or parsed.args.get("with_"))
    context = Context(catalog, kinds)
    context.reading = catalog.reading(sql)
    context.collates = parsed.find(exp.Collate) is not None
    _, columns, tree = rewrite(query.copy(), None, context)
    in_order = tree.args.get("order") is not None or isinstance(query, exp.Values)
    rows = translation_of(None, columns, tree, context)
    row = exp.Tuple(expressions=[exp.Placeholder(this=f"p{len(kinds) + at}") for at in range(len(columns))])
    parsed.set("expression", exp.Values(expressions=[row]))

    def translate(of_row: tuple[Kind, ...]) -> Translation:
        return _alone(parsed.copy(), conflict, Context(catalog, [*kinds, *of_row]))

    written = translate(tuple(typed.kind if typed.kind in _ARGUMENTS else Kind.TEXT for typed in columns))
    return replace(
        written,
        before=None,
        sparing=_sparing(conflict),
        by_row=ByRow(rows, in_order, _remembered(translate)),
        compared=rows.compared and written.compared,
    )


_ARGUMENTS = (Kind.INT, Kind.REAL, Kind.TEXT, Kind.BLOB)


def _alone(single: exp.Expr, conflict: str | None, context: Context) -> Translation:
    """The statement for one row, which may fail as it will."""
    context.by_row = True
    written, columns, tree = rewrite(single, None if conflict == "FAIL" else conflict, context)
    return translation_of(written, columns, tree, context)


def _sparing(conflict: str | None) -> str:
    return conflict if conflict in ("IGNORE", "FAIL") else ""


def _remembered(translate: Callable[[tuple[Kind, ...]], Translation]) -> Callable[[tuple[Kind, ...]], Translation]:
    known: dict[tuple[Kind, ...], Translation] = {}

    def found(kinds: tuple[Kind, ...]) -> Translation:
        if kinds not in known:
            if len(known) >= _MOST:
                known.clear()
            known[kinds] = translate(kinds)
        return known[kinds]

    return found
