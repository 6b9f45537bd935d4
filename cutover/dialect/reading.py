"""The order in which SQLite reads rows, from its own plan: what it answers where no ORDER BY says another.

Applications get used to that order, and LIMIT makes it part of the answer.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from cutover.dialect.moving import keeps_rowids, move
from cutover.schema.createsql import read_create_index

_MAIN = r"(?:(?i:main)\.)?"
"""A plan calls what is read as the statement does, also with the name of its database."""
_STEP = re.compile(
    rf"(?:SCAN|SEARCH) {_MAIN}(?P<name>.+?)"
    r"(?: USING (?:(?:COVERING )?INDEX (?P<index>.+?)|INTEGER PRIMARY KEY|PRIMARY KEY"
    r"|(?P<automatic>AUTOMATIC (?:PARTIAL )?(?:COVERING )?INDEX))| VIRTUAL TABLE INDEX .*)?"
    r"(?: \((?P<sought>.*)\))?(?: LEFT-JOIN)?"
)
_SORT = re.compile(r"USE TEMP B-TREE FOR (.*)")
_UNMATCHED = re.compile(r"RIGHT-JOIN (.*)")
_QUERY = re.compile(rf"(?:CO-ROUTINE|MATERIALIZE) {_MAIN}(.*)")
_KEPT = re.compile(rf"MATERIALIZE {_MAIN}(.*)")
_SCALAR = re.compile(r"(?:CORRELATED )?SCALAR SUBQUERY (\d+)")
_LIST = re.compile(r"(?:CORRELATED )?LIST SUBQUERY (\d+)")
_BESIDE = re.compile(
    r"(?:REUSE )?(?:CORRELATED )?(?:LIST|SCALAR) SUBQUERY|BLOOM FILTER|SCAN CONSTANT ROW|USING .* FOR IN-OPERATOR"
)
_KINDS = (_SCALAR, _LIST)


@dataclass(frozen=True, slots=True)
class IndexTerm:
    """One column of an index."""

    column: str
    descending: bool
    collation: str
    computed: bool = False
    """It is an expression, as it was written."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One loop of a plan, outermost first."""

    name: str
    """As the statement calls what is read, in lower case."""
    index: tuple[IndexTerm, ...] = ()
    """What it is read by before its key; empty: by its key alone."""
    sought: tuple[str, ...] | None = None
    """By an index that is made for the query: the columns that it is searched by. The others that are used follow."""
    bound: frozenset[str] = frozenset()
    """The columns of the index, or the key, that it is searched by for equal values."""
    ways: tuple[Scan, ...] = ()
    """It is read several times, once for each part of an OR: rows that were not met before come each time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How SQLite reads what a SELECT names in FROM."""

    scans: tuple[Scan, ...] | None
    """None: in a way that says nothing of an order."""
    sorts: frozenset[str]
    """What it sorts for afterwards: ORDER BY, GROUP BY, DISTINCT. Otherwise the order of reading serves."""
    inside: Reading | None = None
    """Of the query that stands for the only thing that is read."""
    queries: tuple[tuple[str, Reading], ...] = ()
    """Of the queries that are read beside others, by what the plan calls them."""
    arms: tuple[Reading, ...] = ()
    """Of the SELECTs of a compound."""

    serves: bool = False
    """It gives the order that windows are computed in, so that nothing is sorted for them."""
    merged: tuple[Reading, ...] = ()
    """Of the SELECTs of a compound with ORDER BY, each of which is sorted."""
    unmatched: tuple[Scan | None, ...] = ()
    """How what is on the right of RIGHT and FULL JOIN is read once more, for the rows that nothing was joined to."""
    repeated: tuple[tuple[str, Reading], ...] = ()
    """Of the outermost: how the repeated part of each recursion is read, by its name."""
    scalars: tuple[Reading, ...] = ()
    """Of the outermost: how each subquery that is one value is read, in the order of their numbers."""
    numbers: tuple[int, ...] = ()
    """Those numbers: of the text's own come before those of a view."""
    lists: tuple[Reading, ...] = ()
    """Of the outermost: how each query behind IN is read that is not looked up in an index, in that order as well."""
    begun: tuple[tuple[str, Reading], ...] = ()
    """The same for what each recursion begins with."""
    kept: tuple[tuple[str, Reading], ...] = ()
    """Of the outermost: how each query is read whose rows are made once and kept, by its name."""

    keeps_rowids: bool = False
    """Of the outermost: the records of a table are taken over as they are if the other one is empty."""
    named: tuple[tuple[str, Reading], ...] = ()
    """Of the outermost: how each query with a name is read that is not merged into another, wherever it stands."""

    @property
    def orders(self) -> bool:
        """Whether it sorts for ORDER BY, be it for the last of its terms alone."""
        return any(sort.endswith("ORDER BY") for sort in self.sorts)

    def beside(self, name: str) -> Reading | None:
        """How a query is read that stands beside others under that name."""
        found = [reading for called, reading in self.queries if called == name]
        return found[0] if found and all(one == found[0] for one in found) else None

    def within(self) -> Reading:
        """How a query is read that is all that stands in FROM: by itself, or as if it were not there."""
        return self if self.inside is None else self.inside

    def looped_as(self, other: Reading | None) -> Reading:
        """The same with the loops of another text, which reads the same things under the same names."""
        mine, others = ({scan.name for scan in each.scans or ()} if each else set() for each in (self, other))
        if other is None or not mine or mine != others:
            return self
        return replace(self, scans=other.scans, sorts=other.sorts)

    def behind_windows(self, number: int) -> Reading:
        """How the rows are read that so many windows are computed over: SQLite makes a subquery for each."""
        found = self
        for _ in range(number):
            if found.inside is None or not found.scans or not found.scans[0].name.startswith("(subquery-"):
                break
            if found.inside.arms or found.inside.merged:  # a compound of the statement's own
                break
            found = found.inside
        serves = found is not self and "ORDER BY" not in found.sorts
        sorts = self.sorts | (found.sorts - {"ORDER BY"})
        # A sorted query beside others stays sorted there.
        beside = () if any(reading.orders for _, reading in found.queries) else found.queries
        return Reading(found.scans, sorts, found.inside, beside, serves=serves, unmatched=found.unmatched)


