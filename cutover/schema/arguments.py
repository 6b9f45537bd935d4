"""Arguments of a statement put to its parameters, by SQLite's numbering. Pure."""

from __future__ import annotations

import sys
from functools import lru_cache

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.model.values import SqlValue
from cutover.schema.sqltext import Shape

_PREFIXES = (":", "@", "$")
_BY_NAME = sys.version_info >= (3, 12)  # newer drivers want a mapping for named parameters


def bind(shape: Shape, statement: Statement) -> tuple[SqlValue, ...]:
    """One value for each parameter number, lowest first.

    Raises `StatementError`: ARGS_INVALID if a value is missing or there are too many, ARGS_BOTH_POSITIONAL_AND_NAMED
    if both sorts are given.
    """
    wanted = len(shape.params)
    if not statement.named:
        if len(statement.args) == wanted:
            return statement.args
        raise StatementError(
            f"The statement has {wanted} parameters and {len(statement.args)} arguments were given.", "ARGS_INVALID"
        )
    if statement.args:
        raise StatementError("Give arguments either by position or by name.", "ARGS_BOTH_POSITIONAL_AND_NAMED")
    given = dict(statement.named)
    return tuple(_named(given, name, number) for number, name in enumerate(shape.params, 1))


def _named(given: dict[str, SqlValue], name: str | None, number: int) -> SqlValue:
    if name is None:
        raise StatementError(f"Parameter {number} has no name, and arguments were given by name.", "ARGS_INVALID")
    for spelling in (name, name[1:]):
        if spelling in given:
            return given[spelling]
    raise StatementError(f"There is no argument for the parameter {name}.", "ARGS_INVALID")


def for_driver(shape: Shape, values: tuple[SqlValue, ...]) -> tuple[SqlValue, ...] | dict[str, SqlValue]:
    """The same in the form that Python's sqlite3 takes without complaint."""
    if not _BY_NAME or not _all_named(shape.params):
        return values
    return {str(name)[1:]: value for name, value in zip(shape.params, values, strict=True)}


@lru_cache(maxsize=1024)
def _all_named(params: tuple[str | None, ...]) -> bool:
    named = [name for name in params if name is not None]
    return len(named) == len(params) and any(name[0] in _PREFIXES for name in named)
