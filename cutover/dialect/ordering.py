"""ORDER BY, with SQLite's place for NULLs and bytewise text, and LIMIT."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.collations import bytewise, collated, collation
from cutover.dialect.comparing import sortable, value
from cutover.dialect.expressions import Expressions
from cutover.dialect.interleaved import KIND
from cutover.dialect.reading import Reading
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Kind, Refused, Typed, call, cast, collate_c, helper, null, paren
from cutover.dialect.unasked import Unasked, once
from cutover.dialect.whole import sorts_alike

_AS_IT_IS = frozenset({Kind.INT, Kind.REAL, Kind.TEXT})
"""Kinds of which a term sorts values of that very kind."""
Columns = Sequence[tuple[str | None, Typed]]


def sort_key(typed: Typed) -> exp.Expr:
    """What Postgres sorts by so that the order is SQLite's."""
    typed = value(typed) if typed.kind is Kind.JSON else typed
    if typed.kind is Kind.WHOLE and not (sorts_alike(typed) and collation(typed) == "BINARY"):
        typed = value(typed)
    if typed.kind is Kind.DYNAMIC:
        return sortable(typed, collation(typed))
    if typed.kind is not Kind.TEXT:
        return typed.node
    name = collation(typed)
    if name == "NOCASE":
        return collated(typed, name)
    return collated(typed, name) if bytewise(typed) else collate_c(collated(typed, name))


def ordered(term: exp.Expr, typed: Typed, key: exp.Expr | None = None) -> exp.Expr:
    """One term. NULLs are the smallest values to SQLite and the greatest to Postgres; where there are none the term
    stays plain, because Postgres uses an index for no other."""
    desc = bool(term.args.get("desc")) if isinstance(term, exp.Ordered) else False
    first = bool(term.args.get("nulls_first")) if isinstance(term, exp.Ordered) else not desc
    if typed.not_null:
        first = desc
    made = exp.Ordered(this=key if key is not None else sort_key(typed), desc=desc, nulls_first=first)
    if typed.kind in _AS_IT_IS and key is None:
        made.meta[KIND] = typed.kind
    return made


def inner(term: exp.Expr) -> exp.Expr:
    """The expression of a term, without ASC, DESC and NULLS."""
    return term.this if isinstance(term, exp.Ordered) else term


def position(node: exp.Expr, columns: Columns, select: exp.Expr | None, *, compound: bool = False) -> int | None:
    """Which column of the result of `select` a term means by its number or name, None if neither.

    A name is first what AS or a star has given. Otherwise it is that of a column in FROM: one that is there without a
    name of its own is meant by it, but with a qualifier it may be another than the one that USING makes of several.
    """
    if isinstance(node, exp.Literal) and not node.args["is_string"] and str(node.this).isdigit():
        number = int(str(node.this))
        if not 1 <= number <= len(columns):
            raise Refused(f"ORDER BY {number}")
        return number - 1
    if isinstance(node, exp.Column) and not node.table:
        bare = _bare(select, columns)
        named = [at for at, (name, _) in enumerate(columns) if name is not None and name.lower() == node.name.lower()]
        given = [at for at in named if at not in bare]
        meant = given or [at for at in named if compound or not bare[at].table]
        return meant[0] if meant else None
    return None


def _bare(select: exp.Expr | None, columns: Columns) -> dict[int, exp.Column]:
    """The columns of the result that are columns without AS, by their places, as far as stars let these be known."""
    written = select.expressions if isinstance(select, exp.Select) else []
    stars = [at for at, one in enumerate(written) if one.is_star]
    width = sum(not (name or "").startswith("of:") for name, _ in columns)
    return {
        at if not stars or at < stars[0] else at + width - len(written): one
        for at, one in enumerate(written)
        if isinstance(one, exp.Column) and (not stars or not stars[0] <= at <= stars[-1])
    }


