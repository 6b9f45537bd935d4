"""Expressions of a SQLite schema (CHECK, partial and expression indexes, generated columns, defaults) for Postgres.

A short list of forms whose meaning is the same is translated, and everything else is refused: a constraint that means
something slightly different would reject rows that SQLite accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from cutover.model.table import Column
from cutover.schema.createsql import keyword, unquote
from cutover.schema.sqlite_schema import quoted
from cutover.schema.sqltokens import Token, tokens

if TYPE_CHECKING:
    from sqlglot import exp

_KINDS = {
    "bigint": "int",
    "integer": "int",
    "smallint": "int",
    "double precision": "real",
    "text": "text",
    "bytea": "blob",
}
_COMPARISONS = {"EQ": "=", "NEQ": "<>", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_ARITHMETIC = {"Add": "+", "Sub": "-", "Mul": "*"}
_NUMBERS = {"int", "real"}

NOW = "timezone('UTC', statement_timestamp())"
_MOMENTS = {
    "current_timestamp": f"to_char({NOW}, 'YYYY-MM-DD HH24:MI:SS')",
    "current_date": f"to_char({NOW}, 'YYYY-MM-DD')",
    "current_time": f"to_char({NOW}, 'HH24:MI:SS')",
}
_MOMENT_CALLS = {
    "datetime('now')": _MOMENTS["current_timestamp"],
    "date('now')": _MOMENTS["current_date"],
    "time('now')": _MOMENTS["current_time"],
    "strftime('%Y-%m-%dT%H:%M:%SZ','now')": f'to_char({NOW}, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')',
    "strftime('%Y-%m-%dT%H:%M:%fZ','now')": f'to_char({NOW}, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\')',
    "strftime('%Y-%m-%d %H:%M:%f','now')": f"to_char({NOW}, 'YYYY-MM-DD HH24:MI:SS.MS')",
}
_EPOCH_CALLS = {
    "unixepoch()": "floor(extract(epoch FROM statement_timestamp()))::bigint",
    "unixepoch('now')": "floor(extract(epoch FROM statement_timestamp()))::bigint",
    "strftime('%s','now')": "floor(extract(epoch FROM statement_timestamp()))::bigint",
}


class Untranslatable(Exception):
    """The expression has no form here that surely means the same; the message is the part that has none."""


class _Part(NamedTuple):
    sql: str
    kind: str
    """int, real, text, blob or bool."""
    bytewise: bool = True
    """False for text that SQLite compares by another collation than BINARY."""


def literal(text: str) -> str:
    """A Postgres string literal."""
    return "'" + text.replace("'", "''") + "'"


def translate(sql: str, columns: Mapping[str, Column], *, condition: bool) -> str:
    """`sql` in Postgres's dialect; `columns` by lower-case source name. Raises `Untranslatable`.

    With `condition` the result is boolean, else a value of the kind that SQLite would give.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
        part = _Translator(columns).part(tree)
    except (SqlglotError, RecursionError):
        raise Untranslatable(sql) from None
    if condition:
        return _condition(part).sql
    if part.kind == "bool":
        return f"({part.sql})::int::bigint"
    return part.sql


def _condition(part: _Part) -> _Part:
    if part.kind == "bool":
        return part
    if part.kind in _NUMBERS:
        return _Part(f"({part.sql} <> 0)", "bool")
    raise Untranslatable(part.sql)


