"""Where in its text a statement is wrong. SQLite knows, but Python's sqlite3 does not tell; asked for failures only."""

from __future__ import annotations

import re
import sqlite3
from itertools import islice

from cutover.errors import StatementError
from cutover.schema.sqltokens import Token, tokens
from cutover.stores.sqlite.connection import compiled_anew

_SYNTAX = re.compile(r'near "(.+)": syntax error|unrecognized token: "(.+)"', re.DOTALL)
_NAMED = re.compile(r"no such (?:column|function): (?:.*\.)?(.+)|ambiguous column name: (?:.*\.)?(.+)")
_COMPILED = frozenset(("SELECT", "VALUES", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP"))
"""Verbs that EXPLAIN only compiles. Some PRAGMAs take effect while they are compiled."""
_PLACES = 64


def placed(error: StatementError, db: sqlite3.Connection, sql: str) -> StatementError:
    """The error with the offset in bytes of the offending word, if that is certain."""
    run = list(tokens(sql))
    at = _place(error.message, db, sql, run)
    if at is None:
        return error
    offset = len(sql[:at].encode("utf-8", "surrogatepass"))
    return StatementError(f"{error.message} (at offset {offset})", error.code, retry=error.retry)


def _place(message: str, db: sqlite3.Connection, sql: str, run: list[Token]) -> int | None:
    found = _SYNTAX.fullmatch(message)
    if found is not None:
        word = found[1] or found[2]
        places = list(islice((token for token in run if token.text == word), _PLACES))
        if len(places) > 1 and run[0].text.upper() in _COMPILED:
            places = [_first(message, db, sql, places)]
    else:
        found = _NAMED.fullmatch(message)
        word = (found[1] or found[2]) if found is not None else ""
        places = [token for token in run if token.text == word]
    return places[0].at if len(places) == 1 else None


def _first(message: str, db: sqlite3.Connection, sql: str, places: list[Token]) -> Token:
    """SQLite's parser stops at the first token that cannot follow: what comes after it makes no difference."""
    for token in places[:-1]:
        try:
            db.execute(compiled_anew(f"EXPLAIN {sql[: token.at + len(token.text)]}"))
        except (sqlite3.Error, sqlite3.Warning) as error:
            if str(error) == message:
                return token
    return places[-1]
