"""Where SQLite ends a SELECT with the first row it reads: one that asks for the only min() or max() of a table.

It does so where rows come in the order of the argument. Without any value in them, that first row is the one that bare
columns are taken from; in any other case it is the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.generated import same_as_indexed
from cutover.dialect.reading import IndexTerm, Scan
from cutover.dialect.scope import Scope, Source
from cutover.dialect.trees import conjuncts, unparen


def nulls_come_at_once(argument: exp.Expr, scope: Scope, *, is_max: bool) -> bool:
    """Whether, of rows in which `argument` is NULL, the first is all that is read, in the order of reading."""
    if len(scope.sources) != 1:
        return False
    source = scope.sources[0]
    asked = source.find(argument.name) if isinstance(argument, exp.Column) else None
    if asked is not None and any(_is_null(test) and source.find(test.this.name) is asked for test in _tests(scope)):
        return True
    down = _index_of(argument, scope)
    return down is not None and down == is_max


def comes_backwards(argument: exp.Expr, scope: Scope, *, is_max: bool) -> bool:
    """Whether an index is read backwards for it, so that of rows with the extreme the last is met first."""
    down = _index_of(argument, scope)
    fixed = isinstance(argument, exp.Column) and any(_fixes(test, argument.name) for test in _tests(scope))
    return down not in (None, is_max) and not fixed


def _index_of(argument: exp.Expr, scope: Scope) -> bool | None:
    """Whether what is read in the order of the argument goes downwards; None if nothing is."""
    scans = scope.reading.scans if scope.reading is not None else None
    if len(scope.sources) != 1 or not scans or len(scans) != 1:
        return None
    source = scope.sources[0]
    if not isinstance(argument, exp.Column):
        return _direction_of_computed(argument, scans[0])
    asked = source.find(argument.name)
    if asked is None or asked.name.lower() in scans[0].bound:  # by IN, one value after the other
        return None
    return _direction(asked.name, source, scans[0], _tests(scope))


def _direction_of_computed(argument: exp.Expr, scan: Scan) -> bool | None:
    """The same for what an index is over: the first of its terms, of which it is read in the order."""
    first = scan.index[0] if scan.index else None
    if first is None or not first.computed or "<expr>" in scan.bound:
        return None
    return first.descending if same_as_indexed(argument, first.column) else None


def finds_one(scan: Scan, source: Source) -> bool:
    """Whether a loop is for the row of a key."""
    if source.table is None or scan.index or not source.is_called(scan.name):
        return False
    return {name.lower() for name in source.table.place} <= _bound(scan, source)


def tells_apart(index: Sequence[IndexTerm], source: Source) -> bool:
    """Whether no two rows of a table are the same by all terms of an index: those of a unique one are among them."""
    by = {part.column.lower(): part.collation.upper() for part in index if not part.computed}
    for each in source.table.unique if source.table is not None and by else ():
        if each.partial is not None or each.lacks:
            continue
        pairs = [(name or "", how.upper()) for name, (_, how) in zip(each.columns, each.terms, strict=True)]
        found = [source.find(name) if name and by.get(name.lower()) in (how, "BINARY") else None for name, how in pairs]
        if all(column is not None and column.not_null for column in found):
            return True
    return False


def _bound(scan: Scan, source: Source) -> frozenset[str]:
    """The columns that it is searched by for equal values, the rowid by its own name."""
    alias = source.table.rowid_alias if source.table is not None else None
    return scan.bound | {alias.lower()} if alias and "rowid" in scan.bound else scan.bound


def is_fixed(column: str, source: Source, scope: Scope) -> bool:
    """Whether a condition leaves but one value of a column of what stands in FROM, in all rows."""
    select = scope.select
    if select is None:
        return False
    where = select.args.get("where")
    parts = [join.args.get("on") for join in select.args.get("joins") or [] if not join.side]
    parts += [where.this] if where is not None else []
    tests = [unparen(test) for part in parts if part is not None for test in conjuncts(part)]
    named = [one for test in tests if _fixes(test, column) for one in test.find_all(exp.Column)]
    return any(not one.table or source.is_called(one.table) for one in named if one.name.lower() == column.lower())


def _tests(scope: Scope) -> list[exp.Expr]:
    return [unparen(test) for tests in scope.tests for test in conjuncts(tests)]


def _direction(name: str, source: Source, scan: Scan, tests: list[exp.Expr]) -> bool | None:
    """Whether the index that is read goes downwards by the column; None if rows do not come in its order."""
    for part in scan.index:
        if part.column.lower() == name.lower():
            column = source.find(name)
            own = (column.collation if column is not None else None) or "BINARY"
            return part.descending if part.collation.upper() == own.upper() else None
        if part.column.lower() not in scan.bound and not any(_fixes(test, part.column) for test in tests):
            return None
    return None


Asked = list[tuple[object, bool]]
"""What is sorted by: what tells columns of sources apart, and whether downwards."""


def inner_backwards(asked: Asked, source: Source | None, scan: Scan) -> bool:
    """Whether the innermost loop is read backwards: each time that it runs, its rows come in the order that is asked
    for, though all of them together do not, and are sorted."""
    if source is None or source.table is None or scan.ways or scan.sought is not None:
        return False
    keys = [IndexTerm(name, descending=False, collation="") for name in source.table.place]
    bound = _bound(scan, source)
    pending = [(what, down) for what, down in asked if what not in {(id(source), name) for name in bound}]
    turned: bool | None = None
    for part in (*scan.index, *keys):
        name = part.column.lower()
        if name in bound or not pending:
            continue
        what, down = pending[0]
        if what != (id(source), name) or (turned is not None and turned != (down != part.descending)):
            return False
        turned = down != part.descending
        pending.pop(0)
    return bool(turned) and not pending


def _is_null(test: exp.Expr) -> bool:
    return isinstance(test, exp.Is) and isinstance(test.expression, exp.Null) and isinstance(test.this, exp.Column)


def _fixes(test: exp.Expr, column: str) -> bool:
    """Whether a condition leaves but one value of a column, by the column's own collation."""
    if not isinstance(test, exp.EQ):
        return _is_null(test) and test.this.name.lower() == column.lower()
    if any(one.expression.name.upper() != "BINARY" for one in test.find_all(exp.Collate)):
        return False
    sides = (test.this, test.expression)
    return any(
        isinstance(one, exp.Column) and one.name.lower() == column.lower() and other.find(exp.Column) is None
        for one, other in (sides, sides[::-1])
    )
