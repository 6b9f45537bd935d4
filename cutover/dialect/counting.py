"""Automatic keys that the statement itself counts: one more than the highest there is, row after row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.typed import Kind, Refused, RowByRow, Typed, call, identifier
from cutover.model.table import Column, Table

if TYPE_CHECKING:
    from cutover.dialect.context import Context
    from cutover.dialect.writes import Written


def count_apart(written: Written, columns: list[Column], *, conflicts: bool, given: bool) -> None:
    """Keys that go on from the highest one depend on what became of the rows before. Raises `Refused`."""
    table, rows = written.table, written.node.expression
    if isinstance(rows, exp.Values):
        counted = _counts_on(rows, columns, table)
        written.apart = written.several and counted and (conflicts or given or table.autoincrement)
    elif conflicts and not given:
        raise RowByRow(f"INSERT ... SELECT with a conflict clause and keys as SQLite gives them (table {table.name})")


def _counts_on(rows: exp.Values, columns: list[Column], table: Table) -> bool:
    """Whether some row of VALUES has a key that is counted: one that reads the table."""
    places = [at for at, column in enumerate(columns) if column.name == table.rowid_alias]
    return any(row.expressions[at].find(exp.Select) is not None for row in rows.expressions for at in places)


def numbered(rows: exp.Select, at: int, highest: exp.Expr) -> exp.Expr:
    """`rows` with a number where the key, their column `at`, is NULL: one more than the highest before it.

    With n NULLs so far, that is n more than the most of `highest` and of each key that came, less its own n.
    """
    names = [f"c{place}" for place in range(len(rows.expressions))]
    rows.set("expressions", _named(rows.expressions, names))
    key = exp.Column(this=identifier(names[at]))
    is_null = exp.Is(this=key.copy(), expression=exp.Null())
    nulls = _so_far(exp.Filter(this=call("count", exp.Literal.number(1)), expression=exp.Where(this=is_null)))
    columns: list[exp.Expr] = [exp.Column(this=identifier(name)) for name in names]
    counted = exp.Select(
        expressions=[*columns, exp.Alias(this=nulls, alias=identifier("nulls"))],
        from_=exp.From(this=exp.Subquery(this=rows, alias=exp.TableAlias(this=identifier("given")))),
    )
    n = exp.Column(this=identifier("nulls"))
    most = _so_far(call("max", exp.Sub(this=key.copy(), expression=n.copy())))
    automatic = exp.Add(this=n, expression=call("greatest", highest, most))
    values = [column.copy() for column in columns]
    values[at] = call("coalesce", key, automatic)
    return exp.Select(
        expressions=values,
        from_=exp.From(this=exp.Subquery(this=counted, alias=exp.TableAlias(this=identifier("counted")))),
    )


def refuse_null_key(typed: Typed | None, column: Column, table: Table, context: Context | None = None) -> None:
    """NULL in a key, which SQLite takes unless the column is NOT NULL. Raises `Refused`.

    `context` is told of arguments that must not be NULL then, and of values of which only the rows will tell.
    """
    if column.not_null or column.hidden or column.name not in table.key or column.name == table.rowid_alias:
        return
    if table.without_rowid:  # its key is NOT NULL on SQLite, too
        return
    if column.default is None if typed is None else typed.kind is Kind.NULL and typed.slot is None:
        raise Refused(f"NULL in the key {column.name} of table {table.name}")
    if context is None or typed is None or typed.is_constant or typed.not_null or typed.column == column:
        return
    if typed.slot is not None:
        context.never_null[typed.slot] = f"{column.name} of table {table.name}"
    else:
        context.caveats[f"Refused if {column.name}, which is in the key of table {table.name}, would be NULL."] = None


def _named(values: list[exp.Expr], names: list[str]) -> list[exp.Expr]:
    return [exp.Alias(this=one, alias=identifier(name)) for one, name in zip(values, names, strict=True)]


def _so_far(what: exp.Expr) -> exp.Window:
    """An aggregate over the rows up to this one, in the order in which they come."""
    spec = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
    return exp.Window(this=what, spec=spec)
