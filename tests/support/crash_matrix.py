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
_RECOVERY = {
    "promote": (
        *(f"promote-{cut}" for cut in _CUTS),
        "promote-unanswerable",
        "shadow-postgres-old",
        "postgres-returned",
    ),
    "demote": (*(f"demote-{cut}" for cut in _CUTS), "demote-unanswerable", "shadow-sqlite-old", "primary-postgres-old"),
}


def _each(cut: str) -> Directions:
    return {direction: (f"{direction}-{cut}",) for direction in ("promote", "demote")}


AREAS: dict[str, Directions] = {
    "backfill": {way: (f"copy-{way}", f"copy-{way}-at-once") for way in ("first", "to-postgres", "to-sqlite")},
    "mirror": {"to-postgres": ("write-to-sqlite",), "to-sqlite": ("write-to-postgres",)},
    "group": {"sqlite": ("write-to-sqlite",), "postgres": ("write-to-postgres",)},
    "switch": {"promote": ("promote",), "demote": ("demote",)},
    "switch.take_back": {
        "promote-blocked": ("promote-blocked", "promote-unequal"),
        "demote-blocked": ("demote-blocked", "demote-unequal"),
        "promote-unequal": ("promote-unequal", "promote-blocked"),
        "demote-unequal": ("demote-unequal", "demote-blocked"),
    },
    "recovery": _RECOVERY,
    "recovery.abort": _each("fenced"),
    "recovery.resolve": _each("sending"),
    "recovery.settle": _each("sent"),
    "recovery.wait": _each("unanswerable"),
    "recovery.restored": {"to-postgres": ("shadow-postgres-old",), "to-sqlite": ("shadow-sqlite-old",)},
    "recovery.refuse": {"demote": ("primary-postgres-old",)},
    "recovery.peer_returned": {"force": ("postgres-returned",)},
    "recovery.returned": {"force": ("postgres-returned",)},
    "repair": {"to-postgres": ("repair-postgres",), "to-sqlite": ("repair-sqlite",)},
    "finish": {"finish": ("finish",)},
    "force": {"force": ("force",)},
}

IN_STORES: dict[str, Directions] = {
    "sqlite.fence": {"promote": ("promote",)},
    "sqlite.receive": {"demote": ("demote",)},
    "sqlite.apply": {"mirror": ("write-to-postgres",), "backfill": ("copy-to-sqlite",), "repair": ("repair-sqlite",)},
}
"""Points of `stores/`, each with the directions that pass it."""

ONLY_IN = {("group", "sqlite"): "stores/postgres", ("group", "postgres"): "stores/sqlite"}
"""(area, direction) → folder whose points this direction cannot pass, because they are the other store's."""


_NO_END = "the audit log does not say how the request ended, when the kill came before or after the switch proper"
KNOWN_GAPS = dict.fromkeys(
    [
        *(
            f"switch.{place}-{way}"
            for place in ("prepare.before", "prepare.after", "fence.before", "finish.after")
            for way in ("promote", "demote")
        ),
        *(f"recovery.after-{way}" for way in ("promote", "demote")),
        *(f"finish.{place}.after-finish" for place in ("backup", "record", "dismantle")),
        *(f"force.commit.{place}-force" for place in ("before", "after")),
        "sqlite.fence-promote",
    ],
    _NO_END,
)
"""Cases in which promise 9 alone is not kept yet, by `Case.id`. An entry that is no longer needed fails."""


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


def directions_of(point: str, file: str) -> Directions:
    """How a point is approached; nothing if nobody has said."""
    if point in IN_STORES:
        return IN_STORES[point]
    area = area_of(point)
    if area is None:
        return {}
    return {
        direction: ways
        for direction, ways in AREAS[area].items()
        if not file.startswith(ONLY_IN.get((area, direction), "\0"))
    }


def cases() -> list[Case]:
    """Every point from each of its directions."""
    made, seen = [], set[tuple[str | None, str]]()
    for point, file in points().items():
        for direction, ways in directions_of(point, file).items():
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
        if directions_of(point, file):
            continue
        place = "IN_STORES" if point.partition(".")[0] in ("sqlite", "postgres") else "AREAS"
        found.append(f"{point} ({file}) is in no story: say in crash_matrix.{place} which ways lead to it")
    return found
