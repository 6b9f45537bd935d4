"""What in the data of a mapped table Postgres could not hold: SQL conditions for SQLite, each with its finding."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cutover.errors import Unrepresentable
from cutover.model.table import Column, ForeignKey, Table
from cutover.schema.codecs import codec_for
from cutover.schema.findings import Finding
from cutover.schema.judging import Judge
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import SqliteTable, quoted
from cutover.schema.textfunctions import register_text_functions

_CLASSES = {
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "boolean": "integer",
    "double precision": "real",
    "text": "text",
    "character varying": "text",
    "json": "text",
    "jsonb": "text",
    "bytea": "blob",
}
_RANGES = {"smallint": 2**15, "integer": 2**31}
_LARGEST_REAL = 1.7976931348623157e308
_LARGEST_INDEXED = 2700
"""Bytes; a B-tree on Postgres refuses larger terms (after compression)."""

_LONG_FOR_GLOB = 40
"""Bytes."""
_LARGEST_BLOB = 500_000_000
"""Bytes; in hexadecimal that is what Postgres takes for one value."""

_REASONS = 5
"""Told one by one."""

_ARTICLE = {"integer": "an integer", "real": "a real number", "text": "text", "blob": "a blob"}


@dataclass(frozen=True)
class Check:
    """Rows that meet `condition` (`s` names the row) are what `finding` is about."""

    condition: str
    finding: Finding
    judge: Judge | None = None
    """Who knows the reasons, where the condition asks a codec."""

    def found(self, count: int) -> Finding:
        """The finding, of so many rows."""
        if self.judge is None:
            return replace(self.finding, count=count)
        told = sorted(self.judge.reasons.items(), key=lambda item: (-item[1], item[0]))
        shown = "; ".join(f"{reason} ({number:,})" for reason, number in told[:_REASONS])
        others = sum(number for _, number in told[_REASONS:])
        more = f"; other reasons ({others:,})" if others else ""
        return replace(self.finding, count=count, message=f"{self.finding.message}: {shown}{more}.")


def register_functions(connection: sqlite3.Connection) -> None:
    """What conditions need beyond SQLite's own functions. They are given text as blobs, so that any bytes arrive."""
    register_text_functions(connection)
    connection.create_function("cutover_broken_text", 1, _broken_text, deterministic=True)
    connection.create_function("cutover_broken_json", 1, _broken_for("json"), deterministic=True)
    connection.create_function("cutover_broken_jsonb", 1, _broken_for("jsonb"), deterministic=True)


def _broken_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _broken_for(target_type: str) -> Callable[[bytes], bool]:
    codec = codec_for(Column(name="", declared="", affinity="TEXT", target="", target_type=target_type))

    def broken(value: bytes) -> bool:
        try:
            codec.to_target(value.decode())
        except UnicodeDecodeError:
            return False  # counted as broken text
        except Unrepresentable:
            return True
        return False

    return broken


def checks_for(
    connection: sqlite3.Connection,
    table: Table,
    source: SqliteTable,
    target: PostgresTable | None,
    parents: Mapping[str, Table],
) -> list[Check]:
    """Every check of a mapped table; `target` is None where cutover creates it. `parents` has all mapped tables.

    Types whose rules cannot be said in SQL are judged by their codecs, on functions registered on `connection`.
    """
    if target is None:
        indexed = {name for index in source.indexes for name in index.columns}
    else:
        theirs = {name for index in target.indexes for name in index.columns}
        indexed = {column.name for column in table.columns if column.target in theirs}
    found = list[Check]()
    for column in table.columns:
        if _base(column) in _CLASSES:
            found += _of_values(table, column)
        else:
            found.append(_by_codec(table, column, Judge(connection, column)))
        found += _of_booleans(table, column)
        found += _of_nulls(table, column, target)
        if column.name in indexed:
            found += _of_index(table, column)
    found += [_of_parents(table, key, parents[key.parent]) for key in table.foreign_keys]
    return found


def _base(column: Column) -> str:
    return column.target_type.partition("(")[0]


