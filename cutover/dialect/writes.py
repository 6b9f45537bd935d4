"""INSERT, UPDATE and DELETE: values brought to what each column holds, conflicts as SQLite resolves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlglot import exp

from cutover.dialect.assigning import Assigning
from cutover.dialect.automatic import AutomaticKeys, column_named
from cutover.dialect.calls import gathers
from cutover.dialect.catalog import DATABASES
from cutover.dialect.conflicts import Conflicts
from cutover.dialect.context import Context
from cutover.dialect.counting import count_apart, numbered, refuse_null_key
from cutover.dialect.drawing import UNNUMBERED, Drawing, drawing_of, lowered, raised, replaced, unnumbered
from cutover.dialect.generated import add_generated, as_sorted, mark_given
from cutover.dialect.halfway import refuse_conflicts, refuse_halfway, refuse_own_keys
from cutover.dialect.matching import one_match
from cutover.dialect.numbering import number_rows
from cutover.dialect.own_clauses import by_default, has_replacing, of_update, own_clauses
from cutover.dialect.queries import Queries
from cutover.dialect.referring import admits_orphans, moves_keys
from cutover.dialect.returned import as_first, as_kept, in_order, own_key
from cutover.dialect.rigid import is_rigid
from cutover.dialect.scope import Scope, Source, table_source
from cutover.dialect.sparing import note_spared, spare_key
from cutover.dialect.trees import unparen
from cutover.dialect.typed import Kind, Refused, RowByRow, Typed, call, identifier
from cutover.dialect.unkept import refuse_unkept
from cutover.dialect.withs import put_inside
from cutover.model.table import Column, Table

T = TypeVar("T")


@dataclass(slots=True)
class Written:
    """A rewritten statement that changes a table."""

    node: exp.Expr
    table: Table
    returning: list[tuple[str | None, Typed]] = field(default_factory=list)
    """What the application asked to have returned."""
    key_returned: bool = False
    """Whether the automatic key is returned as one more column, at the end."""
    automatic: str | None = None
    """The sequence that gives the keys, where the statement gives none."""
    drawing: Drawing | None = None
    """What it does to the sequence that gives keys."""
    lookups: Sequence[exp.Select] = field(default_factory=list)
    """Queries that find its rows, where they are counted only."""
    lowered: tuple[str, ...] = ()
    """Sequences of tables whose highest row may be gone after it."""
    raised: tuple[str, ...] = ()
    """Sequences that may stand below the keys which it gives to rows that are there."""
    before: exp.Expr | None = None
    """A statement that has to run first, in the same transaction."""
    recounts: tuple[str, ...] = ()
    """The tables whose rows are counted only, and have other keys after it."""
    marked: tuple[Drawing, ...] = ()
    """What would draw from those that have to be where SQLite's counters are before it."""
    clears: bool = False
    """It deletes rows first that have keys of the new one."""
    apart: bool = False
    """Each row of VALUES has to be a statement of its own, in the same transaction."""
    twice: bool = False
    """It fails where it meets a row twice, which SQLite does not mind: then its rows are to be run apart."""
    single: bool = False
    """It inserts one row, as SQLite sees it."""
    replaces: bool = False
    """Whatever a row conflicts with may go first."""
    admits: bool = False
    """SQLite stores rows without a parent in the same table, which Postgres does not."""
    moves_keys: bool = False
    """What a row that meets a key becomes may have another foreign key, or be another parent."""
    several: bool = False
    """It inserts more than one row of VALUES."""
    refusing: bool = False
    """A CHECK that fails would be passed over by SQLite."""


