"""What SQLite lists of its schema, without what is cutover's. Pure.

The tables, triggers and counters of capture stand in the application's own file. A tool that lists tables, to dump them
or to find what its models lack, would take them for the application's. So where a statement of an application reads
such a list, it reads a subquery of it; that way it sees its own uncommitted changes, and may join it with data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from cutover.schema.createsql import keyword, unquote
from cutover.schema.sqltokens import Token, tokens

OWN = "_cutover_"
"""What the names of cutover's own tables and triggers begin with."""

_COUNTERS = (  # which SQLite has only where a table counts; cutover's does
    "(name <> 'sqlite_sequence' OR EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' "
    f"AND substr(name, 1, 9) <> '{OWN}' AND sql LIKE '%AUTOINCREMENT%'))"
)
_OBJECTS = f"substr(name, 1, 9) <> '{OWN}' AND substr(tbl_name, 1, 9) <> '{OWN}' AND {_COUNTERS}"
_LISTS = {
    "sqlite_master": ("type, name, tbl_name, rootpage, sql", _OBJECTS),
    "sqlite_schema": ("type, name, tbl_name, rootpage, sql", _OBJECTS),
    "sqlite_sequence": ("name, seq", f"substr(name, 1, 9) <> '{OWN}'"),
    "pragma_table_list": ('"schema", name, type, ncol, wr, strict', f"substr(name, 1, 9) <> '{OWN}' AND {_COUNTERS}"),
}
_ROWID = frozenset({"rowid", "_rowid_", "oid"})
_BEFORE = ("FROM", "JOIN", ",", "(")
_BEHIND = frozenset(
    {"", "WHERE", "JOIN", "ON", "USING", "LEFT", "INNER", "CROSS", "NATURAL", "RIGHT", "FULL", "GROUP", "ORDER"}
    | {"LIMIT", "UNION", "EXCEPT", "INTERSECT", "WINDOW", "HAVING", "OUTER", "OFFSET", "RETURNING"}
)
"""Words that are no alias."""


def is_list(token: Token) -> bool:
    """Whether it names something in which SQLite lists its schema."""
    return token.type in ("word", "quoted") and unquote(token.text).lower() in _LISTS


@lru_cache(maxsize=512)
def without_own(sql: str) -> str:
    """A statement that names a list, reading it without what is cutover's. What SQLite makes of it need not be right:
    where it cannot be compiled, neither can the statement, or it says something rare that only the list itself has."""
    run = list(tokens(sql))
    if run and keyword(run[0]) == "PRAGMA":
        return _pragma(run) or sql
    numbered = any(token.type in ("word", "quoted") and unquote(token.text).lower() in _ROWID for token in run)
    text, end = "", 0
    for first, last, columns in _changes(run, numbered=numbered):
        text += sql[end : run[first].at] + columns
        end = run[last].at + len(run[last].text)
    return text + sql[end:]


def _changes(run: Sequence[Token], *, numbered: bool) -> Iterator[tuple[int, int, str]]:
    """First and last token of what is replaced, and by what. `numbered`: the statement speaks of rowids."""
    only = _only_source(run) if numbered else ""
    for at, token in enumerate(run):
        if only and token.text == "*" and (keyword(run[at - 1]) or run[at - 1].text) in ("SELECT", ","):
            yield at, at, _LISTS[only][0]
        elif is_list(token) and (found := _source(run, at)) is not None:
            first, last = found
            name = unquote(token.text).lower()
            columns, wanted = _LISTS[name]
            if numbered and not name.startswith("pragma_"):
                columns = f"rowid, {columns}"
            after = run[last + 1] if last + 1 < len(run) else None
            named = after is not None and (after.type == "quoted" or keyword(after) not in _BEHIND)
            listed = f"(SELECT {columns} FROM {name} WHERE {wanted})"
            yield first, last, listed if named else f'{listed} AS "{name}"'


def _source(run: Sequence[Token], at: int) -> tuple[int, int] | None:
    """First and last token of a list that a query reads, with its database's name and empty parentheses."""
    last = at
    if at + 1 < len(run) and run[at + 1].type == "dot":
        return None  # a column of it
    if at + 1 < len(run) and run[at + 1].type == "open":
        if at + 2 >= len(run) or run[at + 2].type != "close":
            return None  # it is asked for one name
        last = at + 2
    first = at
    if at > 1 and run[at - 1].type == "dot":
        if unquote(run[at - 2].text).lower() != "main":
            return None
        first = at - 2
    before = (keyword(run[first - 1]) or run[first - 1].text) if first else ""
    if before not in _BEFORE or (before == "FROM" and first > 1 and keyword(run[first - 2]) == "DELETE"):
        return None
    return first, last


def _only_source(run: Sequence[Token]) -> str:
    """The list that the statement reads, if it reads nothing else: what `*` stands for then."""
    words = [keyword(token) for token in run]
    if words.count("FROM") != 1 or "JOIN" in words or words[0] != "SELECT":
        return ""
    behind = run[words.index("FROM") + 1 :]
    lists = [unquote(token.text).lower() for token in behind[:3] if is_list(token)]
    end = next((at for at, token in enumerate(behind) if keyword(token) in ("WHERE", "ORDER", "LIMIT")), len(behind))
    return lists[0] if lists and all(token.text != "," for token in behind[:end]) else ""


def _pragma(run: Sequence[Token]) -> str:
    """PRAGMA table_list, of all tables."""
    words = [unquote(token.text).lower() for token in run if token.type != "semi"]
    if words[1:] not in (["table_list"], ["main", ".", "table_list"]):
        return ""
    columns, wanted = _LISTS["pragma_table_list"]
    of_main = " AND \"schema\" = 'main'" if len(words) > 2 else ""
    return f"SELECT {columns} FROM pragma_table_list WHERE {wanted}{of_main}"
