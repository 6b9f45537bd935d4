"""How SQLite reads for a query with LIMIT that stands within others: which rows it takes, that order tells."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.reading import Reading


def reading_of(node: exp.Expr, named: Sequence[tuple[str, Reading]]) -> Reading | None:
    """The plan's part for such a query, by the name that it has in FROM or WITH; None where that is not sure.

    `named`: the parts for all queries that have names.
    """
    if not named or node.args.get("limit") is None:
        return None
    name = _name_of(node)
    if name is None:
        return None
    if name:
        found = [reading for called, reading in named if called == name]
    else:
        found = [reading for called, reading in named if called.startswith("(subquery-")]
    alike = bool(found) and all(one == found[0] for one in found) and (bool(name) or len(found) == 1)
    return found[0] if alike and _is_only(name, node) else None


def _name_of(node: exp.Expr) -> str | None:
    """What a query is called in FROM, "" if it has no name there; None if that is not where it stands."""
    around = node.parent
    while (
        isinstance(around, (exp.Subquery, exp.Paren)) and not around.alias and isinstance(around.parent, _PARENTHESES)
    ):
        around = around.parent
    if isinstance(around, exp.Create):
        return str(around.this.this.name if isinstance(around.this, exp.Schema) else around.this.name).lower()
    if isinstance(around, exp.CTE):
        return around.alias.lower()
    if isinstance(around, exp.Subquery) and isinstance(around.parent, (exp.From, exp.Join)):
        return around.alias.lower()
    return None


_PARENTHESES = (exp.Subquery, exp.Paren, exp.CTE, exp.From, exp.Join)


def _is_only(name: str, node: exp.Expr) -> bool:
    """Whether no other query of the statement is called so."""
    called = [
        one.alias.lower()
        for one in node.root().find_all(exp.CTE, exp.Subquery)
        if isinstance(one, exp.CTE) or isinstance(one.parent, (exp.From, exp.Join))
    ]
    return called.count(name) <= 1
