"""Generated columns: they are not mirrored, but read as the expressions that they stand for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cutover.dialect import functions
from cutover.dialect.comparing import dynamic, text, value
from cutover.dialect.numbers import real
from cutover.dialect.scope import Scope, Source, SourceColumn
from cutover.dialect.tokens import FUNCTION_PREFIX, prepare
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Refused, Typed, affinity_of, helper, identifier
from cutover.schema.createsql import read_create_table

Translate = Callable[[exp.Expr, Scope], Typed]


@dataclass(frozen=True, slots=True)
class _Generated:
    """What CREATE TABLE says of a generated column."""

    name: str
    affinity: str
    collation: str
    written: exp.Expr
    stored: bool


def add_generated(source: Source, translate: Translate) -> None:
    """Give a table in FROM its generated columns, where they stand in CREATE TABLE."""
    table = source.table
    if table is None or not table.sql:
        return
    names, generated = _read(table.sql)
    if not generated:
        return
    held = {column.name.lower(): column for column in source.columns}
    under_way = set[str]()
    for column in generated:
        compute = partial(_computed, column, source, translate, under_way)
        made = SourceColumn(column.name, column.name, Kind.NULL, column.affinity, column.collation, computed=compute)
        held.setdefault(column.name.lower(), made)
    order = {name: place for place, name in enumerate(names)}
    source.columns = sorted(held.values(), key=lambda column: order.get(column.name.lower(), len(order)))


def indexed(written: str, source: Source, translate: Translate) -> Typed | None:
    """What an index is over, in a row of `source`; None where that has no translation."""
    parsed = in_index(written)
    try:
        return value(translate(parsed.copy(), Scope(sources=[source]))) if parsed is not None else None
    except Refused:
        return None


@lru_cache(maxsize=512)
def in_index(written: str) -> exp.Expr | None:
    """An expression of an index; None where the parser does not know it."""
    try:
        return sqlglot.parse_one(prepare(written, functions.NAMES).text, dialect="sqlite")
    except (Refused, SqlglotError):
        return None


def same_as_indexed(node: exp.Expr, written: str) -> bool:
    """Whether an expression of a statement is one that an index is over."""
    parsed = in_index(written)
    return parsed is not None and _bare(node) == _bare(parsed)


def _bare(node: exp.Expr) -> exp.Expr:
    """Without the names of tables, and names in one spelling."""
    bare = node.copy()
    for column in bare.find_all(exp.Column):
        column.set("table", None)
        column.set("this", identifier(column.name.lower()))
    for called in bare.find_all(exp.Anonymous):
        called.set("this", str(called.this).lower())
    return bare


def as_sorted(typed: Typed) -> Typed:
    """A real that was computed when it was read: where SQLite sorts rows, whole ones come out as integers."""
    if typed.kind is not Kind.REAL or typed.generated != "virtual":
        return typed
    return typed.but(node=helper("as_kept", typed.node), kind=Kind.NUM)


def mark_given(node: exp.Expr, given: Callable[[Typed], Typed]) -> None:
    """Have the columns that an expression may give on unchanged come as `given`."""
    if isinstance(node, exp.Column):
        node.meta[GIVEN] = given
    elif isinstance(node, exp.Case):
        results = [*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default")]
        for result in results:
            if result is not None:
                mark_given(result, given)
    elif isinstance(node, (exp.Alias, exp.Paren)):
        mark_given(node.this, given)
    elif isinstance(node, exp.Anonymous) and (chosen := _CHOICES.get(str(node.this).removeprefix(FUNCTION_PREFIX))):
        for argument in node.expressions[chosen]:
            mark_given(argument, given)


GIVEN = "given"
_CHOICES = {
    "coalesce": slice(None), "ifnull": slice(None), "iif": slice(1, None), "nullif": slice(1),
    "max": slice(None), "min": slice(None),
}  # fmt: skip
"""Functions that return one of their arguments, and which."""


@lru_cache(maxsize=512)
def _read(sql: str) -> tuple[tuple[str, ...], tuple[_Generated, ...]]:
    """All names in order, and the columns that are generated."""
    columns = read_create_table(sql).columns
    if not any(column.generated for column in columns.values()):
        return (), ()
    with closing(sqlite3.connect(":memory:")) as db:
        name = "main"
        try:
            db.execute(sql)
            (name,) = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL").fetchone()
            rows = db.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
        except sqlite3.Error:
            raise Refused("A table with generated columns that cannot be read alone") from None
    declared = {str(row[0]).lower(): (str(row[0]), str(row[1]), row[2] == 3) for row in rows}
    found = []
    for lower, column in columns.items():
        if column.generated:
            spelled, kind, stored = declared[lower]
            written = prepare(f"SELECT {column.generated}", functions.NAMES).text
            parsed = sqlglot.parse_one(written, dialect="sqlite").expressions[0]
            kind = " ".join(word for word in kind.split() if word.upper() not in ("GENERATED", "ALWAYS"))
            found.append(_Generated(spelled, affinity_of(kind), column.collation, parsed, stored))
    return tuple(declared), tuple(found)


def _computed(column: _Generated, source: Source, translate: Translate, under_way: set[str]) -> Typed:
    """The value of the column in a row of `source`. `under_way`: those that it is part of."""
    if column.name in under_way:  # SQLite has such a table made, and refuses each statement that reads it
        raise Refused(f"The generated column {column.name}, which is computed from itself,")
    under_way.add(column.name)
    try:
        typed = _with_affinity(value(translate(column.written.copy(), Scope(sources=[source]))), column)
    except Refused as refused:
        raise Refused(f"The generated column {column.name} ({refused.message})") from None
    finally:
        under_way.discard(column.name)
    if source.nullable and source.table is not None:
        key = source.find(source.table.key[0])
        assert key is not None
        present = exp.Column(this=identifier(key.target), table=identifier(source.alias))
        there = exp.Not(this=exp.Paren(this=exp.Is(this=present, expression=exp.Null())))
        typed = typed.but(node=exp.Case(ifs=[exp.If(this=there, true=typed.node)]), not_null=False)
    typed = typed.but(affinity=column.affinity, collation=column.collation, explicit=False, plus=False)
    made = ("stored" if column.stored else "virtual") if column.affinity == "REAL" else ""
    return typed.but(column=None, constant=None, generated=made)


def _with_affinity(typed: Typed, column: _Generated) -> Typed:
    if typed.kind is Kind.NULL or column.affinity == "BLOB":
        return typed
    if column.affinity == "TEXT":
        return typed.but(node=helper("as_text", typed.node)) if typed.kind is Kind.DYNAMIC else _text_unless_blob(typed)
    if typed.kind in (Kind.TEXT, Kind.DYNAMIC):
        if column.affinity == "REAL":
            raise Refused("A real of what may be a text", "CAST(... AS REAL) within its expression makes it a number.")
        return Typed(helper("as_numeric", dynamic(typed)), Kind.DYNAMIC)
    if column.affinity == "REAL" and typed.kind in (Kind.INT, Kind.NUM):
        return real(typed)
    if column.affinity in NUMERIC_AFFINITIES - {"REAL"} and typed.kind in (Kind.REAL, Kind.NUM):
        return Typed(helper("whole", helper("num", typed.node)), Kind.NUM)
    return typed


def _text_unless_blob(typed: Typed) -> Typed:
    return typed if typed.kind is Kind.BLOB else text(typed)
