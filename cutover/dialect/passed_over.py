"""INSERT OR IGNORE of rows with NULL where there must be a value: SQLite passes them over, Postgres would fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.automatic import AutomaticKeys
from cutover.dialect.typed import Refused, RowByRow, identifier, paren
from cutover.model.table import Column, Table

if TYPE_CHECKING:
    from cutover.dialect.context import Context
    from cutover.dialect.writes import Written

_PASSED = "INSERT OR IGNORE of NULL where there must be a value, with AUTOINCREMENT,"
_PRESENT = (exp.Literal, exp.Placeholder, exp.Var, exp.Boolean)


def _is_left_out(table: Table, column: Column, columns: list[Column]) -> bool:
    """Whether the column must have a value, and gets none."""
    optional = not column.not_null or column.default is not None or column.name == table.rowid_alias
    return not optional and all(column.name != one.name for one in columns)


def drop_nulls(
    written: Written, columns: list[Column], context: Context, skipped: Sequence[Column] | None = None
) -> None:
    """OR IGNORE skips rows with NULL in a NOT NULL column; Postgres would fail. AUTOINCREMENT counts them all the
    same."""
    rows, table = written.node.expression, written.table
    drawing = written.drawing
    counts = table.autoincrement and drawing is not None and (drawing.rows != 0 or drawing.moves) and not context.by_row
    skipped = table.columns if skipped is None else skipped
    if any(_is_left_out(table, column, columns) for column in skipped):
        if not columns:
            raise Refused("INSERT OR IGNORE ... DEFAULT VALUES without a default for a NOT NULL column")
        if counts:
            raise RowByRow(_PASSED)
        nothing = exp.Select(expressions=[_as_type(exp.Null(), one) for one in columns])
        written.node.set("expression", nothing.where(exp.Boolean(this=False)))
        return
    must = [at for at, one in enumerate(columns) if one in skipped and one.not_null]
    must = [at for at in must if columns[at].name != table.rowid_alias]
    if rows is None or not must:
        return
    if isinstance(rows, exp.Values):
        if _is_done(rows, columns, must, counts=counts):
            return
    elif counts and any(column.name == table.rowid_alias for column in columns):
        raise RowByRow(_PASSED)
    else:
        _give_types(rows, columns)
    drawn = exp.Is(this=AutomaticKeys(context).next_of_sequence(table), expression=exp.Null()) if counts else None
    written.node.set("expression", _chosen(rows, columns, must, drawn))


def _is_done(rows: exp.Values, columns: list[Column], must: list[int], *, counts: bool) -> bool:
    """Whether the text told which rows to keep; else each value has its column's type. Raises `RowByRow`."""
    kept = [row for row in rows.expressions if not _lacks(row, must)]
    plain = all(isinstance(row.expressions[at], _PRESENT) for row in kept for at in must)
    if plain and kept and (len(kept) == len(rows.expressions) or not counts):
        rows.set("expressions", kept)
        return True
    if counts:
        raise RowByRow(_PASSED)
    if any(isinstance(item, exp.Var) for row in rows.expressions for item in row.expressions):
        raise RowByRow("INSERT OR IGNORE of values that may be NULL beside automatic keys")
    for row in rows.expressions:
        pairs = zip(row.expressions, columns, strict=True)
        row.set("expressions", [_as_type(item, one) for item, one in pairs])
    return False


def _chosen(rows: exp.Expr, columns: list[Column], must: list[int], drawn: exp.Expr | None) -> exp.Select:
    """Those rows that lack nothing. `drawn` is false, and takes a key, for each that does."""
    given = [identifier(f"c{at}") for at in range(len(columns))]
    alias = exp.TableAlias(this=identifier("given"), columns=given)
    rows.set("alias", alias) if isinstance(rows, exp.Values) else None
    source = rows if isinstance(rows, exp.Values) else exp.Subquery(this=rows, alias=alias)
    present = [exp.Not(this=exp.Is(this=exp.Column(this=given[at].copy()), expression=exp.Null())) for at in must]
    chosen: exp.Expr = exp.and_(*present)
    if drawn is not None:
        if isinstance(rows, exp.Query) and not rows.args.get("limit") and not rows.args.get("offset"):
            rows.set("offset", exp.Offset(expression=exp.Literal.number(0)))  # the test stays behind their sort
        chosen = exp.Case(ifs=[exp.If(this=chosen, true=exp.true())], default=drawn)
    return exp.Select(
        expressions=[exp.Column(this=name.copy()) for name in given],
        from_=exp.From(this=source),
        where=exp.Where(this=chosen),
    )


def _lacks(row: exp.Expr, must: list[int]) -> bool:
    return any(isinstance(row.expressions[at], exp.Null) for at in must)


def _give_types(rows: exp.Expr, columns: list[Column]) -> None:
    """NULL has the type of its column, where a subquery gives it: by itself it would be text."""
    if isinstance(rows, exp.SetOperation):
        _give_types(rows.left, columns)
        _give_types(rows.right, columns)
    elif isinstance(rows, exp.Select):
        for item, column in zip(list(rows.expressions), columns, strict=False):
            value = item.this if isinstance(item, exp.Alias) else item
            if isinstance(value, exp.Null):
                value.replace(_as_type(exp.Null(), column))


def _as_type(item: exp.Expr, column: Column) -> exp.Expr:
    return exp.Cast(this=paren(item), to=exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=column.target_type))
