"""The judgement over a demonstration: was any acknowledged write lost, doubled or changed, on either side?

Pure: what the writers were told and what the stores hold, in; sentences, out. No sentence is the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cutover.cli.demo_crew import Stretch
from cutover.cli.demo_ledger import Ledger
from cutover.model.values import Row

Stored = Mapping[str, Sequence[Row]]
"""Rows of each table, as one store holds them."""


@dataclass(frozen=True)
class Evidence:
    """`ledgers` and `tags` by writer, `stores` by name, `seeded` rows that were there first and that nobody wrote."""

    ledgers: Mapping[str, Ledger]
    tags: Mapping[str, str]
    stores: Mapping[str, Stored]
    seeded: Iterable[tuple[str, Row]]
    stretches: Sequence[Stretch]
    stale_reads: Sequence[str] = ()
    must_write: Sequence[str] = field(default=())
    """Stretches in which at least one write must have been acknowledged: else nothing was proved about them."""


def judge(evidence: Evidence) -> list[str]:
    """Everything that is wrong, a sentence each."""
    problems = [f"A stale read: {told}." for told in evidence.stale_reads]
    seeded = list(evidence.seeded)
    for store, stored in evidence.stores.items():
        for writer, ledger in evidence.ledgers.items():
            found = ledger.check(stored, evidence.tags[writer])
            problems += [f"In {store}, of the writer {writer}: {problem}." for problem in found]
        problems += [f"In {store}: {problem}." for problem in _missing(seeded, stored)]
    problems += _unequal(evidence.stores)
    written = {stretch.name: stretch.total("acknowledged") for stretch in evidence.stretches}
    for name in evidence.must_write:
        if not written.get(name):
            problems.append(f"No write was acknowledged in the part {name!r}, so nothing is proved about it.")
    return problems


def _missing(seeded: Iterable[tuple[str, Row]], stored: Stored) -> list[str]:
    """Rows that nobody wrote must be there as they were."""
    held = {table: set(rows) for table, rows in stored.items()}
    return [
        f"{table} {row[0]!r}, which nobody wrote, is gone or changed" for table, row in seeded if row not in held[table]
    ]


def _unequal(stores: Mapping[str, Stored]) -> list[str]:
    """The stores hold the same rows, whoever wrote them."""
    if len(stores) < 2:
        return []
    (first, one), (second, other) = list(stores.items())[:2]
    problems = []
    for table in one:
        apart = set(one[table]) ^ set(other[table])
        if apart or len(one[table]) != len(other[table]):
            problems.append(f"{table} is not the same in {first} and {second}: {len(apart)} rows are in only one.")
    return problems
