"""Expressions with what SQLite knows of them: storage class, affinity, collation. And the nodes they are built of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from sqlglot import exp

from cutover.errors import StatementError
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import scalars


class Kind(StrEnum):
    """What an expression holds on Postgres, and so how it is compared and read back."""

    INT = "int"
    REAL = "real"
    NUM = "num"
    """numeric: an integer where its scale is 0, otherwise a real. For expressions that may be either."""
    TEXT = "text"
    BLOB = "blob"
    BOOL = "bool"
    """boolean; 0 or 1 to SQLite."""
    NULL = "null"
    JSON = "json"
    """A json or jsonb column; text to SQLite."""
    DYNAMIC = "dynamic"
    """A jsonb scalar: text or number, known only when it is read."""
    WHOLE = "whole"
    """A column of another Postgres type: read and written by its codec, and nothing else."""


_NAMES = {
    Kind.INT: "An integer",
    Kind.REAL: "A real",
    Kind.NUM: "A number",
    Kind.TEXT: "A text",
    Kind.BLOB: "A blob",
    Kind.BOOL: "A truth value",
    Kind.NULL: "NULL",
    Kind.JSON: "A document of JSON",
    Kind.DYNAMIC: "A value of one type or another",
    Kind.WHOLE: "A value of another type",
}


def named(kind: Kind) -> str:
    """An expression of that kind, at the beginning of a sentence."""
    return _NAMES[kind]


NUMBERS = frozenset({Kind.INT, Kind.REAL, Kind.NUM, Kind.BOOL})
NUMERIC_AFFINITIES = frozenset({"INTEGER", "REAL", "NUMERIC"})

SQL_TYPE = {
    Kind.INT: "BIGINT",
    Kind.REAL: "DOUBLE PRECISION",
    Kind.NUM: "NUMERIC",
    Kind.TEXT: "TEXT",
    Kind.BLOB: "BYTEA",
    Kind.BOOL: "BOOLEAN",
    Kind.JSON: "JSONB",
    Kind.DYNAMIC: "JSONB",
    Kind.NULL: "TEXT",
    Kind.WHOLE: "TEXT",
}

KIND_OF_TARGET = {
    "smallint": Kind.INT,
    "integer": Kind.INT,
    "bigint": Kind.INT,
    "double precision": Kind.REAL,
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "bytea": Kind.BLOB,
    "boolean": Kind.BOOL,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    scalars.NAME: Kind.DYNAMIC,
}


class Refused(StatementError):
    """A construct that has no faithful translation. The readiness report shows the sentence."""

    def __init__(self, what: str, instead: str = "") -> None:
        """`instead`: a sentence that says what works, or where to look."""
        told = f"{what} has no translation for Postgres."
        super().__init__(f"{told} {instead}" if instead else told, "SQL_NOT_TRANSLATABLE")


class Hidden(Refused):
    """A column of an outer query, whose name there is that of something within: it needs another one."""


class RowByRow(Refused):
    """What has no translation as one statement: row by row it may have."""


class ByKeys(RowByRow):
    """What becomes of a row depends on which of the unique keys it meets."""


UNDECLARED = "BLOB"
"""The affinity of a column without a type."""


@dataclass(slots=True)
class Typed:
    """A Postgres expression with its SQLite meaning."""

    node: exp.Expr
    kind: Kind
    affinity: str | None = None
    collation: str | None = None
    """SQLite's collation of a column or of COLLATE; None: none, so the other side decides."""
    explicit: bool = False
    """The collation was written with COLLATE, so it wins."""
    plus: bool = False
    """`+column`: the collation of the column without its affinity."""
    not_null: bool = False
    column: Column | None = None
    constant: SqlValue = None
    """The value of a literal, for kinds other than NULL."""
    slot: int | None = None
    """The parameter this is, counted from 0."""
    json: str = ""
    """Whether JSON that is made of it takes the text for JSON: "sure", "found" (by json_extract: if object or array),
    "part" (of json_each: if its column `type` says so), "mixed" (nobody knows before it is run)."""
    lent: bool = False
    """Affinity and collation are another column's, so that its texts may be spelled as numbers: see `Source.lends`."""
    generated: str = ""
    """A generated column of REAL affinity: "virtual" or "stored"."""

    def but(self, **changes: object) -> Typed:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by dataclass

    @property
    def is_constant(self) -> bool:
        """Whether this is a literal other than NULL."""
        return self.constant is not None


