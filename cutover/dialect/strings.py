"""Functions of texts and blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import numbers
from cutover.dialect.comparing import dynamic, octets, text, value
from cutover.dialect.mathematics import Function
from cutover.dialect.patterns import globbed, liked
from cutover.dialect.typed import Kind, Refused, Typed, binary, call, cast, collate_c, helper, literal, null
from cutover.errors import StatementError

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions


def node_of(typed: Typed) -> exp.Expr:
    """The expression; NULL as a text."""
    return null(Kind.TEXT) if typed.kind is Kind.NULL else typed.node


def _texted(node: exp.Expr, arguments: Sequence[Typed]) -> Typed:
    return Typed(node, Kind.TEXT, not_null=all(argument.not_null for argument in arguments))


def _case(name: str) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return _texted(call(name, collate_c(node_of(text(arguments[0])))), arguments)

    return build


def _length(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    if inner.kind is Kind.DYNAMIC:
        return Typed(helper("length", inner.node), Kind.INT, not_null=inner.not_null)
    if inner.kind is Kind.BLOB:
        return Typed(cast(call("octet_length", inner.node), "BIGINT"), Kind.INT, not_null=inner.not_null)
    return Typed(cast(call("length", node_of(text(inner))), "BIGINT"), Kind.INT, not_null=inner.not_null)


def _substr(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    kind = inner.kind if inner.kind in (Kind.BLOB, Kind.DYNAMIC) else Kind.TEXT
    subject = node_of(text(inner)) if kind is Kind.TEXT else inner.node
    return Typed(helper("substr", subject, *(numbers.integer(bound).node for bound in arguments[1:])), kind)


def _trim(name: str) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        parts = [node_of(text(argument)) for argument in arguments]
        return _texted(call(name, *parts, *([exp.Literal.string(" ")] if len(parts) == 1 else [])), arguments)

    return build


def helper_of(name: str, kind: Kind, convert: Callable[[Typed], Typed] = text) -> Function:
    """A call of one of our own functions, with arguments as `convert` makes them."""

    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(helper(name, *(node_of(convert(argument)) for argument in arguments)), kind)

    return build


def _char(expressions: Expressions, arguments: list[Typed]) -> Typed:
    return helper_of("chr", Kind.TEXT, numbers.integer)(expressions, arguments) if arguments else literal("")


def _hex(_: Expressions, arguments: list[Typed]) -> Typed:
    written = call("upper", call("encode", octets(arguments[0]), exp.Literal.string("hex")))
    return Typed(exp.Coalesce(this=written, expressions=[exp.Literal.string("")]), Kind.TEXT, not_null=True)


def _instr(_: Expressions, arguments: list[Typed]) -> Typed:
    """Two blobs are compared by their bytes, anything else as text."""
    values = [value(argument) for argument in arguments]
    kinds = {each.kind for each in values}
    if kinds == {Kind.BLOB} or (Kind.DYNAMIC in kinds and kinds <= {Kind.BLOB, Kind.DYNAMIC}):
        nodes = [each.node if Kind.DYNAMIC not in kinds else dynamic(each) for each in values]
    else:
        nodes = [node_of(text(each)) for each in values]
    return Typed(helper("instr", *nodes), Kind.INT)


def _replace(_: Expressions, arguments: list[Typed]) -> Typed:
    """replace(); where nothing is to be looked for, the first argument comes back as it is."""
    subject, pattern = value(arguments[0]), text(arguments[1])
    replaced = helper("replace", *(node_of(text(argument)) for argument in arguments))
    if isinstance(pattern.constant, str) and pattern.constant:
        return Typed(replaced, Kind.TEXT)
    if subject.kind is Kind.BLOB:
        subject = text(subject)
    elif subject.kind is Kind.DYNAMIC:
        subject = subject.but(node=helper("unblobbed", subject.node))
    kind, nodes = numbers.unify([subject.but(constant=None), Typed(replaced, Kind.TEXT)])
    nothing = binary(exp.EQ, node_of(pattern), exp.Literal.string(""))
    return Typed(exp.Paren(this=exp.Case(ifs=[exp.If(this=nothing, true=nodes[0])], default=nodes[1])), kind)


def _glob(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(globbed(arguments[1], arguments[0]), Kind.BOOL)


def _like(_: Expressions, arguments: list[Typed]) -> Typed:
    escape = arguments[2].constant if len(arguments) > 2 else ""
    if isinstance(escape, str) and len(escape) != len(arguments) - 2:
        raise StatementError("ESCAPE expression must be a single character", "SQLITE_UNKNOWN")
    if not isinstance(escape, str):
        raise Refused("like() with an escape that is not one character written out", "Write it as a literal.")
    return Typed(liked(arguments[1], arguments[0], exp.Literal.string(escape)), Kind.BOOL)


FUNCTIONS: dict[str, Function] = {
    "lower": _case("lower"),
    "upper": _case("upper"),
    "length": _length,
    "substr": _substr,
    "substring": _substr,
    "trim": _trim("btrim"),
    "ltrim": _trim("ltrim"),
    "rtrim": _trim("rtrim"),
    "replace": _replace,
    "instr": _instr,
    "char": _char,
    "unicode": helper_of("unicode", Kind.INT),
    "hex": _hex,
    "glob": _glob,
    "like": _like,
}
