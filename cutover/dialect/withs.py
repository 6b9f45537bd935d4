"""WITH, and recursion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import functions, queued, windows
from cutover.dialect.arriving import comes_sorted, lacks_rows, order_to_tell
from cutover.dialect.comparing import value
from cutover.dialect.interleaved import arms_joined, arms_read
from cutover.dialect.kept_rows import kept, numbered
from cutover.dialect.query import Query, bare_query
from cutover.dialect.reading import Reading
from cutover.dialect.scope import NUMBER, TURN, Scope, SourceColumn
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.trees import keeps_all, leftmost, means_with, operations
from cutover.dialect.typed import Refused, Typed, identifier

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries


class Withs:
    """Rewrites the CTEs of one statement."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def clause(self, node: exp.Expr, scope: Scope) -> exp.With | None:
        """The CTEs of a statement, which become visible in `scope`."""
        clause = node.args.get("with_")
        if clause is None:
            return None
        used = _used(node, clause.expressions)
        return exp.With(expressions=[self._cte(cte, scope) for cte in used], recursive=True) if used else None

    def _cte(self, cte: exp.CTE, scope: Scope) -> exp.CTE:
        name = cte.alias
        names = [column.name for column in cte.args["alias"].args.get("columns") or []]
        inner = Scope(Scope(scope.parent, ctes=scope.ctes))
        body = bare_query(cte.this)
        refers = _names(body, name)
        bounds: exp.Expr | None = None
        made: Query | None = None
        if refers and isinstance(body, exp.SetOperation) and _is_idle_order(cte, name, body):
            body = body.copy()
            body.set("order", None)
        if refers and isinstance(body, exp.SetOperation):
            bounds, made = body, self._by_queue(cte, body, name, names, scope)
        if bounds is not None and made is None:
            body = bounds.copy()
            body.set("limit", None)
            body.set("offset", None)
            first = self.queries.query(leftmost(body), Scope(Scope(scope.parent, ctes=scope.ctes)))
            columns = [(called, value(typed)) for called, typed in first.columns]
            self._begin(inner, name, Query(first.node, renamed(columns, names)))
            inner = self._settled(body, inner, name, names, scope)
        in_order: Callable[[Query], Query] = _as_it_comes
        if not refers:
            inner, in_order = self._read(cte, body, scope, inner)
        if isinstance(body, exp.Values):
            query = self.queries.compounds.values(body, inner, numbered=True)
        else:
            query = made or self.queries.query(body, inner)
        query = in_order(query)
        if query.mixed and query.reads_otherwise(alone=_reads_only(cte, name)):
            raise Refused("A compound SELECT in WITH whose arms have values of several types in one column")
        told = [column for at, column in enumerate(query.columns) if column[0] == NUMBER or at in query.tells]
        query.columns = [*renamed(query.columns[: len(query.columns) - len(told)], names), *told]
        query.told().named()
        scope.ctes[name.lower()] = query.source_columns()
        aliases = [identifier(alias) for alias in query.aliases()]
        if query.turns:
            for part, turn in query.turns:
                part.append("expressions", exp.Alias(this=turn, alias=identifier(TURN)))
            if bounds is not None and not _stops_early(cte, bounds):
                scope.ctes[name.lower()].append(queued.turn())
            aliases.append(identifier(TURN))
        table_alias = exp.TableAlias(this=identifier(name.lower()), columns=aliases)
        read = exp.CTE(this=query.node, alias=table_alias)
        if bounds is None or not (bounds.args.get("limit") or bounds.args.get("offset")):
            return read
        # Postgres has no LIMIT within a recursion, but stops one of which it needs no more rows.
        first_rows = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=identifier(name.lower()))))
        self.queries.ordering.limit(bounds, first_rows)
        first_rows.set("with_", exp.With(expressions=[read], recursive=True))
        return exp.CTE(this=first_rows, alias=table_alias.copy())

    def _tell_reading(self, cte: exp.CTE, body: exp.Expr, scope: Scope, inner: Scope) -> None:
        """How SQLite reads a CTE that does not refer to itself."""
        alone = _reads_only(cte, cte.alias)
        if alone:
            inner.interleaved = arms_read(scope.reading, cte.parent_select, body)
        elif _is_joined_once(cte, scope):
            named = {one.alias.lower() for one in cte.parent.expressions} if cte.parent is not None else set()
            inner.interleaved = arms_joined(
                scope.reading,
                _select_of(cte),
                body,
                lambda one: one.name.lower() not in named and self.queries.sources.is_table(scope, one),
            )
        if alone and scope.within is not None and not inner.interleaved:
            inner.reading = scope.within
        else:
            inner.merged = scope.merged

    def _begin(self, inner: Scope, name: str, known: Query) -> None:
        """Have a recursion read itself with these columns."""
        inner.ctes[name.lower()] = [*(_loosened(column) for column in known.source_columns()), queued.turn()]
        inner.turning, inner.recursive = name.lower(), True

    def _settled(self, body: exp.Expr, inner: Scope, name: str, names: list[str], scope: Scope) -> Scope:
        """`inner` with columns of kinds that hold for what the recursion gives as well as for what it begins with."""
        for _ in range(2):
            kinds = [column.kind for column in inner.ctes[name.lower()]]
            query = self.queries.query(body.copy(), inner)
            made = Query(query.node, renamed(query.columns[: len(kinds) - 1], names))
            inner = Scope(Scope(scope.parent, ctes=scope.ctes))
            self._begin(inner, name, made)
            if kinds == [column.kind for column in inner.ctes[name.lower()]]:
                break
        return inner

    def _read(self, cte: exp.CTE, body: exp.Expr, scope: Scope, inner: Scope) -> tuple[Scope, Callable[[Query], Query]]:
        """The scope of a CTE that does not refer to itself, with how SQLite reads for it; and what has others see the
        order of its rows."""
        keeps = kept(cte, self.queries.context.reading, scope)
        if keeps is not None:
            return keeps, numbered
        beside = _beside(cte, body, scope)
        if beside is None:
            self._tell_reading(cte, body, scope, inner)
            return inner, _telling if scope.tied and inner.reading is not None else _as_it_comes
        inner.reading = beside
        return inner, numbered if lacks_rows(_select_of(cte)) else _telling

    def _by_queue(
        self, cte: exp.CTE, body: exp.SetOperation, name: str, names: list[str], scope: Scope
    ) -> Query | None:
        """The recursion over states of SQLite's queue, where that is what it takes."""
        if _is_queued(cte, body, name):
            return queued.queued(self.queries, name, names, body, scope)
        if _shows_order(cte, body):
            with suppress(Refused):  # what Postgres finds itself is the same but for its order
                return queued.queued(self.queries, name, names, body, scope, rounds=True)
        return None


