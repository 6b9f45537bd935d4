"""UNION ALL that is all there is in FROM of a query with ORDER BY, or is joined to others there.

Rows that are in ties come SELECT by SELECT, and within one as they are read: SQLite makes one compound of both, and
merges what its SELECTs give, each sorted, or it sorts what they give one behind the other. Hidden columns tell both
places of a row, those of one SELECT being NULL in the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.calls import own_aggregates
from cutover.dialect.query import Query, bare_query
from cutover.dialect.reading import Reading
from cutover.dialect.scope import ARM, OWN, Scope
from cutover.dialect.trees import keeps_all, leftmost, operations
from cutover.dialect.typed import SQL_TYPE, Kind, Typed, cast

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries

KIND = "kind"
"""In the meta of a term: what kind its values are of, where it is those of what it sorts by."""


def arms_read(reading: Reading | None, select: exp.Expr | None, query: exp.Expr) -> tuple[Reading | None, ...]:
    """How the SELECTs of `query` are read for `select`, None where that is not known; empty: of none.

    Merged ones may be read backwards to give the order downwards.
    """
    made = bare_query(query)
    if reading is None or not isinstance(made, exp.SetOperation) or not isinstance(select, exp.Select):
        return ()
    if select.args.get("group") or any(map(own_aggregates, select.expressions)) or windows.has_own(select):
        return ()
    arms = reading.merged or (reading.inside.arms if reading.inside is not None else ())
    chain, order = operations(made), select.args.get("order")
    if order is None or any(map(made.args.get, ("order", "limit", "offset", "with_"))):
        return ()
    if not all(map(keeps_all, chain)) or len(chain) + 1 != len(arms):
        return ()
    downwards = bool(reading.merged) and any(term.args.get("desc") for term in order.expressions)
    return tuple(arm if arm.scans and (arm.orders or not downwards) else None for arm in arms)


def arms_joined(
    reading: Reading | None, select: exp.Expr | None, query: exp.Expr, is_table: Callable[[exp.Expr], bool]
) -> tuple[Reading | None, ...]:
    """How the SELECTs of `query` are read, each of which SQLite joins by itself to the tables in FROM; empty: it does
    not, or a SELECT reads what is called as one of these tables."""
    made = bare_query(query)
    if reading is None or not isinstance(made, exp.SetOperation) or not isinstance(select, exp.Select):
        return ()
    arms, chain = parts_read(reading), operations(made)
    if not all(map(keeps_all, chain)) or any(map(made.args.get, ("order", "limit", "offset", "with_"))):
        return ()
    first = select.args["from_"].this
    joins = [*(first.args.get("joins") or ()), *(select.args.get("joins") or ())]
    tables = [one for one in (first, *(join.this for join in joins)) if is_table(one)]
    if len(chain) + 1 != len(arms) or len(tables) != len(joins):
        return ()
    own = [_own(arm, {one.alias_or_name.lower() for one in tables}) for arm in arms]
    return tuple(own) if all(own) else ()


def _own(arm: Reading, others: set[str]) -> Reading | None:
    """Without the loops over these tables."""
    scans = [scan for scan in arm.scans or () if scan.name not in others]
    if arm.unmatched or len(scans) + len(others) != len(arm.scans or ()):
        return None
    return replace(arm, scans=tuple(scans), sorts=frozenset())


def parts_read(reading: Reading) -> tuple[Reading, ...]:
    """Of a compound, as its rows come: its SELECTs one behind the other, or each sorted as the whole is."""
    return reading.arms or (reading.merged if all("ORDER BY" in arm.sorts for arm in reading.merged) else ())


def tell_arms(queries: Queries, node: exp.SetOperation, scope: Scope, query: Query, arms: Sequence[Query]) -> None:
    """Have columns of the compound tell from which SELECT each row is, and where it stands in that."""
    written = [leftmost(node), *(one.expression for one in operations(node))]
    terms: list[tuple[int, exp.Expr]] = [(-1, exp.Ordered(this=exp.Literal.number(0), nulls_first=False))]
    terms[0][1].meta[ARM] = True
    for at, (one, reading) in enumerate(zip(written, scope.interleaved, strict=True)):
        if reading is not None and not arms[at].one_row:
            told, arms[at].loose = _read(queries, one, scope, reading)
            terms += [(at, term) for term in told]
    for place, (at, term) in enumerate(terms):
        for number, arm in enumerate(arms):
            value: exp.Expr = exp.Literal.number(number)
            if at >= 0:
                value = term.this.copy() if at == number else cast(exp.Null(), SQL_TYPE[term.meta[KIND]])
            arm.node.append("expressions", value)
        query.tells[len(query.columns)] = OWN, place, term
        query.columns.append((f"of:{len(query.columns)}", Typed(term.this.copy(), Kind.NULL)))


def _read(queries: Queries, node: exp.Expr, scope: Scope, reading: Reading) -> tuple[list[exp.Expr], bool]:
    """The order in which the rows of a SELECT are read, and whether it leaves some in ties."""
    query = queries.query(node, Scope(Scope(scope.parent, ctes=scope.ctes), reading=reading))
    order = query.node.args.get("order")
    told = takewhile(lambda term: KIND in term.meta, order.expressions if order is not None else ())
    return list(told), query.loose
