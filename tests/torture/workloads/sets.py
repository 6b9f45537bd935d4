"""Sets with unique members: groups that own members by a cascading key, and know how many they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tests.torture.doors import Rows, Statement, Told
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

State = frozenset[str] | None
"""Members of a group; None: there is no such group."""


class Sets(Workload):
    """Each group has one client at a time. One whose state is in doubt is not written again, and may be in either."""

    name = "sets"
    schema = """
CREATE TABLE groups(id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE members(grp INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE, member TEXT NOT NULL, weight REAL,
  PRIMARY KEY(grp, member)) WITHOUT ROWID;
"""
    tables = ("groups", "members")
    doors = ("front", "direct", "outside", "native", "any")
    samples: ClassVar = {
        "sizes": "SELECT g.id, g.size, count(m.member) FROM groups g LEFT JOIN members m ON m.grp = g.id "
        "GROUP BY g.id, g.size HAVING g.size <> count(m.member)",
        "orphans": "SELECT m.grp, m.member FROM members m LEFT JOIN groups g ON g.id = m.grp WHERE g.id IS NULL",
    }

    def __init__(self) -> None:
        self._states: dict[int, set[State]] = {}
        self._last: dict[int, Entry] = {}

    def propose(self, client: Client, door: str) -> Operation:
        rng = client.rng
        mine: list[int] = client.memory.setdefault("groups", [])
        if len(mine) < 6:
            mine.append(client.number * 1_000_000 + client.tick())
        group = rng.choice(mine)
        (state,) = self._states.get(group, {None})
        if state is None:
            new = frozenset(f"m{rng.randrange(20)}" for _ in range(4))
            return self._operation(
                "create", group, new, (self._create(group, len(new)), *self._add(group, new)), len(new)
            )
        if rng.random() < 0.15:
            delete = Statement("DELETE FROM groups WHERE id = ?", (group,))
            return Operation(f"deletion of group {group}", (delete,), (group, None), (1,))
        member = f"m{rng.randrange(20)}"
        if member in state:
            new = state - {member}
            change = Statement("DELETE FROM members WHERE grp = ? AND member = ?", (group, member))
        else:
            new = state | {member}
            (change,) = self._add(group, {member})
        resize = Statement("UPDATE groups SET size = ? WHERE id = ?", (len(new), group))
        return self._operation("change", group, new, (change, resize), 1)

    def _operation(
        self, verb: str, group: int, new: frozenset[str], statements: tuple[Statement, ...], changed: int
    ) -> Operation:
        expect = (1, changed) if verb == "create" else (changed, 1)
        return Operation(f"{verb} of group {group} to {{{', '.join(sorted(new))}}}", statements, (group, new), expect)

    def _create(self, group: int, size: int) -> Statement:
        return Statement("INSERT INTO groups(id, size) VALUES (?, ?)", (group, size))

    def _add(self, group: int, members: Iterable[str]) -> tuple[Statement, ...]:
        args: list[Any] = []
        for member in sorted(members):
            args += [group, member, group / 7 + len(member)]
        rows = ", ".join(["(?, ?, ?)"] * (len(args) // 3))
        return (Statement(f"INSERT INTO members(grp, member, weight) VALUES {rows}", tuple(args)),)

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        group, new = operation.data
        before = self._states.get(group, {None})
        if told.outcome == "refused":
            return ()
        self._last[group] = entry
        self._states[group] = {new} if told.outcome == "acknowledged" else before | {new}
        if told.outcome == "unknown":
            client.memory["groups"].remove(group)
        return ()

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        if rows["sizes"]:
            yield f"groups whose size is not the number of their members (id, size, members): {rows['sizes'][:5]}"
        if rows["orphans"]:
            yield f"members of groups that are not there: {rows['orphans'][:5]}"

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        found: dict[int, State] = {row[0]: frozenset() for row in rows["groups"]}
        for group, member, _ in rows["members"]:
            found[group] = (found.get(group) or frozenset()) | {member}
        for group, states in self._states.items():
            state = found.pop(group, None)
            if state not in states:
                wanted = " or ".join("no group" if each is None else str(sorted(each)) for each in states)
                is_now = "not there" if state is None else sorted(state)
                yield f"group {group} is {is_now} and should be {wanted}; last written by {self._last[group]}"
        for group in found:
            yield f"group {group} is there, though nobody was told so"
