"""Statements that SQLite carries out row after row where that shows: each row becomes a statement of its own.

What a row meets is then what the rows before it have left, and a row that fails can be passed over alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.context import Context
from cutover.dialect.deleting import DeleteByRow
from cutover.dialect.limiting import without_limit
from cutover.dialect.own_clauses import of_update, word_of_rows
from cutover.dialect.steps import alone, at_most_one, row_by_row, sparing
from cutover.dialect.translation import Translation, parse, rewrite, translation_of
from cutover.dialect.typed import Kind, Refused
from cutover.dialect.updating import UpdateByRow
from cutover.model.values import Row

_SINGLE = 8
"""Rows of VALUES that are translated one by one, though it failed."""


def by_row(sql: str, catalog: Catalog, kinds: Sequence[Kind], *, telling: bool = False) -> Translation:
    """The statement with its rows run one after the other. Raises `Refused`. `telling`: only to tell why it failed."""
    parsed, conflict = parse(sql, catalog.views)
    if isinstance(parsed, exp.Update):
        limited = without_limit(parsed, catalog, sql)
        assert isinstance(limited, exp.Update)
        conflict = conflict or of_update(limited, catalog.table(limited.this.name))
        return UpdateByRow(limited, conflict, catalog, kinds, sql).translation()
    if isinstance(parsed, exp.Delete):
        limited = without_limit(parsed, catalog, sql)
        assert isinstance(limited, exp.Delete)
        return DeleteByRow(limited, catalog, kinds).translation()
    if not isinstance(parsed, exp.Insert) or parsed.expression is None:
        raise Refused("The statement row by row")
    into = parsed.this.this if isinstance(parsed.this, exp.Schema) else parsed.this
    conflict = conflict or word_of_rows(catalog.table(into.name))
    many = telling and len(parsed.expression.expressions) > _SINGLE  # each row would be a text of its own
    if isinstance(parsed.expression, exp.Values) and not _asks(parsed.expression) and not many:
        return _in_parts(parsed, conflict, catalog, kinds)
    return _of_query(parsed, conflict, catalog, kinds, sql, telling=telling)


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
        parts.append(alone(single, conflict, Context(catalog, kinds)))
    return replace(
        parts[0],
        parts=tuple(parts),
        stored=len(parts) > 1 or parts[0].stored,
        sparing=sparing(conflict),
        compared=all(part.compared for part in parts),
    )


def _of_query(
    parsed: exp.Insert, conflict: str | None, catalog: Catalog, kinds: Sequence[Kind], sql: str, *, telling: bool
) -> Translation:
    """An INSERT of the rows of a query, which is answered before the first of them is stored. `telling`: they are to
    come as they did when it failed."""
    query = parsed.expression
    query.set("with_", query.args.get("with_") or parsed.args.get("with_"))
    context = Context(catalog, kinds)
    context.reading = catalog.reading(sql)
    context.collates = parsed.find(exp.Collate) is not None
    _, columns, tree = rewrite(query.copy(), None, context)
    fixed = telling or tree.args.get("order") is not None or isinstance(query, exp.Values)
    rows = translation_of(None, columns, tree, context)
    row = exp.Tuple(expressions=[exp.Placeholder(this=f"p{len(kinds) + at}") for at in range(len(columns))])
    parsed.set("expression", exp.Values(expressions=[row]))

    def translate(of_row: tuple[Kind, ...]) -> Translation:
        return alone(parsed.copy(), conflict, Context(catalog, [*kinds, *of_row]))

    def accept(found: list[Row]) -> list[Row]:
        return found if fixed or conflict == "IGNORE" else at_most_one(found)

    return row_by_row(rows, columns, accept, translate, conflict, accepts_all=fixed or conflict == "IGNORE")