def put_inside(node: exp.Insert) -> None:
    """WITH before INSERT ... SELECT put into the SELECT, so that its rows come in the order in which SQLite reads."""
    clause, body = node.args.get("with_"), node.expression
    if clause is None or not isinstance(body, (exp.Select, exp.SetOperation)) or body.args.get("with_"):
        return
    names = {cte.alias.lower() for cte in clause.expressions}
    rest = [part for part in (node.args.get("conflict"), node.args.get("returning")) if part is not None]
    if not any(table.name.lower() in names for part in rest for table in part.find_all(exp.Table)):
        body.set("with_", clause.pop())


def _used(node: exp.Expr, ctes: list[exp.CTE]) -> list[exp.CTE]:
    """The CTEs that something names, each behind those that it names itself: to SQLite all are there at once, and one
    that nobody names need not even be a query."""
    named = Counter(each.name.lower() for each in node.find_all(exp.Identifier))
    within = {id(cte): Counter(each.name.lower() for each in cte.find_all(exp.Identifier)) for cte in ctes}
    left = [cte for cte in ctes if named[cte.alias.lower()] > within[id(cte)][cte.alias.lower()]]
    ready: list[exp.CTE] = []
    while left:
        others = {id(cte): [one for one in left if one is not cte and _names(cte.this, one.alias)] for cte in left}
        at = next((at for at, cte in enumerate(left) if not others[id(cte)]), 0)  # the first of a ring
        ready.append(left.pop(at))
    return ready


def _is_queued(cte: exp.CTE, body: exp.SetOperation, name: str) -> bool:
    """Whether it takes a queue: ORDER BY, or several parts that are repeated, of which Postgres knows but one.

    Also where LIMIT takes the first rows of a UNION over a join, which Postgres finds in another order.
    """
    chain = operations(body)
    ahead = [leftmost(body), *(one.expression for one in chain[:-1])]
    if body.args.get("order") is not None or any(_names(arm, name) for arm in ahead):
        return True
    read, last = cte.parent_select, chain[-1].expression
    outside = read is not None and read.args.get("limit") is not None and read.args.get("order") is None
    cut = body.args.get("limit") is not None or outside
    return cut and not keeps_all(chain[-1]) and isinstance(last, exp.Select) and _joins(last)


