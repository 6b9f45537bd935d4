"""The order that nobody asked for: rows come as SQLite's plan reads them, groups sorted by their keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.earliest import finds_one, inner_backwards, is_fixed, tells_apart
from cutover.dialect.generated import indexed
from cutover.dialect.interleaved import parts_read
from cutover.dialect.reading import IndexTerm, Reading, Scan
from cutover.dialect.scope import OWN, TURN, WITHOUT_MIN, Scope, Source
from cutover.dialect.terms import directions, groups_sorted_by, is_one_value, meant, ordinal, served
from cutover.dialect.trees import conjuncts, disjuncts
from cutover.dialect.typed import Kind, Typed
from cutover.dialect.used import columns_used
from cutover.dialect.whole import sorts_alike

if TYPE_CHECKING:
    from cutover.dialect.ordering import Ordering


class Unasked:
    """Terms for ORDER BY where a statement has none, or leaves rows in ties. None: not known, or left to chance."""

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering

    def rows(self, scope: Scope) -> list[exp.Expr] | None:
        """The order in which SQLite reads the rows of a SELECT."""
        reading = scope.reading
        if reading is not None and reading.merged and len(scope.sources) == 1:
            return scope.sources[0].merged(OWN) or None
        if reading is not None and (parts := parts_read(reading)):
            return self._joined_arms(scope, parts)
        if reading is None or not reading.scans:
            return None
        if reading.unmatched:
            return self._with_unmatched(scope, reading.scans, reading.unmatched)
        loops = self._loops(scope, reading.scans)
        return once([term for loop in loops for term in loop]) or None

    def _joined_arms(self, scope: Scope, parts: tuple[Reading, ...]) -> list[exp.Expr] | None:
        """Each SELECT of UNION ALL is joined to the others in FROM by itself, and may be so in its own way."""
        given = [source for source in scope.sources if source.by_arms]
        if len(given) != 1 or len(scope.sources) == 1:
            return None
        arm, *own = given[0].merged(OWN)
        terms = [arm]
        for at, part in enumerate(parts):
            mine = exp.EQ(this=arm.this.copy(), expression=exp.Literal.number(at))
            for scan in part.scans or ():
                named = [one for one in scope.sources if one.table is not None and one.is_called(scan.name)]
                read = self._scan(named[0], scan, scope) if named else own
                if read is None:
                    break
                terms += [_where(mine.copy(), term) for term in read]
        return once(terms)

    def backwards(self, scope: Scope) -> list[exp.Expr] | None:
        """The order of reading, last row first, where that tells every row of a join of tables apart."""
        scans = (scope.reading.scans if scope.reading is not None and not scope.reading.unmatched else None) or ()
        loops = self._loops(scope, scans)
        tables = all(source.table is not None for source in scope.sources)
        plain = all(scan.sought is None and not scan.ways for scan in scans)
        if not scans or not tables or not plain or not len(loops) == len(scans) == len(scope.sources):
            return None
        return [_reversed(term) for term in once([term for loop in loops for term in loop])]

    def _loops(self, scope: Scope, scans: tuple[Scan, ...]) -> list[list[exp.Expr]]:
        """The order in which each loop reads, outermost first."""
        loops = []
        for scan in scans:
            found = self._named(scope, scan)
            read = found[0] if len(found) == 1 else None
            if read is None and _has_one_row(scan, scope):
                continue
            if read is None:  # what is within it may come in any order, what is around it not
                break
            loops.append(read)
        return loops

    def _named(self, scope: Scope, scan: Scan) -> list[list[exp.Expr] | None]:
        """The order in which each thing of that name is read: of FROM, and of the queries merged into this one."""
        read = partial(self._ways, scope, scope.tests) if scan.ways else partial(self._scan, scope=scope)
        # A query that is merged into this one may be called as a table that it reads.
        named = [source for source in scope.sources if source.is_called(scan.name) and not source.merged(scan.name)]
        found = [read(source, scan) for source in named]
        if scan.name.startswith("(subquery-"):
            unnamed = [source for source in scope.sources if source.name == "" and source.comes_in_order]
            found += [read(source, scan) for source in unnamed]
        return [*found, *filter(None, (source.merged(scan.name) for source in scope.sources))]

    def merged(self, scope: Scope) -> dict[str, list[exp.Expr]]:
        """How SQLite reads the sources of a query that it merges into another."""
        if (
            scope.reading is not None and scope.reading.unmatched
        ):  # rows that nothing was joined to come behind the others
            return {}
        # Which columns are used, by which the index made for a query is sorted, only the query around this one tells.
        read = {scan.name: self._named(scope, scan) for scan in scope.merged if scan.sought is None}
        return {name: found[0] for name, found in read.items() if len(found) == 1 and found[0]}

    def _with_unmatched(
        self, scope: Scope, scans: tuple[Scan, ...], unmatched: tuple[Scan | None, ...]
    ) -> list[exp.Expr] | None:
        """RIGHT or FULL JOIN: rows of its right side that nothing was joined to come last, and are read anew."""
        names, last = [source.name or source.alias for source in scope.sources], scope.sources[-1]
        again = unmatched[0] if len(unmatched) == 1 else None
        table = scope.sources[0].table
        key = table.place[0] if table is not None else scope.sources[0].counted
        first = scope.sources[0].find(key) if key else None
        if again is None or first is None or [scan.name for scan in scans] != names or again.name != names[-1]:
            return None
        read = [self._scan(source, scan, scope) for source, scan in zip(scope.sources, scans, strict=True)]
        reread = self._scan(last, again)
        if reread is None or None in read:
            return None
        absent = exp.Is(this=scope.sources[0].typed(first).node, expression=exp.Null())
        terms: list[exp.Expr] = [exp.Ordered(this=exp.Paren(this=absent))]
        for part in read[:-1]:
            terms += part or []
        if scans[-1].index != again.index:
            terms += [_where(exp.Not(this=exp.Paren(this=absent.copy())), term) for term in read[-1] or []]
        return once([*terms, *reread])

    def _ways(self, scope: Scope, tests: list[exp.Expr], source: Source, scan: Scan) -> list[exp.Expr] | None:
        """A table that is read once for each part of an OR: rows come with the first part that is true of them."""
        tests = [test for tests in tests for test in conjuncts(tests) if isinstance(test, exp.Or)]
        parts = [part for part in map(disjuncts, tests) if len(part) == len(scan.ways)]
        if len(parts) != 1:
            return None
        grouping, scope.grouping = scope.grouping, None  # these are conditions of each row
        whether = [self.ordering.expressions.condition(part, scope, loose=True) for part in parts[0]]
        scope.grouping = grouping
        number = exp.Case(
            ifs=[exp.If(this=test, true=exp.Literal.number(at)) for at, test in enumerate(whether)],
            default=exp.Literal.number(len(whether)),
        )
        terms: list[exp.Expr] = [exp.Ordered(this=number)]
        for at, (way, part) in enumerate(zip(scan.ways, parts[0], strict=True)):
            read = self._ways(scope, [part], source, way) if way.ways else self._scan(source, way)
            if read is None:
                return None
            mine = exp.EQ(this=number.copy(), expression=exp.Literal.number(at))
            terms += [_where(mine.copy(), term) for term in read]
        return terms

    def _scan(self, source: Source, scan: Scan, scope: Scope | None = None) -> list[exp.Expr] | None:
        table, index = source.table, scan.index
        if scan.sought is not None:
            if scope is None or scope.select is None:
                return None
            behind = [one.name for one in columns_used(scope.select, source) if one.name.lower() not in scan.sought]
            index = tuple(IndexTerm(name, descending=False, collation="BINARY") for name in behind)
        terms = []
        for part in index:
            found = self._indexed(source, part)
            if found is None or not _sorts(found):
                return None
            typed = found.but(collation=part.collation)
            term = self.ordering.ordered(_direction(descending=part.descending), typed)
            term.meta[WITHOUT_MIN] = typed.kind not in _WITH_MIN
            term.meta[_FIXED] = scope is not None and scan.sought is None and is_fixed(part.column, source, scope)
            terms.append(term)
        if table is None and source.sorted:
            columns = [source.typed(column) for column in source.columns if not column.hidden]
            sorts = all(map(_sorts, columns))
            return [self.ordering.ordered(_direction(), typed) for typed in columns] if sorts else None
        own = source.merged(OWN) if table is None else []
        if own:
            return [*terms, *own]
        if table is None:
            counted = source.find(source.counted) if source.counted else None
            number = source.typed(counted).but(not_null=True) if counted else None
            return [*terms, self.ordering.ordered(_direction(), number)] if number is not None else None
        if table.rowid_alias is None and not table.without_rowid:
            return terms or None  # its rowid is not on Postgres
        if scan.sought is None and tells_apart(index, source):
            return terms
        for name in table.place:
            column = source.find(name)
            if column is None or not _sorts(source.typed(column)):
                return None
            # Of a row that an outer join lacks there is but one, wherever NULLs would stand.
            direction = _direction(descending=name in table.downwards)
            typed = source.typed(column).but(not_null=True)
            terms.append(self.ordering.ordered(direction, typed))
            terms[-1].meta[WITHOUT_MIN] = typed.kind not in _WITH_MIN
        return terms

    def _indexed(self, source: Source, part: IndexTerm) -> Typed | None:
        if part.computed:
            return indexed(part.column, source, self.ordering.expressions.typed)
        column = source.find(part.column)
        return source.typed(column) if column is not None else None

    def turn(self, node: exp.Select, scope: Scope) -> exp.Expr | None:
        """What numbers the rows that a recursion finds: those of a row that was found before come before others."""
        given = [source for source in scope.sources if source.counted == TURN]
        if len(scope.sources) < 2 or len(given) != 1 or node.args.get("distinct") or scope.steps:
            return None
        found = given[0].find(TURN)
        assert found is not None
        before = given[0].typed(found).node
        readings = [read for name, read in self.ordering.repeated if name == scope.turning]
        terms: list[exp.Expr] = [exp.Ordered(this=before.copy())]
        for scan in (readings[0].scans or ()) if len(readings) == 1 else ():
            named = [one for one in scope.sources if one.is_called(scan.name) and one is not given[0]]
            terms += (self._scan(named[0], scan, scope) or []) if len(named) == 1 else []
        rounds = exp.Div(this=before, expression=_ROUND.copy(), typed=True)
        level = exp.Paren(this=exp.Add(this=rounds, expression=_ONE.copy()))
        place = exp.Window(this=exp.RowNumber(), order=exp.Order(expressions=terms))
        return exp.Add(this=exp.Mul(this=level, expression=_ROUND.copy()), expression=place)

    def groups(self, node: exp.Select, scope: Scope) -> list[exp.Expr] | None:
        """The order of groups: that of their keys, or of the index that served them."""
        group, reading = node.args.get("group"), scope.reading
        if group is None:
            return None
        if reading is None:  # in a subquery
            reading = Reading((), frozenset({"GROUP BY"}))
        whole = scope.grouping is not None and len(scope.sources) == 1 and bool(scope.grouping.whole)
        if whole and not reading.sorts and node.args.get("order") is None:
            return self.rows(scope)  # each row is a group
        written = list(zip(group.expressions, directions(node, scope.steps), strict=True))
        scans = reading.scans or ()
        if "GROUP BY" not in reading.sorts and scans:
            by = served([ordinal(term, node.expressions) for term in group.expressions], scope, scans)
            by_index = by is None and any(scan.index for scan in scans)
            shown = self.ordering.expressions.context.gathers and scope.parent is not None
            if by_index and not shown:
                return self._by_first_rows(scope)
            written = by or written
        terms = []
        for term, down in written:
            typed = self.ordering.expressions.typed(ordinal(term, node.expressions), scope)
            if typed.is_constant or typed.kind is Kind.NULL:
                continue
            terms.append(self.ordering.ordered(_direction(descending=down), typed.but(node=typed.node.copy())))
        return once(terms)

    def _sorted_rows(self, asked: list[tuple[exp.Expr, bool]], scope: Scope) -> list[exp.Expr] | None:
        """The order of reading beneath a sort by these terms of a SELECT, each with whether downwards."""
        reading, node = scope.reading, scope.select
        if reading is None or node is None or not reading.scans or reading.unmatched:
            return self.rows(scope)
        named = [source for source in scope.sources if source.is_called(reading.scans[-1].name)]
        known = [(meant(term, node, scope), down) for term, down in asked]
        loops = self._loops(scope, reading.scans)
        whole = len(named) == 1 and len(loops) == len(reading.scans)
        if whole and inner_backwards(known, named[0], reading.scans[-1]):
            loops[-1] = [_reversed(one) for one in loops[-1]]
        return once([one for loop in loops for one in loop]) or None

    def _by_first_rows(self, scope: Scope) -> list[exp.Expr] | None:
        """The order of groups that come as their rows are read, one group behind the other."""
        terms: list[exp.Expr] = []
        for term in self.rows(scope) or []:
            if term.meta.get(WITHOUT_MIN):
                in_order = exp.Order(this=term.this.copy(), expressions=[term])
                every = exp.Anonymous(this="array_agg", expressions=[in_order])
                first: exp.Expr = exp.Bracket(this=exp.Paren(this=every), expressions=[exp.Literal.number(1)], offset=1)
            else:
                name = "max" if term.args.get("desc") else "min"
                first = exp.Anonymous(this=name, expressions=[term.this.copy()])
            terms.append(exp.Ordered(this=first, desc=term.args.get("desc"), nulls_first=term.args.get("nulls_first")))
        return terms or None

    def gathered(self, scope: Scope) -> list[exp.Expr] | None:
        """The order of reading beneath groups: an index by which they come may be read backwards for ORDER BY."""
        reading, node = scope.reading, scope.select
        if scope.backwards:
            return [_reversed(one) for one in self.rows(scope) or []] or None
        if reading is None or node is None or not reading.scans:
            return self.rows(scope)
        group, order = node.args.get("group"), groups_sorted_by(node, scope.steps)
        if "GROUP BY" in reading.sorts and group is not None:
            return self._sorted_rows(list(zip(group.expressions, directions(node, scope.steps), strict=True)), scope)
        if group is None or not order or len(order) != len(group.expressions):
            return self.rows(scope)
        terms = [ordinal(term, node.expressions) for term in group.expressions]
        sorts = [term.this if isinstance(term, exp.Ordered) else term for term in order]
        asked = [meant(term, node, scope) for term in sorts]
        by = served(terms, scope, reading.scans)
        if by is None or asked != [meant(term, node, scope) for term in terms]:
            return self.rows(scope)
        ways = dict(zip(terms, directions(node, scope.steps), strict=True))
        loops = self._loops(scope, reading.scans)
        moving = [(term, down) for term, down in by if not is_one_value(term, scope)]
        if loops and moving and all(ways[term] != down for term, down in moving):
            loops[0] = [_reversed(one) for one in loops[0]]
        return once([one for loop in loops for one in loop]) or None

    def in_window(self, scope: Scope, asked: list[exp.Expr], window: exp.Window | None = None) -> list[exp.Expr]:
        """A window's terms, then the order in which its rows come: of the windows computed before, and of reading."""
        if scope.grouping is not None:
            read = self.groups(scope.select, scope) if scope.select is not None and window is not None else None
        else:
            read = self.behind_windows(scope) if window is not None else self.gathered(scope)
            if read is None and (scope.reading is None or len(scope.sources) == 1):
                read = self.ordering.scan(scope)
        behind = windows.behind(window, scope.steps, scope.named, again=id(window) in scope.again)
        return once([*asked, *self.by_windows(behind, scope), *(term.copy() for term in read or [])])

    def by_windows(self, steps: list[exp.Window], scope: Scope) -> list[exp.Expr]:
        """The order in which rows leave windows, the last that was computed first."""
        terms: list[exp.Expr] = []
        for window in steps:
            made = self.ordering.expressions.queries.aggregates.window(window, scope)
            terms += [exp.Ordered(this=part, nulls_first=True) for part in made.args["partition_by"]]
            asked = made.args["order"].expressions if made.args.get("order") else []
            terms += [term for term in asked if not isinstance(term.this, exp.Literal)]  # which would be a position
        return terms

    def behind_windows(self, scope: Scope) -> list[exp.Expr] | None:
        """The order of reading; an index that serves the window computed first may be read backwards for it."""
        rows, reading = self.rows(scope), scope.reading
        first = scope.steps[-1] if scope.steps else None
        if rows is None or reading is None or first is None or not reading.serves or reading.unmatched:
            return rows
        order = first.args.get("order")
        terms = [*(first.args.get("partition_by") or []), *(order.expressions if order else ())]
        if not terms:
            return rows
        term = terms[0].this if isinstance(terms[0], exp.Ordered) else terms[0]
        down = isinstance(terms[0], exp.Ordered) and bool(terms[0].args.get("desc"))
        scans = reading.scans or ()
        if not scans or not isinstance(term, exp.Column):
            return None
        ways = [part.descending for part in scans[0].index if part.column.lower() == term.name.lower()]
        loops = self._loops(scope, scans)
        if loops and down != (ways[0] if ways else False):
            loops[0] = [_reversed(one) for one in loops[0]]
        return once([one for loop in loops for one in loop]) or None

    def ties(self, node: exp.Select, scope: Scope, asked: list[exp.Expr]) -> list[exp.Expr]:
        """What follows the terms of ORDER BY: rows that are equal by those stay as they were read."""
        reading = scope.reading
        if reading is None:
            cut = self.is_cut(node, scope)
            return once([*asked, *(self.ordering.scan(scope) or [])])[len(once(asked)) :] if cut else []
        windowed = self.by_windows(scope.steps, scope)
        if scope.grouping is not None:
            terms = self.groups(node, scope)
        elif scope.steps:
            terms = self.behind_windows(scope)
        else:
            terms = self.served(scope, asked)
        return once([*asked, *windowed, *(terms or [])])[len(once(asked)) :]

    def is_cut(self, node: exp.Select, scope: Scope) -> bool:
        """Whether LIMIT takes some rows of a table whose reading is not known; most are read by their keys."""
        one = scope.grouping is None and len(scope.sources) == 1 and not scope.steps
        shown = node.args.get("limit") is not None or self.ordering.expressions.context.gathers
        return scope.reading is None and shown and one

    def served(self, scope: Scope, asked: list[exp.Expr]) -> list[exp.Expr] | None:
        """The order in which SQLite reads rows of a SELECT with ORDER BY: a loop may run backwards for it."""
        reading, asked, node = scope.reading, once(asked), scope.select
        if reading is not None and node is not None and "ORDER BY" in reading.sorts and node.args.get("order"):
            terms = node.args["order"].expressions
            return self._sorted_rows([(term.this, bool(term.args.get("desc"))) for term in terms], scope)
        if reading is None or "ORDER BY" in reading.sorts or reading.unmatched or reading.merged or not asked:
            return self.rows(scope)
        scans = reading.scans or ()
        loops = self._loops(scope, scans)
        single = {source.alias for source in scope.sources for scan in scans if finds_one(scan, source)}
        asked = [one for one in asked if not (isinstance(one.this, exp.Column) and one.this.table in single)]
        told = {term.this for loop in loops for term in loop}
        if asked and asked[0].args.get("desc") and asked[0].this not in told:
            return None
        terms = []
        for loop in loops:
            sorting = [term for term in loop if not term.meta.get(_FIXED)]
            pairs = [(term, one) for one in asked for term in sorting if term.this == one.this][:1]
            backwards = any(bool(term.args.get("desc")) != bool(one.args.get("desc")) for term, one in pairs)
            terms += [_reversed(term) for term in loop] if backwards else loop
        return once(terms)


