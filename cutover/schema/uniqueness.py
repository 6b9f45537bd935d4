"""Rows that SQLite tells apart and a unique index on Postgres does not: asked of SQLite in Postgres's own terms."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cutover.model.table import Column, Table
from cutover.schema.backwards import ask
from cutover.schema.codecs import Codec, base_of, codec_for
from cutover.schema.findings import Finding
from cutover.schema.parts import Untranslatable
from cutover.schema.postgres_schema import PostgresIndex, PostgresTable
from cutover.schema.sqlite_schema import quoted

_EXAMPLES = 10


@dataclass(frozen=True)
class _Question:
    """What an index takes for equal: `terms` of a row, among rows that meet `where`."""

    terms: tuple[str, ...]
    where: str
    loose: bool = False
    """Whether `terms` only come near to what a collation of the target takes for equal."""


def find_duplicates(connection: sqlite3.Connection, table: Table, target: PostgresTable) -> Iterator[Finding]:
    """Values that occur twice where only Postgres demands that they are unique. One read for each such index.

    Functions are registered on `connection` for what SQLite cannot compare as Postgres does.
    """
    names = {column.target: column for column in table.columns}
    for index in target.indexes:
        if not index.unique or not index.valid or _is_kept_already(table, index, target, names):
            continue
        try:
            question = _question(connection, index, target, names)
        except Untranslatable:
            yield Finding(
                "informs",
                "unique_not_evaluated",
                f"{index.name} on Postgres is a unique index whose like SQLite cannot be asked: {index.definition}.",
                "Check that SQLite's rows keep it: those that break it are held back.",
                table.name,
            )
            continue
        yield from _found(connection, table, index, question)


def _is_kept_already(table: Table, index: PostgresIndex, target: PostgresTable, names: Mapping[str, Column]) -> bool:
    """Whether an index on SQLite forbids all that this one does."""
    if index.loose or any(name not in names for name in index.columns):
        return False
    columns = [names[name] for name in index.columns if name is not None]
    nullable = any(not column.not_null and column.name != table.rowid_alias for column in columns)
    if index.nulls_not_distinct and nullable:
        return False
    if not all(_is_bytewise(column, target) for column in columns):
        return False
    own = {column.name for column in columns}
    return any(set(each.columns) <= own and not each.partial for each in table.unique)


def _is_bytewise(column: Column, target: PostgresTable) -> bool:
    """Whether Postgres tells apart whatever SQLite does."""
    theirs = target.column(column.target)
    folds = base_of(column) == "citext" or (theirs is not None and not theirs.deterministic)
    return not folds and (column.exact or codec_for(column).exact)


def _question(
    connection: sqlite3.Connection, index: PostgresIndex, target: PostgresTable, names: Mapping[str, Column]
) -> _Question:
    terms, loose = list[str](), index.loose
    for name, sql in zip(index.columns, index.terms or index.columns, strict=True):
        column = names.get(name) if name is not None else None
        if name is None and sql is not None:
            terms.append(ask(sql, names, condition=False))
        elif column is None:
            raise Untranslatable(str(name))
        else:
            theirs = target.column(column.target)
            folded = index.loose or (theirs is not None and not theirs.deterministic)
            loose = loose or folded
            terms.append(_term(connection, column, folded=folded))
    where = f"({ask(index.partial, names, condition=True)})" if index.partial else "1"
    if not index.nulls_not_distinct:
        where += "".join(f" AND {term} IS NOT NULL" for term in terms)
    return _Question(tuple(terms), where, loose)


def _term(connection: sqlite3.Connection, column: Column, *, folded: bool) -> str:
    value = f"s.{quoted(column.name)}"
    blob = f"CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) ELSE {value} END"
    if folded:
        connection.create_function("cutover_folded", 1, _folded, deterministic=True)
        return f"cutover_folded({blob})"
    if base_of(column) == "citext":
        return f"cutover_lower({blob}, 1)"
    codec = codec_for(column)
    if column.exact or codec.exact:
        return f"{value} COLLATE BINARY"
    name = f"cutover_meaning_{abs(hash((column.target_type, column.affinity, column.format)))}"
    connection.create_function(name, 2, _meaning(codec), deterministic=True)
    return f"{name}({blob}, typeof({value}) = 'text')"


def _meaning(codec: Codec) -> Callable[[Any, int], bytes | None]:
    def meaning(raw: Any, is_text: int) -> bytes | None:  # noqa: ANN401  # any storage class
        value = raw.decode("utf-8", "surrogateescape") if is_text and isinstance(raw, bytes) else raw
        return None if value is None else codec.canonical(value)

    return meaning


def _folded(raw: object) -> str | None:
    """Without case and accents, as a collation that takes different texts for equal may do."""
    if not isinstance(raw, bytes):
        return None
    apart = unicodedata.normalize("NFKD", raw.decode(errors="replace").casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _found(
    connection: sqlite3.Connection, table: Table, index: PostgresIndex, question: _Question
) -> Iterator[Finding]:
    keys = ", ".join(f"s.{quoted(name)} AS k{number}" for number, name in enumerate(table.key))
    source = f"FROM {quoted(table.name)} AS s WHERE {question.where}"
    alike = f"count(*) OVER (PARTITION BY {', '.join(question.terms)}) AS alike"
    groups = f"SELECT count(*) AS n {source} GROUP BY {', '.join(question.terms)} HAVING n > 1"
    (count,) = connection.execute(f"SELECT sum(n) FROM ({groups})").fetchone()
    if not count:
        return
    listed = ", ".join(f"k{number}" for number in range(len(table.key)))
    examples = connection.execute(
        f"SELECT {listed} FROM (SELECT {keys}, {alike} {source}) WHERE alike > 1 ORDER BY {listed} LIMIT {_EXAMPLES}"
    ).fetchall()
    names = {column.target: column.name for column in table.columns}
    own = [names[name] for name in index.columns if name in names]
    what = f"a value of ({', '.join(sorted(own))})" if len(own) == len(index.columns) else "a value"
    may = "may share" if question.loose else "share"
    where = f" among rows where {index.partial}" if index.partial else ""
    yield Finding(
        "warns" if question.loose else "blocks",
        "duplicate",
        f"Rows {may} {what}, but {index.name} on Postgres makes it unique{where}."
        + (f" It is {index.definition}." if len(own) < len(index.columns) else ""),
        "Make the values different in SQLite, or drop the constraint on Postgres.",
        table.name,
        own[0] if own else "",
        count,
        tuple(examples),
    )