class Ordering:
    """Rewrites ORDER BY and LIMIT of one statement."""

    def __init__(self, expressions: Expressions) -> None:
        self.expressions = expressions
        self.unasked = Unasked(self)

    @property
    def repeated(self) -> tuple[tuple[str, Reading], ...]:
        """How SQLite reads the repeated parts of recursions."""
        reading = self.expressions.context.reading
        return reading.repeated if reading is not None else ()

    def begun(self, name: str) -> Reading | None:
        """How SQLite reads what the recursion of that name begins with."""
        reading = self.expressions.context.reading
        found = [read for called, read in reading.begun if called == name] if reading is not None else []
        return found[0] if len(found) == 1 else None

    def ordered(self, term: exp.Expr, typed: Typed) -> exp.Expr:
        """One term, with the direction of `term`."""
        return ordered(term, typed)

    def term(self, term: exp.Expr, scope: Scope) -> exp.Expr:
        """A term that is an expression and nothing else (in OVER, in aggregates)."""
        return ordered(term, self.expressions.typed(inner(term), scope))

    def place(self, node: exp.Expr, scope: Scope, columns: Columns) -> int | None:
        """The column of the result that a term means, by its number, name or expression; None if it is not there."""
        node = node.this if isinstance(node, exp.Collate) else node
        place = position(node, columns, scope.select)
        if place is not None:
            return place
        typed = self.expressions.typed(node, scope)
        for at, (_, column) in enumerate(columns):
            if column.node == typed.node:
                return at
        return None

    def of_select(self, node: exp.Select, scope: Scope, columns: Columns) -> tuple[list[exp.Expr], int]:
        """The terms of a SELECT's ORDER BY, or of the one it gets to make LIMIT mean the same, and how many of them
        were written, there or in its windows."""
        windowed = self.unasked.by_windows(scope.steps, scope) if scope.reading is not None else []
        if node.args.get("order") is None:
            return self._unasked(node, scope, windowed), len(once(windowed))
        terms = self.asked(node, scope, columns)
        return terms + self.unasked.ties(node, scope, terms), len(once([*terms, *windowed]))

    def asked(self, node: exp.Select, scope: Scope, columns: Columns) -> list[exp.Expr]:
        """The terms of a SELECT's ORDER BY as they are written, each once."""
        terms = []
        for term in node.args["order"].expressions:
            place = position(inner(term), columns, node)
            typed = self._typed(inner(term), scope, columns) if place is None else columns[place][1]
            if typed.is_constant or typed.kind is Kind.NULL:
                continue
            terms.append(ordered(term, typed, sort_key(typed.but(node=typed.node.copy()))))
        return once(terms)

    def _unasked(self, node: exp.Select, scope: Scope, windowed: list[exp.Expr]) -> list[exp.Expr]:
        if scope.grouping is not None:
            shown = scope.reading is not None or node.args.get("limit") is not None or self.expressions.context.gathers
            shown = shown or scope.cut
            return once([*windowed, *(self.unasked.groups(node, scope) or [])]) if shown else []
        read = self.unasked.behind_windows(scope)
        if read is not None:
            return once([*windowed, *read])
        if windowed:
            return once(windowed)
        if scope.reading is not None and scope.reading.unmatched and node.args.get("limit"):
            hint = "Add an ORDER BY that tells all rows apart."
            raise Refused("LIMIT over such outer joins without an ORDER BY", hint)
        return self._by_key(scope) if len(scope.sources) == 1 and (node.args.get("limit") or scope.cut) else []

    def _typed(self, node: exp.Expr, scope: Scope, columns: Columns) -> Typed:
        """An expression; `COLLATE` on a name of the result is a collation of that column."""
        place = position(node.this, columns, scope.select) if isinstance(node, exp.Collate) else None
        if place is not None:
            return columns[place][1].but(collation=node.expression.name, explicit=True)
        return self.expressions.typed(node, scope)

    def scan(self, scope: Scope) -> list[exp.Expr] | None:
        """The order in which SQLite reads joined tables unless an index serves it better; None if one has no key."""
        terms: list[exp.Expr] = []
        for source in scope.sources:
            key = source.table.place if source.table is not None else [source.counted] if source.counted else []
            downwards = source.table.downwards if source.table is not None else ()
            typed = [(source.typed(column), name in downwards) for name in key if (column := source.find(name))]
            if not typed or any(one.kind in (Kind.JSON, Kind.WHOLE) for one, _ in typed):
                return None
            terms += [ordered(exp.Ordered(this=one.node, desc=down, nulls_first=not down), one) for one, down in typed]
        return terms

    def _by_key(self, scope: Scope) -> list[exp.Expr]:
        """LIMIT without ORDER BY takes the first rows by key, as a scan of SQLite's would."""
        return self.scan(scope) or []

    def first(self, node: exp.Select, scope: Scope, result: exp.Expr) -> None:
        """Of several rows one value is that of the first by key."""
        asked = any(node.args.get(clause) for clause in ("order", "distinct", "group"))
        if not asked and scope.grouping is None and len(scope.sources) == 1:
            terms = self._by_key(scope)
            if terms:
                result.set("order", exp.Order(expressions=terms))

    def limit(self, node: exp.Expr, result: exp.Expr) -> None:
        """Copy LIMIT and OFFSET: a negative limit is none, a negative offset is 0."""
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if limit is not None:
            typed = self._whole(limit.expression)
            lowest = cast(exp.Literal.number(-1), "BIGINT")
            bound = call("NULLIF", call("GREATEST", typed.node, lowest), lowest.copy())
            result.set("limit", exp.Limit(expression=bound))
        if offset is not None:
            none = cast(exp.Literal.number(0), "BIGINT")
            given = self._whole(offset.expression).node
            if limit is not None and isinstance(given, exp.Anonymous):  # what is no offset does not matter to LIMIT 0
                empty = exp.EQ(this=paren(self._whole(limit.expression).node), expression=none.copy())
                given = exp.Case(ifs=[exp.If(this=empty, true=none.copy())], default=given)
            bound = call("GREATEST", given, none)
            result.set("offset", exp.Offset(expression=bound))

    def _whole(self, node: exp.Expr) -> Typed:
        typed = value(self.expressions.typed(node, Scope()))
        if typed.kind is Kind.INT:
            return typed
        given = null(Kind.TEXT) if typed.kind is Kind.NULL else typed.node
        return Typed(helper("bound", given), Kind.INT)
