"""Unique handles fought over by everybody: a UNIQUE column that is not the key, with REPLACE and with ON CONFLICT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from tests.torture.doors import Rows, Statement
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

_HANDLES, _SEATS = 15, 12


class Handles(Workload):
    """A claim takes a handle and an id, and evicts whoever has either.

    A row must be there if no later claim can have evicted it, and must not if one certainly has. "Later" is by real
    time: asked for after the other was acknowledged.
    """

    name = "handles"
    schema = "CREATE TABLE handles(id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, claim TEXT NOT NULL);"
    tables = ("handles",)
    doors = ("front", "front", "direct", "outside", "native", "any", "interactive")
    hasty = True
    samples: ClassVar = {"twice": "SELECT handle, count(*) FROM handles GROUP BY handle HAVING count(*) > 1"}

    def propose(self, client: Client, door: str) -> Operation:
        rng = client.rng
        claim = f"{client.name}-{client.tick()}"
        handle = f"h{rng.randrange(_HANDLES)}"
        if rng.random() < 0.5:
            key = rng.randint(1, _SEATS)
            statements = self._replace(door, key, handle, claim)
            what = f"REPLACE by claim {claim}"
        else:
            key = 1000 + client.number * 1_000_000 + client.count
            statements = (
                Statement(
                    "INSERT INTO handles(id, handle, claim) VALUES (?, ?, ?) "
                    "ON CONFLICT(handle) DO UPDATE SET id = excluded.id, claim = excluded.claim",
                    (key, handle, claim),
                ),
            )
            what = f"upsert by claim {claim}"
        return Operation(
            f"{what} of id {key}, {handle}", statements, (claim, key, handle), (None,) * (len(statements) - 1) + (1,)
        )

    def _replace(self, door: str, key: int, handle: str, claim: str) -> tuple[Statement, ...]:
        if door != "native":
            return (
                Statement("INSERT OR REPLACE INTO handles(id, handle, claim) VALUES (?, ?, ?)", (key, handle, claim)),
            )
        return (
            Statement("DELETE FROM handles WHERE id = ? OR handle = ?", (key, handle)),
            Statement("INSERT INTO handles(id, handle, claim) VALUES (?, ?, ?)", (key, handle, claim)),
        )

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        if rows["twice"]:
            yield f"handles with two holders: {rows['twice'][:5]}"

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        told = {entry.data[0]: entry for entry in entries}
        certain, possible = _latest(entries)
        there = set()
        for key, handle, claim in rows["handles"]:
            entry = told.get(claim)
            there.add(claim)
            if entry is None or entry.data != (claim, key, handle) or not entry.possible:
                yield f"row {(key, handle, claim)} was never granted; {entry}"
                continue
            for part in (("id", key), ("handle", handle)):
                later = certain.get(part)
                if later is not None and later.began > entry.ended:
                    yield f"row {(key, handle, claim)} should have been evicted; it is by {entry}; evicted by {later}"
        for entry in entries:
            claim, key, handle = entry.data
            if entry.outcome == "acknowledged" and claim not in there:
                ends = [
                    end for part in (("id", key), ("handle", handle)) for end in possible[part] if end[1] is not entry
                ]
                if not any(ended > entry.began for ended, _ in ends):
                    yield f"claim {claim} of id {key}, {handle} is lost, and nobody can have evicted it; {entry}"


Part = tuple[str, int | str]


def _latest(entries: list[Entry]) -> tuple[dict[Part, Entry], dict[Part, list[tuple[float, Entry]]]]:
    """For each id and handle: the acknowledged claim that began last, and the two that may have ended last."""
    certain: dict[Part, Entry] = {}
    possible: dict[Part, list[tuple[float, Entry]]] = {}
    for entry in entries:
        _, key, handle = entry.data
        for part in (("id", key), ("handle", handle)):
            if entry.outcome == "acknowledged" and (part not in certain or entry.began > certain[part].began):
                certain[part] = entry
            if entry.possible:
                ended = entry.ended if entry.outcome == "acknowledged" else math.inf
                ends = possible.setdefault(part, [])
                ends.append((ended, entry))
                ends.sort(key=lambda end: end[0], reverse=True)
                del ends[2:]
            else:
                possible.setdefault(part, [])
    return certain, possible
