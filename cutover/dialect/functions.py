"""Scalar functions with SQLite's results."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import choices, formats, json_functions, mathematics, numbers, strings
from cutover.dialect.comparing import text, value
from cutover.dialect.context import CHANGES, LAST_INSERT_ROWID, TOTAL_CHANGES
from cutover.dialect.mathematics import Function
from cutover.dialect.strings import node_of
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import (
    NUMBERS,
    Kind,
    Refused,
    Typed,
    cast,
    helper,
    literal,
)

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

AGGREGATES = frozenset({"count", "sum", "avg", "total", "min", "max", "group_concat"})
WINDOW_ONLY = frozenset(
    {"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
     "last_value", "nth_value"}
)  # fmt: skip


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a call is of an aggregate (or window) function; min and max are with one argument only."""
    if not isinstance(node, exp.Anonymous) or not str(node.this).startswith(FUNCTION_PREFIX):
        return False
    name = str(node.this).removeprefix(FUNCTION_PREFIX)
    if name in ("min", "max"):
        return len(node.expressions) == 1
    return name in AGGREGATES or name in WINDOW_ONLY or name in json_functions.AGGREGATES


def now(kind: type[exp.Expr]) -> Typed:
    """CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME: text in UTC."""
    name = "date" if kind is exp.CurrentDate else ("time" if kind is exp.CurrentTime else "datetime")
    return Typed(helper(name, exp.Literal.string("now")), Kind.TEXT, not_null=True)


def scalar(name: str, arguments: list[Typed], expressions: Expressions) -> Typed:
    """A call of a scalar function. Raises `Refused` for those without translation."""
    function = SCALARS.get(name)
    if function is None:
        raise Refused(f"The function {name}()")
    return function(expressions, arguments)


def _date(name: str, kind: Kind = Kind.TEXT) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        given = [_moment(argument) for argument in arguments] or [exp.Literal.string("now")]
        return Typed(helper(name, *given), kind)

    return build


def _moment(argument: Typed) -> exp.Expr:
    """A point in time or a modifier. Numbers are told apart from dates by their text, with all their digits."""
    inner = value(argument)
    return cast(inner.node, "TEXT") if inner.kind in NUMBERS else node_of(text(inner))


def _strftime(_: Expressions, arguments: list[Typed]) -> Typed:
    if not arguments:
        return Typed(exp.Null(), Kind.NULL)
    given = [node_of(text(arguments[0])), *map(_moment, arguments[1:])]
    return Typed(helper("strftime", *given, *([exp.Literal.string("now")] if len(given) == 1 else [])), Kind.TEXT)


def _random(_: Expressions, _arguments: list[Typed]) -> Typed:
    return Typed(helper("random"), Kind.INT, not_null=True)


def _blob_of(name: str) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        size = numbers.integer(arguments[0]).node
        given = exp.Coalesce(this=size, expressions=[cast(exp.Literal.number(0), "BIGINT")])
        return Typed(helper(name, given), Kind.BLOB, not_null=True)

    return build


def _of_library(name: str) -> Function:
    """What SQLite tells of itself, and so by itself."""

    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        given = [argument.constant for argument in arguments]
        if None in given:
            raise Refused(f"{name}() of what is not written out")
        with closing(sqlite3.connect(":memory:")) as db:
            places = ", ".join("?" * len(given))
            return literal(db.execute(f"SELECT {name}({places})", given).fetchone()[0])

    return build


def _memory(slot: int) -> Function:
    def build(expressions: Expressions, _arguments: list[Typed]) -> Typed:
        return Typed(expressions.context.use(slot, "BIGINT"), Kind.INT, not_null=True)

    return build


SCALARS: dict[str, Function] = {
    **json_functions.SCALARS,
    **mathematics.FUNCTIONS,
    **formats.FUNCTIONS,
    **strings.FUNCTIONS,
    **choices.FUNCTIONS,
    "last_insert_rowid": _memory(LAST_INSERT_ROWID),
    "changes": _memory(CHANGES),
    "total_changes": _memory(TOTAL_CHANGES),
    "random": _random,
    "randomblob": _blob_of("randomblob"),
    "zeroblob": _blob_of("zeroblob"),
    "date": _date("date"),
    "time": _date("time"),
    "datetime": _date("datetime"),
    "julianday": _date("julianday", Kind.REAL),
    "unixepoch": _date("unixepoch", Kind.INT),
    "strftime": _strftime,
    **{name: _of_library(name) for name in ("sqlite_version", "sqlite_source_id", "sqlite_compileoption_used")},
}

NAMES = frozenset(SCALARS) | json_functions.AGGREGATES | AGGREGATES | WINDOW_ONLY
"""Every function that is hidden from the parser."""