def _shows_order(cte: exp.CTE, body: exp.SetOperation) -> bool:
    """Whether the answer shows in which order a UNION over a join finds its rows."""
    read, last = cte.parent_select, operations(body)[-1]
    if keeps_all(last) or not isinstance(last.expression, exp.Select) or not _joins(last.expression):
        return False
    if not isinstance(read, exp.Select) or read.parent is not None or read.args.get("order") or read.args.get("group"):
        return False
    called = {str(one.this) for part in read.expressions for one in part.find_all(exp.Anonymous)}
    return not called & _ANY_ORDER


def _joins(select: exp.Expr) -> bool:
    clause = select.args.get("from_")
    return bool(select.args.get("joins")) or (clause is not None and bool(clause.this.args.get("joins")))


def _is_idle_order(cte: exp.CTE, name: str, body: exp.SetOperation) -> bool:
    """Whether SQLite leaves out the ORDER BY of a recursion: where it is read with others, or is sorted again."""
    own = {id(table) for table in cte.find_all(exp.Table)}
    root = cte.root()
    read = next((one for one in root.find_all(exp.Table) if means_with(one, name) and id(one) not in own), None)
    select = read.parent_select if read is not None else None
    if body.args.get("order") is None or body.args.get("limit") or select is None:
        return False
    if any(str(one.this) not in _ANY_ORDER for one in select.find_all(exp.Anonymous) if functions.is_aggregate(one)):
        return False
    return (_joins(select) or select.args.get("order") is not None) and not windows.has_own(select)


_ANY_ORDER = frozenset(f"{FUNCTION_PREFIX}{name}" for name in ("count", "sum", "min", "max", "avg", "total"))
"""Aggregates that do not show in which order rows came."""


def _stops_early(cte: exp.CTE, bounds: exp.Expr) -> bool:
    """Whether it may be read no further than LIMIT or EXISTS wants, and have no end: then its rows cannot be sorted.

    They come in order all the same, round by round, as long as nothing is joined to them.
    """
    reads = cte.parent_select
    whole = reads is not None and (reads.parent is None or isinstance(reads.parent, exp.Insert))
    return not whole or bool(bounds.args.get("limit") or (reads is not None and reads.args.get("limit")))


def _names(node: exp.Expr, name: str) -> bool:
    """Whether a query reads something of that name."""
    return any(means_with(table, name) for table in node.find_all(exp.Table))


def renamed(columns: list[tuple[str | None, Typed]], names: list[str]) -> list[tuple[str | None, Typed]]:
    """Columns under the names that WITH gives them, if it does."""
    if names and len(names) != len(columns):
        raise Refused("A WITH of other columns than its query has")
    return [(name, typed) for name, (_, typed) in zip(names, columns, strict=True)] if names else columns


def _reads_only(cte: exp.CTE, name: str) -> bool:
    """Whether a CTE is all that its SELECT reads, and read nowhere else but in itself."""
    node = cte.parent_select
    clause = node.args.get("from_") if isinstance(node, exp.Select) else None
    if node is None or clause is None or not isinstance(clause.this, exp.Table):
        return False
    if node.args.get("joins") or clause.this.args.get("joins"):
        return False
    own = {id(table) for table in cte.find_all(exp.Table)}
    named = [one for one in node.find_all(exp.Table) if means_with(one, name) and id(one) not in own]
    return len(named) == 1 and named[0] is clause.this


def _as_it_comes(query: Query) -> Query:
    return query


def _telling(query: Query) -> Query:
    told = order_to_tell(query)
    return told if told.reads else numbered(told)


def _select_of(cte: exp.CTE) -> exp.Select | None:
    return cte.parent_select if isinstance(cte.parent_select, exp.Select) else None


def _beside(cte: exp.CTE, body: exp.Expr, scope: Scope) -> Reading | None:
    """How SQLite reads a CTE that is joined to others, once, in the SELECT that it stands before."""
    select, name = _select_of(cte), cte.alias.lower()
    if select is None or scope.reading is None or not _is_joined_once(cte, scope):
        return None
    if comes_sorted(body) and not lacks_rows(select):
        return None
    return scope.reading.beside(name)


def _is_joined_once(cte: exp.CTE, scope: Scope) -> bool:
    """Whether the SELECT that it stands before joins it to others, and nothing else in the statement reads it."""
    select, name, around = _select_of(cte), cte.alias.lower(), scope.parent
    if select is None or not _joins(select) or (around is not None and (around.parent is not None or around.sources)):
        return False
    return sum(table.name.lower() == name for table in cte.root().find_all(exp.Table)) == 1


def _loosened(column: SourceColumn) -> SourceColumn:
    """A column of a recursive CTE while its kind is known from the first arm alone."""
    column.not_null = False
    column.column = None
    return column
