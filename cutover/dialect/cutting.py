"""LIMIT that takes some of rows which no ORDER BY tells apart, where only SQLite's hidden rowid tells which come first.

Postgres has no such rowid where the key of a table is no integer, and some plans say nothing of an order. Whether LIMIT
really cuts between such rows, the rows tell: the query is run for one row more at either end, and it is an error if
that row is equal to its neighbour by all that is certain of the order. Otherwise the answer is SQLite's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.earliest import is_fixed
from cutover.dialect.ordering import sort_key
from cutover.dialect.query import Query
from cutover.dialect.scope import Scope, Source
from cutover.dialect.typed import Kind, Typed, cast, helper, identifier
from cutover.model.table import UniqueIndex

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries
    from cutover.dialect.reading import Scan

_CAVEAT = "Fails if LIMIT takes some of rows that ORDER BY does not tell apart."
OF_GROUPS = "Fails if a group's rows differ in a column that is not grouped by."
_AT, _TIE = identifier("of:at"), identifier("of:tie")
_MOST = exp.Literal.number(1 << 62)


def loose(scope: Scope, order: list[exp.Expr]) -> list[Source]:
    """What in FROM gives several rows in an order that is not known, nor told by these terms of ORDER BY."""
    return [
        one for one in scope.sources if _may_be_loose(one, scope) and not (_tells(one, order) or _is_known(one, scope))
    ]


def _may_be_loose(source: Source, scope: Scope) -> bool:
    """Whether it gives several rows, in an order that is not known where no term of ORDER BY tells it. A query that is
    all there is in FROM gives them in an order of its own, which Postgres keeps."""
    if source.table is None and len(scope.sources) > 1:
        return not source.one_row
    return bool(source.table and source.table.key) or _is_loose(source, scope)


def _is_loose(source: Source, scope: Scope) -> bool:
    table = source.table
    if table is None:
        by_arms = source.by_arms and len(scope.sources) > 1
        return not source.one_row and (by_arms or any(column.loose for column in source.columns))
    return table.rowid_alias is None and not table.without_rowid and not _is_known(source, scope)


def _is_known(source: Source, scope: Scope) -> bool:
    """Whether a table gives one row, for each that stands around it."""
    table = source.table
    if table is None:
        return False
    keys = [(name, "") for name in table.key]
    return _finds_one(keys, source, scope) or any(
        _finds_one([(name, how) for name, (_, how) in zip(index.columns, index.terms, strict=True)], source, scope)
        for index in table.unique
        if not index.partial
    )


def _finds_one(terms: Sequence[tuple[str | None, str]], source: Source, scope: Scope) -> bool:
    """Whether all columns of a unique index, with their collations there, are given, none of which may be NULL."""
    bound = {pair for scan in _scans(scope) if source.is_called(scan.name) for pair in _bound(scan, source)}
    for name, collation in terms:
        column = source.find(name) if name is not None else None
        if column is None or not column.not_null:
            return False
        own = (column.collation or _BYTES).upper()
        as_fine = (_BYTES, collation.upper() or own)
        fixed = own in as_fine and is_fixed(column.name, source, scope)
        if not fixed and not any((column.name.lower(), by) in bound for by in as_fine):
            return False
    return True


_BYTES = "BINARY"


def _bound(scan: Scan, source: Source) -> set[tuple[str, str]]:
    """The columns that a loop searches by, with the collations in which they are equal to what is sought."""
    by = {part.column.lower(): part.collation for part in scan.index}
    found = [(name, source.find(name)) for name in scan.bound]
    own = {name: column.collation for name, column in found if column is not None}
    return {(name, (by.get(name) or own.get(name) or _BYTES).upper()) for name in scan.bound}


def _scans(scope: Scope) -> tuple[Scan, ...]:
    return (scope.reading.scans or ()) if scope.reading is not None else ()


def only_counts(scope: Scope) -> frozenset[str] | None:
    """Whether it is asked how many rows what stands in FROM has, or whether any, and nothing else: in which of its
    columns there may be no NULL, then."""
    select = scope.select
    if select is None or not scope.alone or any(map(select.args.get, ("where", "group", "having", "distinct"))):
        return None
    if scope.whichever:
        return None if scope.counted else frozenset()
    counts, names = False, set[str]()
    for node in (node for one in select.expressions for node in one.walk()):
        counts = counts or (isinstance(node, exp.Anonymous) and is_count(node)) or _is_counted(node)
        if isinstance(node, exp.Column) and _is_counted(node):
            names.add(node.name.lower())
        elif isinstance(node, _OF_ROWS) and not _is_counted(node):
            return None
    return frozenset(names) if counts else None


_OF_ROWS = (exp.Column, exp.Star, exp.Query, exp.Filter, exp.Window)


def _is_counted(node: exp.Expr) -> bool:
    """Whether count() is asked about the column, or about all rows."""
    call = node.parent
    counted = isinstance(call, exp.Anonymous) and str(call.this) == "fn_count"
    return counted and isinstance(node, (exp.Column, exp.Star))


def is_count(call: exp.Anonymous) -> bool:
    """Whether it is count(*)."""
    return str(call.this) == "fn_count" and (not call.expressions or isinstance(call.expressions[0], exp.Star))


def may_cut(queries: Queries, node: exp.Expr, scope: Scope, query: Query) -> bool:
    """Whether LIMIT takes some of rows that may differ, and it matters which."""
    shown = node.args.get("limit") is not None and not (query.one_row or scope.turning)
    if queries.context.catalog.any_of_ties:
        return False
    if scope.whichever and all(_has_no_null(name, query) for name in scope.counted):
        return False
    return shown and not all(typed.is_constant for _, typed in query.columns)


def _has_no_null(name: str, query: Query) -> bool:
    """Whether a column of the result is known to have a value in each row."""
    found = [typed.not_null for shown, typed in query.columns if (shown or "").lower() == name]
    return found == [True]


def guarded(
    queries: Queries, node: exp.Expr, scope: Scope, query: Query, order: list[exp.Expr], asked: int
) -> Query | None:
    """The query with its LIMIT, and an error where that cuts between rows in ties. None: it cannot.

    `order` is what it is sorted by, of which the first `asked` terms were written.
    """
    known = certain(scope, order, asked) if may_cut(queries, node, scope, query) else None
    if known is None or _shows(query, order[:known]):
        return None
    if query.node.args.get("order") is not None:
        query.node.set("order", exp.Order(expressions=order[:known]) if known else None)
    return checked(queries, node, query, order[:known])


def _shows(query: Query, terms: list[exp.Expr]) -> bool:
    """Whether rows that are equal by the terms are the same in the result."""
    by = {term.this for term in terms}
    varying = [typed for _, typed in query.columns if not typed.is_constant]
    return all(typed.node in by and typed.kind in (Kind.INT, Kind.REAL, Kind.TEXT) for typed in varying)


def certain(scope: Scope, order: list[exp.Expr], asked: int) -> int | None:
    """How many terms of ORDER BY are as SQLite has them, where they leave rows in ties that only it knows to sort."""
    unread = loose(scope, order)
    untold = [one for one in scope.sources if _is_loose(one, scope) or one in unread]
    untold = [one for one in untold if not _tells(one, order[:asked]) and not _is_known(one, scope)]
    while untold:
        known = asked + _certain(scope, untold, order[asked:])
        left = [source for source in untold if not _tells(source, order[:known])]
        if left == untold:
            return known
        untold = left
    return None


def _tells(source: Source, terms: list[exp.Expr]) -> bool:
    """Whether the terms tell the rows of a table or a query apart, or rows of a query that differ."""
    by = {each for term in terms for each in (term.this, *_of_some_rows(term.this))}
    table = source.table
    if table is None:
        shown = [column.name for column in source.columns if not column.hidden]
        if any(column.loose for column in source.columns):  # whose numbers are those of an order that is not known
            return _are_among(shown, source, by)
        told = [column.name for column in source.columns if column.tells is not None]
        return any(_are_among(names, source, by) for names in ([source.counted], told, shown) if any(names))
    unique = (each for each in table.unique if each.partial is None)
    return any(_are_among(names, source, by) for names in (table.key, table.place)) or any(
        _is_among(each, source, by) for each in unique
    )


def _is_among(index: UniqueIndex, source: Source, by: set[exp.Expr]) -> bool:
    """Whether the columns of a unique index are, in none of which there may be a NULL, each told at least as finely."""
    for name, (_, collation) in zip(index.columns, index.terms, strict=True):
        column = source.find(name) if name is not None else None
        if column is None or not column.not_null:
            return False
        typed, as_fine = source.typed(column), (column.collation or _BYTES).upper() in (_BYTES, collation.upper())
        if typed.node not in by and not (as_fine and sort_key(typed) in by):
            return False
    return True


def _are_among(names: Sequence[str], source: Source, by: set[exp.Expr]) -> bool:
    typed = [source.typed(column) for name in names if (column := source.find(name)) is not None]
    return len(typed) == len(names) > 0 and all(one.node in by or sort_key(one) in by for one in typed)


def _of_some_rows(term: exp.Expr) -> list[exp.Expr]:
    """What some rows are sorted by: those of one part of an OR, or that an outer join found nothing for."""
    return [branch.args["true"] for branch in term.args["ifs"]] if isinstance(term, exp.Case) else []


def _certain(scope: Scope, untold: list[Source], terms: list[exp.Expr]) -> int:
    """How many of the terms that nobody wrote are certain: those of the loops down to the first whose order is not
    known, of which an index is."""
    by: set[tuple[str, str]] = set()
    for scan in _scans(scope):
        named = [source for source in scope.sources if source.is_called(scan.name)]
        if len(named) != 1:
            break
        known = {part.column.lower() for part in scan.index}
        first = named[0] in untold
        names = [column for column in named[0].columns if column.name.lower() in known or not first]
        by |= {(named[0].alias, column.target) for column in names}
        if first:
            break
    count = 0
    for term in terms:
        used = {(column.table, column.name) for column in term.this.find_all(exp.Column)}
        if not used <= by:
            break
        count += 1
    return count


def checked(queries: Queries, node: exp.Expr, query: Query, order: list[exp.Expr]) -> Query:
    """The query with the LIMIT of `node`, which fails where that cuts between rows that `order` leaves in ties."""
    queries.context.caveats[_CAVEAT] = None
    width = len(query.columns)
    beside: list[tuple[str | None, Typed]] = [(None, Typed(term.this.copy(), Kind.NULL)) for term in order]
    more = Query(query.node, [*query.columns, *beside])
    if order:
        more.node.set("expressions", [typed.node for _, typed in more.columns])
    bounds = exp.Select()
    queries.ordering.limit(node, bounds)
    limit = bounds.args["limit"].expression
    offset = bounds.args["offset"].expression if bounds.args.get("offset") is not None else None
    one, two = exp.Literal.number(1), exp.Literal.number(2)
    wanted = exp.Add(this=exp.Anonymous(this="LEAST", expressions=[limit.copy(), _MOST.copy()]), expression=two)
    unlimited = exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=limit.copy(), expression=exp.Null())), true=wanted)])
    more.node.set("limit", exp.Limit(expression=unlimited))
    if offset is not None:
        before = exp.Sub(this=offset.copy(), expression=one.copy())
        least = exp.Anonymous(this="GREATEST", expressions=[before, cast(exp.Literal.number(0), "BIGINT")])
        more.node.set("offset", exp.Offset(expression=least))
    derived, source = queries.sources.derived(more, "cut")
    typed = [source.typed(column) for column in source.columns]
    terms = [
        exp.Ordered(this=one.node.copy(), desc=term.args.get("desc"), nulls_first=term.args.get("nulls_first"))
        for term, one in zip(order, typed[width:], strict=True)
    ]
    names = [column.target for column in source.columns[:width]]
    numbers = [
        exp.Alias(this=_window("row_number", terms), alias=_AT.copy()),
        exp.Alias(this=_window("rank", terms), alias=_TIE.copy()),
    ]
    middle = exp.Select(expressions=[*(one.node for one in typed[:width]), *numbers], from_=exp.From(this=derived))
    alias = exp.TableAlias(this=identifier("uncut"), columns=[*map(identifier, names), _AT.copy(), _TIE.copy()])
    result = exp.Select(
        expressions=[exp.Column(this=identifier(name), table=identifier("uncut")) for name in names],
        from_=exp.From(this=exp.Subquery(this=middle, alias=alias)),
        where=exp.Where(this=_within(limit, offset)),
        order=exp.Order(expressions=[exp.Ordered(this=exp.Column(this=_AT.copy()))]),
        offset=exp.Offset(expression=exp.Literal.number(0)),  # so that no WHERE around it passes over the row in ties
    )
    columns = [
        (name, was.but(node=node, constant=None, slot=None))
        for (name, was), node in zip(query.columns, result.expressions, strict=True)
    ]
    return Query(result, columns, loose=True)


def _within(limit: exp.Expr, offset: exp.Expr | None) -> exp.Expr:
    """Whether a row is one of those that are asked for. The one before them and the one behind may not be equal to
    the first and the last by what is certain: then its rank is not its number."""
    at, tie = exp.Column(this=_AT.copy()), exp.Column(this=_TIE.copy())
    zero: exp.Expr = exp.Literal.number(0)
    skipped: exp.Expr = zero
    if offset is not None:
        skipped = exp.Anonymous(this="LEAST", expressions=[offset.copy(), exp.Literal.number(1)])
    first = exp.EQ(this=at.copy(), expression=exp.Add(this=skipped.copy(), expression=exp.Literal.number(1)))
    last = exp.Sub(this=at.copy(), expression=skipped.copy())
    behind = exp.EQ(
        this=exp.Paren(this=exp.Sub(this=last.copy(), expression=exp.Literal.number(1))),
        expression=exp.Paren(this=limit),
    )
    cuts = exp.and_(
        exp.GT(this=at.copy(), expression=exp.Literal.number(1)),
        exp.Paren(this=exp.or_(first, behind)),
        exp.NEQ(this=at.copy(), expression=tie),
        exp.GT(
            this=exp.Coalesce(this=exp.Paren(this=limit.copy()), expressions=[exp.Literal.number(1)]),
            expression=zero.copy(),
        ),
    )
    among = exp.and_(
        exp.GT(this=at.copy(), expression=skipped.copy()),
        exp.Coalesce(
            this=exp.LTE(this=exp.Paren(this=last.copy()), expression=exp.Paren(this=limit.copy())),
            expressions=[exp.Boolean(this=True)],
        ),
    )
    return exp.Case(ifs=[exp.If(this=cuts, true=helper("cuts_ties", at.copy()))], default=among)


def _window(name: str, terms: list[exp.Ordered]) -> exp.Window:
    order = exp.Order(expressions=[term.copy() for term in terms]) if terms else None
    return exp.Window(this=exp.Anonymous(this=name), order=order)
