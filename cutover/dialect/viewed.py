"""The query of a view, for the statement that names it."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cutover.dialect import functions
from cutover.dialect.tokens import prepare
from cutover.dialect.typed import Refused

_LIFTED = "view"


def parsed_view(statement: str) -> exp.Create:
    """The tree of a CREATE VIEW. Raises `Refused`."""
    try:
        parsed = sqlglot.parse_one(prepare(statement, functions.NAMES).text, dialect="sqlite")
    except SqlglotError:
        raise Refused("The syntax of a view") from None
    if not isinstance(parsed, exp.Create):
        raise Refused("The syntax of a view")
    return parsed


def keep(table: exp.Table, view: exp.Create) -> exp.Create:
    """Remember what a view is where it is named there: a part of it may stand in the query around it."""
    table.meta[_LIFTED] = view
    return view


def kept(table: exp.Table) -> exp.Create | None:
    """What was remembered."""
    found = table.meta.get(_LIFTED)
    return found if isinstance(found, exp.Create) else None


def view_at(table: exp.Table, statement: str) -> exp.Create:
    """A view as it is read where it is named."""
    found = kept(table)
    return found.copy() if found is not None else parsed_view(statement)
