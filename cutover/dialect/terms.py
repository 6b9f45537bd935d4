"""Terms of GROUP BY and ORDER BY: what they mean, and what serves them without a sort."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.earliest import is_fixed
from cutover.dialect.reading import IndexTerm, Scan
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Refused


def ordinal(term: exp.Expr, projections: list[exp.Expr]) -> exp.Expr:
    """GROUP BY 2 is the second projection."""
    if isinstance(term, exp.Literal) and not term.args["is_string"] and str(term.this).isdigit():
        number = int(str(term.this))
        if not 1 <= number <= len(projections):
            raise Refused(f"GROUP BY {number}")
        projection = projections[number - 1]
        return projection.this if isinstance(projection, exp.Alias) else projection
    return term


def served(terms: list[exp.Expr], scope: Scope, scans: tuple[Scan, ...]) -> list[tuple[exp.Expr, bool]] | None:
    """The terms of GROUP BY by which the groups come, each with whether downwards, where nothing is sorted for them:
    those that rows are read by. None: not known."""
    grouped: dict[tuple[int, str], exp.Expr] = {}
    for term in terms:
        named = scope.columns(term.name, term.table) if isinstance(term, exp.Column) else []
        if len(named) == 1:
            grouped[id(named[0][0]), named[0][1].name.lower()] = term
    by: list[tuple[exp.Expr, bool]] = []
    for scan in scans:
        sources = [source for source in scope.sources if source.is_called(scan.name)]
        if len(sources) != 1 or sources[0].table is None:
            break
        table = sources[0].table
        keys = [IndexTerm(name, descending=name in table.downwards, collation="") for name in table.place]
        seen = set()
        for part in (*scan.index, *keys):
            name = part.column.lower()
            found = grouped.get((id(sources[0]), name))
            if name in seen or (found is None and (name in scan.bound or is_fixed(name, sources[0], scope))):
                continue
            if found is None:
                return by or None
            seen.add(name)
            by.append((found, part.descending))
        # From here on each row of it is another group, whatever else of it is named.
    return by or None


def meant(term: exp.Expr, node: exp.Select, scope: Scope) -> object:
    """What tells whether two terms are the same: the column of what is in FROM, otherwise what is written."""
    if isinstance(term, exp.Literal) and not term.is_string and str(term.this).isdigit():
        shown, number = _shown(node, scope), int(str(term.this))
        return shown[number - 1] if 0 < number <= len(shown) else term
    if not isinstance(term, exp.Column):
        return term
    named = scope.columns(term.name, term.table)
    if not named and not term.table:
        called = {one.alias.lower(): one.this for one in node.expressions if isinstance(one, exp.Alias)}
        term = called.get(term.name.lower(), term)
        named = scope.columns(term.name, term.table) if isinstance(term, exp.Column) else []
    return (id(named[0][0]), named[0][1].name.lower()) if named else term


def _shown(node: exp.Select, scope: Scope) -> list[object]:
    """The columns of a result, those of a star one by one."""
    found: list[object] = []
    for projection in node.expressions:
        inner = projection.this if isinstance(projection, exp.Alias) else projection
        if isinstance(inner, exp.Literal) or not inner.is_star:
            found.append(inner if isinstance(inner, exp.Literal) else meant(inner, node, scope))
            continue
        whose = inner.table if isinstance(inner, exp.Column) else ""
        for source in scope.sources:
            if whose and not source.is_called(whose):
                continue
            twice = source.using if not whose else ()
            names = [one.name.lower() for one in source.columns if not one.hidden]
            found += [(id(source), name) for name in names if name not in twice]
    return found


def is_one_value(term: exp.Expr, scope: Scope) -> bool:
    """Whether a condition leaves a column but one value."""
    named = scope.columns(term.name, term.table) if isinstance(term, exp.Column) else []
    return len(named) == 1 and is_fixed(term.name, named[0][0], scope)


def groups_sorted_by(node: exp.Select, steps: Sequence[exp.Window]) -> list[exp.Expr]:
    """The terms that groups are sorted by: those of ORDER BY, or of the window that is computed first of them."""
    if steps:
        order = steps[-1].args.get("order")
        return [*(steps[-1].args.get("partition_by") or []), *(order.expressions if order else ())]
    order = node.args.get("order")
    return list(order.expressions) if order else []


def directions(node: exp.Select, steps: Sequence[exp.Window]) -> list[bool]:
    """For each term of GROUP BY whether SQLite sorts it downwards: as what groups are sorted by, if that is as long."""
    group, order = node.args["group"].expressions, groups_sorted_by(node, steps)
    if len(order) != len(group):
        return [False] * len(group)
    return [bool(term.args.get("desc")) for term in order]
