"""Temporary tables of applications: what tells them in a text, and what may not become of them.

They are their stream's, as SQLite's are their connection's: nobody else sees them, they are gone with the stream, and
neither captured nor mirrored. So a switch of the primary waits for them as for open transactions, and ends them then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cutover.errors import StatementError
from cutover.schema.createsql import unquote
from cutover.schema.sqltokens import Token, tokens

TEMP = "CREATE TEMP TABLE"
"""How the text of one begins where it is kept."""
_BEGIN = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE)
_GONE = "The stream's temporary tables went with a switch of the primary;"
_OTHERS = "Temporary views and triggers are not available through cutover: streams share connections."


def names_temporary(run: Sequence[Token]) -> bool:
    """Whether a statement that changes the schema names something of the temporary one."""
    return any(_is_temp(run, at) for at in range(1, min(len(run), 8)))


def why_not(run: Sequence[Token]) -> str:
    """Why one that does may not run; empty if it may."""
    kinds = {token.text.upper() for token in run[1:3] if token.type == "word"}
    return _OTHERS if kinds & {"VIEW", "TRIGGER"} else ""


def _is_temp(run: Sequence[Token], at: int) -> bool:
    name = run[at].text.upper().strip("\"'`[]")
    if name not in ("TEMP", "TEMPORARY"):
        return False
    named = run[at - 1].text.upper() in ("TABLE", "VIEW", "INDEX", "TRIGGER", "EXISTS")
    return at == 1 or (name == "TEMP" and named and at + 1 < len(run) and run[at + 1].type == "dot")


def kept(sql: str) -> str:
    """The text of one, which SQLite keeps as that of any table."""
    return _BEGIN.sub(TEMP, sql, count=1)


def is_kept(sql: str) -> bool:
    """Whether this is such a text."""
    return sql.startswith(TEMP)


def temporary_name(sql: str) -> str:
    """The name of the table that such a text makes; empty for any other text."""
    if not is_kept(sql):
        return ""
    named = next(token for at, token in enumerate(tokens(sql)) if at == 3)
    return unquote(named.text)


def lasting(statements: Iterable[str]) -> list[str]:
    """The same schema with ordinary tables in their place."""
    return [f"CREATE TABLE{sql[len(TEMP) :]}" if is_kept(sql) else sql for sql in statements]


def gone() -> StatementError:
    """A switch took them away."""
    return StatementError(f"{_GONE} make them again.", "SQLITE_BUSY")


def shared(name: str) -> StatementError:
    """One has the name of something that is not temporary."""
    text = f"A temporary table cannot have the name of another table or view here: {name}."
    return StatementError(text, "SQLITE_AUTH")
