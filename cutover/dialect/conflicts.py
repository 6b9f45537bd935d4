"""ON CONFLICT, INSERT OR IGNORE, INSERT OR REPLACE, and assignments in SET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.assigning import Assigning
from cutover.dialect.catalog import ROWID_NAMES
from cutover.dialect.comparing import collated
from cutover.dialect.queries import Queries
from cutover.dialect.scope import Scope, table_source
from cutover.dialect.typed import Kind, Refused, Typed, identifier, paren
from cutover.model.table import Column, Table, UniqueIndex

if TYPE_CHECKING:
    from cutover.dialect.writes import Written


class Conflicts:
    """Rewrites conflict clauses and SET lists of one statement."""

    def __init__(self, queries: Queries, assigning: Assigning) -> None:
        self.queries = queries
        self.assigning = assigning

    def assignments(self, nodes: list[exp.Expr], table: Table, scope: Scope) -> list[exp.Expr]:
        """The SET list: of several assignments of one column the last counts."""
        values: dict[str, exp.Expr] = {}
        for node in nodes:
            for target, item in _pairs(node):
                column = _named(table, target)
                typed = self.queries.expressions.typed(item, scope)
                values.pop(column.name, None)
                if typed.kind is Kind.NULL and column.not_null and column.name == table.rowid_alias:
                    raise Refused("NULL as an automatic key")
                values[column.name] = self.assigning.assign(typed, column)
        return [
            exp.EQ(this=exp.Column(this=identifier(_named(table, name).target)), expression=paren(item))
            for name, item in values.items()
        ]

    def resolve(
        self, node: exp.Insert, conflict: str | None, written: Written, columns: list[Column], scope: Scope
    ) -> None:
        """Give the INSERT its ON CONFLICT."""
        clause = node.args.get("conflict")
        if clause is not None:
            if conflict is not None:
                raise Refused(f"INSERT OR {conflict} with ON CONFLICT")
            written.node.set("conflict", self._written(clause, written.table, scope))
        elif conflict == "IGNORE":
            written.node.set("conflict", exp.OnConflict(action=exp.Var(this="DO NOTHING")))
            self._drop_nulls(written, columns)
        elif conflict == "REPLACE":
            self._replace(written, columns)

    def _written(self, clause: exp.OnConflict, table: Table, scope: Scope) -> exp.OnConflict:
        action = str(clause.args["action"].this) if clause.args.get("action") is not None else "DO NOTHING"
        keys = [self._target_term(key, table, scope) for key in clause.args.get("conflict_keys") or []]
        predicate = clause.args.get("index_predicate")
        result = exp.OnConflict(action=exp.Var(this=action), conflict_keys=keys)
        if predicate is not None:
            condition = self.queries.expressions.condition(predicate.this, scope, loose=True)
            result.set("index_predicate", exp.Where(this=_unqualified(condition)))
        if "UPDATE" not in action:
            return result
        if not keys:
            result.set("conflict_keys", self._only_key(table))
        both = Scope(sources=[*scope.sources, table_source(table, "excluded")], ctes=scope.ctes)
        for column in both.sources[1].columns:
            column.merged = True
        result.set("expressions", self.assignments(clause.expressions, table, both))
        if clause.args.get("where") is not None:
            condition = self.queries.expressions.condition(clause.args["where"].this, both, loose=True)
            result.set("where", exp.Where(this=condition))
        return result

    def _target_term(self, key: exp.Expr, table: Table, scope: Scope) -> exp.Expr:
        node = key.this if isinstance(key, exp.Ordered) else key
        if isinstance(node, exp.Collate):
            node = node.this
        if not isinstance(node, exp.Column):
            return paren(_unqualified(self.queries.expressions.typed(node, scope).node))
        return self._key_term(_named(table, node.name), _collation_of(node.name, table))

    def _key_term(self, column: Column, collation: str) -> exp.Expr:
        node = exp.Column(this=identifier(column.target))
        if collation in ("", "BINARY"):
            return node
        return collated(Typed(node, Kind.TEXT), collation)

    def _only_key(self, table: Table) -> list[exp.Expr]:
        if len(table.unique) != 1:
            raise Refused("ON CONFLICT DO UPDATE without a target, on a table with several unique keys,")
        return self._terms(table, table.unique[0])

    def _terms(self, table: Table, index: UniqueIndex) -> list[exp.Expr]:
        terms = []
        for name, (_, collation) in zip(index.columns, index.terms, strict=True):
            if name is None:
                raise Refused("A conflict on a unique index over an expression")
            terms.append(self._key_term(_named(table, name), collation.upper()))
        return terms

    def _replace(self, written: Written, columns: list[Column]) -> None:
        """Delete what conflicts on any key, then insert: with one key that is an update of every column."""
        table = written.table
        indexes = [index for index in table.unique if not self._is_automatic(table, index, columns)]
        if any(index.partial for index in indexes):
            raise Refused("INSERT OR REPLACE on a table with a partial unique index")
        if not indexes:
            return
        if len(indexes) == 1:
            written.node.set("conflict", self._overwrite(table, indexes[0]))
            return
        written.before = self._delete_conflicting(written, columns, indexes)

    def _is_automatic(self, table: Table, index: UniqueIndex, columns: list[Column]) -> bool:
        """The automatic key is not given, so that nothing can conflict on it."""
        return index.columns == (table.rowid_alias,) and all(column.name != table.rowid_alias for column in columns)

    def _overwrite(self, table: Table, index: UniqueIndex) -> exp.OnConflict:
        keys = {name for name in index.columns if index.primary_key}
        rest = [column for column in table.columns if column.name not in keys] or list(table.columns)
        setting = [
            exp.EQ(
                this=exp.Column(this=identifier(column.target)),
                expression=exp.Column(this=identifier(column.target), table=identifier("excluded")),
            )
            for column in rest
        ]
        return exp.OnConflict(
            action=exp.Var(this="DO UPDATE"), conflict_keys=self._terms(table, index), expressions=setting
        )

    def _delete_conflicting(self, written: Written, columns: list[Column], indexes: list[UniqueIndex]) -> exp.Expr:
        rows = written.node.expression
        if not isinstance(rows, exp.Values) or len(rows.expressions) != 1:
            raise Refused("INSERT OR REPLACE of several rows into a table with several unique keys")
        given = dict(zip([column.name for column in columns], rows.expressions[0].expressions, strict=True))
        tests = []
        for index in indexes:
            parts = []
            for name, (_, collation) in zip(index.columns, index.terms, strict=True):
                if name is None:
                    raise Refused("INSERT OR REPLACE on a table with a unique index over an expression")
                item = given.get(name)
                if item is None and _named(written.table, name).default is None:
                    break
                if item is None or isinstance(item, exp.Var):
                    raise Refused("INSERT OR REPLACE that leaves a part of a unique key to its default")
                column = _named(written.table, name)
                one = collated(Typed(exp.Column(this=identifier(column.target)), Kind.TEXT), collation.upper())
                two = collated(Typed(item.copy(), Kind.TEXT), collation.upper())
                parts.append(exp.EQ(this=one, expression=paren(two)))
            else:
                tests.append(exp.Paren(this=exp.and_(*parts)))
        target = exp.Table(this=identifier(written.table.target), db=identifier(written.table.target_schema))
        return exp.Delete(this=target, where=exp.Where(this=exp.or_(*tests)))

    def _drop_nulls(self, written: Written, columns: list[Column]) -> None:
        """OR IGNORE skips rows with NULL in a NOT NULL column; Postgres would fail."""
        rows = written.node.expression
        if not isinstance(rows, exp.Values):
            return
        must = [at for at, column in enumerate(columns) if column.not_null and column.name != written.table.rowid_alias]
        kept = [row for row in rows.expressions if not any(isinstance(row.expressions[at], exp.Null) for at in must)]
        if not kept and rows.expressions:
            first = rows.expressions[0].expressions
            nothing = exp.Select(expressions=list(first), where=exp.Where(this=exp.Boolean(this=False)))
            written.node.set("expression", nothing)
            return
        rows.set("expressions", kept)


def _pairs(node: exp.Expr) -> list[tuple[str, exp.Expr]]:
    target, item = node.this, node.expression
    if not isinstance(target, exp.Tuple):
        return [(target.name, item)]
    if not isinstance(item, exp.Tuple) or len(item.expressions) != len(target.expressions):
        raise Refused("SET (...) = (SELECT ...)")
    return [(name.name, one) for name, one in zip(target.expressions, item.expressions, strict=True)]


def _named(table: Table, name: str) -> Column:
    for column in table.columns:
        if column.name.lower() == name.lower():
            return column
    if name.lower() in ROWID_NAMES and table.rowid_alias is not None:
        return _named(table, table.rowid_alias)
    raise Refused(f"Column {name} of table {table.name}, which is not mirrored,")


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
