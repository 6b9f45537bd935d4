"""A journal with automatic keys and no other: a write that happened twice stands there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.torture.doors import Rows, Statement, Told
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload


class Journal(Workload):
    """Keys are given once, across switches too, and in the order of real time."""

    name = "journal"
    schema = "CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, mark TEXT NOT NULL, body BLOB);"
    tables = ("journal",)
    doors = ("front", "direct", "outside", "native", "any")
    hasty = True

    def __init__(self) -> None:
        self._given: dict[int, Entry] = {}
        self._highest: tuple[int, Entry] | None = None

    def propose(self, client: Client, door: str) -> Operation:
        mine: list[tuple[int, str]] = client.memory.setdefault("mine", [])
        if len(mine) > 20 and client.rng.random() < 0.3:
            key, mark = mine.pop(client.rng.randrange(len(mine)))
            delete = Statement("DELETE FROM journal WHERE id = ? AND mark = ?", (key, mark))
            return Operation(f"deletion of entry {key}, {mark}", (delete,), ("delete", mark), (1,))
        mark = f"{client.name}-{client.tick()}"
        insert = Statement("INSERT INTO journal(mark) VALUES (?) RETURNING id", (mark,))
        if door == "native" and client.rng.random() < 0.15:
            # Visible before it is on disk. Postgres may lose it; the mirror must not know it then.
            lightly = Statement("SET LOCAL synchronous_commit = off")
            return Operation(f"light entry {mark}", (lightly, insert), ("light", mark))
        return Operation(f"entry {mark}", (insert,), ("insert", mark), (1,) if door == "native" else (None,))

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        kind, mark = operation.data
        if kind != "insert" or told.outcome != "acknowledged":
            return
        ((key,),) = told.rows[0]
        if key in self._given:
            yield f"key {key} was given twice; {self._given[key]}; {entry}"
        if self._highest is not None and self._highest[1].ended < entry.began and key < self._highest[0]:
            yield f"key {key} was given after {self._highest[0]}; {self._highest[1]}; {entry}"
        if self._highest is None or key > self._highest[0]:
            self._highest = (key, entry)
        self._given[key] = entry
        client.memory["mine"].append((key, mark))

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        counts = Counter(row[1] for row in rows["journal"])
        inserted: dict[str, Entry] = {}
        deleted: dict[str, Entry] = {}
        for entry in entries:
            kind, mark = entry.data
            if kind != "delete":
                inserted[mark] = entry
            elif entry.possible:
                deleted[mark] = entry
        for mark, entry in inserted.items():
            gone = deleted.get(mark)
            least = int(entry.outcome == "acknowledged" and entry.data[0] == "insert" and gone is None)
            most = int(entry.possible and not (gone is not None and gone.outcome == "acknowledged"))
            if not least <= counts[mark] <= most:
                yield f"entry {mark} stands {counts[mark]} times, not {least} to {most}; {entry}; deleted by {gone}"
        for mark in counts.keys() - inserted.keys():
            yield f"entry {mark} stands there, though nobody wrote it"