def _by_codec(table: Table, column: Column, judge: Judge) -> Check:
    return Check(
        judge.condition(f"s.{quoted(column.name)}"),
        Finding(
            "blocks",
            "value_refused",
            f"Rows hold what a column of type {column.target_type} does not take, or would not give back",
            "Convert them in SQLite, or choose another type on Postgres.",
            table.name,
            column.name,
        ),
        judge,
    )


def _of_booleans(table: Table, column: Column) -> Iterator[Check]:
    """Booleans that are written in several ways."""
    if "BOOL" not in column.declared.upper() or _base(column) == "boolean":
        return
    value = f"s.{quoted(column.name)}"
    odd = f"{value} IS NOT NULL AND NOT (typeof({value}) = 'integer' AND {value} IN (0, 1))"
    yield Check(
        f"({odd})",
        Finding(
            "warns",
            "mixed_booleans",
            "A column declared as boolean holds other values than 0 and 1.",
            "Make them 0 or 1 in SQLite; until then the column cannot become boolean on Postgres.",
            table.name,
            column.name,
        ),
    )


def _of_values(table: Table, column: Column) -> Iterator[Check]:
    value = f"s.{quoted(column.name)}"
    base, _, rest = column.target_type.partition("(")
    fitting = _CLASSES[base]
    fits = {_CLASSES[base]}
    if base == "double precision" and column.affinity in {"INTEGER", "NUMERIC"}:
        fits.add("integer")
    if base in {"json", "jsonb"} and column.affinity == "NUMERIC":  # JSON that is a number has become one
        fits |= {"integer", "real"}

    def check(code: str, condition: str, message: str, todo: str) -> Check:
        return Check(condition, Finding("blocks", code, message, todo, table.name, column.name))

    for other in ("integer", "real", "text", "blob"):
        if other not in fits:
            yield check(
                "wrong_storage_class",
                f"typeof({value}) = '{other}'",
                f"Rows hold {_ARTICLE[other]}, but the column is {column.target_type} on Postgres.",
                f"Convert them in SQLite: SELECT ... WHERE typeof({column.name}) = '{other}'.",
            )
    if base in _RANGES:
        yield check(
            "out_of_range",
            f"(typeof({value}) = 'integer' AND {value} NOT BETWEEN {-_RANGES[base]} AND {_RANGES[base] - 1})",
            f"Integers are out of range of {base}.",
            "Make the column bigint on Postgres.",
        )
    if base == "boolean":
        yield check(
            "not_boolean",
            f"(typeof({value}) = 'integer' AND {value} NOT IN (0, 1))",
            "Integers other than 0 and 1 are no boolean.",
            "Make them 0 or 1 in SQLite, or make the column bigint on Postgres.",
        )
    if fitting == "text":
        yield from _of_text(check, value, base, rest)
    if fitting == "blob":
        yield check(
            "value_too_large",
            f"(typeof({value}) = 'blob' AND length({value}) > {_LARGEST_BLOB})",
            f"Blobs of more than {_LARGEST_BLOB:,} bytes: they travel as text, for which Postgres has no room.",
            "Keep them outside of the database, or in parts.",
        )
    if fitting == "real":
        infinite = f"(typeof({value}) = 'real' AND abs({value}) > {_LARGEST_REAL!r})"
        message = "Rows hold an infinity. It is mirrored as it is; on Postgres, arithmetic that overflows is an error."
        yield Check(infinite, Finding("informs", "infinity", message, "", table.name, column.name))


