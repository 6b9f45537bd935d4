"""UPDATE ... FROM: which row of FROM a row is changed by.

SQLite takes the last that matches in the order of its loops, Postgres any. Where a unique key says that there is but
one, it is one statement as it stands. Otherwise it is the last in that order where the plan tells it; elsewhere rows
are counted, and several that would change a row in different ways are an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.scope import Source
from cutover.dialect.trees import conjuncts, unparen
from cutover.dialect.typed import call, helper, identifier

_PICKED, _ROW, _WAYS = "of:picked", "of:row", "of:ways"


def one_match(update: exp.Update, sources: Sequence[Source], backwards: Sequence[exp.Expr] | None) -> None:
    """Make sure that no row is changed by several others. The first of `sources` is the table that is changed.
    `backwards`: the order in which the last row is found first, if that is known."""
    where = update.args.get("where")
    if _is_unique(sources, _tests(update)):
        return
    target, others = update.this, update.args["from_"].this
    row = exp.Column(this=exp.to_identifier("ctid"), table=identifier(sources[0].alias))
    computed = [one for one in update.expressions if _reads(one.expression, sources[1:])]
    names = [f"of:{at}" for at in range(len(computed))]
    values = [one.expression for one in computed]
    first = [_first(value, backwards) for value in values]
    ways: exp.Expr = call("count", exp.Distinct(expressions=[call("row", *(value.copy() for value in values))]))
    chosen = exp.Select(
        expressions=[
            exp.Alias(this=row, alias=identifier(_ROW)),
            exp.Alias(this=ways if values and backwards is None else exp.Literal.number(1), alias=identifier(_WAYS)),
            *(exp.Alias(this=value, alias=identifier(name)) for value, name in zip(first, names, strict=True)),
        ],
        from_=exp.From(this=target.copy()),
        joins=[exp.Join(this=exp.Paren(this=others) if others.args.get("joins") else others, kind="CROSS")],
        where=where,
        group=exp.Group(expressions=[row.copy()]),
    )
    for one, name in zip(computed, names, strict=True):
        one.set("expression", _picked(name))
    update.set("from_", exp.From(this=exp.Subquery(this=chosen, alias=exp.TableAlias(this=identifier(_PICKED)))))
    same = exp.EQ(this=row.copy(), expression=_picked(_ROW))
    update.set("where", exp.Where(this=exp.And(this=same, expression=helper("one_way", _picked(_WAYS)))))


def _first(value: exp.Expr, terms: Sequence[exp.Expr] | None) -> exp.Expr:
    given = exp.Order(this=value, expressions=[term.copy() for term in terms]) if terms else value
    every = exp.Paren(this=call("array_agg", given))
    return exp.Bracket(this=every, expressions=[exp.Literal.number(1)], offset=1)


def _picked(name: str) -> exp.Expr:
    return exp.Column(this=identifier(name), table=identifier(_PICKED))


def _reads(node: exp.Expr, sources: Sequence[Source]) -> bool:
    aliases = {source.alias for source in sources}
    return any(column.table in aliases for column in node.find_all(exp.Column))


def _tests(update: exp.Update) -> list[exp.Expr]:
    """The equalities that hold for every row that is changed: of WHERE, and of inner joins."""
    found = [] if update.args.get("where") is None else conjuncts(update.args["where"].this)
    for join in update.args["from_"].this.args.get("joins") or []:
        if not join.side and join.args.get("on") is not None:
            found += conjuncts(join.args["on"])
    return [test for test in found if isinstance(test, exp.EQ)]


def _is_unique(sources: Sequence[Source], tests: list[exp.Expr]) -> bool:
    """Whether each row of the first source meets one row of the others at the most, by their keys."""
    known, left = {sources[0].alias}, list(sources[1:])
    while left:
        told = [source for source in left if _is_told(source, tests, known)]
        if not told:
            return False
        known |= {source.alias for source in told}
        left = [source for source in left if source.alias not in known]
    return True


def _is_told(source: Source, tests: list[exp.Expr], known: set[str]) -> bool:
    """Whether what is known tells the row of `source`, by one of its unique keys."""
    if source.table is None:
        return False
    pinned = set()
    for test in tests:
        for one, other in ((test.this, test.expression), (test.expression, test.this)):
            column = unparen(one)
            if not isinstance(column, exp.Column) or column.table != source.alias:
                continue
            if other.find(exp.Query) is None and {inner.table for inner in other.find_all(exp.Column)} <= known:
                pinned.add(column.name)
    keys = [source.table.key, *(index.columns for index in source.table.unique if index.partial is None)]
    for key in keys:
        columns = [source.find(name) if name is not None else None for name in key]
        if columns and all(column is not None and column.target in pinned for column in columns):
            return True
    return False
