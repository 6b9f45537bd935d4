"""Questions that join the schema with data: what they ask of the schema is written out, as rows of their own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cutover.model.values import Row, SqlValue
from cutover.schema.createsql import keyword, unquote
from cutover.schema.sqltokens import Token, tokens

Ask = Callable[[str], tuple[Sequence[str], Sequence[Row]]]
"""Names and rows of what a query asks the schema copy. Raises `StatementError`."""

_TABLES = ("sqlite_master", "sqlite_schema")
_BEFORE = ("FROM", "JOIN", ",", "(")
_BEHIND = frozenset(
    {"", "WHERE", "JOIN", "ON", "USING", "LEFT", "INNER", "CROSS", "NATURAL", "RIGHT", "FULL", "GROUP", "ORDER"}
    | {"LIMIT", "UNION", "EXCEPT", "INTERSECT", "WINDOW", "HAVING", "OUTER", "OFFSET", "RETURNING"}
)
"""Words that are no alias."""


def written_out(sql: str, ask: Ask) -> str | None:
    """The statement with rows for sqlite_master and the pragma functions; None where those depend on data."""
    run = list(tokens(sql))
    text, end = "", 0
    for first, last, query in _sources(run):
        if not query:
            return None
        columns, rows = ask(f"SELECT * FROM {query}")
        after = run[last + 1] if last + 1 < len(run) else None
        named = after is not None and (after.type == "quoted" or keyword(after) not in _BEHIND)
        name = unquote(query.partition("(")[0])
        affinity = "TEXT" if name in _TABLES else ""
        text += sql[end : run[first].at] + _derived(columns, rows, affinity) + ("" if named else f' AS "{name}"')
        end = run[last].at + len(run[last].text)
    return text + sql[end:] if end else None


def _sources(run: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    """First and last token of each thing of the schema in FROM, and what to ask for it; empty if not known."""
    for at, token in enumerate(run):
        name = unquote(token.text).lower() if token.type in ("word", "quoted") else ""
        of_table, called = name in _TABLES, at + 1 < len(run) and run[at + 1].text == "("
        following = run[at + 1].text if at + 1 < len(run) else ""
        if not (of_table or name.startswith("pragma_")) or following == ".":
            continue
        first = at - 2 if at > 1 and run[at - 1].text == "." else at
        if first != at and unquote(run[first].text).lower() != "main":
            yield first, at, ""
            continue
        before = run[first - 1] if first else None
        if before is None or (keyword(before) or before.text) not in _BEFORE:
            yield first, at, ""
            continue
        last = at
        while called and not of_table and run[last].text != ")" and last + 1 < len(run):
            last += 1
        inner = run[at + 2 : last] if last > at else []
        plain = all(one.type in ("string", "number") or one.text == "," for one in inner)
        arguments = " ".join(one.text for one in inner)
        yield first, last, (f"{name}({arguments})" if last > at else name) if plain else ""


def _derived(columns: Sequence[str], rows: Sequence[Row], affinity: str) -> str:
    def one(value: SqlValue, name: str) -> str:
        as_typed = affinity and name != "rootpage"
        return f'CAST({_literal(value)} AS {affinity}) AS "{name}"' if as_typed else f'{_literal(value)} AS "{name}"'

    def arm(row: Row) -> str:
        return "SELECT " + ", ".join(map(one, row, columns))

    arms = [arm(row) for row in rows] or [arm((None,) * len(columns)) + " WHERE 0"]
    return f"({' UNION ALL '.join(arms)})"


def _literal(value: SqlValue) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
