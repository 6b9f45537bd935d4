"""Whether SQLite still knows that a text is JSON where it comes from a query in FROM.

It forgets it with every row that it stores or hands on. Where it merges the query into the one around it, what a
subquery gives as one value is known as before, and of what functions give that depends on where it is put.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.scope import Scope, Source
from cutover.dialect.typed import Typed


def remember(source: Source, name: str, scope: Scope) -> None:
    """Say of the columns of a query in FROM of `scope`, a view or a CTE of that `name`, what is known of them there."""
    if not any(column.json for column in source.columns):
        return
    stored = True if source.counted else _is_stored(name, source.alias, scope)
    if stored is None:
        return
    for at, column in enumerate(source.columns):
        if column.json:
            known = "" if stored else column.json_merged
            joined = not (stored or known or scope.alone)  # behind LEFT JOIN SQLite makes something else of a function
            source.columns[at] = replace(column, json="mixed" if joined else known)


def where_merged(typed: Typed) -> str:
    """What is known of a projection in a query that SQLite merges into the one around it (`Typed.json`)."""
    node = typed.node
    while isinstance(node, (exp.Alias, exp.Paren)):
        node = node.this
    if typed.json != "sure" or isinstance(node, (exp.Case, exp.Column)):
        return "mixed" if typed.json else ""
    return "sure" if isinstance(node, exp.Subquery) else ""


def _is_stored(name: str, alias: str, scope: Scope) -> bool | None:
    """Whether SQLite runs the query by itself, by its plan: it has it under its own name there, and by its alias where
    it is read. None: the plan does not say."""
    reading = scope.reading
    if reading is None or not reading.scans or scope.select is None or windows.has_own(scope.select):
        return None
    if reading.inside is not None:
        return True if scope.alone and reading.scans[0].name == alias else None
    if not reading.queries:
        return False
    read = [one for one, _ in reading.queries if one == name]
    return True if len(read) == 1 and any(scan.name == alias for scan in reading.scans) else None
