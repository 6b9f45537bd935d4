"""Writes to sqlite_sequence, which Postgres is told as a SELECT that sets sequences."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.assigning import Assigning
from cutover.dialect.context import Context
from cutover.dialect.high_marks import NAME, settled, source
from cutover.dialect.queries import Queries
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Kind, Refused, helper, identifier
from cutover.dialect.writes import Written
from cutover.model.table import Column, Table

_TABLE = Table(NAME, "cutover", NAME, (), ())
_SEQ = Column("seq", "INTEGER", "INTEGER", "seq", "bigint")


class HighMarks:
    """Writes of one statement."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.queries = Queries(context)

    def write(self, node: exp.Expr, conflict: str | None) -> Written:
        """Raises `Refused`."""
        written = self._written(node, conflict)
        written.marked = settled(self.context.catalog)
        return written

    def _written(self, node: exp.Expr, conflict: str | None) -> Written:
        if node.args.get("returning") or node.args.get("with_") or node.args.get("from_") or node.args.get("conflict"):
            raise Refused(f"A write to {NAME} with more than WHERE")
        if isinstance(node, exp.Insert):
            return self._inserted(node, conflict)
        target, there = source(self.context.catalog, (node.this.alias or NAME).lower())
        scope = Scope(sources=[there])
        mark: exp.Expr = exp.Null()
        if isinstance(node, exp.Update):
            mark = self._assigned(node.expressions, scope)
        test = exp.Not(this=exp.Is(this=_of(there.alias, "seq"), expression=exp.Null()))
        where: exp.Expr = test
        if node.args.get("where"):
            condition = self.queries.expressions.condition(node.args["where"].this, scope, loose=True)
            where = exp.and_(test, exp.Paren(this=condition))
        return _setting(target, there.alias, mark, where=exp.Where(this=where))

    def _assigned(self, settings: Sequence[exp.Expr], scope: Scope) -> exp.Expr:
        if len(settings) != 1 or settings[0].this.name.lower() != "seq":
            raise Refused(f"UPDATE of {NAME} other than of seq")
        typed = self.queries.expressions.typed(settings[0].expression, scope)
        return Assigning(self.context).assign(typed, _SEQ)

    def _inserted(self, node: exp.Insert, conflict: str | None) -> Written:
        listed = [one.name.lower() for one in node.this.expressions] if isinstance(node.this, exp.Schema) else []
        if (listed or ["name", "seq"]) != ["name", "seq"] or node.expression is None or conflict == "FAIL":
            raise Refused(f"INSERT into {NAME} other than of (name, seq)")
        query = self.queries.query(node.expression, Scope()).named()
        derived, given = self.queries.sources.derived(query, "given", alone=True)
        name, seq = (given.typed(column) for column in query.source_columns())
        if name.kind is not Kind.TEXT or seq.kind not in (Kind.INT, Kind.NULL):
            raise Refused(f"INSERT into {NAME} of other than texts and integers")
        target, there = source(self.context.catalog, NAME)
        same = exp.EQ(this=_of(there.alias, "name"), expression=name.node)
        join = exp.Join(this=target, side="LEFT", on=same)
        return _setting(derived, there.alias, seq.node, joins=[join])


def _setting(target: exp.Expr, alias: str, mark: exp.Expr, **clauses: object) -> Written:
    recount = helper("recount", _of(alias, "sequence"), mark, _of(alias, "highest"))
    told = [_of(alias, "sequence"), mark.copy(), recount]
    return Written(exp.Select(expressions=told, from_=exp.From(this=target), **clauses), _TABLE)


def _of(alias: str, name: str) -> exp.Expr:
    return exp.Column(this=identifier(name), table=identifier(alias))
