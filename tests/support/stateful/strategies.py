"""Random schemas, steps and programs."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from tests.support.crash_matrix import points
from tests.support.stateful import program as steps
from tests.support.stateful.drawing import Draw, Statements, rarely
from tests.support.stateful.program import Kill, Program, Step, Switch, Write
from tests.support.stateful.schema import (
    GENERATED,
    HS,
    INDEXES,
    KEYS,
    MAY_BE_PARENTS,
    MAY_LACK_ROWID,
    NS,
    PLAIN_TEXT,
    TRIGGERS,
    Reference,
    Schema,
    Table,
)
from tests.support.stateful.statements import (
    Portable,
    Truncate,
)

ACTIONS = [
    "",
    "ON DELETE CASCADE",
    "ON DELETE SET NULL",
    "ON DELETE CASCADE ON UPDATE CASCADE",
    "ON DELETE SET NULL ON UPDATE CASCADE",
    "DEFERRABLE INITIALLY DEFERRED",
    "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
]
_POINTS = sorted(points())
SWITCH_POINTS = [point for point in _POINTS if point.startswith("switch.") and "take_back" not in point]
INNER_POINTS = [point for point in _POINTS if re.fullmatch(r"(sqlite|postgres)\.(fence|receive|settle)", point)]
"""In the middle of a transaction of a switch, so that others would wait."""
MIRROR_POINTS = [point for point in _POINTS if re.fullmatch(r"mirror\..*|sqlite\.apply|.*\.trim", point)]
BACKFILL_POINTS = [point for point in _POINTS if point.startswith("backfill.")]
START_POINTS = [point for point in _POINTS if point.startswith("recovery.")]


@st.composite
def schemas(draw: Draw) -> Schema:
    """One to three tables."""
    tables: list[Table] = []
    for number in range(draw(st.integers(1, 3))):
        parents = [table.name for table in tables if table.key in MAY_BE_PARENTS]
        up = None
        if parents and draw(st.booleans()):
            up = Reference(draw(st.sampled_from(parents)), draw(st.sampled_from(ACTIONS)))
        tables.append(draw(_tables(f"t{number}", up)))
    return Schema(tuple(tables))


@st.composite
def _tables(draw: Draw, name: str, up: Reference | None) -> Table:
    key = draw(st.sampled_from(list(KEYS)))
    triggers = [trigger for trigger in TRIGGERS if trigger != "evicts" or key in PLAIN_TEXT]
    return Table(
        name,
        key,
        without_rowid=key in MAY_LACK_ROWID and draw(st.booleans()),
        h=draw(st.sampled_from(list(HS))),
        n=draw(st.sampled_from(list(NS))),
        indexes=tuple(draw(st.lists(st.sampled_from(list(INDEXES)), unique=True, max_size=2))),
        generated=draw(st.sampled_from(list(GENERATED))),
        triggers=tuple(draw(st.lists(st.sampled_from(triggers), max_size=1))) if rarely(draw, 4) else (),
        up=up,
    )


@st.composite
def writes(draw: Draw, schema: Schema, ways: list[str], *, misfits: bool) -> Write:
    """One to four statements."""
    way: Any = draw(st.sampled_from(ways))
    made = Statements(schema, misfits=misfits, native=way in ("native", "beside"))
    if rarely(draw, 12):
        return Write("session" if way in ("front", "unchecked") else way, made.swap(draw))
    statements = tuple(made.any(draw) for _ in range(draw(st.integers(1, 4))))
    return Write(way, statements, commit=way in ("front", "script") or not rarely(draw, 6))


@st.composite
def caught(draw: Draw, schema: Schema) -> tuple[Portable, ...]:
    """Statements of a transaction that a switch finds open."""
    if not rarely(draw, 6):
        return ()
    made = Statements(schema, misfits=False, native=False)
    return tuple(each for _ in range(2) if not isinstance(each := made.any(draw), Truncate))


WAYS = ["front", "front", "session", "script", "beside", "beside", "direct", "native"]


def _kills(schema: Schema, *, misfits: bool) -> st.SearchStrategy[Kill]:
    names = st.sampled_from([table.name for table in schema.tables])
    copying = st.builds(Kill, st.sampled_from(BACKFILL_POINTS), names.map(steps.CopyAgain))
    mirroring = st.builds(Kill, st.sampled_from(MIRROR_POINTS), writes(schema, ["beside"], misfits=misfits))
    again = st.sampled_from(["", "", *START_POINTS])
    direct = st.lists(writes(schema, ["direct"], misfits=misfits), max_size=2).map(tuple)
    switching = st.builds(Kill, st.sampled_from(SWITCH_POINTS + INNER_POINTS), st.builds(Switch, direct), again)
    starting = st.builds(Kill, st.sampled_from(START_POINTS), st.just(steps.Reopen()))
    return st.one_of(st.just(Kill()), copying, mirroring, starting, switching, switching)


def _switches(schema: Schema, *, misfits: bool) -> st.SearchStrategy[Switch]:
    ways = ["front", "session", "script", "direct"]
    going = st.lists(writes(schema, ways, misfits=misfits), max_size=3).map(tuple)
    beside = st.lists(writes(schema, ["direct", "native"], misfits=misfits), min_size=1, max_size=3).map(tuple)
    standing = st.builds(Switch, beside, st.sampled_from(SWITCH_POINTS))
    return st.one_of(st.builds(Switch, going, st.just(""), caught(schema)), standing)


_WEIGHTS = {
    "write": 12,
    "switch": 5,
    "kill": 3,
    "tamper": 2,
    "rewrite": 2,
    "mend": 2,
    "fill": 1,
    "verify": 1,
    "settle": 1,
    "pause": 1,
    "resume": 1,
    "reopen": 1,
    "copy": 1,
}
_KINDS = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]


def _steps(schema: Schema, *, misfits: bool) -> st.SearchStrategy[Step]:
    """One step; the frequent kinds more often."""
    names = st.sampled_from([table.name for table in schema.tables])
    write = writes(schema, [*WAYS, "unchecked"] if misfits else WAYS, misfits=misfits)
    how = st.sampled_from(["missing", "extra", "different"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "write": write,
        "switch": _switches(schema, misfits=misfits),
        "kill": _kills(schema, misfits=misfits),
        "tamper": st.builds(steps.Tamper, names, how, st.integers(0, 3), st.booleans()),
        "rewrite": st.builds(steps.Rewrite, st.sampled_from(WAYS), st.sampled_from([None, "new"])),
        "fill": st.builds(steps.Fill, st.sampled_from(WAYS), names, st.integers(8, 40)),
        "mend": st.just(steps.Mend()) if misfits else write,
        "verify": st.just(steps.Verify()),
        "settle": st.just(steps.Settle()),
        "pause": st.just(steps.Pause()),
        "resume": st.just(steps.Resume()),
        "reopen": st.just(steps.Reopen()),
        "copy": names.map(steps.CopyAgain),
    }
    return st.sampled_from(_KINDS).flatmap(lambda kind: kinds[kind])


@st.composite
def step_lists(draw: Draw, schema: Schema, *, misfits: bool) -> tuple[Step, ...]:
    """What happens. Three lists are longer than one, and shrink as well."""
    few = st.lists(_steps(schema, misfits=misfits), max_size=8)
    return tuple(step for _ in range(3) for step in draw(few))


@st.composite
def programs(draw: Draw) -> Program:
    """A schema, what its tables hold at first, and what happens."""
    schema = draw(schemas())
    misfits = rarely(draw, 4)
    made = Statements(schema, misfits=False, native=False)
    beginning = tuple(made.insert(draw, draw(st.sampled_from(schema.tables))) for _ in range(draw(st.integers(0, 3))))
    return Program(schema, beginning, draw(step_lists(schema, misfits=misfits)))