class Writes:
    """Rewrites statements that change data."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.queries = Queries(context)
        self.assigning = Assigning(context)
        self.keys = AutomaticKeys(context)
        self.conflicts = Conflicts(self.queries, self.assigning)
        self._replacing = self._counting = False
        self._by_default: list[str] = []

    def _target(self, node: exp.Expr) -> tuple[Table, Source, exp.Table]:
        if not isinstance(node, exp.Table) or (node.db and node.db.lower() not in DATABASES):
            raise Refused("A write to something other than a table of the main schema")
        if node.name.lower() in self.context.catalog.views:
            raise Refused(f"A write to the view {node.name}", "Write to the table that it reads.")
        table = self.context.catalog.table(node.name)
        self.assigning.rigid = table if is_rigid(table) else None
        source = table_source(table, (node.alias or node.name).lower())
        add_generated(source, self.queries.expressions.typed)
        target = exp.Table(
            this=identifier(table.target),
            db=identifier(table.target_schema),
            alias=exp.TableAlias(this=identifier(source.alias)),
        )
        return table, source, target

    def _returning(self, node: exp.Expr, scope: Scope, written: Written, *, key: bool) -> None:
        clause, deleting = node.args.get("returning"), isinstance(written.node, exp.Delete)
        if clause is not None:
            if any(
                isinstance(named.this, exp.Identifier) and self._reads(named, written.table)
                for named in clause.find_all(exp.Table)
            ):
                raise Refused(
                    "A subquery in RETURNING that reads the table that is written",
                    "Ask in a statement of its own behind it.",
                )
            first = next(column for column in scope.sources[0].columns if not column.hidden)
            scope = replace(scope, sources=[replace(scope.sources[0], lends=first), *scope.sources[1:]])
            for one in clause.expressions:
                if not isinstance(unparen(one.unalias()), exp.Column):
                    mark_given(one, as_sorted if deleting else as_kept)
            written.returning = self.queries.projections(clause.expressions, scope)
            kept = as_first if first.affinity == "REAL" else as_sorted if deleting else as_kept
            written.returning = [(name, kept(typed)) for name, typed in written.returning]
        nodes = [typed.node for _, typed in written.returning]
        if key and written.table.rowid_alias is not None:
            source = scope.sources[0]
            column = source.find(written.table.rowid_alias)
            assert column is not None
            nodes.append(source.typed(column).node)
            written.key_returned = True
        if nodes:
            written.node.set("returning", exp.Returning(expressions=nodes))

    def _reads(self, named: exp.Table, table: Table) -> bool:
        name = named.name.lower()
        return name == table.name.lower() or name in self.context.catalog.views

    # -- INSERT ------------------------------------------------------------------------------------------------------

    def insert(self, node: exp.Insert, conflict: str | None) -> Written:
        """INSERT with its conflict clause; `conflict` is the word after OR."""
        listed = node.this.expressions if isinstance(node.this, exp.Schema) else []
        table, source, target = self._target(node.this.this if isinstance(node.this, exp.Schema) else node.this)
        own_key(node, table)
        refuse_unkept(table, deletes=bool(conflict == "REPLACE" or node.args.get("conflict")))
        scope = Scope(sources=[source])
        put_inside(node)
        with_clause = self.queries.withs.clause(node, scope)
        told = (
            [column_named(table, name.name) for name in listed]
            if listed
            else [column for column in table.columns if not column.hidden]
        )
        columns = list(dict.fromkeys(told))
        own = conflict is None and bool(own_clauses(table.sql))
        conflict = None if conflict == "ABORT" else conflict
        conflicts = conflict is not None or node.args.get("conflict") is not None or own
        self.context.nulls_matter = conflict is not None or own
        self._by_default = by_default(table) if own else []
        self._replacing = conflict == "REPLACE"
        self._counting = self.keys.count_all(table, node, conflict, own=own)
        replaces = self._replacing or (own and node.args.get("conflict") is None and has_replacing(table))
        for column in table.columns:
            if node.expression is None or column not in columns:
                self.assigning.left_out(column)
                refuse_null_key(None, column, table)
        body = node.expression
        explicit = table.rowid_alias is not None and any(column.name == table.rowid_alias for column in columns)
        explicit = explicit and self.context.keys_slot is None
        values: exp.Expr | None
        spares = False
        if body is None:
            columns, values = self.keys.with_key(table, [], exp.Values(expressions=[exp.Tuple()]))
            values = values if columns else None
        elif isinstance(body, exp.Values):
            columns, values = self.keys.with_key(table, columns, self._rows(body, table, told, scope))
            spares = not own and spare_key(self.context, node, conflict, table, columns, values)
        else:
            values = self._selected(body, table, columns, told, scope, conflicts=conflicts)
        names = [identifier(column.target) for column in columns]
        into = exp.Schema(this=target, expressions=names) if names else target
        result = exp.Insert(this=into, expression=values, with_=with_clause)
        if values is None:
            result.set("default", True)
        written = Written(result, table, replaces=replaces and (explicit or len(table.unique) > 1))
        written.admits = written.replaces and admits_orphans(table)
        written.moves_keys = moves_keys(node, table, self.context.catalog, given=explicit)
        written.single = body is None or (isinstance(body, exp.Values) and len(body.expressions) == 1)
        written.several = isinstance(values, exp.Values) and len(values.expressions) > 1
        if table.rowid_alias is not None and self.context.catalog.counts(table):
            count_apart(written, columns, conflicts=conflicts, given=explicit)
        if unnumbered(table):
            number_rows(written, columns, clears=replaces)
        else:
            moves = self._counting and explicit
            written.drawing = drawing_of(self.context.catalog, written, columns, skips=conflicts, moves=moves)
        if replaces:
            written.lowered = replaced(self.context.catalog, table, given=explicit)
        self.conflicts.resolve(node, conflict, written, columns, scope, own=own)
        self.keys.tell(written)
        note_spared(written, spares=spares)
        self._returning(node, scope, written, key=True)
        if not replaces and written.twice:
            self.keys.only_inserted(written, source)
        if written.key_returned and (explicit or self.context.catalog.counts(table)):
            self.keys.advance(table, result)
        if written.key_returned and not explicit:
            written.automatic = self.context.catalog.sequences.get(table.name)
        return written

    def _rows(self, body: exp.Values, table: Table, columns: list[Column], scope: Scope) -> exp.Values:
        rows = []
        for place, row in enumerate(body.expressions, 1):
            items = row.expressions if isinstance(row, exp.Tuple) else [row]
            if len(items) != len(columns):
                raise Refused(f"INSERT of {len(items)} values for {len(columns)} columns")
            values = [
                self._value(self.queries.expressions.typed(item, Scope(ctes=scope.ctes)), table, column, place)
                for item, column in _once_each(table, items, columns)
            ]
            rows.append(exp.Tuple(expressions=values))
        return exp.Values(expressions=rows)

    def _value(self, typed: Typed, table: Table, column: Column, place: int = 1, *, listed: bool = True) -> exp.Expr:
        refuse_null_key(typed, column, table, self.context if listed else None)
        if column.name == table.rowid_alias:
            if typed.kind is Kind.NULL:
                automatic = self.keys.next_key(table, place) if listed else self.keys.next_key_of_rows(table)
                return automatic or (exp.Var(this="DEFAULT") if listed else self.keys.next_of_sequence(table))
            if typed.slot is None and not typed.is_constant:
                if not listed and (typed.not_null or self.keys.next_key(table) is not None):
                    return self._given(typed, table, column)  # where it is NULL, `_selected` counts on
                automatic = self.keys.next_key(table, place) or self.keys.next_of_sequence(table)
                return call("coalesce", self._given(typed, table, column), automatic)
            return self._given(typed, table, column)
        replacing = (self._replacing or column.name in self._by_default) and column.default is not None
        if listed and replacing and typed.kind is Kind.NULL and column.not_null:
            return exp.Var(this="DEFAULT")
        given = self.assigning.assign(typed, column)
        if replacing and column.not_null and not (typed.is_constant or typed.slot is not None or typed.not_null):
            return call("coalesce", given, self.conflicts.default(column))
        return given

    def _given(self, typed: Typed, table: Table, column: Column) -> exp.Expr:
        given = self.assigning.assign_key(typed, column)
        return self.keys.counted(table, given) if self._counting else given

    def _selected(
        self,
        body: exp.Expr,
        table: Table,
        columns: list[Column],
        told: list[Column],
        scope: Scope,
        *,
        conflicts: bool,
    ) -> exp.Expr:
        query = self.queries.query(body, Scope(Scope(ctes=scope.ctes), reading=self.context.reading)).named()
        if len(query.columns) != len(told):
            raise Refused(f"INSERT of {len(query.columns)} values for {len(told)} columns")
        for (_, typed), column in _once_each(table, query.columns, told):
            refuse_null_key(typed, column, table, self.context)
        derived, source = self.queries.sources.derived(query, "selected", alone=True)
        plain = [one for one, _ in _once_each(table, query.source_columns(), told)]
        values = [
            self._value(source.typed(one), table, column, listed=False)
            for one, column in zip(plain, columns, strict=True)
        ]
        if table.rowid_alias is not None and all(column.name != table.rowid_alias for column in columns):
            automatic = self.keys.next_key_of_rows(table)
            if automatic is not None:
                columns.append(column_named(table, table.rowid_alias))
                values.append(automatic)
        values = self.keys.without_key(table, columns, values)
        rows = exp.Select(expressions=values, from_=exp.From(this=derived))
        highest = self.keys.next_key(table, 0) if table.rowid_alias is not None else None
        for at, (one, column) in enumerate(zip(plain, columns, strict=False)):
            key = source.typed(one)
            if highest is None or column.name != table.rowid_alias or key.kind is Kind.NULL or key.not_null:
                continue
            if conflicts:
                raise RowByRow(f"INSERT ... SELECT of keys of which some may be NULL (table {table.name})")
            return numbered(rows, at, highest)
        return rows

    # -- UPDATE and DELETE -------------------------------------------------------------------------------------------

    def update(self, node: exp.Update, conflict: str | None = None) -> Written:
        """UPDATE, with FROM; `conflict` is the word after OR."""
        table, source, target = self._target(node.this)
        if any(gathers(setting.expression) for setting in node.expressions):
            raise Refused("An aggregate or window function in UPDATE ... FROM", "Take it from a subquery in FROM.")
        refuse_unkept(table, _assigned(node))
        refuse_halfway(node, table, source.alias)
        if not self.context.by_row:
            conflict = conflict or of_update(node, table)
        if conflict in ("IGNORE", "REPLACE", "FAIL"):
            refuse_conflicts(node, table, source.alias, conflict)
        scope = Scope(sources=[source])
        with_clause = self.queries.withs.clause(node, scope)
        # To SQLite what stands in FROM is a query of its own: its joins do not see the table that is changed.
        others = Scope(ctes=scope.ctes, beside=[source])
        from_, joins = self.queries.sources.from_clause(node, others)
        scope.sources += others.sources
        if joins and from_ is not None:
            from_.this.set("joins", joins)
        result = exp.Update(
            this=target,
            expressions=self.assignments(node.expressions, table, scope),
            from_=from_,
            with_=with_clause,
        )
        if node.args.get("where"):
            condition = self.queries.expressions.condition(node.args["where"].this, scope, loose=True)
            result.set("where", exp.Where(this=condition))
        if from_ is not None:
            scope.reading = None if table.without_rowid else self.context.changing
            one_match(result, scope.sources, self.queries.ordering.unasked.backwards(scope))
        written = Written(result, table)
        if table.rowid_alias is not None and _assigns(node, table, {table.rowid_alias}):
            written.lowered = lowered(self.context.catalog, table, moved=True)
            written.raised = raised(self.context.catalog, table)
        if unnumbered(table) and _assigns(node, table, set(table.key)):
            written.recounts = written.lowered = (UNNUMBERED + table.sql,)
        self._returning(node, Scope(sources=[source], ctes=scope.ctes), written, key=False)
        # With FROM as well: SQLite keeps what it finds by the key of the row that is changed.
        in_order(written, self.queries.ordering.scan(Scope(sources=[source])))
        return written

    def assignments(self, nodes: list[exp.Expr], table: Table, scope: Scope) -> list[exp.Expr]:
        """SET: of several assignments of one column the last counts."""
        return self.conflicts.assignments(nodes, table, scope)

    def delete(self, node: exp.Delete) -> Written:
        """DELETE."""
        table, source, target = self._target(node.this)
        refuse_unkept(table, (), deletes=True)
        if not self.context.by_row:
            refuse_own_keys(node, table, self.context.catalog)
        scope = Scope(sources=[source])
        with_clause = self.queries.withs.clause(node, scope)
        result = exp.Delete(this=target, with_=with_clause)
        if node.args.get("where"):
            condition = self.queries.expressions.condition(node.args["where"].this, scope, loose=True)
            result.set("where", exp.Where(this=condition))
        written = Written(result, table, lowered=lowered(self.context.catalog, table))
        self._returning(node, scope, written, key=False)
        in_order(written, self.queries.ordering.scan(scope))
        return written


def _once_each(table: Table, values: Sequence[T], columns: Sequence[Column]) -> list[tuple[T, Column]]:
    """Each column once, with the first of its values; an automatic key with its last. So SQLite does."""
    found: dict[Column, T] = {}
    for value, column in zip(values, columns, strict=True):
        if column not in found or column.name == table.rowid_alias:
            found[column] = value
    return [(value, column) for column, value in found.items()]


def _assigned(node: exp.Update) -> list[str]:
    """The columns that SET gives, as they are written there."""
    return [
        named.name
        for setting in node.expressions
        for named in (setting.this.expressions if isinstance(setting.this, exp.Tuple) else [setting.this])
    ]


def _assigns(node: exp.Update, table: Table, names: set[str]) -> bool:
    """Whether SET gives one of these columns."""
    return any(column_named(table, name).name in names for name in _assigned(node))
