"""Key changes: tokens move from id to id in chains and swap places, with children that follow; nothing vanishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from tests.torture.doors import Rows, Statement, Told
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

_CLIENTS, _EACH = 8, 6
_STAMPS = 2


def _seed() -> str:
    tokens = [(client * 1_000_000 + n, f"t{client}-{n}") for client in range(_CLIENTS) for n in range(1, _EACH + 1)]
    rows = ", ".join(f"({key}, '{token}', 0)" for key, token in tokens)
    stamps = ", ".join(f"({key}, {n}, '{token}')" for key, token in tokens for n in range(_STAMPS))
    return f"INSERT INTO tokens VALUES {rows}; INSERT INTO stamps VALUES {stamps};"


class Keys(Workload):
    """Each token has one client, which knows where it is; in doubt, it leaves the token alone."""

    name = "keys"
    schema = f"""
CREATE TABLE tokens(id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, hops INTEGER NOT NULL);
CREATE TABLE stamps(token_id INTEGER NOT NULL REFERENCES tokens(id) ON UPDATE CASCADE ON DELETE CASCADE,
  n INTEGER NOT NULL, token TEXT NOT NULL, PRIMARY KEY(token_id, n));
{_seed()}
"""
    tables = ("tokens", "stamps")
    samples: ClassVar = {
        "count": "SELECT (SELECT count(*) FROM tokens), (SELECT count(*) FROM stamps)",
        "strays": "SELECT s.token_id, s.n, s.token, t.token FROM stamps s LEFT JOIN tokens t ON t.id = s.token_id "
        "WHERE t.token IS NULL OR t.token <> s.token",
    }

    def __init__(self) -> None:
        self._places: dict[str, set[tuple[int, int]]] = {}
        self._last: dict[str, Entry] = {}
        for client in range(_CLIENTS):
            for n in range(1, _EACH + 1):
                self._places[f"t{client}-{n}"] = {(client * 1_000_000 + n, 0)}

    def propose(self, client: Client, door: str) -> Operation:
        rng = client.rng
        slot = client.number % 1000
        mine: list[str] = client.memory.setdefault("tokens", [f"t{slot}-{n}" for n in range(1, _EACH + 1)])
        if len(mine) > 1 and rng.random() < 0.35:
            return self._swap(client, *rng.sample(mine, 2))
        if not mine:
            return Operation("look", (Statement("SELECT count(*) FROM tokens"),), {})
        token = rng.choice(mine)
        ((place, hops),) = self._places[token]
        free = slot * 1_000_000 + rng.randrange(1, 40)  # ids are used again
        taken = {at for each in mine for at, _ in self._places[each]} | client.memory.setdefault("doubtful", set())
        if free in taken:
            free = slot * 1_000_000 + 1000 + client.tick()
        move = self._move(token, place, free)
        return Operation(f"move of {token} from {place} to {free}", (move,), {token: (free, hops + 1)}, (1,))

    def _move(self, token: str, old: int, new: int, hop: int = 1) -> Statement:
        sql = "UPDATE tokens SET id = ?, hops = hops + ? WHERE id = ? AND token = ?"
        return Statement(sql, (new, hop, old, token))

    def _swap(self, client: Client, one: str, two: str) -> Operation:
        ((here, hops),) = self._places[one]
        ((there, skips),) = self._places[two]
        aside = -(client.number % 1000) - 1
        statements = (
            self._move(one, here, aside, 0), self._move(two, there, here), self._move(one, aside, there),
        )  # fmt: skip
        data = {one: (there, hops + 1), two: (here, skips + 1)}
        return Operation(f"swap of {one} at {here} and {two} at {there}", statements, data, (1, 1, 1))

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        if told.outcome == "refused":
            return ()
        for token, place in operation.data.items():
            self._last[token] = entry
            if told.outcome == "acknowledged":
                self._places[token] = {place}
                continue
            client.memory["doubtful"] = client.memory.get("doubtful", set()) | {
                at for at, _ in self._places[token] | {place}
            }
            self._places[token] = self._places[token] | {place}
            client.memory["tokens"].remove(token)
        return ()

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        total = _CLIENTS * _EACH
        if tuple(rows["count"][0]) != (total, total * _STAMPS):
            yield f"there are {rows['count'][0]} tokens and stamps, and not {(total, total * _STAMPS)}"
        if rows["strays"]:
            yield f"stamps that do not go with their tokens: {rows['strays'][:5]}"

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        found = {token: (key, hops) for key, token, hops in rows["tokens"]}
        for token, places in self._places.items():
            if found.get(token) not in places:
                yield f"token {token} is at {found.get(token)}, not at {places}; last moved by {self._last.get(token)}"
