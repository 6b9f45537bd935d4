"""Automatic keys of rows that are inserted: from the identity sequence, or one more than the highest there is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.catalog import ROWID_NAMES
from cutover.dialect.context import Context
from cutover.dialect.drawing import unnumbered
from cutover.dialect.scope import Source
from cutover.dialect.trees import clauses_of
from cutover.dialect.typed import Refused, call, cast, helper, identifier
from cutover.model.table import Column, Table

if TYPE_CHECKING:
    from cutover.dialect.writes import Written

NEXT = "next key"
"""Marks an expression that is a key which nobody has."""


class AutomaticKeys:
    """Gives the keys of one statement."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def next_key(self, table: Table, place: int = 1) -> exp.Expr | None:
        """The automatic key of the row at `place`, where no sequence gives it: so many more than the highest."""
        assert table.rowid_alias is not None
        if not self.context.catalog.counts(table):
            return None
        column = identifier(column_named(table, table.rowid_alias).target)
        most: exp.Expr = call("coalesce", call("max", exp.Column(this=column)), exp.Literal.number(0))
        sequence = self.context.catalog.sequences.get(table.name)
        if table.autoincrement and sequence:
            given = call("pg_sequence_last_value", cast(exp.Literal.string(sequence), "regclass"))
            most = call("greatest", most, given, exp.Literal.number(0))
        highest = exp.Select(
            expressions=[_above(table, most, exp.Literal.number(place)) if place else most],
            from_=exp.From(this=exp.Table(this=identifier(table.target), db=identifier(table.target_schema))),
        )  # fmt: skip
        found = exp.Subquery(this=highest)
        found.meta[NEXT] = True
        return found

    def next_key_of_rows(self, table: Table) -> exp.Expr | None:
        """The same for each row of a SELECT."""
        highest = self.next_key(table, 0)
        if highest is None:
            return None
        found = _above(table, highest, exp.Window(this=exp.RowNumber()))
        found.meta[NEXT] = True
        return found

    def without_key(self, table: Table, columns: list[Column], values: list[exp.Expr]) -> list[exp.Expr]:
        """What a SELECT gives for other columns, if the automatic keys are told to the statement."""
        if self.context.keys_slot is None:
            return values
        kept = [pair for pair in zip(columns, values, strict=True) if pair[0].name != table.rowid_alias]
        columns[:] = [column for column, _ in kept]
        return [value for _, value in kept]

    def tell(self, written: Written) -> None:
        """Give the rows of a SELECT the keys that were told for them, if any were."""
        slot, rows, table = self.context.keys_slot, written.node.expression, written.table
        if slot is None or written.drawing is None or table.rowid_alias is None:
            return
        keys = self.context.use(slot, "bigint[]", json.loads)
        rows.append("expressions", helper("key_at", keys, exp.Window(this=exp.RowNumber())))
        written.node.this.append("expressions", identifier(column_named(table, table.rowid_alias).target))
        written.drawing = replace(written.drawing, rows=0, gives=True)

    def next_of_sequence(self, table: Table) -> exp.Expr:
        name = self.context.catalog.sequences.get(table.name)
        if not name:
            raise Refused(f"A computed automatic key for table {table.name}")
        return call("nextval", exp.Literal.string(name))

    def with_key(self, table: Table, columns: list[Column], values: exp.Values) -> tuple[list[Column], exp.Values]:
        """Give the key when the statement leaves it out and Postgres would not."""
        if table.rowid_alias is None or any(column.name == table.rowid_alias for column in columns):
            return columns, values
        if self.next_key(table) is None:
            return columns, values
        for place, row in enumerate(values.expressions, 1):
            row.append("expressions", self.next_key(table, place))
        return [*columns, column_named(table, table.rowid_alias)], values

    def only_inserted(self, written: Written, source: Source) -> None:
        """The key of a row that DO UPDATE changed is not the last that was inserted. Only such rows have an xmax.

        Where Postgres has no key to return it is anything.
        """
        result = written.node
        if unnumbered(written.table):
            returning = result.args.get("returning") or exp.Returning(expressions=[])
            returning.append("expressions", exp.Literal.number(1))
            result.set("returning", returning)
            written.key_returned = True
        if not written.key_returned:
            return
        returned = result.args["returning"].expressions
        born = cast(exp.Column(this=exp.to_identifier("xmax"), table=identifier(source.alias)), "TEXT")
        test = exp.EQ(this=born, expression=exp.Literal.string("0"))
        returned[-1] = exp.Case(ifs=[exp.If(this=test, true=returned[-1])])
        result.args["returning"].set("expressions", returned)

    def count_all(self, table: Table, node: exp.Insert, conflict: str | None, *, own: bool) -> bool:
        """Whether AUTOINCREMENT counts given keys of rows that are not stored. One that meets its like may be that of a
        row that an UPDATE gave it, which counts nothing."""
        if not table.autoincrement or table.name not in self.context.catalog.sequences:
            return False
        return own or conflict == "IGNORE" or bool(clauses_of(node))

    def counted(self, table: Table, key: exp.Expr) -> exp.Expr:
        """A given key, past which the sequence is moved whatever becomes of the row."""
        return helper("advance_to_end", exp.Literal.string(self.context.catalog.sequences[table.name]), key)

    def advance(self, table: Table, result: exp.Insert) -> None:
        """Move the sequence past keys that were given."""
        sequence = self.context.catalog.sequences.get(table.name)
        if not sequence:
            return
        returned = result.args["returning"].expressions
        advance = "advance_to_end" if table.autoincrement else "advance"
        returned[-1] = helper(advance, exp.Literal.string(sequence), returned[-1])
        result.args["returning"].set("expressions", returned)


def _above(table: Table, most: exp.Expr, place: exp.Expr) -> exp.Expr:
    """The key that is so many above the highest. Without AUTOINCREMENT SQLite looks for a free one behind the last."""
    return helper("key_above", most, place, exp.Literal.string("CUT04" if table.autoincrement else "2200H"))


def column_named(table: Table, name: str) -> Column:
    lower = name.lower()
    for column in table.columns:
        if column.name.lower() == lower:
            return column
    if lower in ROWID_NAMES and table.rowid_alias is not None:
        return column_named(table, table.rowid_alias)
    raise Refused(f"Column {name} of table {table.name}, which is not mirrored,", "`cutover plan` tells why.")
