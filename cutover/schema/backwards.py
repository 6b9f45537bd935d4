"""Expressions of a Postgres schema (CHECK, expressions and predicates of unique indexes) asked of SQLite's rows.

The counterpart of `translate`, and as strict: what is not surely the same question is refused, and is said not to have
been asked. Values of another storage class than the type's are found by other checks, and may answer anything here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from cutover.model.table import Column
from cutover.schema.codecs import base_of
from cutover.schema.parts import Untranslatable
from cutover.schema.patterns import literal
from cutover.schema.sqlite_schema import quoted
from cutover.schema.textfunctions import regexp_pattern

if TYPE_CHECKING:
    from sqlglot import exp

_INTEGERS = ("smallint", "integer", "bigint")
_NUMBERS = ("numeric", "double precision")
_TEXTS = ("text", "character varying", "citext", "enum")
_COMPARISONS = {"EQ": "=", "NEQ": "<>", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_ARITHMETIC = {"Add": "+", "Sub": "-", "Mul": "*"}
_NULL_SAFE = {"NullSafeEQ": "IS", "NullSafeNEQ": "IS NOT"}
_TEXT_CASTS = {"TEXT", "VARCHAR", "USERDEFINED"}
_NUMBER_CASTS = {"SMALLINT", "INT", "BIGINT", "DECIMAL", "DOUBLE"}
_SURE_PATTERN = re.compile(r"(?:[A-Za-z0-9 _@#%&=:;,/<>!~'\"+*?.^$|()\[\]{}-]|\\[.dws/@+*?()\[\]^$|-])*")


class _Part(NamedTuple):
    sql: str
    kind: str
    """int, number, text, bool, or other: what only `IS NULL` may be asked of."""
    sorted: bool = True
    """False where Postgres sorts or equates the text by another collation than its bytes."""
    folds: bool = False
    """Whether Postgres takes texts that differ in case for equal."""


def ask(sql: str, columns: Mapping[str, Column], *, condition: bool) -> str:
    """`sql` of Postgres as a question about a row `s` on SQLite; `columns` by target name. Raises `Untranslatable`.

    With `condition` the result is 1, 0 or NULL, else a value that is the same where Postgres's is.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        part = _Asker(columns).part(sqlglot.parse_one(sql, dialect="postgres"))
    except (SqlglotError, RecursionError, re.error):
        raise Untranslatable(sql) from None
    if part.kind == "other" or (condition and part.kind != "bool"):
        raise Untranslatable(sql)
    return f"cutover_lower({_blob(part.sql)}, 1)" if part.folds and not condition else part.sql


def ask_check(definition: str, columns: Mapping[str, Column]) -> str:
    """A CHECK as `pg_get_constraintdef` prints it, as the question whether a row breaks it."""
    found = re.fullmatch(r"CHECK \((.*)\)(?: NO INHERIT)?(?: NOT VALID)?", definition, re.DOTALL)
    if found is None:
        raise Untranslatable(definition)
    return f"NOT ({ask(found[1], columns, condition=True)})"


def _blob(sql: str) -> str:
    return f"CAST({sql} AS BLOB)"


