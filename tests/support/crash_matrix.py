"""Which ways lead to which crash point. Points are read from the code; a new one in a known area needs no word here.

The longest prefix of a point's name decides: `switch.take_back.released` goes by `switch.take_back`. A direction with
several ways takes the first that passes the point. Points inside a store are placed one by one, because their names do
not tell who calls them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cutover

Directions = Mapping[str, tuple[str, ...]]
"""Name of a direction → ways (`crash_ways.WAYS`) to try in turn."""

_ROOT = Path(cutover.__file__).parent

_CUTS = ("sent", "sending", "fenced")
_STARTS = (
    *("start-new", "start-shadowing", "start-promoted", "shadow-postgres-old", "shadow-sqlite-old"),
    *("promote-sent", "demote-sent", "postgres-returned"),
)
"""Starts with nothing to decide, with everything to be copied again, after a commit, and of one that was given up."""


def _one_each(*ways: str) -> Directions:
    """Each way is a direction of its own."""
    return {way: (way,) for way in ways}


def _either(cut: str) -> Directions:
    return {direction: (f"{direction}-{cut}",) for direction in ("promote", "demote")}


AREAS: dict[str, Directions] = {
    "backfill": {way: (f"copy-{way}", f"copy-{way}-at-once") for way in ("first", "to-postgres", "to-sqlite")},
    "mirror": {"to-postgres": ("write-to-sqlite",), "to-sqlite": ("write-to-postgres",)},
    "follow": {"to-postgres": ("alter-sqlite",), "to-sqlite": ("alter-postgres",)},
    "follow.front": {"to-sqlite": ("alter-front",)},
    "group": {"sqlite": ("write-to-sqlite",)},
    "translated": {"postgres": ("write-to-postgres",)},
    "switch": {"promote": ("promote",), "demote": ("demote",)},
    "switch.take_back": {
        **_one_each("promote-uncommitted", "demote-blocked", "demote-undrained"),
        "promote-blocked": ("promote-blocked", "promote-uncommitted"),
        "promote-undrained": ("promote-undrained", "promote-uncommitted"),
    },
    "recovery": {
        "promote": (
            *(f"promote-{cut}" for cut in _CUTS),
            *("promote-unanswerable", "shadow-postgres-old", "postgres-returned"),
        ),
        "demote": (
            *(f"demote-{cut}" for cut in _CUTS),
            *("demote-unanswerable", "shadow-sqlite-old", "primary-postgres-old"),
        ),
    },
    "recovery.take_back": {"promote": ("promote-fenced",)},
    "recovery.abort": _one_each("promote-sending", "demote-sending", "demote-fenced"),
    "recovery.resolve": _either("sending"),
    "recovery.settle": _either("sent"),
    "recovery.wait": _either("unanswerable"),
    "recovery.restored": _one_each("shadow-postgres-old", "shadow-sqlite-old"),
    "recovery.adopt": _one_each("postgres-returned", "shadow-postgres-older"),
    "recovery.refuse": _one_each("primary-postgres-old"),
    "recovery.returned": _one_each("postgres-returned"),
    "recovery.take_over": _one_each(*_STARTS),
    "recovery.mend": _one_each(*_STARTS),
    "recovery.begin": _one_each(*_STARTS),
    "repair": {"to-postgres": ("repair-postgres",), "to-sqlite": ("repair-sqlite",)},
    "finish": {"finish": ("finish",)},
    "force": {"force": ("force",)},
}

IN_STORES: dict[str, Directions] = {
    "sqlite.apply": _one_each("write-to-postgres", "copy-to-sqlite", "repair-sqlite"),
    "sqlite.fence": _one_each("promote"),
    "sqlite.receive": _one_each("demote", "force"),
    "sqlite.release": _one_each("promote-uncommitted", "promote-fenced", "promote-sending"),
    "sqlite.settle": _one_each("promote", "promote-sent"),
    "sqlite.trim": _one_each("write-to-sqlite"),
    "postgres.dismantle": _one_each("finish"),
    "postgres.fence": _one_each("demote", "postgres-returned"),
    "postgres.release": _one_each("demote-undrained", "demote-fenced", "demote-sending"),
    "postgres.settle": _one_each("demote", "demote-sent", "postgres-returned", "shadow-postgres-older"),
    "postgres.trim": _one_each("write-to-postgres"),
}
"""Points of `stores/`, each with the directions that pass it."""

KNOWN_GAPS: dict[str, str] = {}
"""`Case.id` → why promise 9 is not kept yet where the kill comes there. An entry that is no longer needed fails."""


@dataclass(frozen=True)
class Case:
    """A point, approached from one direction."""

    point: str
    direction: str
    ways: tuple[str, ...]
    first: bool
    """Of its area and direction: the one that also looks at what costs more."""

    @property
    def id(self) -> str:
        return f"{self.point}-{self.direction}"


@functools.cache
def points() -> dict[str, str]:
    """Every point in the code → the file it is in, below the package."""
    found = {}
    for path in sorted(_ROOT.rglob("*.py")):
        text = path.read_text()
        if path.name == "crashpoints.py" or "crash_point(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "crash_point":
                found[_name(node)] = str(path.relative_to(_ROOT))
    return dict(sorted(found.items()))


def _name(call: ast.Call) -> str:
    """The point's name, or the expression in its place, which no story can be made for."""
    name = call.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ast.unparse(name)


def area_of(point: str) -> str | None:
    """The longest known prefix of a point's name; None if there is none."""
    parts = point.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in AREAS), None)


def directions_of(point: str) -> Directions:
    """How a point is approached; nothing if nobody has said."""
    if point in IN_STORES:
        return IN_STORES[point]
    area = area_of(point)
    if area is None:
        return {}
    return AREAS[area]


def cases() -> list[Case]:
    """Every point from each of its directions."""
    made, seen = [], set[tuple[str | None, str]]()
    for point in points():
        for direction, ways in directions_of(point).items():
            kind = (area_of(point), direction)
            made.append(Case(point, direction, ways, kind not in seen))
            seen.add(kind)
    return made


def unplaced() -> list[str]:
    """Points that no direction leads to, and what to do about each."""
    found = []
    for point, file in points().items():
        if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", point):
            found.append(f"{point} ({file}) is no name `area.place` written out, so no story can be made for it")
        if directions_of(point):
            continue
        place = "IN_STORES" if point.partition(".")[0] in ("sqlite", "postgres") else "AREAS"
        found.append(f"{point} ({file}) is in no story: say in crash_matrix.{place} which ways lead to it")
    return found
