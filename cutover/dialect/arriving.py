"""In which order the rows of queries in FROM come, where that shows in what is made of them."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.calls import adds_up, gathers_in_order, shows_a_row, takes_equals
from cutover.dialect.query import Query, bare_query
from cutover.dialect.reading import Reading
from cutover.dialect.scope import NUMBER, OWN, Scope, Source, SourceColumn
from cutover.dialect.trees import keeps_all, means_with, operations, with_of
from cutover.dialect.typed import Kind, identifier


def numbered(target: exp.Expr, source: Source) -> exp.Expr:
    """With a column that numbers the rows of a query or a CTE as they come, which is in its order if it has one."""
    told = source.counted or any(column.tells is not None for column in source.columns)
    if source.table is not None or told or source.one_row:
        return target
    target.set("alias", exp.TableAlias(this=identifier("unnumbered"), columns=_columns_of(target)))
    place = exp.Window(this=exp.RowNumber())
    rows = exp.Select(
        expressions=[exp.Star(), exp.Alias(this=place, alias=identifier(NUMBER))], from_=exp.From(this=target)
    )
    source.columns.append(SourceColumn(NUMBER, NUMBER, Kind.INT, not_null=True))
    source.counted = NUMBER
    return exp.Subquery(this=rows, alias=exp.TableAlias(this=identifier(source.alias)))


def read_beside(scope: Scope, name: str, query: exp.Expr) -> Reading | None:
    """How SQLite reads a query that is joined to others, and gives its rows in the order of a SELECT."""
    if scope.alone or scope.parent is not None or scope.reading is None or not name:
        return None
    if comes_sorted(query) and not lacks_rows(scope.select):
        return None
    return scope.reading.beside(name)


def tell_order(query: Query) -> Query:
    """Have columns tell the order of its rows, where they can: what is asked of a query whose rows are numbered is
    never asked of what it reads, so that a few rows of a grouped query would take them all."""
    return order_to_tell(query).told()


def order_to_tell(query: Query) -> Query:
    """The same, before they are columns."""
    node = query.node
    order = node.args.get("order") if isinstance(node, exp.Select) else None
    if order is not None and not any(map(node.args.get, ("limit", "offset", "distinct"))):
        query.reads = {OWN: order.expressions}
        node.set("order", None)
    return query


def lacks_rows(select: exp.Select | None) -> bool:
    """Whether rows of what comes first in FROM may be missing: a number tells it, what it is sorted by may not."""
    return any(join.side.upper() in ("RIGHT", "FULL") for join in (select and select.args.get("joins")) or ())


def minds_order(scope: Scope) -> bool:
    """Whether the order of the rows in FROM shows in what is computed of them."""
    if scope.select is None:
        return False
    columns = scope.sources[0].columns
    whole = all(column.kind in (Kind.INT, Kind.BOOL) for column in columns)
    if gathers_in_order(scope.select) or shows_a_row(scope.select) or (not whole and adds_up(scope.select)):
        return True
    alike = any(column.collation not in (None, "BINARY") for column in columns)
    return (alike or scope.select.find(exp.Collate) is not None) and takes_equals(scope.select)


def written(table: exp.Table) -> exp.Expr | None:
    """The query of a WITH that does not refer to itself."""
    found = with_of(table)
    again = found is not None and any(means_with(one, table.name) for one in found.find_all(exp.Table))
    return found.this if found is not None and not again else None


def comes_sorted(query: exp.Expr | None) -> bool:
    """Whether SQLite makes a compound's rows differ by sorting them, last of all."""
    query = bare_query(query) if query is not None else None
    made = operations(query) if isinstance(query, exp.SetOperation) else []
    if query is None or not made or keeps_all(made[-1]):
        return False
    return not any(map(query.args.get, ("order", "limit", "with_")))


def _columns_of(target: exp.Expr) -> list[exp.Expr]:
    alias = target.args.get("alias")
    return list(alias.args.get("columns") or []) if alias is not None else []