Reader = Callable[[str], Reading | None]


def reading(db: sqlite3.Connection, sql: str, parameters: int) -> Reading:
    """How `db` would read for the outermost SELECT of `sql`."""
    steps = db.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters).fetchall()
    moving = move(sql)
    if moving is not None and not steps:  # of records that are taken over as they are the plan says nothing
        steps = [(1, 0, 0, f"SCAN {moving.called}")]
        moving = None
    below: dict[int, list[tuple[int, str]]] = {}
    for number, parent, _, detail in steps:
        below.setdefault(parent, []).append((number, detail))
    parts: dict[str, list[tuple[str, Reading]]] = {"SETUP": [], "RECURSIVE STEP": []}
    for number, _, _, detail in steps:
        query = _QUERY.fullmatch(detail)
        for step, inner in below.get(number, ()) if query is not None else ():
            if query is not None and inner in parts:
                parts[inner].append((query[1].lower(), _level(db, below, step)))
    numbers, listed = ({int(it[1]): step[0] for step in steps if (it := kind.fullmatch(step[3]))} for kind in _KINDS)
    scalars, lists = (tuple(_level(db, below, each[number]) for number in sorted(each)) for each in (numbers, listed))
    whole = _level(db, below, 0)
    repeated, begun = tuple(parts["RECURSIVE STEP"]), tuple(parts["SETUP"])
    made = [(step[3], it[1].lower(), _level(db, below, step[0])) for step in steps if (it := _QUERY.fullmatch(step[3]))]
    kept = tuple((name, read) for detail, name, read in made if _KEPT.fullmatch(detail))
    whole = replace(whole, scalars=scalars, numbers=tuple(sorted(numbers)), lists=lists)
    whole = replace(whole, keeps_rowids=moving is not None and keeps_rowids(db, sql, moving))
    return replace(whole, repeated=repeated, begun=begun, kept=kept, named=tuple(one[1:] for one in made))


def _level(db: sqlite3.Connection, below: dict[int, list[tuple[int, str]]], parent: int) -> Reading:
    scans: list[Scan] = []
    sorts: set[str] = set()
    queries: list[tuple[str, int]] = []
    unmatched: list[Scan | None] = []
    known = True
    for number, detail in below.get(parent, ()):
        sort, step, query = _SORT.fullmatch(detail), _STEP.fullmatch(detail), _QUERY.fullmatch(detail)
        if detail == "COMPOUND QUERY":
            return Reading((), frozenset(), arms=tuple(_level(db, below, arm) for arm, _ in below.get(number, ())))
        if detail == "MULTI-INDEX OR":
            ways = [_level(db, below, way).scans for way, _ in below.get(number, ())]
            parts = tuple(scans[0] for scans in ways if scans is not None and len(scans) == 1)
            known = known and len(parts) == len(ways) and len({scan.name for scan in parts}) == 1
            scans += [Scan(parts[0].name, ways=parts)] if parts else []
            continue
        if detail.startswith("MERGE ("):
            return Reading(None, frozenset(), merged=_merged(db, below, number))
        if _BESIDE.match(detail):
            continue
        if _UNMATCHED.fullmatch(detail) is not None:
            again = _level(db, below, number).scans
            unmatched.append(again[0] if again is not None and len(again) == 1 else None)
            continue
        if sort is not None:
            sorts.add(sort[1])
        elif query is not None:
            queries.append((query[1].lower(), number))
        elif step is not None:
            terms = _index(db, step["index"]) if step["index"] else ()
            known = known and terms is not None
            sought = tuple(one.removesuffix("=?").lower() for one in (step["sought"] or "").split(" AND "))
            bound = frozenset(one[:-2].lower() for one in (step["sought"] or "").split(" AND ") if one.endswith("=?"))
            scans.append(Scan(step["name"].lower(), terms or (), sought if step["automatic"] else None, bound))
        else:
            known = False
    # A view is called by its own name where it is computed, and by its alias where it is read.
    alone = len(scans) == 1 and len(queries) == 1
    inside = _level(db, below, queries[0][1]) if alone else None
    joined = () if alone else tuple((name, _level(db, below, number)) for name, number in queries)
    return Reading(tuple(scans) if known else None, frozenset(sorts), inside, joined, unmatched=tuple(unmatched))


def _merged(db: sqlite3.Connection, below: dict[int, list[tuple[int, str]]], parent: int) -> tuple[Reading, ...]:
    """Two sorted arms become one; the left of them may be made of two, too."""
    left, right = (_level(db, below, arm) for arm, detail in below[parent] if detail in ("LEFT", "RIGHT"))
    return (*(left.merged or (left,)), right)


def _index(db: sqlite3.Connection, name: str) -> tuple[IndexTerm, ...] | None:
    rows = db.execute("SELECT name, desc, coll FROM pragma_index_xinfo(?) WHERE key", (name,)).fetchall()
    written: list[str] = []
    if any(column is None for column, _, _ in rows):
        text = db.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)).fetchone()
        written = read_create_index(text[0])[0] if text is not None else []
        if len(written) != len(rows):
            return None
    return (
        tuple(
            IndexTerm(column if column is not None else written[at], bool(down), collation, computed=column is None)
            for at, (column, down, collation) in enumerate(rows)
        )
        or None
    )
