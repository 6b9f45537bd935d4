"""INSERT OR REPLACE: what a new row conflicts with on any unique key goes before it is stored.

The row that has the same primary key is changed in place, so that rows of other tables go on referring to it; only
where a foreign key acts upon a deletion (ON DELETE CASCADE) it has to go as well. All others are deleted first.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from cutover.dialect import functions
from cutover.dialect.automatic import NEXT, AutomaticKeys
from cutover.dialect.comparing import compare, told_apart
from cutover.dialect.generated import add_generated
from cutover.dialect.halfway import is_plain
from cutover.dialect.referring import deleting_acts, deleting_returns, moving_changes
from cutover.dialect.scope import Scope, Source, table_source
from cutover.dialect.tokens import prepare
from cutover.dialect.typed import Kind, Refused, RowByRow, Typed, identifier, paren
from cutover.model.table import Column, Table, UniqueIndex
from cutover.schema.codecs import base_of, scalars

if TYPE_CHECKING:
    from cutover.dialect.conflicts import Conflicts
    from cutover.dialect.writes import Written

_GIVEN, _GONE = "cutover: given", "cutover: gone"
_LOOSE = (scalars.NAME, "numeric", "double precision")
"""Types with values that are equal without being the same, such as 1 and 1.0: a key of one is overwritten, too."""


class Replacing:
    """REPLACE of one row, or of several by one index."""

    def __init__(self, conflicts: Conflicts) -> None:
        self.conflicts = conflicts
        self.queries, self.assigning = conflicts.queries, conflicts.assigning

    def resolve(self, written: Written, columns: list[Column]) -> None:
        """Give the INSERT its ON CONFLICT, its DELETE beforehand, or both."""
        table = written.table
        indexes = [index for index in table.unique if not self.is_automatic(written, index, columns)]
        if not indexes:
            return
        in_place = next((index for index in indexes if is_plain(index, table)), None)
        catalog = self.conflicts.catalog
        # In place, another of its keys would be changed, which is not what SQLite does.
        if deleting_acts(table, catalog) or (len(table.unique) > 1 and moving_changes(table, catalog)):
            in_place = None
        others = [index for index in indexes if index is not in_place]
        if others:
            rows = written.node.expression
            if rows is not None and not (isinstance(rows, exp.Values) and len(rows.expressions) == 1):
                written.apart = isinstance(rows, exp.Values)
                if not written.apart:
                    raise RowByRow("INSERT OR REPLACE ... SELECT into a table with several unique keys")
                return
            clearing = self.clearing(written, columns, others, in_place)
            # Within the INSERT, what the keys do comes behind it, and would be done to the new row, too.
            within = self._items(written) and not deleting_returns(table, self.conflicts.catalog)
            if clearing is not None and within:
                self._clear_within(written, columns, clearing)
            else:
                written.before = clearing
            written.clears = clearing is not None
        if in_place is not None:
            if written.several and written.drawing is not None and written.drawing.gives and written.drawing.rows:
                # Meeting a key twice would undo it all, but for the keys that were drawn.
                raise RowByRow("INSERT OR REPLACE of keys beside automatic ones")
            written.node.set("conflict", self._overwrite(table, in_place))
            written.twice = True

    def is_automatic(self, written: Written, index: UniqueIndex, columns: list[Column]) -> bool:
        """The automatic key is not given, so that nothing can conflict on it."""
        alias = written.table.rowid_alias
        if alias is None or index.columns != (alias,):
            return False
        at = next((at for at, column in enumerate(columns) if column.name == alias), None)
        items = self._items(written)
        return at is None or (at < len(items) and (isinstance(items[at], exp.Var) or _is_next(items[at])))

    def _items(self, written: Written) -> list[exp.Expr]:
        """The values of the only row, or what a SELECT gives for each."""
        rows = written.node.expression
        if isinstance(rows, exp.Values):
            return list(rows.expressions[0].expressions) if len(rows.expressions) == 1 else []
        return list(rows.expressions) if isinstance(rows, exp.Select) else []

    def _clear_within(self, written: Written, columns: list[Column], clearing: exp.Expr) -> None:
        """The DELETE within the INSERT itself, whose next key is counted from the rows that go, too."""
        clearing.set("returning", exp.Returning(expressions=[exp.Literal.number(1)]))
        cte = exp.CTE(this=clearing, alias=exp.TableAlias(this=identifier(_GONE)))
        node, items = written.node, self._items(written)
        before = node.args["with_"].expressions if node.args.get("with_") else []
        node.set("with_", exp.With(expressions=[*before, cte]))
        keys, alias = AutomaticKeys(self.queries.context), written.table.rowid_alias
        values = [
            item
            if not isinstance(item, exp.Var)
            else keys.next_of_sequence(written.table)
            if column.name == alias
            else self.value(item, column)
            for item, column in zip(items, columns, strict=True)
        ]
        gone = exp.Select(
            expressions=[exp.Count(this=exp.Star())], from_=exp.From(this=exp.Table(this=identifier(_GONE)))
        )
        first = exp.GTE(this=exp.Subquery(this=gone), expression=exp.Literal.number(0))
        node.set("expression", exp.Select(expressions=values, where=exp.Where(this=first)))

    def _overwrite(self, table: Table, index: UniqueIndex) -> exp.OnConflict:
        terms = zip(index.columns, index.terms, strict=True)
        bytewise = {name for name, (_, collation) in terms if collation == "BINARY"}
        given = [column for column in table.columns if column.name not in bytewise or base_of(column) in _LOOSE]
        rest = given or list(table.columns)
        setting = [
            exp.EQ(
                this=exp.Column(this=identifier(column.target)),
                expression=exp.Column(this=identifier(column.target), table=identifier("excluded")),
            )
            for column in rest
        ]
        return exp.OnConflict(
            action=exp.Var(this="DO UPDATE"), conflict_keys=self.conflicts.terms(table, index), expressions=setting
        )

    def clearing(
        self, written: Written, columns: list[Column], indexes: list[UniqueIndex], in_place: UniqueIndex | None = None
    ) -> exp.Delete | None:
        """DELETE what conflicts on `indexes`, other than the row that `in_place` finds. None if nothing can."""
        table = written.table
        looked_at = _columns_of(table, [*indexes, *([in_place] if in_place else [])])
        wanted, values = self.values(written, columns, looked_at)
        there = table_source(table, table.target)
        new = Source(_GIVEN, table_source(table, _GIVEN).columns, table)
        for source in (there, new):
            add_generated(source, self.queries.expressions.typed)
        tests = [test for index in indexes if (test := self.test(index, there, new, wanted)) is not None]
        if not tests:
            return None
        condition: exp.Expr = exp.or_(*tests)
        spared = self.test(in_place, there, new, wanted) if in_place is not None else None
        if spared is not None:
            is_spared = exp.Is(this=paren(spared), expression=exp.true())  # which NULL makes NULL
            condition = exp.and_(paren(condition), exp.Not(this=paren(is_spared)))
        names = [identifier(column.target) for column in wanted]
        row = exp.Values(
            expressions=[exp.Tuple(expressions=values)],
            alias=exp.TableAlias(this=identifier(_GIVEN), columns=names),
        )
        target = exp.Table(this=identifier(table.target), db=identifier(table.target_schema))
        return exp.Delete(this=target, using=[row], where=exp.Where(this=condition))

    def values(
        self, written: Written, columns: list[Column], looked_at: list[Column]
    ) -> tuple[list[Column], list[exp.Expr]]:
        """What the only row of an INSERT has in these columns, but for the next automatic key."""
        rows = written.node.expression
        items = rows.expressions[0].expressions if rows is not None else []
        given = dict(zip([column.name for column in columns], items, strict=True))
        wanted = [column for column in looked_at if not self._is_next(given, column, written.table)]
        return wanted, [self.value(given.get(column.name), column) for column in wanted]

    def _is_next(self, given: dict[str, exp.Expr], column: Column, table: Table) -> bool:
        """The next automatic key: nobody has it."""
        item = given.get(column.name)
        return column.name == table.rowid_alias and (item is None or isinstance(item, exp.Var) or _is_next(item))

    def value(self, item: exp.Expr | None, column: Column) -> exp.Expr:
        """As the column holds it; its default where nothing is given."""
        if item is None or isinstance(item, exp.Var):
            item = self.conflicts.default(column)
        return self.cast(item.copy(), column)

    def cast(self, item: exp.Expr, column: Column) -> exp.Expr:
        """As the column holds it."""
        kind = exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=column.target_type)
        return exp.Cast(this=paren(item), to=kind)

    def test(self, index: UniqueIndex, there: Source, new: Source, wanted: list[Column]) -> exp.Expr | None:
        """Whether a row there and the new one are equal in `index`; None if they cannot be."""
        assert there.table is not None
        left_out = {column.name for column in there.table.columns} - {column.name for column in wanted}
        if left_out & set(index.columns):
            return None
        self._demand_known(index, {name.lower() for name in left_out})
        parts: list[exp.Expr] = []
        for name, (term, collation) in zip(index.columns, index.terms, strict=True):
            one, two = (self._term(source, name, term, collation) for source in (there, new))
            parts.append(compare(exp.EQ, one, two, loose=True))
        if index.partial is not None:
            condition = parsed(index.partial)
            parts += [
                self.queries.expressions.condition(condition.copy(), Scope(sources=[source]), loose=True)
                for source in (there, new)
            ]
        return exp.and_(*map(paren, parts))

    def _demand_known(self, index: UniqueIndex, left_out: AbstractSet[str]) -> None:
        """Raises `Refused` for an index that is over an automatic key without being of it: who has it is not known."""
        texts = [term for name, (term, _) in zip(index.columns, index.terms, strict=True) if name is None]
        nodes = [parsed(text) for text in (*texts, *([index.partial] if index.partial else []))]
        used = {column.name.lower() for node in nodes for column in node.find_all(exp.Column)}
        if used & left_out:
            what = f"A conflict on {index.name}, a unique index that depends on the automatic key"
            raise Refused(what, "Give the key its value.")

    def _term(self, source: Source, name: str | None, term: str, collation: str) -> Typed:
        scope = Scope(sources=[source])
        typed = self.queries.expressions.typed(parsed(term), scope)
        if name is not None and typed.kind in (Kind.JSON, Kind.WHOLE, Kind.BOOL):
            return typed.but(kind=Kind.INT, affinity=None, collation=None, column=None)  # one type on both sides
        if typed.kind in (Kind.TEXT, Kind.DYNAMIC):
            return Typed(told_apart(typed.but(column=None), collation.upper()), typed.kind)
        return typed.but(column=None)


def _is_next(item: exp.Expr) -> bool:
    return bool(item.meta.get(NEXT))


def _columns_of(table: Table, indexes: list[UniqueIndex]) -> list[Column]:
    """The columns that the indexes look at; all, where there are expressions."""
    if not all(is_plain(index, table) for index in indexes):
        return list(table.columns)
    names = {name for index in indexes for name in index.columns}
    return [column for column in table.columns if column.name in names]


def parsed(text: str) -> exp.Expr:
    """An expression of the schema, in SQLite's tree."""
    return sqlglot.parse_one(prepare(text, functions.NAMES).text, dialect="sqlite")
