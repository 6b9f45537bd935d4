"""`a -> b` and `a ->> b` become calls: the parser would take paths apart, and binds the operators too tightly."""

from __future__ import annotations

from cutover.dialect.typed import Refused
from cutover.schema.sqltokens import Token

_CALLS = {2: "fn_json_arrow", 3: "fn_json_arrow_value"}
_NOT_CALLED = frozenset(
    {"SELECT", "DISTINCT", "WHERE", "HAVING", "ON", "BY", "LIMIT", "OFFSET", "SET", "CASE", "WHEN", "THEN", "ELSE",
     "AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "GLOB", "ESCAPE", "IS", "RETURNING", "FROM", "VALUES", "ALL", "AS"}
)  # fmt: skip


def named_arrows(run: list[Token]) -> list[Token]:
    """Each arrow with its operands as a call, from the left, as SQLite binds them."""
    at = 0
    while at < len(run):
        length = _arrow(run, at)
        if not length:
            at += 1
            continue
        start, end = _left(run, at), _right(run, at + length)
        named = run[at]._replace(type="word", text=_CALLS[length])
        opened, comma, closed = (run[at]._replace(type=type_, text=text) for type_, text in _MARKS)
        left, right = run[start:at], named_arrows(run[at + length : end])
        call = [named, opened, *left, comma, *right, closed]
        run = [*run[:start], *call, *run[end:]]
        at = start + len(call)
    return run


_MARKS = (("open", "("), ("other", ","), ("close", ")"))


def _arrow(run: list[Token], at: int) -> int:
    """How many tokens the arrow that begins here has, 0 if none does."""
    length = 1
    if run[at].text != "-" or run[at].type != "other":
        return 0
    while length < 3 and at + length < len(run) and run[at + length].text == ">" and _glued(run, at + length):
        length += 1
    return length if length > 1 else 0


def _glued(run: list[Token], at: int) -> bool:
    return run[at].at == run[at - 1].at + len(run[at - 1].text)


def _left(run: list[Token], end: int) -> int:
    """Where the operand on the left begins: a name, a literal, a call or something in parentheses."""
    at = end - 1
    if run[at].type == "close":
        at = _opening(run, at)
        before = run[at - 1] if at else None
        if before is not None and before.type == "word" and before.text.upper() not in _NOT_CALLED:
            at -= 1
            if before.text.upper() in ("OVER", "FILTER"):
                raise Refused(
                    "-> after OVER or FILTER without parentheses", "Put parentheses around what stands before it."
                )
    elif run[at].type == "word" and run[at].text.upper() == "END":
        raise Refused("-> after CASE without parentheses", "Put parentheses around CASE.")
    while at > 1 and run[at - 1].type == "dot":
        at -= 2
    before = run[at - 1] if at else None
    if before is not None and (before.text in ("~", "|") or before.text.upper() == "COLLATE" or _is_unary(run, at - 1)):
        raise Refused("-> beside another operator without parentheses", "Put parentheses around it.")
    return at


def _is_unary(run: list[Token], at: int) -> bool:
    """Whether there is a sign here, and no operand before it."""
    before = run[at - 1] if at else None
    sign = run[at].text in ("-", "+") and run[at].type == "other"
    return sign and (
        before is None
        or before.type in ("other", "open")
        or (before.type == "word" and before.text.upper() in _NOT_CALLED)
    )


def _opening(run: list[Token], at: int) -> int:
    depth = 0
    while True:
        depth += (run[at].type == "close") - (run[at].type == "open")
        if not depth or not at:
            return at
        at -= 1


def _right(run: list[Token], at: int) -> int:
    """Where the operand on the right ends."""
    while at < len(run) and run[at].text in ("-", "+", "~") and not _arrow(run, at):
        at += 1
    if at < len(run) and run[at].type == "word" and run[at].text.upper() == "CASE":
        raise Refused("-> before CASE without parentheses", "Put parentheses around CASE.")
    depth = 0
    while at < len(run):
        depth += (run[at].type == "open") - (run[at].type == "close")
        at += 1
        if depth or at >= len(run) or run[at].type == "dot" or run[at - 1].type == "dot":
            continue
        if run[at].type == "open" and run[at - 1].type == "word":
            continue
        break
    return at
