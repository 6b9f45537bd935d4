"""The order in which SQLite reads rows, from its own plan: what it answers where no ORDER BY says another.

Applications get used to that order, and LIMIT makes it part of the answer.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

_STEP = re.compile(
    r"(?:SCAN|SEARCH) (?P<name>.+?)"
    r"(?: USING (?:(?:COVERING )?INDEX (?P<index>.+?)|INTEGER PRIMARY KEY|PRIMARY KEY"
    r"|AUTOMATIC (?:PARTIAL )?(?:COVERING )?INDEX))?"
    r"(?: \(.*\))?(?: LEFT-JOIN)?"
)
_SORT = re.compile(r"USE TEMP B-TREE FOR (.*)")
_BESIDE = re.compile(
    r"(?:REUSE )?(?:CORRELATED )?(?:LIST|SCALAR) SUBQUERY|BLOOM FILTER|SCAN CONSTANT ROW|COMPOUND QUERY"
)


@dataclass(frozen=True, slots=True)
class IndexTerm:
    """One column of an index."""

    column: str
    descending: bool
    collation: str


@dataclass(frozen=True, slots=True)
class Scan:
    """One loop of a plan, outermost first."""

    name: str
    """As the statement calls what is read, in lower case."""
    index: tuple[IndexTerm, ...] = ()
    """What it is read by before its key; empty: by its key alone."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How SQLite reads what a SELECT names in FROM."""

    scans: tuple[Scan, ...]
    sorts: frozenset[str]
    """What it sorts for afterwards: ORDER BY, GROUP BY, DISTINCT. Otherwise the order of reading serves."""


Reader = Callable[[str], Reading | None]


def reading(db: sqlite3.Connection, sql: str, parameters: int) -> Reading | None:
    """How `db` would read for the outermost SELECT of `sql`; None where that says nothing of an order."""
    steps = db.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters).fetchall()
    scans, sorts = [], set()
    for _, parent, _, detail in steps:
        if parent != 0 or _BESIDE.match(detail):
            continue
        sort, step = _SORT.fullmatch(detail), _STEP.fullmatch(detail)
        if sort is not None:
            sorts.add(sort[1])
        elif step is not None:
            terms = _index(db, step["index"]) if step["index"] else ()
            if terms is None:
                return None
            scans.append(Scan(step["name"].lower(), terms))
        else:
            return None
    return Reading(tuple(scans), frozenset(sorts))


def _index(db: sqlite3.Connection, name: str) -> tuple[IndexTerm, ...] | None:
    rows = db.execute("SELECT name, desc, coll FROM pragma_index_xinfo(?) WHERE key", (name,)).fetchall()
    if not rows or any(column is None for column, _, _ in rows):
        return None
    return tuple(IndexTerm(column, bool(descending), collation) for column, descending, collation in rows)