def _of_text(check: Callable[[str, str, str, str], Check], value: str, base: str, rest: str) -> Iterator[Check]:
    is_text, raw = f"typeof({value}) = 'text'", f"CAST({value} AS BLOB)"
    yield check(
        "text_with_nul",
        _if(is_text, f"instr({raw}, x'00') > 0"),
        "Text holds a NUL character, which Postgres refuses.",
        "Remove it in SQLite: replace(value, char(0), '').",
    )
    # Short text is worth a call out of SQLite only beyond ASCII; over long text GLOB takes longer than the call.
    beyond_ascii = f"{value} GLOB '*[^' || char(1) || '-' || char(127) || ']*'"
    worth_a_call = f"CASE WHEN length({raw}) > {_LONG_FOR_GLOB} THEN 1 ELSE {beyond_ascii} END"
    yield check(
        "text_not_unicode",
        _if(is_text, _if(worth_a_call, f"cutover_broken_text({raw})")),
        "Text is not valid UTF-8, which Postgres refuses.",
        "Repair it in SQLite, or store it as a blob.",
    )
    if rest:
        yield check(
            "text_too_long",
            _if(is_text, f"length({value}) > {int(rest.rstrip(')'))}"),
            f"Text is longer than {base}({rest} allows.",
            "Make the column text on Postgres.",
        )
    if base in {"json", "jsonb"}:
        yield check(
            "not_json",
            _if(is_text, f"cutover_broken_{base}({raw})"),
            f"Text is not JSON that {base} holds (not JSON at all, a key twice, a NUL), but the column is {base}.",
            "Repair it in SQLite (an empty string often means NULL), or make the column text on Postgres.",
        )


def _if(first: str, second: str) -> str:
    """`first AND second`, where the second is not even tried without the first: AND promises no such thing."""
    return f"CASE WHEN {first} THEN {second} ELSE 0 END"


def _of_nulls(table: Table, column: Column, target: PostgresTable | None) -> Iterator[Check]:
    if column.not_null or column.name == table.rowid_alias:
        return
    condition = f"s.{quoted(column.name)} IS NULL"
    theirs = target.column(column.target) if target else None
    if column.name in table.key:
        message, code = "Key columns hold NULL, which SQLite lets pass and Postgres does not.", "null_in_key"
    elif theirs is not None and theirs.not_null:
        message, code = f"Rows hold NULL, but {column.target} is NOT NULL on Postgres.", "null_in_not_null"
    else:
        return
    todo = "Give these rows a value in SQLite, or delete them."
    yield Check(condition, Finding("blocks", code, message, todo, table.name, column.name))


def _of_index(table: Table, column: Column) -> Iterator[Check]:
    if _CLASSES.get(column.target_type.partition("(")[0]) not in {"text", "blob"}:
        return
    yield Check(
        f"length(CAST(s.{quoted(column.name)} AS BLOB)) > {_LARGEST_INDEXED}",
        Finding(
            "warns",
            "long_indexed_value",
            f"Values of more than {_LARGEST_INDEXED} bytes stand in an index, which Postgres may refuse.",
            "Shorten them, or do without the index on Postgres.",
            table.name,
            column.name,
        ),
    )


def _of_parents(table: Table, key: ForeignKey, parent: Table) -> Check:
    own = [f"s.{quoted(name)}" for name in key.columns]
    theirs = [f"p.{quoted(name)}" for name in key.parent_columns]
    present = " AND ".join(f"{name} IS NOT NULL" for name in own)
    source = f"{quoted(parent.name)} AS p"
    if any(index.columns[: len(theirs)] == key.parent_columns and not index.partial for index in parent.unique):
        equal = " AND ".join(f"{other} = {mine}" for mine, other in zip(own, theirs, strict=True))
        absent = f"NOT EXISTS (SELECT 1 FROM {source} WHERE {equal})"
    else:
        # Without an index a search for each row would take for ever; IN builds one for the statement.
        some = " AND ".join(f"{name} IS NOT NULL" for name in theirs)
        absent = f"({', '.join(own)}) NOT IN (SELECT {', '.join(theirs)} FROM {source} WHERE {some})"
    label = f"{table.name}.{', '.join(key.columns)} -> {parent.name}.{', '.join(key.parent_columns)}"
    return Check(
        _if(present, absent),
        Finding(
            "blocks",
            "orphan",
            f"Rows have no parent ({label}).",
            "Delete them, add their parents, or set the reference to NULL, in SQLite.",
            table.name,
            key.columns[0],
        ),
    )