class _Translator:
    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    def part(self, node: exp.Expr) -> _Part:
        method = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if method is not None:
            part: _Part = method(node)
            return part
        name = type(node).__name__
        if name in _COMPARISONS:
            left, right = self._alike(node.this, node.expression)
            return _Part(f"({left.sql} {_COMPARISONS[name]} {right.sql})", "bool")
        if name in _ARITHMETIC:
            left, right = self.part(node.this), self.part(node.expression)
            if left.kind != right.kind or left.kind not in _NUMBERS:
                raise Untranslatable(node.sql("sqlite"))
            return _Part(f"({left.sql} {_ARITHMETIC[name]} {right.sql})", left.kind)
        raise Untranslatable(node.sql("sqlite"))

    def _alike(self, *nodes: exp.Expr) -> list[_Part]:
        """Parts that both databases compare the same way: all numbers, or all text compared by bytes."""
        parts = [self.part(node) for node in nodes]
        kinds = {part.kind for part in parts}
        if not (kinds <= _NUMBERS or kinds == {"text"}) or not all(part.bytewise for part in parts):
            raise Untranslatable(" and ".join(part.sql for part in parts))
        return parts

    def _on_column(self, node: exp.Column) -> _Part:
        column = self._columns.get(node.name.lower())
        if column is not None:
            kind = _KINDS.get(column.target_type)
            if kind is None:
                raise Untranslatable(node.name)
            return _Part(quoted(column.target), kind, column.collation == "BINARY")
        if node.this.quoted and not node.table:
            return _Part(literal(node.name), "text")  # SQLite takes "x" for a string if there is no such column
        raise Untranslatable(node.name)

    def _on_literal(self, node: exp.Literal) -> _Part:
        if node.is_string:
            return _Part(literal(node.name), "text")
        return _Part(node.name, "int" if node.name.isdigit() else "real")

    def _on_boolean(self, node: exp.Boolean) -> _Part:
        return _Part("1" if node.this else "0", "int")

    def _on_neg(self, node: exp.Neg) -> _Part:
        part = self.part(node.this)
        if part.kind not in _NUMBERS:
            raise Untranslatable(part.sql)
        return _Part(f"(-{part.sql})", part.kind)

    def _on_paren(self, node: exp.Paren) -> _Part:
        return self.part(node.this)

    def _on_and(self, node: exp.And) -> _Part:
        return _Part(f"({self._truth(node.this)} AND {self._truth(node.expression)})", "bool")

    def _on_or(self, node: exp.Or) -> _Part:
        return _Part(f"({self._truth(node.this)} OR {self._truth(node.expression)})", "bool")

    def _on_not(self, node: exp.Not) -> _Part:
        return _Part(f"(NOT {self._truth(node.this)})", "bool")

    def _truth(self, node: exp.Expr) -> str:
        return _condition(self.part(node)).sql

    def _on_is(self, node: exp.Is) -> _Part:
        if type(node.expression).__name__ != "Null":
            raise Untranslatable(node.sql("sqlite"))
        negated = "NOT " if node.args.get("negate") else ""
        return _Part(f"({self.part(node.this).sql} IS {negated}NULL)", "bool")

    def _on_in(self, node: exp.In) -> _Part:
        if not node.expressions or node.args.get("query") or node.args.get("negate"):
            raise Untranslatable(node.sql("sqlite"))
        first, *rest = self._alike(node.this, *node.expressions)
        return _Part(f"({first.sql} IN ({', '.join(part.sql for part in rest)}))", "bool")

    def _on_between(self, node: exp.Between) -> _Part:
        if node.args.get("negate"):
            raise Untranslatable(node.sql("sqlite"))
        value, low, high = self._alike(node.this, node.args["low"], node.args["high"])
        return _Part(f"({value.sql} BETWEEN {low.sql} AND {high.sql})", "bool")

    def _text(self, node: exp.Expr) -> _Part:
        part = self.part(node)
        if part.kind != "text":
            raise Untranslatable(node.sql("sqlite"))
        return part

    def _on_length(self, node: exp.Length) -> _Part:
        return _Part(f"length({self._text(node.this).sql})::bigint", "int")

    def _on_lower(self, node: exp.Lower) -> _Part:
        return _Part(f'lower({self._text(node.this).sql} COLLATE "C")', "text")

    def _on_upper(self, node: exp.Upper) -> _Part:
        return _Part(f'upper({self._text(node.this).sql} COLLATE "C")', "text")

    def _on_dpipe(self, node: exp.DPipe) -> _Part:
        return _Part(f"({self._text(node.this).sql} || {self._text(node.expression).sql})", "text")

    def _on_coalesce(self, node: exp.Coalesce) -> _Part:
        parts = [self.part(each) for each in (node.this, *node.expressions)]
        if len({part.kind for part in parts}) != 1:
            raise Untranslatable(node.sql("sqlite"))
        text = ", ".join(part.sql for part in parts)
        return _Part(f"coalesce({text})", parts[0].kind, all(part.bytewise for part in parts))


def translate_default(sql: str, target_type: str) -> str:
    """The default of a column of `target_type`, as SQLite would store it there. Raises `Untranslatable`."""
    words = list(tokens(sql))
    while len(words) > 2 and words[0].text == "(" and words[-1].text == ")":
        words = words[1:-1]
    kind = _KINDS.get(target_type)
    text = "".join(word.text for word in words)
    called = text.lower() if "(" not in text else _lower_outside_strings(words)
    if kind == "text" and (moment := _MOMENTS.get(called) or _MOMENT_CALLS.get(called)):
        return moment
    if kind == "int" and (epoch := _EPOCH_CALLS.get(called)):
        return epoch
    return _constant(words, kind, sql)


def _lower_outside_strings(words: list[Token]) -> str:
    return "".join(word.text if word.type == "string" else word.text.lower() for word in words)


def _constant(words: list[Token], kind: str | None, sql: str) -> str:
    sign = ""
    if len(words) == 2 and words[0].text in "+-":
        sign, words = words[0].text.replace("+", ""), words[1:]
    if kind == "blob" and len(words) == 2 and words[0].text in "xX" and words[1].type == "string":
        return f"'\\x{unquote(words[1].text)}'::bytea"
    if len(words) != 1:
        raise Untranslatable(sql)
    word = words[0]
    if keyword(word) == "NULL":
        return "NULL"
    if word.type == "number":
        return _number(sign + word.text, kind, sql)
    if keyword(word) in {"TRUE", "FALSE"}:
        return _number("1" if keyword(word) == "TRUE" else "0", kind, sql)
    if word.type in {"string", "quoted"} or (word.type == "word" and not sign):
        value = unquote(word.text)
        return literal(value) if kind == "text" else _number(value.strip(), kind, sql)
    raise Untranslatable(sql)


def _number(text: str, kind: str | None, sql: str) -> str:
    """`text` as a constant of `kind`, if that is exactly what SQLite would make of it."""
    try:
        if kind == "int":
            return str(int(text))
        if kind == "real":
            return repr(float(text))
        if kind == "text":
            # TEXT affinity: an integer is stored by its digits; of a real only a plain spelling is sure.
            return literal(str(int(text)) if text.lstrip("-").isdigit() else _plain_real(text))
    except ValueError:
        pass
    raise Untranslatable(sql)


def _plain_real(text: str) -> str:
    if repr(float(text)) != text:
        raise ValueError(text)
    return text
