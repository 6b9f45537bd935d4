"""Which of the unique keys that a row has in common with others an error names: the one that SQLite looks at first.

Postgres looks at its indexes in the order in which they were made, SQLite at the rowid and then at the newest. So what
failed is asked for once more, behind the failure, and for one row alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.conflicts import Conflicts
from cutover.dialect.context import Context
from cutover.dialect.replacing import Replacing
from cutover.dialect.translation import Order, Translation, parse, rewrite, translation_of
from cutover.dialect.typed import Kind, Refused, RowByRow, Typed, paren
from cutover.dialect.writes import Writes, Written
from cutover.errors import StatementError
from cutover.model.table import Table, UniqueIndex


def keys_met(sql: str, catalog: Catalog, kinds: Sequence[Kind]) -> Translation | None:
    """A query that tells for each unique key of the table whether the row of an INSERT meets it; None if none can."""
    try:
        context = Context(catalog, kinds)
        parsed, conflict = parse(sql, catalog.views)
        if not isinstance(parsed, exp.Insert) or parsed.args.get("conflict") is not None:
            return None
        written, _, _ = rewrite(parsed, conflict, context)
        assert written is not None
        rows = written.node.expression
        if not isinstance(rows, exp.Values) or len(rows.expressions) != 1 or not isinstance(written.node, exp.Insert):
            return None
        return is_met(written, Writes(context).conflicts, context)
    except (Refused, RowByRow):
        return None


def is_met(written: Written, conflicts: Conflicts, context: Context) -> Translation:
    """A query that tells for each unique key of the table whether the only row that is written meets it."""
    table, replacing = written.table, Replacing(conflicts)
    named = {column.target: column for column in table.columns}
    columns = [named[name.name] for name in written.node.this.expressions]
    answers: list[exp.Expr] = []
    for index in table.unique:
        found = None
        if not replacing.is_automatic(written, index, columns):
            found = replacing.clearing(written, columns, [index])
        answers.append(exp.false() if found is None else _is_there(found))
    query = exp.Select(expressions=answers)
    return translation_of(None, [Typed(answer, Kind.BOOL) for answer in answers], query, context)


def _is_there(clearing: exp.Delete) -> exp.Expr:
    """What a DELETE would find."""
    row = clearing.args["using"][0]
    found = exp.Select(
        expressions=[exp.Literal.number(1)],
        from_=exp.From(this=clearing.this),
        joins=[exp.Join(this=row, on=paren(clearing.args["where"].this))],
    )
    return exp.Exists(this=found)


def in_order(table: Table, met: Sequence[object], order: Order) -> list[UniqueIndex]:
    """The keys that are met, as SQLite goes. `order`: of its indexes."""
    found = [index for index, there in zip(table.unique, met, strict=True) if there]
    names = list(order()) if found else []

    def place(index: UniqueIndex) -> int:
        if table.rowid_alias is not None and index.columns == (table.rowid_alias,):
            return -1
        return names.index(index.name) if index.name in names else len(names)

    return sorted(found, key=place)


def first_met(table: Table, first: UniqueIndex) -> StatementError:
    """The error that SQLite tells of a row that meets this key."""
    hidden = {column.name for column in table.columns if column.hidden}
    told = ", ".join(f"{table.name}.{'rowid' if column in hidden else column}" for column in first.columns)
    if None in first.columns:
        told = f"index '{first.name}'"
    return StatementError(f"UNIQUE constraint failed: {told}", "SQLITE_CONSTRAINT")
