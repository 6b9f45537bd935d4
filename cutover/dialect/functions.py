"""Scalar functions with SQLite's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import formats, mathematics, numbers, predicates
from cutover.dialect.comparing import bytewise, compare, dynamic, text, value
from cutover.dialect.scope import CHANGES, LAST_INSERT_ROWID, TOTAL_CHANGES
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import (
    NUMBERS,
    Kind,
    Refused,
    Typed,
    binary,
    call,
    cast,
    collate_c,
    helper,
    literal,
    null,
    paren,
)

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

AGGREGATES = frozenset({"count", "sum", "avg", "total", "min", "max", "group_concat"})
WINDOW_ONLY = frozenset(
    {"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
     "last_value", "nth_value"}
)  # fmt: skip


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a call is of an aggregate (or window) function; min and max are with one argument only."""
    if not isinstance(node, exp.Anonymous) or not str(node.this).startswith(FUNCTION_PREFIX):
        return False
    name = str(node.this).removeprefix(FUNCTION_PREFIX)
    if name in ("min", "max"):
        return len(node.expressions) == 1
    return name in AGGREGATES or name in WINDOW_ONLY


def now(kind: type[exp.Expr]) -> Typed:
    """CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME: text in UTC."""
    name = "date" if kind is exp.CurrentDate else ("time" if kind is exp.CurrentTime else "datetime")
    return Typed(helper(name, exp.Literal.string("now")), Kind.TEXT, not_null=True)


def json_path(node: exp.Expr) -> str:
    """The path text of `->` and `->>`, which the parser has taken apart."""
    if isinstance(node, exp.Literal):
        return str(node.this) if node.args["is_string"] else f"$[{node.this}]"
    if not isinstance(node, exp.JSONPath):
        raise Refused("-> with a path that is not written out")
    path = "$"
    for part in node.expressions:
        match part:
            case exp.JSONPathRoot():
                continue
            case exp.JSONPathKey():
                path += f'."{part.this}"'
            case exp.JSONPathSubscript():
                path += f"[{part.this}]"
            case _:
                raise Refused("-> with a path other than keys and numbers")
    return path


_Function = Callable[["Expressions", list[Typed]], Typed]


def scalar(name: str, arguments: list[Typed], expressions: Expressions) -> Typed:
    """A call of a scalar function. Raises `Refused` for those without translation."""
    function = SCALARS.get(name)
    if function is None:
        raise Refused(f"The function {name}()")
    return function(expressions, arguments)


def _case(name: str) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return _texted(call(name, collate_c(_node(text(arguments[0])))), arguments)

    return build


def _node(typed: Typed) -> exp.Expr:
    return null(Kind.TEXT) if typed.kind is Kind.NULL else typed.node


def _texted(node: exp.Expr, arguments: Sequence[Typed]) -> Typed:
    return Typed(node, Kind.TEXT, not_null=all(argument.not_null for argument in arguments))


