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
_ENDS = frozenset({"FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT"})
_BETWEEN = frozenset(
    {"AND", "OR", "NOT", "IS", "FROM", "LIKE", "GLOB", "REGEXP", "MATCH", "BETWEEN", "IN", "ESCAPE", "COLLATE"}
)
"""Words before an operand, of which the next word is one and no name."""


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
    changes = list(_changes(run, numbered=numbered))
    edits = [(run[first].at, run[last].at + len(run[last].text), columns) for first, last, columns in changes]
    edits += _names_kept(sql, run, [first for first, _, _ in changes])
    text, end = "", 0
    for at, behind, instead in sorted(edits):
        text += sql[end:at] + instead
        end = behind
    return text + sql[end:]


def _names_kept(sql: str, run: Sequence[Token], changed: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """A name for each result column that has none and is changed within: SQLite calls it by its text, as written."""
    for first, last in _items(run):
        if run[last].text != "*" and any(first < at <= last for at in changed) and not _is_named(run[first : last + 1]):
            end = run[last + 1].at if last + 1 < len(run) else len(sql)
            written = sql[run[first].at : end].strip(" \t\n\v\f\r").replace('"', '""')
            behind = run[last].at + len(run[last].text)
            yield behind, behind, f' AS "{written}"'


def _items(run: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """First and last token of each result column."""
    for at, token in enumerate(run):
        if keyword(token) not in ("SELECT", "RETURNING"):
            continue
        first = at + 2 if at + 1 < len(run) and keyword(run[at + 1]) in ("DISTINCT", "ALL") else at + 1
        depth = 0
        for place in range(first, len(run) + 1):
            kind = run[place].type if place < len(run) else "semi"
            depth += (kind == "open") - (kind == "close")
            ends = depth < 0 or (depth == 0 and (kind == "semi" or _ends_list(run, place)))
            if (ends or (depth == 0 and run[place].text == ",")) and place > first:
                yield first, place - 1
                first = place + 1
            if ends:
                break


def _ends_list(run: Sequence[Token], place: int) -> bool:
    word = keyword(run[place])
    return word in _ENDS and not (word == "FROM" and keyword(run[place - 1]) == "DISTINCT")


def _is_named(item: Sequence[Token]) -> bool:
    """Whether a result column ends in a name, which needs no AS before it."""
    last, before = item[-1], item[-2]
    if last.type not in ("word", "quoted", "string") or keyword(last) in ("NULL", "END", "ISNULL", "NOTNULL"):
        return False
    operand = before.type in ("close", "quoted", "string", "number", "param")
    return keyword(before) == "AS" or operand or (before.type == "word" and keyword(before) not in _BETWEEN)


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
