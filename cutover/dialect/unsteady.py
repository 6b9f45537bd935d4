"""What a schema must not ask the clock for: SQLite takes such an index, CHECK or generated column, and then fails with
each row that it is about. Postgres would go on, and the rows could never come back to SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cutover.dialect.typed import Refused
from cutover.schema.createsql import unquote
from cutover.schema.sqltokens import Token, tokens

if TYPE_CHECKING:
    from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable

_CALLS = frozenset({"date", "time", "datetime", "julianday", "unixepoch", "strftime"})
_UNSTEADY = frozenset({"now", "localtime", "utc"})


def demand_steady(before: SqliteSchema, after: SqliteSchema) -> None:
    """Raise `Refused` for what the change brings that asks the clock, or which zone the machine is in."""
    known = {found for table in before.tables for found in _found(table)}
    for table in after.tables:
        for call, where in _found(table):
            if (call, where) not in known:
                raise Refused(
                    f"{call}() of the clock or the time zone in {where}, with which SQLite fails for each row,"
                )


def _found(table: SqliteTable) -> Iterator[tuple[str, str]]:
    parts = [("a CHECK constraint", check) for check in table.checks]
    parts += [("a generated column", column.generated) for column in table.columns if column.generated]
    for index in table.indexes:
        parts += [("an index", term) for term, _, _ in index.terms] + [("an index", index.partial or "")]
    for where, text in parts:
        call = asks_the_clock(text)
        if call:
            yield call, where


def asks_the_clock(text: str) -> str:
    """The function in an expression that does; empty if none does."""
    run = list(tokens(text))
    for at, token in enumerate(run[:-1]):
        name = token.text.lower()
        if token.type == "word" and name in _CALLS and run[at + 1].type == "open":
            given = _arguments(run[at + 2 :])
            least = 2 if name == "strftime" else 1
            words = {unquote(one.text).lower() for part in given for one in part if one.type == "string"}
            if len(given) < least or words & _UNSTEADY:
                return name
    return ""


def _arguments(run: list[Token]) -> list[list[Token]]:
    """What stands in parentheses that were just opened."""
    depth, given = 0, list[list[Token]]()
    for token in run:
        if token.type == "close" and depth == 0:
            break
        depth += (token.type == "open") - (token.type == "close")
        if token.text == "," and depth == 0:
            given.append([])
        else:
            given = given or [[]]
            given[-1].append(token)
    return given