def _length(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    if inner.kind is Kind.DYNAMIC:
        return Typed(helper("length", inner.node), Kind.INT, not_null=inner.not_null)
    if inner.kind is Kind.BLOB:
        return Typed(cast(call("octet_length", inner.node), "BIGINT"), Kind.INT, not_null=inner.not_null)
    return Typed(cast(call("length", _node(text(inner))), "BIGINT"), Kind.INT, not_null=inner.not_null)


def _substr(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    kind = inner.kind if inner.kind in (Kind.BLOB, Kind.DYNAMIC) else Kind.TEXT
    subject = _node(text(inner)) if kind is Kind.TEXT else inner.node
    return Typed(helper("substr", subject, *(numbers.integer(bound).node for bound in arguments[1:])), kind)


def _coalesce(_: Expressions, arguments: list[Typed]) -> Typed:
    values = [value(argument) for argument in arguments]
    kind, nodes = numbers.unify(values)
    collations = next((argument for argument in values if argument.collation), values[0])
    not_null = any(argument.not_null for argument in values)
    return Typed(
        exp.Coalesce(this=nodes[0], expressions=nodes[1:]), kind, None, collations.collation, not_null=not_null
    )


def _nullif(_: Expressions, arguments: list[Typed]) -> Typed:
    left = value(arguments[0])
    if left.kind is Kind.NULL:
        return left
    # A function applies no affinity to its arguments.
    one, two = (side.but(affinity=None, explicit=bool(side.collation)) for side in (left, arguments[1]))
    test = compare(exp.EQ, one, two, loose=True)
    return Typed(
        exp.Paren(this=exp.Case(ifs=[exp.If(this=test, true=exp.Null())], default=left.node.copy())), left.kind
    )


def _iif(expressions: Expressions, arguments: list[Typed]) -> Typed:
    kind, nodes = numbers.unify([value(argument) for argument in arguments[1:]])
    test = expressions.truth(arguments[0])
    return Typed(exp.Paren(this=exp.Case(ifs=[exp.If(this=test, true=nodes[0])], default=nodes[1])), kind)


def _extreme(op: type[exp.Binary]) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        values = [value(argument) for argument in arguments]
        kind, nodes = numbers.unify(values)
        if kind is Kind.NULL:
            return Typed(exp.Null(), Kind.NULL)
        name = next((value.collation.upper() for value in values if value.collation), "BINARY")
        if kind in (Kind.DYNAMIC, Kind.BLOB) or (kind is Kind.TEXT and name != "BINARY"):
            given = [dynamic(Typed(node, kind)) for node in nodes]
            node = helper("least" if op is exp.LT else "greatest", exp.Literal.string(name), *given)
            plain = {Kind.TEXT: "txt", Kind.BLOB: "plain_blob"}.get(kind)
            return Typed(helper(plain, node) if plain else node, kind)
        if kind is Kind.TEXT:
            nodes = [node if bytewise(typed) else collate_c(node) for node, typed in zip(nodes, values, strict=True)]
        if op is exp.LT:  # of an integer and a real that are equal, SQLite takes the last
            nodes.reverse()
        any_null = exp.or_(*[exp.Is(this=paren(node.copy()), expression=exp.Null()) for node in nodes])
        chosen = call("LEAST" if op is exp.LT else "GREATEST", *nodes)
        return Typed(exp.Paren(this=exp.Case(ifs=[exp.If(this=any_null, true=null(kind))], default=chosen)), kind)

    return build


def _trim(name: str) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        parts = [_node(text(argument)) for argument in arguments]
        return _texted(call(name, *parts, *([exp.Literal.string(" ")] if len(parts) == 1 else [])), arguments)

    return build


def _helper(name: str, kind: Kind, convert: Callable[[Typed], Typed] = text) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(helper(name, *(_node(convert(argument)) for argument in arguments)), kind)

    return build


def _hex(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    blob = inner.node if inner.kind is Kind.BLOB else call("convert_to", _node(text(inner)), exp.Literal.string("UTF8"))
    written = call("upper", call("encode", blob, exp.Literal.string("hex")))
    return Typed(exp.Coalesce(this=written, expressions=[exp.Literal.string("")]), Kind.TEXT, not_null=True)


def _instr(_: Expressions, arguments: list[Typed]) -> Typed:
    """Two blobs are compared by their bytes, anything else as text."""
    values = [value(argument) for argument in arguments]
    kinds = {each.kind for each in values}
    if kinds == {Kind.BLOB} or (Kind.DYNAMIC in kinds and kinds <= {Kind.BLOB, Kind.DYNAMIC}):
        nodes = [each.node if Kind.DYNAMIC not in kinds else dynamic(each) for each in values]
    else:
        nodes = [_node(text(each)) for each in values]
    return Typed(helper("instr", *nodes), Kind.INT)


def _replace(_: Expressions, arguments: list[Typed]) -> Typed:
    """replace(); where nothing is to be looked for, the first argument comes back as it is."""
    subject, pattern = value(arguments[0]), text(arguments[1])
    replaced = helper("replace", *(_node(text(argument)) for argument in arguments))
    if isinstance(pattern.constant, str) and pattern.constant:
        return Typed(replaced, Kind.TEXT)
    if subject.kind is Kind.BLOB:
        subject = text(subject)
    elif subject.kind is Kind.DYNAMIC:
        subject = subject.but(node=helper("unblobbed", subject.node))
    kind, nodes = numbers.unify([subject.but(constant=None), Typed(replaced, Kind.TEXT)])
    nothing = binary(exp.EQ, _node(pattern), exp.Literal.string(""))
    return Typed(exp.Paren(this=exp.Case(ifs=[exp.If(this=nothing, true=nodes[0])], default=nodes[1])), kind)


def _glob(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(predicates.globbed(arguments[1], arguments[0]), Kind.BOOL)


def _like(_: Expressions, arguments: list[Typed]) -> Typed:
    escape = arguments[2].constant if len(arguments) > 2 else ""
    if not isinstance(escape, str) or len(escape) != len(arguments) - 2:
        raise Refused("like() with an escape that is not one character written out")
    return Typed(predicates.liked(arguments[1], arguments[0], exp.Literal.string(escape)), Kind.BOOL)


def _typeof(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0]) if arguments[0].kind is Kind.WHOLE else arguments[0]
    if inner.kind in (Kind.NUM, Kind.DYNAMIC):
        return Typed(helper("type_of", inner.node), Kind.TEXT, not_null=True)
    name = {Kind.INT: "integer", Kind.BOOL: "integer", Kind.REAL: "real", Kind.TEXT: "text", Kind.JSON: "text"}
    is_null = exp.Is(this=paren(_node(inner)), expression=exp.Null())
    written = exp.Literal.string(name.get(inner.kind, "blob"))
    case = exp.Case(ifs=[exp.If(this=is_null, true=exp.Literal.string("null"))], default=written)
    return Typed(exp.Paren(this=case), Kind.TEXT, not_null=True)


def _date(name: str, kind: Kind = Kind.TEXT) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        given = [_moment(argument) for argument in arguments] or [exp.Literal.string("now")]
        return Typed(helper(name, *given), kind)

    return build


def _moment(argument: Typed) -> exp.Expr:
    """A point in time or a modifier. Numbers are told apart from dates by their text, with all their digits."""
    inner = value(argument)
    return cast(inner.node, "TEXT") if inner.kind in NUMBERS else _node(text(inner))


def _strftime(_: Expressions, arguments: list[Typed]) -> Typed:
    given = [_node(text(arguments[0])), *map(_moment, arguments[1:])]
    return Typed(helper("strftime", *given, *([exp.Literal.string("now")] if len(given) == 1 else [])), Kind.TEXT)


def _json_extract(_: Expressions, arguments: list[Typed]) -> Typed:
    if len(arguments) != 2:
        raise Refused("json_extract() with several paths")
    return Typed(helper("json_extract", *(_node(text(argument)) for argument in arguments)), Kind.DYNAMIC)


def _random(_: Expressions, _arguments: list[Typed]) -> Typed:
    return Typed(helper("random"), Kind.INT, not_null=True)


def _likely(_: Expressions, arguments: list[Typed]) -> Typed:
    return value(arguments[0]).but(affinity=None)


def _blob_of(name: str) -> _Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        size = numbers.integer(arguments[0]).node
        given = exp.Coalesce(this=size, expressions=[cast(exp.Literal.number(0), "BIGINT")])
        return Typed(helper(name, given), Kind.BLOB, not_null=True)

    return build


def _version(_: Expressions, _arguments: list[Typed]) -> Typed:
    import sqlite3

    return literal(sqlite3.sqlite_version)


def _memory(slot: int) -> _Function:
    def build(expressions: Expressions, _arguments: list[Typed]) -> Typed:
        return Typed(expressions.context.use(slot, "BIGINT"), Kind.INT, not_null=True)

    return build


SCALARS: dict[str, _Function] = {
    **mathematics.FUNCTIONS,
    **formats.FUNCTIONS,
    "last_insert_rowid": _memory(LAST_INSERT_ROWID),
    "changes": _memory(CHANGES),
    "total_changes": _memory(TOTAL_CHANGES),
    "lower": _case("lower"),
    "upper": _case("upper"),
    "length": _length,
    "substr": _substr,
    "substring": _substr,
    "coalesce": _coalesce,
    "ifnull": _coalesce,
    "nullif": _nullif,
    "iif": _iif,
    "min": _extreme(exp.LT),
    "max": _extreme(exp.GT),
    "trim": _trim("btrim"),
    "ltrim": _trim("ltrim"),
    "rtrim": _trim("rtrim"),
    "replace": _replace,
    "instr": _instr,
    "char": _helper("chr", Kind.TEXT, numbers.integer),
    "unicode": _helper("unicode", Kind.INT),
    "hex": _hex,
    "glob": _glob,
    "like": _like,
    "typeof": _typeof,
    "random": _random,
    "randomblob": _blob_of("randomblob"),
    "zeroblob": _blob_of("zeroblob"),
    "likely": _likely,
    "unlikely": _likely,
    "likelihood": _likely,
    "date": _date("date"),
    "time": _date("time"),
    "datetime": _date("datetime"),
    "julianday": _date("julianday", Kind.REAL),
    "unixepoch": _date("unixepoch", Kind.INT),
    "strftime": _strftime,
    "json_extract": _json_extract,
    "json_valid": _helper("json_valid", Kind.INT),
    "json_array_length": _helper("json_array_length", Kind.INT),
    "sqlite_version": _version,
}

NAMES = frozenset(SCALARS) | AGGREGATES | WINDOW_ONLY
"""Every function that is hidden from the parser."""
