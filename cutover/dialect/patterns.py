"""LIKE and GLOB of two values."""

from __future__ import annotations

import sqlite3

from sqlglot import exp

from cutover.dialect import comparing
from cutover.dialect.typed import Kind, Refused, Typed, call, collate_c, helper, null, paren
from cutover.errors import StatementError


def _like_no_blob() -> bool:
    """Whether SQLite was built so that a blob is like nothing, as Debian's is; otherwise it is taken for a text."""
    db = sqlite3.connect(":memory:")
    try:
        return ("LIKE_DOESNT_MATCH_BLOBS",) in db.execute("PRAGMA compile_options").fetchall()
    finally:
        db.close()


LIKE_NO_BLOB = _like_no_blob()
_LONGEST_PATTERN = 50_000
"""Bytes, for SQLite."""


def liked(subject: Typed, pattern: Typed, escape: exp.Expr) -> exp.Expr:
    """Whether a text is like a pattern; an empty escape is none."""
    one, two = _texts("LIKE", subject, pattern)
    if Kind.NULL in (one.kind, two.kind):
        return _unless_blob(null(Kind.BOOL), subject, pattern)
    test = exp.Escape(this=exp.ILike(this=collate_c(one.node), expression=paren(two.node)), expression=escape)
    return _unless_blob(test, subject, pattern)


def globbed(subject: Typed, pattern: Typed) -> exp.Expr:
    """Whether a text matches a GLOB pattern."""
    one, two = _texts("GLOB", subject, pattern)
    test = null(Kind.BOOL) if Kind.NULL in (one.kind, two.kind) else helper("glob", two.node, one.node)
    return _unless_blob(test, subject, pattern)


def _texts(name: str, subject: Typed, pattern: Typed) -> tuple[Typed, Typed]:
    if Kind.BLOB in (subject.kind, pattern.kind) and not LIKE_NO_BLOB:
        raise Refused(f"{name} on a blob, which SQLite as it was built here takes for a text,")
    one, two = map(_text, (subject, pattern))
    if isinstance(two.constant, str) and len(two.constant.encode()) > _LONGEST_PATTERN:
        raise StatementError("LIKE or GLOB pattern too complex", "SQLITE_UNKNOWN")
    return one, two if isinstance(two.constant, str) or two.kind is Kind.NULL else two.but(
        node=helper("pattern", two.node)
    )


def _text(side: Typed) -> Typed:
    if side.kind is Kind.BLOB:
        return Typed(exp.Null(), Kind.NULL)
    if side.kind is Kind.DYNAMIC:
        return Typed(helper("unlike_blob", side.node), Kind.TEXT, collation=side.collation)
    return comparing.text(side)


def _unless_blob(test: exp.Expr, subject: Typed, pattern: Typed) -> exp.Expr:
    """The test, or false where a blob is on either side, even beside NULL."""
    sides = [side for side in (subject, pattern) if side.kind in (Kind.BLOB, Kind.DYNAMIC)]
    if not sides or not LIKE_NO_BLOB:
        return test
    blob = exp.or_(*map(_is_blob, sides))
    return exp.Paren(this=exp.Case(ifs=[exp.If(this=blob, true=exp.Boolean(this=False))], default=test))


def _is_blob(side: Typed) -> exp.Expr:
    node = paren(side.node.copy())
    if side.kind is Kind.BLOB:
        return exp.Not(this=exp.Is(this=node, expression=exp.Null()))
    return exp.EQ(this=call("jsonb_typeof", node), expression=exp.Literal.string("object"))
