"""UPDATE row by row: rows that move to keys that others had, pass over conflicts, replace rows, or read each other.

SQLite notes the keys of the rows that WHERE finds, and then changes what is found by each of them, in the order of the
table. So do we. Of a table whose rows SQLite keeps in an order that Postgres has not, rows are changed like this only
where their order makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlglot
from sqlglot import exp

from cutover.dialect import functions
from cutover.dialect.catalog import Catalog, meant_by
from cutover.dialect.conflicts import pairs
from cutover.dialect.context import Context
from cutover.dialect.halfway import is_in, is_of_columns, is_one_row, is_plain, reads_once
from cutover.dialect.limiting import key_names
from cutover.dialect.referring import deleting_acts, is_related, moving_acts
from cutover.dialect.steps import alone, at_most_one, row_by_row
from cutover.dialect.tokens import prepare
from cutover.dialect.translation import Translation, rewrite, translation_of
from cutover.dialect.typed import Kind, Refused
from cutover.model.table import Table, UniqueIndex
from cutover.model.values import Row, SqlValue

_GONE = "cutover: gone"


class UpdateByRow:
    """The plan of one UPDATE."""

    def __init__(
        self, node: exp.Update, conflict: str | None, catalog: Catalog, kinds: Sequence[Kind], sql: str
    ) -> None:
        self.node, self.conflict, self.catalog, self.kinds, self.sql = node, conflict, catalog, kinds, sql
        self.table = catalog.table(node.this.name)
        self.alias = node.this.alias_or_name
        self.key = key_names(self.table)
        self.assigned = {meant_by(name, self.table): value for each in node.expressions for name, value in pairs(each)}
        self.indexes = [
            index for index in self.table.unique if any(is_in(index, name, self.table) for name in self.assigned)
        ]

    def translation(self) -> Translation:
        """Raises `Refused`."""
        if self.node.args.get("from_") is not None:
            raise Refused("UPDATE ... FROM row by row", "Take the values by subqueries in SET.")
        several = not is_one_row(self.node, self.table, self.alias.lower())
        if several and any(reads_once(value, self.table, self.alias) for value in self.assigned.values()):
            raise Refused("UPDATE with a subquery that is answered for the first row, in the state that it finds,")
        if self.conflict == "REPLACE" and self.indexes:
            self._refuse_replacing()
        in_order = self._in_order()
        context = Context(self.catalog, self.kinds)
        _, columns, tree = rewrite(self._rows(in_order=in_order), None, context)
        rows = translation_of(None, columns, tree, context)
        return row_by_row(
            rows,
            columns[: len(self.key)],
            self._accept if not in_order else _as_found,
            self._each,
            self.conflict,
            accepts_all=in_order,
        )

    def _refuse_replacing(self) -> None:
        """SQLite computes what a row becomes before others go; and where their going may set off more, it looks at the
        unique keys once more, and finds the row itself by another one."""
        if any(_reads(value, self.table) for value in self.assigned.values()):
            raise Refused(
                "UPDATE OR REPLACE with a subquery of the same table", "Ask first, and give the values as arguments."
            )
        acts = deleting_acts(self.table, self.catalog) or moving_acts(self.table, self.catalog, self.assigned)
        if acts or (len(self.indexes) > 1 and is_related(self.table, self.catalog)):
            raise Refused("UPDATE OR REPLACE of unique keys, where rows that refer to the table change with it,")

    def _in_order(self) -> bool:
        """Whether SQLite changes the rows in the order of their keys: unless it does so while it reads by an index."""
        if self.table.rowid_alias is None and not self.table.without_rowid:
            return False
        where = self.node.args.get("where")
        if self.conflict == "REPLACE" or (where is not None and where.find(exp.Query) is not None):
            return True
        if any(name.lower() in self.assigned for name in self.table.place):
            return True
        reading = self.catalog.reading(self.sql)
        if reading is None or not reading.scans:
            return False
        by = {term.column.lower() for term in reading.scans[0].index}
        return not by or not by.isdisjoint(self.assigned)

    def _can_tell(self) -> bool:
        """Whether rows can be asked for what they are and become in the unique keys. An index of some of the rows is
        taken for one of all: no more than that is at stake."""
        return all(is_of_columns(index, self.table) for index in self.indexes)

    def _rows(self, *, in_order: bool) -> exp.Select:
        """The keys of the rows; and what each unique key is and becomes, where that has to be looked at."""
        keys = [self._column(name) for name in self.key]
        watched = () if in_order or not self._can_tell() else self.indexes
        moved = [pair for index in watched for pair in self._moves(index)]
        query = exp.Select(
            expressions=[*keys, *(one for pair in moved for one in pair)],
            from_=exp.From(this=self.node.this.copy()),
        )
        query.set("with_", self.node.args.get("with_") and self.node.args["with_"].copy())
        query.set("where", self.node.args.get("where") and self.node.args["where"].copy())
        if in_order:
            query.set("order", exp.Order(expressions=[exp.Ordered(this=key.copy()) for key in keys]))
        return query

    def _moves(self, index: UniqueIndex) -> list[tuple[exp.Expr, exp.Expr]]:
        """Each column of a unique key, and what it becomes."""
        names = [name for name in index.columns if name is not None]
        return [(self._column(name), self._becomes(name)) for name in names]

    def _becomes(self, name: str) -> exp.Expr:
        given = self.assigned.get(name.lower())
        return self._column(name) if given is None else given.copy()

    def _column(self, name: str, of: str | None = None) -> exp.Column:
        return exp.Column(this=_quoted(name), table=_quoted(of or self.alias))

    def _each(self, of_row: tuple[Kind, ...]) -> Translation:
        kinds = [*self.kinds, *of_row]
        single = self.node.copy()
        if self.conflict == "REPLACE":
            self._put_defaults(single)
        single.set("where", exp.Where(this=self._is_the_row(self.alias)))
        written = alone(single, None, Context(self.catalog, kinds))
        clearing = self._clearing() if self.conflict == "REPLACE" else None
        if clearing is None:
            return written
        cleared = alone(clearing, None, Context(self.catalog, kinds))
        lowered = tuple(dict.fromkeys((*written.lowered, *cleared.lowered)))
        return replace(written, clears=True, before=cleared.command, lowered=lowered)

    def _is_the_row(self, alias: str) -> exp.Expr:
        tests = [
            exp.EQ(this=self._column(name, alias), expression=exp.Placeholder(this=f"p{len(self.kinds) + at}"))
            for at, name in enumerate(self.key)
        ]
        return exp.and_(*tests)

    def _clearing(self) -> exp.Delete | None:
        """OR REPLACE: whoever has what the row becomes in a unique key goes first."""
        if not all(is_plain(index, self.table) for index in self.indexes):
            raise Refused("A unique index over an expression or a part of the rows, row by row,")
        same = [
            exp.and_(
                *(
                    exp.EQ(this=self._column(column.name, _GONE), expression=exp.Paren(this=new))
                    for column, new in self._moves(index)
                )
            )
            for index in self.indexes
        ]
        if not same:
            return None
        row = exp.Select(
            expressions=[exp.Literal.number(1)],
            from_=exp.From(this=self.node.this.copy()),
            where=exp.Where(this=exp.and_(self._is_the_row(self.alias), exp.Paren(this=exp.or_(*same)))),
        )
        others = exp.Not(this=exp.Paren(this=self._is_the_row(_GONE)))
        gone = exp.Table(this=self.node.this.this.copy(), alias=exp.TableAlias(this=_quoted(_GONE)))
        return exp.Delete(
            this=gone,
            where=exp.Where(this=exp.and_(others, exp.Exists(this=row))),
            with_=self.node.args.get("with_") and self.node.args["with_"].copy(),
        )

    def _put_defaults(self, single: exp.Update) -> None:
        """OR REPLACE: a column that may not be NULL becomes its default instead."""
        must = {column.name.lower(): column.default for column in self.table.columns if column.not_null}
        settings = []
        for name, value in self.assigned.items():
            default = must.get(name)
            if default is not None:
                other = sqlglot.parse_one(prepare(default, functions.NAMES).text, dialect="sqlite")
                value = exp.Anonymous(this="fn_ifnull", expressions=[value, other])  # noqa: PLW2901  # as it becomes
            settings.append(exp.EQ(this=exp.Column(this=_quoted(name)), expression=value.copy()))
        single.set("expressions", settings)

    def _accept(self, rows: list[Row]) -> list[Row]:
        """The keys of rows that have no order. Raises `Refused` if one of them becomes what another is or becomes."""
        width = len(self.key)
        if self.conflict == "FAIL" or not self._can_tell():
            at_most_one(rows)
        if any(_reads(value, self.table) for value in self.assigned.values()):
            at_most_one(rows)
        at = width
        for index in self.indexes if len(rows) > 1 else ():
            until = at + 2 * len(index.columns)
            known: dict[tuple[object, ...], int] = {}
            for number, row in enumerate(rows):
                for one in {_loosely(row[at:until:2]), _loosely(row[at + 1 : until : 2])}:
                    if known.setdefault(one, number) != number and None not in one:
                        at_most_one(rows)
            at = until
        return [row[:width] for row in rows]


def _as_found(rows: list[Row]) -> list[Row]:
    return rows


def _reads(value: exp.Expr, table: Table) -> bool:
    return any(inner.name.lower() == table.name.lower() for inner in value.find_all(exp.Table))


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _loosely(values: Sequence[SqlValue]) -> tuple[object, ...]:
    """What is equal under some affinity and some collation, and perhaps more."""
    return tuple(map(_one, values))


def _one(value: SqlValue) -> object:
    if value is None or isinstance(value, bytes):
        return value
    try:
        return float(value)
    except ValueError:
        return str(value).rstrip(" ").lower()
