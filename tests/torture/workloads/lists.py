"""Append-only lists: one row, elements appended by everybody. Nothing is lost or doubled, and real time is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

from tests.torture.doors import Rows, Statement, Told
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

_LENGTH = 300
"""Elements after which a new list is begun, roughly."""
_LISTS = 2


class Lists(Workload):
    """An upsert that appends to the text in the row; reads that must see what was acknowledged before they began."""

    name = "lists"
    schema = "CREATE TABLE lists(id INTEGER PRIMARY KEY, elements TEXT NOT NULL);"
    tables = ("lists",)
    doors = ("front", "front", "direct", "native", "any", "outside")
    hasty = True
    samples: ClassVar = {"lists": "SELECT id, elements FROM lists ORDER BY id DESC LIMIT 4"}

    def __init__(self) -> None:
        self._appended = 0
        self._seen: dict[str, set[tuple[int, int, str]]] = {}
        self._acknowledged: dict[int, set[str]] = {}

    def propose(self, client: Client, door: str) -> Operation:
        target = self._appended // (_LENGTH * _LISTS) * _LISTS + client.rng.randrange(_LISTS) + 1
        if door == "front" and client.rng.random() < 0.2:
            required = frozenset(self._acknowledged.get(target, ()))
            read = Statement("SELECT elements FROM lists WHERE id = ?", (target,))
            return Operation(f"read of list {target}", (read,), ("read", target, required))
        element = f"{client.name}-{client.tick()};"
        sql = (
            "INSERT INTO lists(id, elements) VALUES (?, ?) "
            "ON CONFLICT(id) DO UPDATE SET elements = lists.elements || excluded.elements"
        )
        return Operation(
            f"append of {element} to list {target}",
            (Statement(sql, (target, element)),),
            ("append", target, element),
            (1,),
        )

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        kind, target, rest = operation.data
        if told.outcome != "acknowledged":
            return
        if kind == "append":
            self._appended += 1
            self._acknowledged.setdefault(target, set()).add(rest)
            return
        text = told.rows[0][0][0] if told.rows[0] else ""
        missing = rest - {element + ";" for element in text.split(";")}
        if missing:
            yield f"a read of list {target} is stale: it lacks {sorted(missing)[:3]}, acknowledged before; {entry}"

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        for key, text in rows["lists"]:
            self._seen.setdefault(store, set()).add((key, len(text), _digest(text)))
        return ()

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        final: dict[int, str] = dict(rows["lists"])
        appends = [entry for entry in entries if entry.data[0] == "append"]
        told = {entry.data[2]: entry for entry in appends}
        places: dict[str, int] = {}
        for key, text in final.items():
            elements = [element + ";" for element in text.split(";")[:-1]]
            for element in elements:
                entry = told.get(element)
                if element in places:
                    yield f"{element} stands twice in list {key}; {entry}"
                if entry is None or entry.data[1] != key:
                    yield f"{element} stands in list {key}, where nobody put it; {entry}"
                elif not entry.possible:
                    yield f"{element} stands in list {key}, though it was refused; {entry}"
                places[element] = key
            yield from _disorder(key, elements, told)
        for element, entry in told.items():
            if entry.outcome == "acknowledged" and element not in places:
                yield f"{element} is lost from list {entry.data[1]}; {entry}"
        for store, seen in self._seen.items():
            for key, length, digest in seen:
                if _digest(final.get(key, "")[:length]) != digest:
                    yield f"{length} characters of list {key} in a snapshot of {store} do not begin the final list"


def _disorder(key: int, elements: list[str], told: Mapping[str, Entry]) -> Iterable[str]:
    """Elements that were acknowledged before an earlier one was asked for."""
    latest: Entry | None = None
    for element in elements:
        entry = told.get(element)
        if entry is None:
            continue
        if latest is not None and entry.ended < latest.began:
            yield f"list {key} has {element} after an element that was asked for later; {entry}; {latest}"
        if latest is None or entry.began > latest.began:
            latest = entry


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