_WITH_MIN = frozenset({Kind.INT, Kind.REAL, Kind.NUM, Kind.TEXT})
_FIXED = "fixed"
"""Of a term: all rows have the same there, so that nothing is read backwards for it."""
_ONE, _ROUND = exp.Literal.number(1), exp.Literal.number(1 << 32)
"""A recursion numbers its rows anew in each round, after those of the round before."""


def _has_one_row(scan: Scan, scope: Scope) -> bool:
    """Whether a loop is that of a subquery that gives one row. SQLite numbers those without a name."""
    numbered = scan.name.startswith("(subquery-")
    found = [source for source in scope.sources if (source.table is None if numbered else source.is_called(scan.name))]
    return bool(found) and all(source.one_row for source in found)


def _sorts(typed: Typed) -> bool:
    """Whether a column is put in SQLite's order at no great price."""
    return typed.kind is not Kind.JSON and (typed.kind is not Kind.WHOLE or sorts_alike(typed))


def _direction(*, descending: bool = False) -> exp.Ordered:
    return exp.Ordered(this=exp.Null(), desc=descending, nulls_first=not descending)


def _where(test: exp.Expr, term: exp.Expr) -> exp.Expr:
    """A term of ORDER BY for some of the rows alone."""
    made = term.copy()
    made.set("this", exp.Case(ifs=[exp.If(this=test, true=made.this)]))
    return made


def _reversed(term: exp.Expr) -> exp.Expr:
    desc, first = bool(term.args.get("desc")), bool(term.args.get("nulls_first"))
    return exp.Ordered(this=term.this, desc=not desc, nulls_first=not first)


def once(terms: list[exp.Expr]) -> list[exp.Expr]:
    """Without what was already sorted by."""
    seen: set[exp.Expr] = set()
    kept = []
    for term in terms:
        if term.this not in seen:
            seen.add(term.this)
            kept.append(term)
    return kept
