"""INSERT INTO a SELECT * FROM b, where SQLite takes the records of one table over to another of the same shape as they
are: in the order of their keys, and with their hidden rowids where the other one is empty."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.schema.createsql import unquote
from cutover.schema.sqlite_schema import free_rowid_name, quoted
from cutover.schema.sqltokens import Token, tokens

if TYPE_CHECKING:
    from cutover.dialect.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Move:
    """Such a statement, as its text says; whether the tables are of one shape is for SQLite to say."""

    head: str
    """Up to SELECT."""
    into: str
    origin: str
    origin_text: str
    """As the statement has it in FROM, with its alias."""
    called: str
    """What the statement calls it."""


def move(sql: str) -> Move | None:
    """The parts of the statement; None for one of any other form."""
    if "*" not in sql or "into" not in sql.lower():  # as most texts tell without being cut into tokens
        return None
    run = [token for token in tokens(sql) if token.type != "semi"]
    words = [token.text.upper() for token in run]
    if not words or words[0] not in ("INSERT", "REPLACE") or "SELECT" not in words or "INTO" not in words:
        return None
    into_at, at = words.index("INTO") + 1, words.index("SELECT")
    into, before = _name(run[into_at:at])
    origin, behind = _name(run[at + 3 :])
    if into is None or before or origin is None or words[at : at + 3] != ["SELECT", "*", "FROM"]:
        return None
    alias = behind[1:] if behind and behind[0].text.upper() == "AS" else behind
    if len(alias) != bool(behind) or (alias and alias[0].type not in ("word", "quoted")):
        return None
    end = run[-1].at + len(run[-1].text)
    return Move(sql[: run[at].at], into, origin, sql[run[at + 3].at : end], unquote(alias[0].text) if alias else origin)


def _name(run: list[Token]) -> tuple[str | None, list[Token]]:
    """The table that is named first, perhaps with its database, and what follows."""
    at = 2 if len(run) > 2 and run[1].type == "dot" else 0
    if len(run) <= at or run[at].type not in ("word", "quoted"):
        return None, run
    return unquote(run[at].text), run[at + 1 :]


def keeps_rowids(db: sqlite3.Connection, sql: str, moving: Move) -> bool:
    """Whether SQLite takes records over, if the table is empty, and otherwise stores them row by row: a program for
    both opens what it reads from twice."""
    page = db.execute("SELECT rootpage FROM sqlite_master WHERE lower(name) = lower(?)", (moving.origin,)).fetchone()
    db.execute("PRAGMA foreign_keys = ON")  # which SQLite looks after row by row
    try:
        program = db.execute(f"EXPLAIN {sql}").fetchall()
    finally:
        db.execute("PRAGMA foreign_keys = OFF")
    return page is not None and sum(step[1] == "OpenRead" and step[3] == page[0] for step in program) > 1


def with_rowids(sql: str, catalog: Catalog) -> str:
    """The statement with the rowids written out that SQLite would take over."""
    moving = move(sql)
    if moving is None or moving.into.lower() not in catalog.tables or moving.origin.lower() not in catalog.tables:
        return sql
    into, origin = catalog.table(moving.into), catalog.table(moving.origin)
    hidden = all(any(column.hidden for column in table.columns) for table in (into, origin))
    read = catalog.reading(sql) if hidden else None
    if read is None or not read.keeps_rowids:
        return sql
    names = [[column.name for column in table.columns if not column.hidden] for table in (into, origin)]
    new, old = map(free_rowid_name, names)
    called = quoted(moving.called)
    rowid = f"CASE WHEN NOT EXISTS (SELECT 1 FROM {quoted(moving.into)}) THEN {called}.{old} END"
    columns = ", ".join(map(quoted, names[0]))
    return f"{moving.head}({new}, {columns}) SELECT {rowid}, {called}.* FROM {moving.origin_text}"
