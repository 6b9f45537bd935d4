"""Calls of aggregate functions as they are written: where there are any, their arguments, and whose they are."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect import functions, json_functions, windows
from cutover.dialect.scope import Scope
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.trees import flatten, unparen


def owner_of(node: exp.Anonymous, scope: Scope) -> Scope:
    """The SELECT that an aggregate is one of: an outer one, if its arguments name columns of that one alone."""
    columns = [
        column
        for argument in arguments_of(node)[0]
        for column in argument.walk(prune=lambda inner: isinstance(inner, exp.Query))
        if isinstance(column, exp.Column) and not isinstance(column.this, exp.Star)
    ]
    at: Scope | None = scope
    while at is not None and columns:
        if any(at.columns(column.name, column.table) or column.name.lower() in at.aliases for column in columns):
            return at
        at = at.parent
    return scope


def arguments_of(node: exp.Expr) -> tuple[list[exp.Expr], bool, list[exp.Expr]]:
    """Arguments (a star is none), whether they are DISTINCT, and the terms of an ORDER BY among them."""
    arguments = [argument for argument in node.expressions if not isinstance(argument, exp.Star)]
    order: list[exp.Expr] = []
    if arguments and isinstance(arguments[-1], exp.Order):
        order = list(arguments[-1].expressions)
        arguments[-1] = arguments[-1].this
    if arguments and isinstance(arguments[0], exp.Distinct):
        return [*arguments[0].expressions, *arguments[1:]], True, order
    return arguments, False, order


def own_aggregates(node: exp.Expr) -> list[exp.Anonymous]:
    """Aggregate calls of this SELECT itself: not of its subqueries, and not those that OVER makes window calls."""
    found = []
    pending = [node]
    while pending:
        one = pending.pop()
        if isinstance(one, (exp.Select, exp.SetOperation)) or is_dropped(one):
            continue
        inner: list[exp.Expr] = list(one.iter_expressions())
        if isinstance(one, exp.Window):
            called = one.this.this if isinstance(one.this, exp.Filter) else one.this
            inner = [part for part in inner if part is not one.this] + list(called.expressions)
        elif functions.is_aggregate(one):
            assert isinstance(one, exp.Anonymous)
            found.append(one)
            continue
        pending += inner
    return found


def is_dropped(node: exp.Expr) -> bool:
    """Whether SQLite forgets what a test is made of as soon as it is read, aggregates too: `x IN ()` and `0 AND x`."""
    if isinstance(node, exp.In):
        return not node.expressions and not node.args.get("query") and not node.args.get("field")
    return isinstance(node, exp.And) and any(_is_zero(unparen(part)) for part in flatten(node))


def _is_zero(node: exp.Expr) -> bool:
    if isinstance(node, exp.Literal):
        return node.is_int and int(str(node.this)) == 0
    return isinstance(node, exp.And) and is_dropped(node)


def gathers(node: exp.Expr) -> bool:
    """Whether an expression asks for other rows by an aggregate or a window that is not a subquery's."""
    return bool(own_aggregates(node)) or next(windows.own(node), None) is not None


_IN_ROW_ORDER = frozenset(FUNCTION_PREFIX + name for name in ("group_concat", *json_functions.AGGREGATES))
SUMS = frozenset({"sum", "avg", "total"})
_EXTREMES = frozenset(FUNCTION_PREFIX + name for name in ("min", "max"))
_SUMS = frozenset(FUNCTION_PREFIX + name for name in SUMS)


def gathers_in_order(node: exp.Select) -> bool:
    """Whether a SELECT has windows, or aggregates, of its own to which the order of its rows matters."""
    return windows.has_own(node) or _calls_any(node, _IN_ROW_ORDER)


def adds_up(node: exp.Select) -> bool:
    """Whether a SELECT adds up what may be reals, of which sums tell in their last digits in which order they came."""
    return _calls_any(node, _SUMS)


def _calls_any(node: exp.Select, names: frozenset[str]) -> bool:
    parts = [*node.expressions, *(node.args[part] for part in ("having", "order") if node.args.get(part))]
    return any(str(call.this) in names for part in parts for call in own_aggregates(part))


def takes_equals(node: exp.Select) -> bool:
    """Whether a SELECT takes one of values that are equal: by groups, min() or max(), where texts may be under a
    collation by which others are the same."""
    return node.args.get("group") is not None or _calls_any(node, _EXTREMES)


def shows_a_row(node: exp.Select) -> bool:
    """Whether a SELECT shows columns that it does not group by beside aggregates: those of some row."""
    group = node.args.get("group")
    terms: list[exp.Expr] = list(group.expressions) if group is not None else []
    if not terms and not any(map(own_aggregates, node.expressions)):
        return False
    places = {int(str(term.this)) for term in terms if isinstance(term, exp.Literal) and str(term.this).isdigit()}
    names = {term.name.lower() for term in terms if isinstance(term, exp.Column)}
    shown = [
        one.unalias()
        for at, one in enumerate(node.expressions, 1)
        if at not in places and one.alias.lower() not in names
    ]
    return any(_has_bare_column(one, terms, names) for one in shown)


def _has_bare_column(node: exp.Expr, terms: list[exp.Expr], names: set[str]) -> bool:
    pending = [node]
    while pending:
        one = pending.pop()
        if one in terms or isinstance(one, exp.Query) or functions.is_aggregate(one):
            continue
        if isinstance(one, exp.Star) or (isinstance(one, exp.Column) and one.name.lower() not in names):
            return True
        pending += one.iter_expressions()
    return False
