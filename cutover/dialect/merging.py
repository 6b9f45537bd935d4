"""UNION, INTERSECT and EXCEPT of rows that are equal without being the same: 1 and 1.0, or texts under a collation.

SQLite writes each row over the one that is equal to it, so of a UNION the last stays; INTERSECT and EXCEPT keep rows of
what stands before them. Where it sorts for ORDER BY it merges sorted arms, and the first of each arm stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from cutover.dialect.collations import collated, collation
from cutover.dialect.typed import Kind, Typed, helper, identifier

_ARM, _PLACE, _MET = "of:arm", "of:place", "of:met"


def _column(name: str) -> exp.Column:
    return exp.Column(this=identifier(name))


@dataclass(frozen=True, slots=True)
class Merging:
    """How the rows of one compound are told from each other."""

    columns: Sequence[Typed]
    """The columns of the whole: their kinds and collations."""
    sorts: bool
    """Whether SQLite merges sorted arms, for ORDER BY."""

    def arm(self, number: int, node: exp.Expr) -> exp.Expr:
        """An arm, whose columns are those of the whole, with the number of the arm and the place of each row in it."""
        names = [self._name(at) for at in range(len(self.columns))]
        alias = exp.TableAlias(this=identifier("read"), columns=names)
        nodes: list[exp.Expr] = [exp.Column(this=name.copy()) for name in names]
        nodes.append(_named(exp.Literal.number(number), _ARM))
        nodes.append(_named(exp.Window(this=exp.RowNumber()), _PLACE))
        return exp.Select(expressions=nodes, from_=exp.From(this=exp.Subquery(this=node, alias=alias)))

    def combined(self, op: exp.SetOperation, number: int, left: exp.Expr, right: exp.Expr) -> exp.Expr:
        """What stands before `op` with the arm behind it, which has that number."""
        both: exp.Expr = exp.Union(this=left, expression=right, distinct=False)
        if isinstance(op, exp.Union):
            return both if not op.args.get("distinct", True) else self._first_of_each(both, number)
        counted: exp.Expr = exp.Filter(
            this=exp.Anonymous(this="COUNT", expressions=[exp.Star()]),
            expression=exp.Where(this=exp.EQ(this=_column(_ARM), expression=exp.Literal.number(number))),
        )
        counted = exp.Window(this=counted, partition_by=self._keys())
        counting = exp.Select(expressions=[exp.Star(), _named(counted, _MET)], from_=_from(both))
        test = exp.GT if isinstance(op, exp.Intersect) else exp.EQ
        kept = exp.And(
            this=exp.LT(this=_column(_ARM), expression=exp.Literal.number(number)),
            expression=test(this=_column(_MET), expression=exp.Literal.number(0)),
        )
        return self._first_of_each(counting, 0, exp.Where(this=kept))

    def result(self, node: exp.Expr) -> exp.Select:
        """The columns of the whole alone."""
        columns: list[exp.Expr] = [exp.Column(this=self._name(at)) for at in range(len(self.columns))]
        return exp.Select(expressions=columns, from_=_from(node))

    def numbered(self, node: exp.Expr) -> exp.Select:
        """The same, with the number of the arm and the place in it as two more."""
        result = self.result(node)
        result.set("expressions", [*result.expressions, _column(_ARM), _column(_PLACE)])
        return result

    def named(self, columns: Sequence[tuple[str | None, Typed]]) -> list[tuple[str | None, Typed]]:
        """Those columns, as columns of the result."""
        return [(name, typed.but(node=exp.Column(this=self._name(at)))) for at, (name, typed) in enumerate(columns)]

    def _first_of_each(self, node: exp.Expr, last: int, where: exp.Where | None = None) -> exp.Expr:
        """Of equal rows one: where arms are merged, those of the `last` arm come out in place of what stands before."""
        terms: list[exp.Expr] = [exp.Ordered(this=key) for key in self._keys()]
        if self.sorts and last:
            is_last = exp.Paren(this=exp.EQ(this=_column(_ARM), expression=exp.Literal.number(last)))
            terms.append(exp.Ordered(this=is_last, desc=True))
        terms.append(exp.Ordered(this=_column(_ARM), desc=not self.sorts))
        terms.append(exp.Ordered(this=_column(_PLACE), desc=not self.sorts))
        chosen = exp.Select(
            expressions=[*self.result(node).expressions, _column(_ARM), _column(_PLACE)],
            from_=_from(node),
            where=where,
            distinct=exp.Distinct(on=exp.Tuple(expressions=self._keys())),
            order=exp.Order(expressions=terms),
        )
        return exp.Select(expressions=[exp.Star()], from_=_from(chosen))

    def _keys(self) -> list[exp.Expr]:
        return [self._key(at, typed) for at, typed in enumerate(self.columns)]

    def _key(self, at: int, typed: Typed) -> exp.Expr:
        """What is equal for two values that SQLite takes for equal."""
        held = typed.but(node=exp.Column(this=self._name(at)))
        name = collation(held)
        if typed.kind is Kind.TEXT:
            return collated(held, name)
        if typed.kind is Kind.DYNAMIC and name != "BINARY":
            return helper("folded", held.node, exp.Literal.string(name))
        return held.node

    def _name(self, at: int) -> exp.Identifier:
        return identifier(f"of:{at}")


NUMBERS = [(name, Typed(_column(name), Kind.INT, not_null=True)) for name in (_ARM, _PLACE)]
"""The columns that tell where a row comes from."""


def is_bytewise(values: Sequence[Typed]) -> bool:
    """Whether texts are equal only if they are the same."""
    return all(collation(typed) == "BINARY" for typed in values)


def differ(arms: Sequence[Typed], typed: Typed) -> bool:
    """Whether values of one column of a compound may be equal without being the same."""
    if typed.kind is Kind.TEXT:
        return collation(typed) != "BINARY"
    if typed.kind is Kind.DYNAMIC:
        return collation(typed) != "BINARY" or _both_numbers(arms)
    if typed.kind is Kind.REAL:
        return any(map(_may_be_below_zero, arms))
    return typed.kind is Kind.NUM and _both_numbers(arms)


def differ_within(arm: Typed, typed: Typed) -> bool:
    """The same for the values of one arm, in a column of the whole."""
    if arm.is_constant:
        return False
    return differ([arm], typed) if typed.kind is not Kind.TEXT else collation(typed) != "BINARY"


def _both_numbers(arms: Sequence[Typed]) -> bool:
    """Whether there may be an integer and a real that are equal. A NUMERIC column holds no whole reals."""
    computed = [arm for arm in arms if arm.kind in (Kind.NUM, Kind.DYNAMIC) and not is_canonical(arm)]
    reals = any(arm.kind is Kind.REAL for arm in arms)
    integers = any(arm.kind in (Kind.INT, Kind.BOOL) or is_canonical(arm) for arm in arms)
    return bool(computed) or (reals and integers)


def _may_be_below_zero(typed: Typed) -> bool:
    """Whether there may be a -0.0, which is equal to 0.0. No column that is declared REAL holds one."""
    if typed.is_constant:
        return typed.constant == 0 and math.copysign(1, float(str(typed.constant))) < 0
    return typed.kind in (Kind.REAL, Kind.NUM) and typed.column is None


def is_canonical(typed: Typed) -> bool:
    """Whether equal numbers are the same because they are of a column with NUMERIC affinity."""
    return typed.kind is Kind.NUM and typed.column is not None and typed.affinity == "NUMERIC"


def _named(node: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=node, alias=identifier(name))


def _from(node: exp.Expr) -> exp.From:
    return exp.From(this=exp.Subquery(this=node, alias=exp.TableAlias(this=identifier("rows"))))
