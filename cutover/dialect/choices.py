"""Functions that choose among values of any kind, or tell what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import json_functions, numbers
from cutover.dialect.collations import bytewise
from cutover.dialect.comparing import compare, dynamic, value
from cutover.dialect.mathematics import Function
from cutover.dialect.strings import node_of
from cutover.dialect.typed import Kind, Typed, call, collate_c, helper, null, paren

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions


def _coalesce(_: Expressions, arguments: list[Typed]) -> Typed:
    values = [value(argument) for argument in arguments]
    last = next((at for at, argument in enumerate(values) if argument.not_null), len(values))
    values = values[: last + 1]  # what stands behind one that is never NULL is never chosen
    kind, nodes = numbers.unify(values)
    not_null = any(argument.not_null for argument in values)
    return Typed(
        exp.Coalesce(this=nodes[0], expressions=nodes[1:]),
        kind,
        not_null=not_null,
        json=json_functions.either(values),
    )


def _nullif(_: Expressions, arguments: list[Typed]) -> Typed:
    left = value(arguments[0])
    if left.kind is Kind.NULL:
        return left
    # A function applies no affinity to its arguments.
    one, two = (side.but(affinity=None, explicit=bool(side.collation)) for side in (left, arguments[1]))
    test = compare(exp.EQ, one, two, loose=True)
    return Typed(
        exp.Paren(this=exp.Case(ifs=[exp.If(this=test, true=exp.Null())], default=left.node.copy())),
        left.kind,
        json=json_functions.either([left]),
    )


def _iif(expressions: Expressions, arguments: list[Typed]) -> Typed:
    values = [value(argument) for argument in arguments[1:]]
    kind, nodes = numbers.unify(values)
    test = expressions.truth(arguments[0])
    node = exp.Paren(this=exp.Case(ifs=[exp.If(this=test, true=nodes[0])], default=nodes[1]))
    return Typed(node, kind, json=json_functions.either(values))


def _extreme(op: type[exp.Binary]) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        values = [value(argument) for argument in arguments]
        kind, nodes = numbers.unify(values)
        if kind is Kind.NULL:
            return Typed(exp.Null(), Kind.NULL)
        json = json_functions.either(values)
        name = next((value.collation.upper() for value in values if value.collation), "BINARY")
        if kind in (Kind.DYNAMIC, Kind.BLOB) or (kind is Kind.TEXT and name != "BINARY"):
            given = [dynamic(Typed(node, kind)) for node in nodes]
            node = helper("least" if op is exp.LT else "greatest", exp.Literal.string(name), *given)
            plain = {Kind.TEXT: "txt", Kind.BLOB: "plain_blob"}.get(kind)
            return Typed(helper(plain, node) if plain else node, kind, json=json)
        if kind is Kind.TEXT:
            nodes = [node if bytewise(typed) else collate_c(node) for node, typed in zip(nodes, values, strict=True)]
        if op is exp.LT:  # of an integer and a real that are equal, SQLite takes the last
            nodes.reverse()
        any_null = exp.or_(*[exp.Is(this=paren(node.copy()), expression=exp.Null()) for node in nodes])
        chosen = call("LEAST" if op is exp.LT else "GREATEST", *nodes)
        return Typed(
            exp.Paren(this=exp.Case(ifs=[exp.If(this=any_null, true=null(kind))], default=chosen)), kind, json=json
        )

    return build


def _typeof(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0]) if arguments[0].kind in (Kind.WHOLE, Kind.JSON) else arguments[0]
    if inner.kind in (Kind.NUM, Kind.DYNAMIC):
        return Typed(helper("type_of", inner.node), Kind.TEXT, not_null=True)
    name = {Kind.INT: "integer", Kind.BOOL: "integer", Kind.REAL: "real", Kind.TEXT: "text"}
    given = node_of(inner)
    if inner.kind is Kind.REAL and inner.column is None:  # computed, perhaps of infinite numbers: NaN is NULL there
        given = helper("no_nan", given)
    is_null = exp.Is(this=paren(given), expression=exp.Null())
    written = exp.Literal.string(name.get(inner.kind, "blob"))
    case = exp.Case(ifs=[exp.If(this=is_null, true=exp.Literal.string("null"))], default=written)
    return Typed(exp.Paren(this=case), Kind.TEXT, not_null=True)


def _likely(_: Expressions, arguments: list[Typed]) -> Typed:
    return value(arguments[0]).but(affinity=None, collation=None)


FUNCTIONS: dict[str, Function] = {
    "coalesce": _coalesce,
    "ifnull": _coalesce,
    "nullif": _nullif,
    "iif": _iif,
    "min": _extreme(exp.LT),
    "max": _extreme(exp.GT),
    "typeof": _typeof,
    "likely": _likely,
    "unlikely": _likely,
    "likelihood": _likely,
}
