"""ON CONFLICT, INSERT OR IGNORE, INSERT OR REPLACE, and assignments in SET."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from cutover.dialect import functions
from cutover.dialect.assigning import Assigning
from cutover.dialect.catalog import ROWID_NAMES, column_kind
from cutover.dialect.comparing import told_apart
from cutover.dialect.counting import refuse_null_key
from cutover.dialect.drawing import lowered, raised
from cutover.dialect.generated import add_generated
from cutover.dialect.halfway import reads_once
from cutover.dialect.own_inserts import by_own
from cutover.dialect.passed_over import drop_nulls
from cutover.dialect.queries import Queries
from cutover.dialect.replacing import Replacing, parsed
from cutover.dialect.scope import Scope, table_source
from cutover.dialect.tokens import prepare
from cutover.dialect.trees import clauses_of
from cutover.dialect.typed import ByKeys, Kind, Refused, RowByRow, Typed, helper, identifier, literal, paren
from cutover.model.table import Column, Table, UniqueIndex

if TYPE_CHECKING:
    from cutover.dialect.writes import Written


class Conflicts:
    """Rewrites conflict clauses and SET lists of one statement."""

    def __init__(self, queries: Queries, assigning: Assigning) -> None:
        self.queries = queries
        self.assigning = assigning
        self.catalog = queries.context.catalog

    def default(self, column: Column) -> exp.Expr:
        """What a column holds that is given no value."""
        if column.default is None:
            return exp.Null()
        node = sqlglot.parse_one(prepare(column.default, functions.NAMES).text, dialect="sqlite")
        if isinstance(node, exp.Column):  # "text" in double quotes, or a bare word
            return self.assigning.assign(literal(node.name), column)
        return self.assigning.assign(self.queries.expressions.typed(node, Scope()), column)

    def assignments(self, nodes: list[exp.Expr], table: Table, scope: Scope) -> list[exp.Expr]:
        """The SET list: of several assignments of one column the last counts."""
        values: dict[str, exp.Expr] = {}
        for node in nodes:
            for target, item in pairs(node):
                column = _named(table, target)
                typed = self.queries.expressions.typed(item, scope)
                values.pop(column.name, None)
                refuse_null_key(typed, column, table, self.queries.context)
                is_key = column.name == table.rowid_alias
                assign = self.assigning.assign_key if is_key else self.assigning.assign
                given = assign(typed, column)
                drawn = is_key and table.autoincrement and not self.catalog.counts(table)  # sequences know no such end
                values[column.name] = helper("key_moved", given) if drawn else given
        return [
            exp.EQ(this=exp.Column(this=identifier(_named(table, name).target)), expression=paren(item))
            for name, item in values.items()
        ]

    def resolve(
        self,
        node: exp.Insert,
        conflict: str | None,
        written: Written,
        columns: list[Column],
        scope: Scope,
        *,
        own: bool = False,
    ) -> None:
        """Give the INSERT its ON CONFLICT; `own`: the table's constraints have theirs."""
        if own:
            by_own(self, node, written, columns)
        if conflict == "FAIL":
            values = written.node.expression
            if written.several or not (values is None or isinstance(values, exp.Values)):
                raise RowByRow("INSERT OR FAIL of several rows")
            conflict = None
        if conflict == "ROLLBACK":  # the session sees to it
            conflict = None
        clause = self._only_clause(node, written)
        if clause is not None and conflict is not None:
            self._beside(clause, conflict, written, columns)
        if clause is not None:
            written.node.set("conflict", self._written(clause, written, columns, scope))
        elif conflict == "IGNORE":
            written.node.set("conflict", exp.OnConflict(action=exp.Var(this="DO NOTHING")))
        elif conflict == "REPLACE":
            Replacing(self).resolve(written, columns)
        if conflict == "IGNORE":
            written.refusing = True
            if not self.queries.context.by_row:
                drop_nulls(written, columns, self.queries.context)

    def _only_clause(self, node: exp.Insert, written: Written) -> exp.OnConflict | None:
        clauses = clauses_of(node)
        for each in clauses:
            self._demand_one_state(each, written)
        if len(clauses) > 1:
            raise ByKeys("Several ON CONFLICT clauses in one INSERT")
        return clauses[0] if clauses else None

    def _beside(self, clause: exp.OnConflict, conflict: str, written: Written, columns: list[Column]) -> None:
        """OR IGNORE beside ON CONFLICT is for the constraints that the clause does not mean. Raises `Refused`."""
        replacing = Replacing(self)
        met = [index for index in written.table.unique if not replacing.is_automatic(written, index, columns)]
        if conflict == "IGNORE" and "UPDATE" not in str(clause.args["action"].this):
            clause.set("conflict_keys", None)
            clause.set("index_predicate", None)
        elif conflict != "IGNORE" or len(met) > 1 or self.queries.context.by_row:
            raise ByKeys(f"INSERT OR {conflict} with ON CONFLICT")

    def _demand_one_state(self, clause: exp.OnConflict, written: Written) -> None:
        """Raises `Refused` where rows would see what became of those before them, or must not."""
        several = written.several or not isinstance(written.node.expression, exp.Values)
        if several and _reads(clause, written.table):
            once = reads_once(clause, written.table, written.table.name)
            raise (Refused if once else RowByRow)("DO UPDATE of several rows with a subquery of the same table")

    def _written(self, clause: exp.OnConflict, written: Written, columns: list[Column], scope: Scope) -> exp.OnConflict:
        table = written.table
        action = str(clause.args["action"].this) if clause.args.get("action") is not None else "DO NOTHING"
        keys = [self._target_term(key, table, scope) for key in clause.args.get("conflict_keys") or []]
        predicate = clause.args.get("index_predicate")
        result = exp.OnConflict(action=exp.Var(this=action), conflict_keys=keys)
        if predicate is not None:
            condition = self.queries.expressions.condition(predicate.this, scope, loose=True)
            result.set("index_predicate", exp.Where(this=_unqualified(condition)))
        if "UPDATE" not in action:
            return result
        written.twice = True
        several = written.several or not isinstance(written.node.expression, exp.Values)
        if not keys:
            self._aim(result, self._only_key(written, columns), table, scope)
        given = table_source(table, "excluded")
        add_generated(given, self.queries.expressions.typed)
        qualified = replace(given, columns=[replace(column, merged=True) for column in given.columns])
        both = Scope(sources=[*scope.sources, qualified], ctes=scope.ctes)
        result.set("expressions", self.assignments(clause.expressions, table, both))
        if _moves(clause, table):
            if several and written.drawing is not None and written.drawing.rows != 0:
                raise RowByRow("DO UPDATE of keys of several rows beside automatic ones")
            written.lowered = lowered(self.catalog, table, moved=True)
            written.raised = raised(self.catalog, table)
        if clause.args.get("where") is not None:
            condition = self.queries.expressions.condition(clause.args["where"].this, both, loose=True)
            result.set("where", exp.Where(this=condition))
        return result

    def _target_term(self, key: exp.Expr, table: Table, scope: Scope) -> exp.Expr:
        node = key.this if isinstance(key, exp.Ordered) else key
        if isinstance(node, exp.Collate):
            node = node.this
        named = node.name if isinstance(node, exp.Column) else ""
        if named and (named.lower() in ROWID_NAMES or any(one.name.lower() == named.lower() for one in table.columns)):
            return self._key_term(_named(table, named), _collation_of(named, table))
        typed = self.queries.expressions.typed(node, scope)
        return paren(_unqualified(told_apart(typed, _collation_of(named, table) if named else "BINARY")))

    def _key_term(self, column: Column, collation: str) -> exp.Expr:
        node = exp.Column(this=identifier(column.target))
        if collation in ("", "BINARY"):
            return node
        kind = column_kind(column)
        return told_apart(Typed(node, kind), collation) if kind in (Kind.TEXT, Kind.DYNAMIC) else node

    def _aim(self, clause: exp.OnConflict, index: UniqueIndex, table: Table, scope: Scope) -> None:
        """Let a clause without a target mean this key, as Postgres asks for."""
        clause.set("conflict_keys", self.terms(table, index))
        if index.partial is not None:
            condition = self.queries.expressions.condition(parsed(index.partial), scope, loose=True)
            clause.set("index_predicate", exp.Where(this=_unqualified(condition)))

    def _only_key(self, written: Written, columns: list[Column]) -> UniqueIndex:
        replacing, table = Replacing(self), written.table
        met = [index for index in table.unique if not replacing.is_automatic(written, index, columns)]
        if len(met) != 1:
            raise ByKeys("ON CONFLICT DO UPDATE without a target, on a table with several unique keys,")
        return met[0]

    def terms(self, table: Table, index: UniqueIndex) -> list[exp.Expr]:
        terms = []
        for name, (_, collation) in zip(index.columns, index.terms, strict=True):
            if name is None:
                raise Refused("A conflict on a unique index over an expression")
            terms.append(self._key_term(_named(table, name), collation.upper()))
        return terms


