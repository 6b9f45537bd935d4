"""RETURNING of UPDATE and DELETE: rows come by key, as SQLite changes them after it has found them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.comparing import value
from cutover.dialect.numbers import real
from cutover.dialect.trees import unparen
from cutover.dialect.typed import Kind, Refused, Typed, helper, identifier
from cutover.model.table import Table
from cutover.schema.codecs import codec_for

if TYPE_CHECKING:
    from cutover.dialect.writes import Written


def in_order(written: Written, read: list[exp.Expr] | None) -> None:
    """Have the rows sorted by the table's key, unless that is itself changed or is not what SQLite has rows by."""
    change = written.node
    by_key = written.table.rowid_alias is not None or written.table.without_rowid
    if not written.returning or not read or not by_key or _changes(change, read):
        return
    width = len(written.returning)
    returned = change.args["returning"].expressions
    names = [f"r{at}" for at in range(width)] + [f"k{at}" for at in range(len(read))]
    held = [*returned[:width], *(term.this.copy() for term in read)]
    aliased = [exp.Alias(this=one, alias=identifier(name)) for one, name in zip(held, names, strict=True)]
    change.args["returning"].set("expressions", aliased)
    columns = [exp.Column(this=identifier(name)) for name in names]
    order = [
        exp.Ordered(this=column, desc=term.args.get("desc"), nulls_first=term.args.get("nulls_first"))
        for term, column in zip(read, columns[width:], strict=True)
    ]
    changed = exp.CTE(this=change, alias=exp.TableAlias(this=identifier("changed")))
    written.node = exp.Select(
        expressions=columns[:width],
        from_=exp.From(this=exp.Table(this=identifier("changed"))),
        order=exp.Order(expressions=order),
        with_=exp.With(expressions=[changed]),
    )


def as_kept(typed: Typed) -> Typed:
    """A column of reals that was just written: SQLite keeps whole ones as integers, and returns them so."""
    if not _is_column(typed):
        return typed
    if typed.kind is Kind.WHOLE and typed.column is not None and (codec_for(typed.column).shown or "")[:1] == ("real",):
        typed = value(typed)
    if typed.kind is not Kind.REAL:
        return typed
    return typed.but(node=helper("as_kept", typed.node), kind=Kind.NUM)


def as_first(typed: Typed) -> Typed:
    """A column of a table whose first column is of REAL affinity: SQLite takes that for the affinity of each column
    that is returned, so that integers come out as reals."""
    if not _is_column(typed) or typed.plus:
        return as_kept(typed)
    if typed.kind is Kind.WHOLE:
        typed = value(typed)
    if typed.kind is Kind.DYNAMIC:
        raise Refused("RETURNING of a column without a type, of a table whose first column is REAL,")
    return real(typed) if typed.kind in (Kind.INT, Kind.BOOL, Kind.NUM) else typed


def _is_column(typed: Typed) -> bool:
    return isinstance(unparen(typed.node), exp.Column) or bool(typed.generated)


def _changes(change: exp.Expr, read: list[exp.Expr]) -> bool:
    if not isinstance(change, exp.Update):
        return False
    assigned = {one.this.name for one in change.expressions}
    alias = change.this.alias
    return any(
        column.name in assigned and column.table == alias for term in read for column in term.find_all(exp.Column)
    )


def own_key(node: exp.Insert, table: Table) -> None:
    """last_insert_rowid() where it changes from row to row of an INSERT: in RETURNING it is the row's own key.

    Raises `Refused` where Postgres does not tell it.
    """
    if table.without_rowid:
        return
    body, clause = node.expression, node.args.get("returning")
    one_row = isinstance(body, exp.Values) and len(body.expressions) == 1
    one_row = one_row or (isinstance(body, exp.Select) and body.args.get("from_") is None)
    if body is not None and not one_row and any(_asked_for(body)):
        raise Refused(
            "last_insert_rowid() in an INSERT of several rows",
            "Insert one row after the other, or give the key as an argument.",
        )
    asked = list(_asked_for(clause)) if clause is not None else []
    if asked and (node.args.get("conflict") is not None or table.rowid_alias is None):
        raise Refused("last_insert_rowid() in this RETURNING", "Return the key itself.")
    for one in asked:
        if one.find_ancestor(exp.Select):
            raise Refused("last_insert_rowid() in a subquery of RETURNING", "Return the key itself.")
        one.replace(exp.Column(this=identifier(table.rowid_alias or "")))


def _asked_for(node: exp.Expr) -> Iterator[exp.Expr]:
    return (one for one in node.find_all(exp.Anonymous) if str(one.this) == "fn_last_insert_rowid")
