"""Whole-store rewrites: the application has everything in memory, deletes what it does not know, puts the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

from tests.torture.doors import Rows, Statement, Told
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

Document = tuple[str, int, str, float]

_ROWS = 40


class Rewrites(Workload):
    """Each owner's rows are, in every snapshot, exactly one of its saves: the one whose number stands beside them."""

    name = "rewrites"
    schema = """
CREATE TABLE documents(id TEXT PRIMARY KEY, owner TEXT NOT NULL, n INTEGER NOT NULL, body TEXT NOT NULL,
  weight REAL NOT NULL);
CREATE TABLE saves(owner TEXT PRIMARY KEY, version INTEGER NOT NULL);
"""
    tables = ("documents", "saves")
    doors = ("front", "direct", "outside", "native", "any")
    samples: ClassVar = {
        "documents": "SELECT owner, id, n, body, weight FROM documents",
        "saves": "SELECT owner, version FROM saves",
    }

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], str] = {}

    def propose(self, client: Client, door: str) -> Operation:
        rng, owner = client.rng, client.name
        rows: dict[str, Document] = dict(client.memory.setdefault("rows", {}))
        version = client.tick()
        for _ in range(rng.randint(1, 4)):
            key = f"{owner}-{rng.randrange(_ROWS)}"
            if key in rows and rng.random() < 0.4:
                del rows[key]
            else:
                rows[key] = (key, version, f"body of {key}, ü, {rng.randrange(1000)}", rng.randrange(1000) / 8)
        rows.setdefault(f"{owner}-0", (f"{owner}-0", 0, "always there", 0.5))
        self._versions[owner, version] = _digest(rows.values())
        return Operation(
            f"save {version} of {owner}, {len(rows)} rows", self._save(owner, version, rows), (owner, version, rows)
        )

    def _save(self, owner: str, version: int, rows: Mapping[str, Document]) -> tuple[Statement, ...]:
        mark = Statement(
            "INSERT INTO saves(owner, version) VALUES (?, ?) "
            "ON CONFLICT(owner) DO UPDATE SET version = excluded.version",
            (owner, version),
        )
        kept = ", ".join("?" * len(rows))
        delete = Statement(f"DELETE FROM documents WHERE owner = ? AND id NOT IN ({kept})", (owner, *rows))
        columns = "documents(id, owner, n, body, weight)"
        put = f"INSERT OR REPLACE INTO {columns} VALUES (?, ?, ?, ?, ?)"
        native = (
            f"INSERT INTO {columns} VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, "
            "n = excluded.n, body = excluded.body, weight = excluded.weight"
        )
        puts = [Statement(put, (key, owner, n, body, weight), native) for key, n, body, weight in rows.values()]
        return (mark, delete, *puts)

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        if told.outcome != "refused":  # in doubt it believes that it has saved, as anybody would who saves again
            client.memory["rows"] = operation.data[2]
        return ()

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        versions = dict(rows["saves"])
        found: dict[str, list[Document]] = {owner: [] for owner in versions}
        for owner, *document in rows["documents"]:
            found.setdefault(owner, []).append(tuple(document))  # type: ignore[arg-type]
        for owner, documents in found.items():
            if self._versions.get((owner, versions.get(owner, 0))) != _digest(documents):
                yield f"the {len(documents)} rows of {owner} are not those of its save {versions.get(owner)}"

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        yield from self.check_sample(
            "", {"saves": rows["saves"], "documents": [(row[1], row[0], *row[2:]) for row in rows["documents"]]}
        )
        told = {entry.data[:2]: entry for entry in entries}
        final = dict(rows["saves"])
        for owner in {entry.data[0] for entry in entries}:
            certain = [entry for (name, _), entry in told.items() if name == owner and entry.outcome == "acknowledged"]
            if owner not in final:
                if certain:
                    yield f"all saves of {owner} are lost; the last is {certain[-1]}"
                continue
            standing = told[owner, final[owner]]
            if not standing.possible:
                yield f"save {final[owner]} of {owner} stands, though it was refused; {standing}"
            later = [entry for entry in certain if entry.began > standing.ended]
            if later:
                yield f"{owner} is at save {final[owner]}, and a later one was acknowledged; {later[-1]}"


def _digest(rows: Iterable[Document]) -> str:
    return hashlib.blake2b(repr(sorted(rows)).encode(), digest_size=8).hexdigest()
