"""SQLite's JSON functions. JSON is text that tells what it is: inside of other JSON it stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.collations import collation
from cutover.dialect.comparing import text, value
from cutover.dialect.typed import NUMBERS, Kind, Refused, Typed, call, cast, helper, identifier, literal, null
from cutover.errors import StatementError

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

_Function = Callable[["Expressions", list[Typed]], Typed]
AGGREGATES = frozenset({"json_group_array", "json_group_object"})
ARROW, ARROW_VALUE = "json_arrow", "json_arrow_value"
"""What `->` and `->>` are called, see `arrows`."""


TABLES = frozenset({"json_each", "json_tree"})
"""Functions in FROM."""
ROWS = {
    "key": Kind.DYNAMIC, "value": Kind.DYNAMIC, "type": Kind.TEXT, "atom": Kind.DYNAMIC, "id": Kind.INT,
    "parent": Kind.INT, "fullkey": Kind.TEXT, "path": Kind.TEXT,
}  # fmt: skip
"""Their columns."""


def as_json(typed: Typed) -> exp.Expr:
    """The expression as a part of JSON: JSON is taken as it is, every other value is written as one."""
    if typed.json == "mixed":
        raise Refused(
            "A choice between JSON and other values inside of other JSON",
            "Make each of them JSON, by json() or json_quote().",
        )
    if typed.json == "sure":
        return exp.Coalesce(this=typed.node, expressions=[exp.Literal.string("null")])
    if typed.json == "found":
        if not isinstance(typed.node, exp.Anonymous):
            raise Refused(
                "What json_extract() found, inside of other JSON, from a subquery",
                "Put json() around it, or call it where it is put in.",
            )
        return helper("json_of_node", helper("json_at", *typed.node.expressions))
    if typed.json == "part":
        if not isinstance(typed.node, exp.Column):
            raise Refused("What json_each() found, inside of other JSON, from a subquery", "Put json() around it.")
        kind = exp.Column(this=identifier("type"), table=typed.node.args["table"].copy())
        return helper("json_of_part", typed.node, kind)
    plain = value(typed)
    if plain.kind is Kind.NULL:
        return exp.Literal.string("null")
    return helper("json_of", cast(plain.node, "BIGINT") if plain.kind is Kind.INT else plain.node)


def either(values: list[Typed]) -> str:
    """Whether one of several values, chosen when it is run, is JSON (`Typed.json`)."""
    kinds = {typed.json for typed in values if typed.kind is not Kind.NULL}
    return "mixed" if len(kinds) > 1 or kinds & {"found", "part"} else kinds.pop() if kinds else ""


def group(
    name: str, arguments: list[Typed], *, distinct: bool, order: list[exp.Expr]
) -> tuple[exp.Expr, Callable[[exp.Expr], exp.Expr]]:
    """json_group_array(x) or json_group_object(key, x): the aggregate call, and what goes around it."""
    brackets = "[]" if name == "json_group_array" else "{}"
    item = as_json(arguments[-1])
    if name == "json_group_object":
        # A key that is NULL is nothing at all to SQLite, which leaves no JSON.
        label = exp.Coalesce(this=helper("json_label", _node(text(arguments[0]))), expressions=[exp.Literal.string("")])
        item = _joined(label, exp.Literal.string(":"), item)
    if distinct:
        subject = arguments[0]
        if subject.kind in (Kind.NUM, Kind.DYNAMIC) or (subject.kind is Kind.TEXT and collation(subject) != "BINARY"):
            raise Refused(f"{name}(DISTINCT ...) where values that are written differently may be equal")
        array = call("array_agg", exp.Order(this=item, expressions=order) if order else item)
        return array, lambda node: helper("json_joined", node)
    last = exp.Order(this=exp.Literal.string(","), expressions=order) if order else exp.Literal.string(",")
    return call("string_agg", item, last), lambda node: exp.Paren(this=_around(brackets[0], node, brackets[1]))


def _around(before: str, node: exp.Expr, after: str) -> exp.Expr:
    inner = exp.Coalesce(this=node, expressions=[exp.Literal.string("")])
    return _joined(exp.Literal.string(before), inner, exp.Literal.string(after))


def _joined(*parts: exp.Expr) -> exp.Expr:
    result = parts[0]
    for part in parts[1:]:
        result = exp.DPipe(this=result, expression=part, safe=False)
    return result


def _node(typed: Typed) -> exp.Expr:
    return null(Kind.TEXT) if typed.kind is Kind.NULL else typed.node


def _texts(arguments: list[Typed]) -> list[exp.Expr]:
    """Documents and paths; of a blob the bytes are the text, as SQLite before its binary JSON has it."""
    return [_node(text(argument)) for argument in arguments]


def rows(name: str, arguments: list[Typed]) -> exp.Expr:
    """A call in FROM of json_each() or json_tree(): a document, and perhaps a path."""
    if len(arguments) not in (1, 2):
        raise Refused(f"{name}() without a document")
    return helper(name, *_texts(arguments))


def _plain(name: str, kind: Kind, json: str = "") -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(helper(name, *_texts(arguments)), kind, json=json)

    return build


def _valid(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(helper("json_valid", *_texts(arguments)), Kind.INT, not_null=True)


def _extract(_: Expressions, arguments: list[Typed]) -> Typed:
    if len(arguments) < 2:
        return literal(None)
    if len(arguments) == 2:
        return Typed(helper("json_extract", *_texts(arguments)), Kind.DYNAMIC, json="found")
    return Typed(helper("json_extracts", *_texts(arguments)), Kind.TEXT, json="sure")


def _arrow_value(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(helper(ARROW_VALUE, *_texts(arguments)), Kind.DYNAMIC)


def _array(_: Expressions, arguments: list[Typed]) -> Typed:
    if not arguments:
        return literal("[]").but(json="sure")
    return Typed(helper("json_array", *map(as_json, arguments)), Kind.TEXT, not_null=True, json="sure")


def _object(_: Expressions, arguments: list[Typed]) -> Typed:
    if len(arguments) % 2:
        raise StatementError("json_object() requires an even number of arguments", "SQLITE_UNKNOWN")
    parts: list[exp.Expr] = [exp.Literal.string("{")]
    for at in range(0, len(arguments), 2):
        label = value(arguments[at])
        if label.kind in (*NUMBERS, Kind.BLOB):
            raise StatementError("json_object() labels must be TEXT", "SQLITE_UNKNOWN")
        if label.kind not in (Kind.TEXT, Kind.NULL):
            raise Refused("json_object() with a label that need not be text")
        parts += [exp.Literal.string(",")] if at else []
        parts += [helper("json_named", _node(label)), exp.Literal.string(":"), as_json(arguments[at + 1])]
    return Typed(exp.Paren(this=_joined(*parts, exp.Literal.string("}"))), Kind.TEXT, not_null=True, json="sure")


def _quote(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(as_json(arguments[0]), Kind.TEXT, not_null=True, json="sure")


def _edit(how: str) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        if how != "remove" and len(arguments) % 2 == 0:
            raise StatementError(f"json_{how}() needs an odd number of arguments", "SQLITE_UNKNOWN")
        given = _texts(arguments[:1])
        for at, argument in enumerate(arguments[1:]):
            if how == "remove" or at % 2 == 0:
                if argument.constant == "$" and how in ("set", "replace") and arguments[at + 2].json != "sure":
                    raise Refused(f"json_{how}() of the root")
                given += _texts([argument])
            else:
                given.append(as_json(argument))
        if len(given) == 1:
            return Typed(helper("json", given[0]), Kind.TEXT, json="sure")
        return Typed(helper("json_edit", given[0], exp.Literal.string(how), *given[1:]), Kind.TEXT, json="sure")

    return build


SCALARS: dict[str, _Function] = {
    "json": _plain("json", Kind.TEXT, "sure"),
    "json_valid": _valid,
    "json_extract": _extract,
    ARROW: _plain(ARROW, Kind.TEXT, "sure"),
    ARROW_VALUE: _arrow_value,
    "json_type": _plain("json_type", Kind.TEXT),
    "json_array_length": _plain("json_array_length", Kind.INT),
    "json_array": _array,
    "json_object": _object,
    "json_quote": _quote,
    "json_set": _edit("set"),
    "json_insert": _edit("insert"),
    "json_replace": _edit("replace"),
    "json_remove": _edit("remove"),
    "json_patch": _plain("json_patch", Kind.TEXT, "sure"),
}