def _reads(node: exp.Expr, table: Table) -> bool:
    """Whether a subquery in `node` reads the table itself."""
    return any(inner.name.lower() == table.name.lower() for inner in node.find_all(exp.Table))


def _moves(clause: exp.OnConflict, table: Table) -> bool:
    """Whether DO UPDATE may give a row another automatic key than it has."""
    if table.rowid_alias is None:
        return False
    names = ROWID_NAMES - {column.name.lower() for column in table.columns} | {table.rowid_alias.lower()}
    met = [key.this if isinstance(key, exp.Ordered) else key for key in clause.args.get("conflict_keys") or []]
    by_key = len(met) == 1 and isinstance(met[0], exp.Column) and met[0].name.lower() in names
    for node in clause.expressions:
        for name, item in pairs(node):
            if name.lower() not in names:
                continue
            if not isinstance(item, exp.Column) or item.name.lower() not in names:
                return True
            if item.table.lower() == "excluded" and not by_key:
                return True
    return False


def pairs(node: exp.Expr) -> list[tuple[str, exp.Expr]]:
    """The columns that one assignment of SET means, with what each becomes. Raises `Refused`."""
    target, item = node.this, node.expression
    if not isinstance(target, exp.Tuple):
        return [(target.name, item)]
    query = item.this if isinstance(item, exp.Subquery) else None
    if isinstance(query, exp.Select) and len(query.expressions) == len(target.expressions) and _one_by_one(query):
        return [(name.name, exp.Subquery(this=_only(query, at))) for at, name in enumerate(target.expressions)]
    if not isinstance(item, exp.Tuple) or len(item.expressions) != len(target.expressions):
        raise Refused("SET (...) = (SELECT ...)")
    return [(name.name, one) for name, one in zip(target.expressions, item.expressions, strict=True)]


