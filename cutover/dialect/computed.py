"""Computed values for columns of native types, if Postgres can tell whether the column holds them unchanged."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.comparing import text, value
from cutover.dialect.typed import NUMBERS, NUMERIC_AFFINITIES, Kind, Typed, call, cast, helper
from cutover.model.table import Column
from cutover.schema.codecs import codec_for
from cutover.schema.codecs.flags import PAIRS
from cutover.schema.codecs.instants import UNITS
from cutover.schema.codecs.names import TypeName

_MOMENTS = {
    "date": "date_strict",
    "timestamp without time zone": "timestamp_strict",
    "timestamp with time zone": "timestamptz_strict",
    "time without time zone": "time_strict",
}
_WORDS = frozenset({"enum", "citext", "name", "text", "character varying"})
_INTEGERS = frozenset({"smallint", "integer", "bigint"})


def computed(typed: Typed, column: Column) -> exp.Expr | None:
    """The expression as a value of the column; None where nobody could tell whether it fits."""
    name = TypeName.of(column.base_type or column.target_type)
    typed = value(typed)
    if name.array:
        return None
    if name.name == "numeric":
        return _decimal(typed, name) if column.affinity in NUMERIC_AFFINITIES else None
    if name.name == "real":
        number = _real(typed)
        return None if number is None else helper("single_strict", number)
    if name.name in _INTEGERS:  # of a domain
        return _cast(helper("int_strict", typed.node), column) if typed.kind in (*NUMBERS, Kind.TEXT) else None
    if name.name in _MOMENTS:
        return _moment(typed, column, name)
    if name.name == "uuid":
        return _uuid(typed)
    if name.name == "boolean" and typed.kind in NUMBERS:
        return _cast(helper("bool_strict", typed.node), column)
    if name.name == "boolean" and _is_text(typed):
        words = [exp.Literal.string(word) for word in PAIRS[codec_for(column).format]]
        return helper("word_strict", _text(typed), *words)
    if column.affinity != "TEXT" or not _is_text(typed):
        return None
    if typed.kind is Kind.DYNAMIC:
        typed = Typed(helper("text_strict", typed.node), Kind.TEXT)
    if name.name in ("character", "character varying") and name.limit is not None:
        return _cast(helper("char_strict", _text(typed), exp.Literal.number(name.limit)), column)
    return _cast(_text(typed), column) if name.name in _WORDS else None


def _is_text(typed: Typed) -> bool:
    return typed.kind in (Kind.TEXT, Kind.DYNAMIC)


def _text(typed: Typed) -> exp.Expr:
    return text(typed).node


def _uuid(typed: Typed) -> exp.Expr | None:
    if typed.kind is Kind.BLOB:
        return helper("uuid_strict", call("encode", typed.node, exp.Literal.string("hex")))
    return helper("uuid_strict", _text(typed)) if _is_text(typed) else None


def _cast(node: exp.Expr, column: Column) -> exp.Expr:
    return exp.Cast(this=node, to=exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=column.target_type))


def _number(typed: Typed) -> Typed:
    """What a column of numbers makes of it; an error where a text is none."""
    return Typed(helper("number_strict", typed.node), Kind.NUM) if _is_text(typed) else typed


def _decimal(typed: Typed, name: TypeName) -> exp.Expr | None:
    typed = _number(typed)
    if typed.kind not in NUMBERS:
        return None
    places = name.limits[1] if len(name.limits) > 1 else 0 if name.limits else 16383
    node = helper("num", typed.node) if typed.kind is Kind.REAL else cast(typed.node, "NUMERIC")
    return helper("numeric_strict", node, exp.Literal.number(places))


def _real(typed: Typed) -> exp.Expr | None:
    typed = _number(typed)
    if typed.kind not in NUMBERS:
        return None
    return typed.node if typed.kind is Kind.REAL else cast(typed.node, "DOUBLE PRECISION")


def _moment(typed: Typed, column: Column, name: TypeName) -> exp.Expr | None:
    form = codec_for(column).format
    limit = 6 if name.limit is None else name.limit
    if form in UNITS and name.name != "time without time zone" and limit == 6:
        return _counted(typed, name.name, UNITS[form])
    spelled = form.startswith("HH" if name.name == "time without time zone" else "YYYY")
    if not spelled or not _is_text(typed):
        return None
    return helper(_MOMENTS[name.name], _text(typed), exp.Literal.number(limit))


def _counted(typed: Typed, name: str, unit: int) -> exp.Expr | None:
    typed = _number(typed)
    if typed.kind not in NUMBERS:
        return None
    count = typed.node if typed.kind is Kind.INT else helper("int_strict", typed.node)
    made = helper("counted_strict", cast(count, "BIGINT"), exp.Literal.number(unit))
    if name == "timestamp without time zone":
        return made
    if name == "date":
        return cast(made, "DATE")
    return exp.AtTimeZone(this=made, zone=exp.Literal.string("UTC"))