_ATOMS = (
    exp.Column,
    exp.Literal,
    exp.Cast,
    exp.Anonymous,
    exp.Paren,
    exp.Subquery,
    exp.Null,
    exp.Boolean,
    exp.Placeholder,
    exp.Identifier,
    exp.Star,
    exp.Coalesce,
    exp.Tuple,
    exp.Window,
)


def paren(node: exp.Expr) -> exp.Expr:
    """`node`, in parentheses unless it binds as tightly as a name."""
    return node if isinstance(node, _ATOMS) else exp.Paren(this=node)


def cast(node: exp.Expr, sql_type: str) -> exp.Expr:
    """CAST(node AS sql_type)."""
    return exp.Cast(this=node, to=_type(sql_type).copy())


@lru_cache(maxsize=256)
def _type(sql_type: str) -> exp.DataType:
    return exp.DataType.build(sql_type, dialect="postgres")


def call(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    """A function call; a dot in the name is a schema."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def helper(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    """A call of one of our own functions (`helpers.sql`)."""
    return call(f"cutover.{name}", *arguments)


def identifier(name: str) -> exp.Identifier:
    """A quoted name. One that is longer than Postgres keeps (an alias: no table has such) is shortened."""
    return exp.to_identifier(name if len(name) < _SURE else _shortened(name), quoted=True)


_SURE, _KEPT = 16, 63
"""Characters that never are more bytes than Postgres keeps of a name, and those bytes."""


def _shortened(name: str) -> str:
    held = name.encode()
    if len(held) <= _KEPT:
        return name
    return f"{held[:40].decode(errors='ignore')}:{hashlib.blake2b(held, digest_size=10).hexdigest()}"


def collate_c(node: exp.Expr) -> exp.Expr:
    """Bytewise order."""
    return exp.Paren(this=exp.Collate(this=paren(node), expression=identifier("C")))


def binary(op: type[exp.Binary], left: exp.Expr, right: exp.Expr) -> exp.Binary:
    """left op right, with parentheses where the operands need them."""
    return op(this=paren(left), expression=paren(right))


def null(kind: Kind) -> exp.Expr:
    """A NULL of that kind."""
    return cast(exp.Null(), SQL_TYPE[kind])


def literal(value: SqlValue) -> Typed:
    """A constant."""
    if value is None:
        return Typed(exp.Null(), Kind.NULL)
    if isinstance(value, int):
        if value == -(1 << 63):  # Postgres takes the sign for an operator, and the rest for a numeric
            lowest = cast(exp.Literal.string(str(value)), "BIGINT")
            return Typed(lowest, Kind.INT, not_null=True, constant=value)
        node: exp.Expr = exp.Literal.number(abs(value))
        node = exp.Paren(this=exp.Neg(this=node)) if value < 0 else node
        return Typed(node, Kind.INT, not_null=True, constant=value)
    if isinstance(value, float):
        return Typed(
            cast(exp.Literal.string(repr(value)), "DOUBLE PRECISION"), Kind.REAL, not_null=True, constant=value
        )
    if isinstance(value, str):
        return Typed(exp.Literal.string(value), Kind.TEXT, not_null=True, constant=value)
    return Typed(cast(exp.Literal.string("\\x" + value.hex()), "BYTEA"), Kind.BLOB, not_null=True, constant=value)


def affinity_of(declared: str) -> str:
    """SQLite's affinity of a declared type (https://sqlite.org/datatype3.html, section 3.1)."""
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not name or "BLOB" in name:
        return "BLOB"
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"
