"""Subqueries that are one value, or a list behind IN, in the order in which SQLite numbers them: its plan tells how
each is read.

Its parser gives a number to each SELECT where it ends, so that those within come before those around them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from sqlglot import exp

from cutover.dialect.reading import Reading

_PLACE, _WITHIN, _LISTED = "scalar", "scalar of a view", "list"
_PARTS = ("with_", "expressions", "from_", "joins", "where", "group", "having", "windows", "order", "limit", "offset")


def number_scalars(root: exp.Expr) -> int:
    """Note on each such subquery which of them it is. Returns how many there are."""
    return _number(root, _PLACE, _is_value)


def number_lists(root: exp.Expr) -> int:
    """Note on each query behind IN which of them it is. Returns how many there are."""
    return _number(root, _LISTED, _is_listed)


def place_in_list(query: exp.Expr) -> int | None:
    """Which of the queries behind IN one is."""
    place = query.meta.get(_LISTED)
    return place if isinstance(place, int) else None


def _number(root: exp.Expr, note: str, wanted: Callable[[exp.Expr, str], bool]) -> int:
    count = 0
    for query in _queries(root, wanted):
        query.meta[note] = count
        count += 1
    return count


def place_of(query: exp.Expr) -> int | None:
    """Which of them a query is."""
    place = query.meta.get(_PLACE)
    return place if isinstance(place, int) else None


def split(read: Reading, selects: int) -> tuple[tuple[Reading, ...], dict[int, Reading]]:
    """What a plan tells of the values in a text with so many SELECTs, and of those in the only view that it names.

    A view's SELECTs are numbered behind those of the text, itself first.
    """
    pairs = list(zip(read.numbers, read.scalars, strict=True))
    own = tuple(reading for number, reading in pairs if number <= selects)
    return own, {number - selects - 1: reading for number, reading in pairs if number > selects + 1}


def number_within(view: exp.Select, names: Container[str]) -> None:
    """Note on each SELECT of a view its place, as SQLite numbers them where it puts the view into a statement: each
    before what is in it, FROM before the rest. Not where there is more than SELECTs, or another view (of `names`).
    """
    more = view.find(exp.SetOperation, exp.Values, exp.With) is not None
    if more or any(table.name.lower() in names for table in view.find_all(exp.Table)):
        return
    pending: list[exp.Expr] = [view]
    place = 0
    while pending:
        select = pending.pop()
        select.meta[_WITHIN] = place
        place += 1
        pending += reversed(_inside(select))


def place_within(query: exp.Expr) -> int | None:
    """Which of the SELECTs of a view a query is."""
    place = query.meta.get(_WITHIN)
    return place if isinstance(place, int) else None


def _inside(select: exp.Expr) -> list[exp.Expr]:
    """The SELECTs that stand right within another."""
    joins = select.args.get("joins") or []
    tables = [select.args.get("from_"), *(join.this for join in joins)]
    tests = [join.args.get("on") for join in joins]
    rest = [*select.expressions, select.args.get("where"), *tests]
    rest += [select.args.get(part) for part in ("group", "having", "order", "limit", "offset")]
    return [
        found
        for part in (*tables, *rest)
        if part is not None
        for found in part.walk(bfs=False, prune=lambda one: isinstance(one, exp.Select))
        if isinstance(found, exp.Select)
    ]


def _queries(root: exp.Expr, wanted: Callable[[exp.Expr, str], bool]) -> Iterator[exp.Expr]:
    """Those in `root` that stand where they are wanted, in that order. Without recursion: chains of operators are
    thousands deep."""
    pending: list[tuple[exp.Expr, bool, bool]] = [(root, False, False)]  # whether it is wanted, and has been entered
    while pending:
        node, value, entered = pending.pop()
        if entered:
            yield node
            continue
        query = isinstance(node, (exp.Query, exp.Values)) and not isinstance(node, exp.Subquery)
        if query and value:
            pending.append((node, value, True))
        inside = [(one, wanted(node, key)) for key, one in _children(node)]
        if isinstance(node, exp.Subquery):
            inside = [(one, value and not node.alias) for one, _ in inside]
        pending += [(one, value, False) for one, value in reversed(inside)]


def _children(node: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    """What a node is made of, in the order of its text."""
    parts = _PARTS if isinstance(node, exp.Select) else tuple(node.args)
    if isinstance(node, exp.Select) and isinstance(node.parent, exp.Exists):
        parts = tuple(part for part in parts if part != "expressions")  # which nobody reads, and no plan tells of
    for key in parts:
        given = node.args.get(key)
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, exp.Expr):
                yield key, one


def _is_value(node: exp.Expr, key: str) -> bool:
    """Whether a query that stands there is one value, and not rows."""
    if isinstance(node, (exp.From, exp.CTE, exp.With, exp.Insert, exp.Create, exp.Table, exp.SetOperation)):
        return False
    if isinstance(node, exp.Join):
        return key != "this"
    return not (isinstance(node, exp.In) and key in ("query", "field"))


def _is_listed(node: exp.Expr, key: str) -> bool:
    return isinstance(node, exp.In) and key == "query"
