"""Expressions of a SQLite schema (CHECK, partial and expression indexes, generated columns, defaults) for Postgres.

A short list of forms whose meaning is the same is translated, and everything else is refused: a constraint that means
something slightly different would reject rows that SQLite accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cutover.model.table import Column
from cutover.schema.parts import (
    NUMBERS,
    VALUES,
    Part,
    Untranslatable,
    beside_text,
    comparable,
    condition_of,
    kind_of,
    plain,
    same_kind,
)
from cutover.schema.patterns import glob, like, literal
from cutover.schema.sqlite_schema import quoted

if TYPE_CHECKING:
    from sqlglot import exp

_COMPARISONS = {"EQ": "=", "NEQ": "<>", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_NULL_SAFE = {"NullSafeEQ": "IS DISTINCT FROM", "NullSafeNEQ": "IS DISTINCT FROM"}  # as Postgres prints them
_ARITHMETIC = {"Add": "+", "Sub": "-", "Mul": "*"}
_DIVISIONS = {"Div": "/", "Mod": "%"}
_DIGITS = 19
"""Of a literal that may be too large to be whole."""
_RANDOM_HEX = "encode(sha256(gen_random_uuid()::text::bytea), 'hex')"


def translate(sql: str, columns: Mapping[str, Column], *, condition: bool, helpers: bool = False) -> str:
    """`sql` in Postgres's dialect; `columns` by lower-case source name. Raises `Untranslatable`.

    With `condition` the result is boolean, else a value of the kind that SQLite would give. `helpers`: the functions of
    schema `cutover` are there and may be called.
    """
    part = _parse(sql, columns, default=False, helpers=helpers)
    if condition:
        return condition_of(part).sql
    return plain(part).sql


def translate_value(sql: str, columns: Mapping[str, Column]) -> tuple[str, str]:
    """(SQL, kind) of a value. Raises `Untranslatable`."""
    part = plain(_parse(sql, columns, default=False))
    return part.sql, part.kind


def translate_call(sql: str) -> tuple[str, str]:
    """(SQL, kind) of a default that is an expression without columns; it may be random. Raises `Untranslatable`."""
    part = plain(_parse(sql, {}, default=True))
    return part.sql, part.kind


def _parse(sql: str, columns: Mapping[str, Column], *, default: bool, helpers: bool = False) -> Part:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        return _Translator(columns, default=default, helpers=helpers).part(sqlglot.parse_one(sql, dialect="sqlite"))
    except (SqlglotError, RecursionError):
        raise Untranslatable(sql) from None


class _Translator:
    def __init__(self, columns: Mapping[str, Column], *, default: bool, helpers: bool) -> None:
        self._columns = columns
        self._helpers = helpers
        self._default = default

    def part(self, node: exp.Expr) -> Part:
        name = type(node).__name__
        method = getattr(self, f"_on_{name.lower()}", None)
        if method is not None:
            part: Part = method(node)
            return part
        if operator := _COMPARISONS.get(name) or _NULL_SAFE.get(name):
            left, right = comparable(beside_text([self.part(node.this), self.part(node.expression)], either=True))
            told = f"({left.sql} {operator} {right.sql})"
            return Part(f"(NOT {told})" if name == "NullSafeEQ" else told, "bool")
        if name in _ARITHMETIC:
            left, right = self._number(node.this), self._number(node.expression)
            if left.kind == right.kind:
                return Part(f"({left.sql} {_ARITHMETIC[name]} {right.sql})", left.kind)
            double = "::double precision"
            return Part(f"({left.sql}{double} {_ARITHMETIC[name]} {right.sql}{double})", "real")
        if name in _DIVISIONS:
            left, right = self._number(node.this), self._number(node.expression)
            # Division by zero is NULL on SQLite and an error on Postgres.
            if left.kind == right.kind == "int" and (right.constant or "0").strip("0"):
                return Part(f"({left.sql} {_DIVISIONS[name]} {right.sql})", "int")
        raise Untranslatable(node.sql("sqlite"))

    def _alike(self, *nodes: exp.Expr) -> list[Part]:
        """Parts that both databases compare the same way."""
        return comparable([self.part(node) for node in nodes])

    def _number(self, node: exp.Expr) -> Part:
        part = self.part(node)
        part = plain(part) if part.kind in ("bool", "flag") else part
        if part.kind not in NUMBERS:
            raise Untranslatable(node.sql("sqlite"))
        return part

    def _text(self, node: exp.Expr) -> Part:
        """A value as a text: that of a whole number is its digits on both, which is not so of reals."""
        part = self.part(node)
        part = plain(part) if part.kind in ("bool", "flag") else part
        if part.kind == "int" and len(part.constant or "") < _DIGITS:
            return Part(f"({part.sql})::text", "text")
        if part.kind != "text":
            raise Untranslatable(node.sql("sqlite"))
        return part

    def _constant(self, node: exp.Expr, kind: str) -> str:
        part = self.part(node)
        if part.constant is None or part.kind != kind:
            raise Untranslatable(node.sql("sqlite"))
        return part.constant

    # -- names and literals ----------------------------------------------------------------------------------------

    def _on_column(self, node: exp.Column) -> Part:
        column = self._columns.get(node.name.lower())
        if column is not None and not column.target:
            raise Untranslatable(node.name)
        if column is not None:
            return Part(quoted(column.target), kind_of(column), column.collation, column.affinity)
        if node.this.quoted and not node.table:
            # SQLite takes "x" for a string if there is no such column.
            return Part(literal(node.name), "text", constant=node.name)
        raise Untranslatable(node.name)

    def _on_literal(self, node: exp.Literal) -> Part:
        if node.is_string:
            return Part(literal(node.name), "text", constant=node.name)
        return Part(node.name, "int" if node.name.isdigit() else "real", constant=node.name)

    def _on_boolean(self, node: exp.Boolean) -> Part:
        text = "1" if node.this else "0"
        return Part(text, "int", constant=text)

    def _on_neg(self, node: exp.Neg) -> Part:
        part = self._number(node.this)
        return Part(f"(-{part.sql})", part.kind, constant=None if part.constant is None else f"-{part.constant}")

    def _on_paren(self, node: exp.Paren) -> Part:
        return self.part(node.this)

    # -- conditions ------------------------------------------------------------------------------------------------

    def _on_and(self, node: exp.And) -> Part:
        return Part(f"({self._truth(node.this)} AND {self._truth(node.expression)})", "bool")

    def _on_or(self, node: exp.Or) -> Part:
        return Part(f"({self._truth(node.this)} OR {self._truth(node.expression)})", "bool")

    def _on_not(self, node: exp.Not) -> Part:
        return Part(f"(NOT {self._truth(node.this)})", "bool")

    def _truth(self, node: exp.Expr) -> str:
        return condition_of(self.part(node)).sql

    def _on_is(self, node: exp.Is) -> Part:
        name = type(node.expression).__name__
        if name == "Null":
            return Part(f"({self.part(node.this).sql} IS NULL)", "bool")
        if name == "Boolean":
            return Part(f"({self._truth(node.this)} IS {'TRUE' if node.expression.this else 'FALSE'})", "bool")
        raise Untranslatable(node.sql("sqlite"))

    def _on_in(self, node: exp.In) -> Part:
        if not node.expressions or node.args.get("query"):
            raise Untranslatable(node.sql("sqlite"))
        first, *rest = comparable(beside_text([self.part(each) for each in (node.this, *node.expressions)]))
        return _negated(node, f"{first.sql} IN ({', '.join(part.sql for part in rest)})")

    def _on_between(self, node: exp.Between) -> Part:
        nodes = (node.this, node.args["low"], node.args["high"])
        value, low, high = comparable(beside_text([self.part(each) for each in nodes]))
        return _negated(node, f"({value.sql} >= {low.sql}) AND ({value.sql} <= {high.sql})")

    def _on_like(self, node: exp.Like, escape: str = "") -> Part:
        return _pattern(node, like(self._text(node.this).sql, self._constant(node.expression, "text"), escape))

    def _on_escape(self, node: exp.Escape) -> Part:
        letter = self._constant(node.expression, "text")
        if type(node.this).__name__ != "Like" or len(letter) != 1 or letter.isalpha():
            raise Untranslatable(node.sql("sqlite"))
        return self._on_like(node.this, letter)

    def _on_glob(self, node: exp.Glob) -> Part:
        return _pattern(node, glob(self._text(node.this).sql, self._constant(node.expression, "text")))

    def _on_case(self, node: exp.Case) -> Part:
        cases = node.args["ifs"]
        if node.this is not None or node.args.get("default") is None:
            raise Untranslatable(node.sql("sqlite"))
        nodes = [*(case.args["true"] for case in cases), node.args["default"]]
        *results, otherwise = same_kind([self.part(each) for each in nodes])
        whens = " ".join(
            f"WHEN {self._truth(case.this)} THEN {result.sql}" for case, result in zip(cases, results, strict=True)
        )
        return Part(f"(CASE {whens} ELSE {otherwise.sql} END)", otherwise.kind)

    # -- functions -------------------------------------------------------------------------------------------------

    def _on_length(self, node: exp.Length) -> Part:
        return Part(f"length({self._text(node.this).sql})::bigint", "int")

    def _on_lower(self, node: exp.Lower) -> Part:
        return Part(f'lower({self._text(node.this).sql} COLLATE "C")', "text")

    def _on_upper(self, node: exp.Upper) -> Part:
        return Part(f'upper({self._text(node.this).sql} COLLATE "C")', "text")

    def _on_trim(self, node: exp.Trim) -> Part:
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(node.args.get("position") or "", "btrim")
        if node.args.get("expression") is not None:
            raise Untranslatable(node.sql("sqlite"))
        return Part(f"{name}({self._text(node.this).sql}, ' ')", "text")

    def _on_substring(self, node: exp.Substring) -> Part:
        """Counted from the front, by constants: what is negative or zero means something else to each."""
        limits = [node.args.get("start"), node.args.get("length")]
        numbers = [self.part(each) for each in limits if each is not None]
        sure = self._default or all((part.constant or "0").strip("0").isdigit() for part in numbers)
        if not numbers or not sure or not all(part.kind == "int" for part in numbers):
            raise Untranslatable(node.sql("sqlite"))
        text = ", ".join(f"({part.sql})::int" for part in numbers)
        return Part(f"substr({self._text(node.this).sql}, {text})", "text")

    def _on_strposition(self, node: exp.StrPosition) -> Part:
        return Part(f"strpos({self._text(node.this).sql}, {self._text(node.args['substr']).sql})::bigint", "int")

    def _on_dpipe(self, node: exp.DPipe) -> Part:
        return Part(f"({self._text(node.this).sql} || {self._text(node.expression).sql})", "text")

    def _on_abs(self, node: exp.Abs) -> Part:
        part = self._number(node.this)
        return Part(f"abs({part.sql})", part.kind)

    def _on_coalesce(self, node: exp.Coalesce) -> Part:
        parts = same_kind([self.part(each) for each in (node.this, *node.expressions)])
        return Part(f"COALESCE({', '.join(part.sql for part in parts)})", parts[0].kind, parts[0].collation)

    def _on_nullif(self, node: exp.Nullif) -> Part:
        parts = self._alike(node.this, node.expression)
        if len({part.kind for part in parts} & VALUES) != 1 or parts[0].collation != "BINARY":
            raise Untranslatable(node.sql("sqlite"))
        return Part(f"NULLIF({parts[0].sql}, {parts[1].sql})", parts[0].kind)

    def _on_typeof(self, node: exp.Typeof) -> Part:
        part = self.part(node.this)
        name = {"int": "integer", "text": "text", "blob": "blob", "flag": "integer"}.get(part.kind)
        if part.kind == "real" and part.affinity == "REAL":
            name = "real"
        if name is None:
            raise Untranslatable(node.sql("sqlite"))
        return Part(f"(CASE WHEN {part.sql} IS NULL THEN 'null' ELSE '{name}' END)", "text")

    def _on_anonymous(self, node: exp.Anonymous) -> Part:
        if node.name.lower() == "json_valid" and len(node.expressions) == 1:
            part = self.part(node.expressions[0])
            if part.kind == "json":
                return Part(f"(CASE WHEN {part.sql} IS NOT NULL THEN true ELSE NULL END)", "bool")
            if part.kind == "text" and self._helpers:
                return Part(f"(cutover.json_valid({part.sql}) = 1)", "bool")
        raise Untranslatable(node.sql("sqlite"))

    # -- defaults alone --------------------------------------------------------------------------------------------

    def _on_hex(self, node: exp.Hex) -> Part:
        return Part(f"upper({self._random_hex(node)})", "text")

    def _on_lowerhex(self, node: exp.LowerHex) -> Part:
        return Part(self._random_hex(node), "text")

    def _random_hex(self, node: exp.Hex | exp.LowerHex) -> str:
        call = node.this
        if self._default and type(call).__name__ == "Anonymous" and call.name.lower() == "randomblob":
            size = int(self._constant(call.expressions[0], "int"))
            if 0 < size <= 16:  # no more than a UUID has
                return f"left({_RANDOM_HEX}, {size * 2})"
        raise Untranslatable(node.sql("sqlite"))

    def _on_rand(self, node: exp.Rand) -> Part:
        if not self._default:
            raise Untranslatable(node.sql("sqlite"))
        return Part("floor((random() - 0.5) * 9e18)::bigint", "int")


def _pattern(node: exp.Expr, condition: str | None) -> Part:
    if condition is None:
        raise Untranslatable(node.sql("sqlite"))
    return _negated(node, condition)


def _negated(node: exp.Expr, condition: str) -> Part:
    return Part(f"(NOT ({condition}))" if node.args.get("negate") else f"({condition})", "bool")