class _Asker:
    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    def part(self, node: exp.Expr) -> _Part:
        name = type(node).__name__
        method = getattr(self, f"_on_{name.lower()}", None)
        if method is not None:
            made: _Part = method(node)
        elif name in _COMPARISONS:
            made = self._compared(node, _COMPARISONS[name])
        elif name in _NULL_SAFE:
            left, right = self._alike(node.this, node.expression, order=False)
            made = _Part(f"({left.sql} {_NULL_SAFE[name]} {right.sql})", "bool")
        elif name in _ARITHMETIC:
            left, right = self._numbers(node.this, node.expression)
            kind = "int" if left.kind == right.kind == "int" else "number"
            made = _Part(f"({left.sql} {_ARITHMETIC[name]} {right.sql})", kind)
        else:
            raise Untranslatable(node.sql("postgres"))
        return _Part(f"(NOT {made.sql})", "bool") if node.args.get("negate") else made

    def _numbers(self, *nodes: exp.Expr) -> list[_Part]:
        parts = [self.part(node) for node in nodes]
        if any(part.kind not in ("int", "number") for part in parts):
            raise Untranslatable(" and ".join(part.sql for part in parts))
        return parts

    def _alike(self, *nodes: exp.Expr, order: bool) -> list[_Part]:
        """Parts that both databases compare the same way, and by order only where it is that of bytes."""
        parts = [self.part(node) for node in nodes]
        kinds = {"number" if part.kind == "int" else part.kind for part in parts}
        if len(kinds) != 1 or "other" in kinds or any(part.folds for part in parts):
            raise Untranslatable(" and ".join(part.sql for part in parts))
        if order and not all(part.sorted for part in parts):
            raise Untranslatable(" and ".join(part.sql for part in parts))
        return [part._replace(sql=f"{part.sql} COLLATE BINARY") if kinds == {"text"} else part for part in parts]

    def _compared(self, node: exp.Expr, operator: str) -> _Part:
        many = self._members(node.expression, operator)
        if many is not None:
            left, *rest = self._alike(node.this, *many, order=False)
            inside = "IN" if operator == "=" else "NOT IN"
            return _Part(f"({left.sql} {inside} ({', '.join(part.sql for part in rest)}))", "bool")
        left, right = self._alike(node.this, node.expression, order=operator not in ("=", "<>"))
        return _Part(f"({left.sql} {operator} {right.sql})", "bool")

    def _members(self, node: exp.Expr, operator: str) -> list[exp.Expr] | None:
        """Those of `= ANY (ARRAY[...])` and `<> ALL (ARRAY[...])`; None for anything that is no such list."""
        if type(node).__name__ == "Any" and operator == "=":
            inner = node.this
        elif type(node).__name__ in ("All", "Anonymous") and operator == "<>" and str(node.name).upper() in ("ALL", ""):
            inner = node.expressions[0] if node.expressions else node.this
        else:
            return None
        while type(inner).__name__ in ("Paren", "Cast"):
            inner = inner.this
        if type(inner).__name__ != "Array" or not inner.expressions:
            raise Untranslatable(node.sql("postgres"))
        return list(inner.expressions)

    def _on_column(self, node: exp.Column) -> _Part:
        column = self._columns.get(node.name)
        if column is None:
            raise Untranslatable(node.name)
        value, base = f"s.{quoted(column.name)}", base_of(column)
        if base in _TEXTS and column.affinity != "INTEGER":
            return _Part(value, "text", base != "enum" and column.target_collation is None, base == "citext")
        if column.affinity != "TEXT":
            if base in _INTEGERS:
                return _Part(value, "int")
            if base in _NUMBERS:
                return _Part(value, "number")
            if base == "boolean" and column.format in ("", "integer", "0|1"):
                return _Part(f"({value} <> 0)", "bool")
        return _Part(value, "other")

    def _on_literal(self, node: exp.Literal) -> _Part:
        if node.is_string:
            if "\x00" in node.name:
                raise Untranslatable(node.name)
            return _Part(literal(node.name), "text")
        return _Part(node.name, "int" if node.name.isdigit() else "number")

    def _on_boolean(self, node: exp.Boolean) -> _Part:
        return _Part("1" if node.this else "0", "bool")

    def _on_cast(self, node: exp.Cast) -> _Part:
        part, wanted = self.part(node.this), str(node.to.this.name)
        if node.to.expressions:
            raise Untranslatable(node.sql("postgres"))
        if part.kind == "text" and wanted in _TEXT_CASTS:
            return part._replace(folds=part.folds and wanted == "USERDEFINED")
        if part.kind in ("int", "number") and wanted in _NUMBER_CASTS and (part.kind == "int" or "INT" not in wanted):
            return part
        number = node.this.name if type(node.this).__name__ == "Literal" else ""
        if part.kind == "text" and wanted in _NUMBER_CASTS and re.fullmatch(r"-?\d+(\.\d+)?", number, re.ASCII):
            return _Part(f"({number})", "int" if number.lstrip("-").isdigit() else "number")
        raise Untranslatable(node.sql("postgres"))

    def _on_paren(self, node: exp.Paren) -> _Part:
        return self.part(node.this)

    def _on_neg(self, node: exp.Neg) -> _Part:
        (part,) = self._numbers(node.this)
        return part._replace(sql=f"(-{part.sql})")

    def _on_mod(self, node: exp.Mod) -> _Part:
        left, right = self._numbers(node.this, node.expression)
        if (left.kind, right.kind) != ("int", "int"):
            raise Untranslatable(node.sql("postgres"))
        return _Part(f"({left.sql} % {right.sql})", "int")

    def _truth(self, node: exp.Expr) -> str:
        part = self.part(node)
        if part.kind != "bool":
            raise Untranslatable(node.sql("postgres"))
        return part.sql

    def _on_and(self, node: exp.And) -> _Part:
        return _Part(f"({self._truth(node.this)} AND {self._truth(node.expression)})", "bool")

    def _on_or(self, node: exp.Or) -> _Part:
        return _Part(f"({self._truth(node.this)} OR {self._truth(node.expression)})", "bool")

    def _on_not(self, node: exp.Not) -> _Part:
        return _Part(f"(NOT {self._truth(node.this)})", "bool")

    def _on_is(self, node: exp.Is) -> _Part:
        kind = type(node.expression).__name__
        if kind == "Null":
            return _Part(f"({self.part(node.this).sql} IS NULL)", "bool")
        if kind == "Boolean":
            return _Part(f"({self._truth(node.this)} IS {int(node.expression.this)})", "bool")
        raise Untranslatable(node.sql("postgres"))

    def _on_between(self, node: exp.Between) -> _Part:
        value, low, high = self._alike(node.this, node.args["low"], node.args["high"], order=True)
        return _Part(f"({value.sql} BETWEEN {low.sql} AND {high.sql})", "bool")

    def _on_coalesce(self, node: exp.Coalesce) -> _Part:
        parts = [self.part(each) for each in (node.this, *node.expressions)]
        if len({(part.kind, part.sorted, part.folds) for part in parts}) != 1 or parts[0].kind == "other":
            raise Untranslatable(node.sql("postgres"))
        return parts[0]._replace(sql=f"coalesce({', '.join(part.sql for part in parts)})")

    # -- text ------------------------------------------------------------------------------------------------------

    def _of_text(self, node: exp.Expr) -> _Part:
        part = self.part(node)
        if part.kind != "text":
            raise Untranslatable(node.sql("postgres"))
        return part

    def _on_length(self, node: exp.Length) -> _Part:
        return _Part(f"length({self._of_text(node.this).sql})", "int")

    def _on_lower(self, node: exp.Lower) -> _Part:
        part = self._of_text(node.this)
        return part._replace(sql=f"cutover_lower({_blob(part.sql)}, {int(not part.sorted)})")

    def _on_upper(self, node: exp.Upper) -> _Part:
        part = self._of_text(node.this)
        return part._replace(sql=f"cutover_upper({_blob(part.sql)}, {int(not part.sorted)})")

    def _on_trim(self, node: exp.Trim) -> _Part:
        if any(value for name, value in node.args.items() if name != "this"):
            raise Untranslatable(node.sql("postgres"))
        part = self._of_text(node.this)
        return part._replace(sql=f"trim({part.sql}, ' ')")

    def _on_like(self, node: exp.Like) -> _Part:
        part, pattern = self.part(node.this), self._constant(node.expression)
        if part.kind != "text" or part.folds or pattern.endswith("\\"):
            raise Untranslatable(node.sql("postgres"))
        return _Part(f"cutover_like({_blob(part.sql)}, {literal(pattern)})", "bool")

    def _on_regexplike(self, node: exp.RegexpLike) -> _Part:
        part, pattern = self.part(node.this), self._constant(node.expression)
        sure = _SURE_PATTERN.fullmatch(pattern) and "[:" not in pattern and "(?" not in pattern
        if part.kind != "text" or part.folds or not sure:
            raise Untranslatable(node.sql("postgres"))
        regexp_pattern(pattern)
        return _Part(f"cutover_regexp({_blob(part.sql)}, {literal(pattern)})", "bool")

    def _constant(self, node: exp.Expr) -> str:
        while type(node).__name__ in ("Cast", "Paren"):
            node = node.this
        if type(node).__name__ != "Literal" or not node.is_string:
            raise Untranslatable(node.sql("postgres"))
        return str(node.name)

    def _on_anonymous(self, node: exp.Anonymous) -> _Part:
        name, given = str(node.this).lower(), node.expressions
        if name == "octet_length" and len(given) == 1:
            return _Part(f"length({_blob(self._of_text(given[0]).sql)})", "int")
        if name in ("num_nulls", "num_nonnulls") and given:
            test = "IS NULL" if name == "num_nulls" else "IS NOT NULL"
            return _Part("(" + " + ".join(f"({self.part(each).sql} {test})" for each in given) + ")", "int")
        raise Untranslatable(node.sql("postgres"))
