"""Which codec a mapped column has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column
from cutover.schema.codecs import arrays, decimals, documents, flags, identifiers, moments, plain, scalars, times
from cutover.schema.codecs.base import Codec, Foreign
from cutover.schema.codecs.names import TypeName

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "double precision", "real", "boolean")
_TIMES = ("date", "timestamp without time zone", "timestamp with time zone", "time without time zone")
FITTING: dict[str, frozenset[str]] = {
    "INTEGER": frozenset({*_NUMBERS, *_TIMES, "interval", scalars.NAME}),
    "REAL": frozenset({"double precision", "real", "numeric", *_TIMES, scalars.NAME}),
    "TEXT": frozenset(
        {"text", "character varying", "character", "citext", "name", "enum", "json", "jsonb", "uuid", "inet", "cidr"}
        | {scalars.NAME}
        | {"macaddr", "macaddr8", "numeric", "boolean", *_TIMES, "time with time zone", "interval"}
        | {f"{name}[]" for name in ("text", "character varying", "uuid", "citext", "enum", "name", "date", *_NUMBERS)}
        | {f"{name}[]" for name in (*_TIMES, "inet", "cidr", "macaddr", "macaddr8")}
    ),
}
"""By SQLite's affinity: the types of which a column with it can hold any value. Other affinities hold everything."""


def _moment(kind: str) -> Callable[[Column, TypeName], Codec]:
    def make(column: Column, name: TypeName) -> Codec:
        precision = 6 if name.limit is None else name.limit
        return moments.moment(kind, precision, column.affinity, column.format, strict=column.exact)

    return make


def _varchar(_column: Column, name: TypeName) -> Codec:
    return plain.text_codec() if name.limit is None else plain.varchar(name.limit)


def _numeric(column: Column, name: TypeName) -> Codec:
    return decimals.numeric(column.affinity, name.limit, name.limits[1] if len(name.limits) > 1 else 0)


_MAKERS: dict[str, Callable[[Column, TypeName], Codec]] = {
    "smallint": lambda _column, _name: plain.integer("smallint"),
    "integer": lambda _column, _name: plain.integer("integer"),
    "bigint": lambda _column, _name: plain.integer("bigint"),
    "boolean": lambda column, _name: flags.boolean(column.affinity, column.format),
    "numeric": _numeric,
    "double precision": lambda column, _name: plain.double(column.affinity),
    "real": lambda column, _name: plain.single(column.affinity),
    "text": lambda _column, _name: plain.text_codec(),
    "character varying": _varchar,
    "character": lambda _column, name: plain.char(name.limit),
    "bytea": lambda _column, _name: plain.bytes_codec(),
    "date": _moment("date"),
    "timestamp without time zone": _moment("timestamp"),
    "timestamp with time zone": _moment("timestamptz"),
    "time without time zone": lambda column, name: times.time(
        6 if name.limit is None else name.limit, column.affinity, column.format
    ),
    "time with time zone": lambda _column, _name: times.timetz(),
    "interval": lambda column, _name: times.interval(column.affinity, column.format),
    "uuid": lambda column, _name: identifiers.uuid(column.affinity, column.declared, column.format),
    "json": lambda column, _name: documents.json_codec(column.affinity),
    "jsonb": lambda column, _name: documents.jsonb_codec(column.affinity, column.format),
    "inet": lambda _column, _name: identifiers.inet(),
    "cidr": lambda _column, _name: identifiers.cidr(),
    "macaddr": lambda _column, _name: identifiers.macaddr("macaddr", 6),
    "macaddr8": lambda _column, _name: identifiers.macaddr("macaddr8", 8),
    "citext": lambda column, _name: plain.other_text(column.target_type, "citext", key="citext has keys without case"),
    "name": lambda _column, _name: plain.other_text("name", "name", 63),
    scalars.NAME: lambda _column, _name: scalars.scalar_codec(),
    "enum": lambda column, _name: plain.enumeration(column.target_type, column.labels),
}


_ELEMENTS = frozenset(_MAKERS) - {
    "json",
    "jsonb",
    "bytea",
    scalars.NAME,
    "interval",
    "time with time zone",
    "character",
}


def _array(column: Column, name: TypeName) -> Codec:
    """Elements stand in JSON, as text in a column of text would, each in the one way that comes back."""
    text = "REAL" if name.name in ("double precision", "real") else "TEXT"
    kind = column.target_type.removesuffix("[]")
    inner = replace(column, target_type=kind, base_type=column.base_type.removesuffix("[]"), affinity=text, format="")
    exact = name.name != "numeric"  # which is spelled as it comes, and compared as a number
    return arrays.array(column.target_type, name.name, codec_for(replace(inner, exact=exact)))


def _type_name(column: Column) -> TypeName:
    own = column.target_type == scalars.NAME  # a domain that means more than its base
    return TypeName.of(column.target_type if own else column.base_type or column.target_type)


def base_of(column: Column) -> str:
    """The name of the column's type, without limits and domains."""
    name = _type_name(column)
    return f"{name.name}[]" if name.array else name.name


@lru_cache(maxsize=4096)
def codec_for(column: Column) -> Codec:
    """The codec of a mapped column. Raises `SchemaError` for a Postgres type that has none, or an unknown format."""
    name = _type_name(column)
    maker = _array if name.array and name.name in _ELEMENTS else None if name.array else _MAKERS.get(name.name)
    if maker is None:
        raise SchemaError(
            f"Column {column.name}: the Postgres type {column.target_type} cannot be mirrored.",
            hint=f"Supported are {', '.join(_MAKERS)}; or set ignore = true for the column.",
        )
    try:
        made = maker(column, name)
    except SchemaError as error:
        raise SchemaError(f"Column {column.name}: {error.message}.", hint=error.hint) from None
    return _in_key(made) if column.exact else made


def _in_key(codec: Codec) -> Codec:
    """In a key only the one spelling is taken that comes back: two of one value would be two rows on SQLite alone."""
    if codec.exact:
        return codec

    def convert(value: Any) -> Any:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return codec.to_target(value)
        there = codec.to_target(value)
        back = codec.to_source(there)
        if type(back) is not type(value) or back != value:
            how = f" ({codec.format})" if codec.format else ""
            raise Unrepresentable(f"a key that is not written as the other keys of the column are{how}")
        return there

    return replace(codec, to_target=convert, quick=None)
