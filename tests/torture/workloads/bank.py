"""Transfers between accounts: the total never changes, and balances are exactly what the recorded transfers make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

from tests.torture.doors import Rows, Statement
from tests.torture.ledger import Entry
from tests.torture.workloads.base import Client, Operation, Workload

_ACCOUNTS, _START = 12, 1000


class Bank(Workload):
    """Relative updates on each door; read, compute and write back on those where a transaction can be talked to."""

    name = "bank"
    schema = f"""
CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE transfers(id TEXT PRIMARY KEY, debit INTEGER NOT NULL REFERENCES accounts(id),
  credit INTEGER NOT NULL REFERENCES accounts(id), amount INTEGER NOT NULL);
CREATE INDEX transfers_by_credit ON transfers(credit);
INSERT INTO accounts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_ACCOUNTS})
  SELECT i, {_START} FROM n;
"""
    tables = ("accounts", "transfers")
    doors = ("front", "direct", "native", "any", "interactive", "interactive", "outside")
    hasty = True
    samples: ClassVar = {
        "accounts": "SELECT id, balance FROM accounts",
        "debits": "SELECT debit, sum(amount) FROM transfers GROUP BY debit",
        "credits": "SELECT credit, sum(amount) FROM transfers GROUP BY credit",
    }

    def propose(self, client: Client, door: str) -> Operation:
        rng = client.rng
        key = f"{client.name}-{client.tick()}"
        debit, credit = rng.sample(range(1, _ACCOUNTS + 1), 2)
        amount = rng.randint(1, 9)
        insert = Statement(
            "INSERT INTO transfers(id, debit, credit, amount) VALUES (?, ?, ?, ?)", (key, debit, credit, amount)
        )
        what = f"transfer {key} of {amount} from {debit} to {credit}"
        if door not in ("front", "outside") and rng.random() < 0.5:
            return Operation(
                what + ", computed", self._computed(insert, debit, credit, amount), key, (None, None, 1, 1, 1)
            )
        sql = "UPDATE accounts SET balance = balance + ? WHERE id = ?"
        changes = (Statement(sql, (-amount, debit)), Statement(sql, (amount, credit)))
        if rng.random() < 0.5:
            return Operation(what, (insert, *changes), key, (1, 1, 1))
        return Operation(what, (*changes, insert), key, (1, 1, 1))

    def _computed(self, insert: Statement, debit: int, credit: int, amount: int) -> tuple[Statement, ...]:
        read = "SELECT balance FROM accounts WHERE id = ?"
        write = "UPDATE accounts SET balance = ? WHERE id = ?"
        locked = read + " FOR UPDATE"  # native transactions may be READ COMMITTED
        return (
            Statement(read, (debit,), locked),
            Statement(read, (credit,), locked),
            insert,
            Statement(write, compute=lambda rows: (rows[0][0][0] - amount, debit)),
            Statement(write, compute=lambda rows: (rows[1][0][0] + amount, credit)),
        )

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        balances = {key: int(balance) for key, balance in rows["accounts"]}
        total = sum(balances.values())
        if total != _ACCOUNTS * _START:
            yield f"the total of all balances is {total} and not {_ACCOUNTS * _START}"
        wanted = Counter(dict.fromkeys(balances, _START))
        wanted.subtract({key: int(amount) for key, amount in rows["debits"]})
        wanted.update({key: int(amount) for key, amount in rows["credits"]})
        wrong = {key: (balances[key], wanted[key]) for key in balances if balances[key] != wanted[key]}
        if wrong:
            yield f"accounts whose balance is not what the transfers in the same snapshot make (is, should be): {wrong}"

    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        told = {entry.data: entry for entry in entries}
        there = {row[0] for row in rows["transfers"]}
        for key, entry in told.items():
            if entry.outcome == "acknowledged" and key not in there:
                yield f"transfer {key} is lost; {entry}"
            if entry.outcome == "refused" and key in there:
                yield f"transfer {key} is there, though it was refused; {entry}"
        for key in there - told.keys():
            yield f"transfer {key} is there, though nobody made it"
        sums: dict[str, Rows] = {"accounts": rows["accounts"]}
        for at, name in ((1, "debits"), (2, "credits")):
            counter: Counter[int] = Counter()
            for row in rows["transfers"]:
                counter[row[at]] += row[3]
            sums[name] = list(counter.items())
        yield from self.check_sample("", sums)