def _one_by_one(query: exp.Select) -> bool:
    """Whether each column of the query's first row can be asked for by itself."""
    order = query.args.get("order")
    by_number = order is not None and any(isinstance(term.this, exp.Literal) for term in order.expressions)
    stars = any(isinstance(one, exp.Star) or one.is_star for one in query.expressions)
    calls = any(str(call.this) == "fn_random" for call in query.find_all(exp.Anonymous))
    loose = [one for one in query.expressions if not _is_summed(one) and one.find(exp.Column)]
    if loose and any(map(_is_summed, query.expressions)):  # these columns come from the row with the extreme
        return False
    return not (by_number or stars or calls or query.args.get("distinct"))


def _only(query: exp.Select, at: int) -> exp.Select:
    chosen = query.copy()
    if any(map(_is_summed, query.expressions)) and not query.args.get("group") and not query.args.get("having"):
        chosen.set("having", sqlglot.parse_one("SELECT 1 HAVING fn_count(*) >= 0", dialect="sqlite").args["having"])
    chosen.set("expressions", [chosen.expressions[at]])
    return chosen


def _is_summed(node: exp.Expr) -> bool:
    return any(map(functions.is_aggregate, node.find_all(exp.Anonymous)))


def _named(table: Table, name: str) -> Column:
    for column in table.columns:
        if column.name.lower() == name.lower():
            return column
    if name.lower() in ROWID_NAMES and table.rowid_alias is not None:
        return _named(table, table.rowid_alias)
    raise Refused(f"Column {name} of table {table.name}, which is not mirrored,", "`cutover plan` tells why.")


def _collation_of(name: str, table: Table) -> str:
    """The collation of the unique index that a conflict target means."""
    for index in table.unique:
        for column, (_, collation) in zip(index.columns, index.terms, strict=True):
            if column is not None and column.lower() == name.lower():
                return collation.upper()
    return "BINARY"


def _unqualified(node: exp.Expr) -> exp.Expr:
    for column in list(node.find_all(exp.Column)):
        column.set("table", None)
    return node


def caveat(written: Written) -> str:
    """What may be refused although the statement runs, for rows that nobody has seen. Empty if nothing may."""
    rows = written.node.expression
    selected = isinstance(rows, exp.Select) and rows.args.get("from_") is not None
    if written.twice and selected and rows.find(exp.Order) is None:
        return "Refused if rows of the SELECT have one key twice, and their order is not known."
    return ""
