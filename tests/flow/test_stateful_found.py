"""What random programs found, each as short as it can be said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import pytest

from cutover.model.table import Table as MappedTable
from cutover.model.values import Applied, Key
from tests.flow.compare_world import world
from tests.support.stateful.player import play
from tests.support.stateful.program import Program, Settle, Step, Switch, Verify, Write
from tests.support.stateful.schema import Row, Schema, Table
from tests.support.stateful.service import hosting
from tests.support.stateful.statements import Insert, Update
from tests.support.stateful.world import scratch


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with hosting() as socket:
        yield socket


def program(table: Table, *steps: Step, beginning: tuple[Insert, ...] = ()) -> Program:
    return Program(Schema((table,)), beginning, steps)


def insert(columns: str, *rows: Row) -> Insert:
    return Insert("t0", tuple(columns.split()), rows)


def replace(columns: str, *rows: Row) -> Insert:
    return Insert("t0", tuple(columns.split()), rows, "REPLACE")


def front(*statements: Insert | Update) -> Write:
    return Write("front", statements)


def direct(*statements: Insert | Update) -> Write:
    return Write("direct", statements)


MENDED = {
    "rows without a key do not stop the mirror": program(
        Table("t0", key="nullable"), direct(insert("k", (None,), (None,))), Verify()
    ),
    "rows without a key do not stop the copy": program(
        Table("t0", key="nullable"), Verify(), beginning=(insert("k", (None,), ("a",), (None,)),)
    ),
    "a row that the receiver cannot hold, written after the gates were looked at, ends the switch": program(
        Table("t0", key="nullable"), Switch((direct(insert("k", (None,))),), "switch.fence.before"), Verify()
    ),
    "a row that the receiver cannot hold, written while the backup was taken, ends the switch": program(
        Table("t0"), Switch((direct(insert("k n", ("a", "x"))),), "switch.prepare.before"), Verify()
    ),
    "replacing without a unique value does not end the service": program(
        Table("t0", key="integer", h="unique", n="unique"), Settle(), front(replace("v", ("a",))), Switch()
    ),
    "a negative zero through the front door is stored as zero": program(
        Table("t0"), Switch(), front(insert("k r", ("a", -0.0))), Verify()
    ),
    "replacing without a unique value on postgres is an insert": program(
        Table("t0", key="integer", h="unique", n="unique"), Switch(), front(replace("v", ("a",)))
    ),
    "replacing through a unique index over an expression evicts, or is refused as such": program(
        Table("t0", indexes=("lower",)), Switch(), front(insert("k h", ("a", "x")), replace("k h", ("b", "X")))
    ),
    "replacing a key of another spelling changes the spelling": program(
        Table("t0", key="nocase"), Switch(), front(insert("k", ("a",)), replace("k", ("A",)))
    ),
    "a number given as text is taken the sixth time as the first": program(
        Table("t0"), Switch(), front(*(insert("k n", (str(number), str(number))) for number in range(12)))
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_mended(host: str, postgres_server: str, name: str) -> None:
    with scratch() as folder:
        play(MENDED[name], host=host, server=postgres_server, folder=folder)


async def test_a_repair_counts_what_the_read_back_saw_first(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO users VALUES (1, 'one', NULL, NULL)")

    async with world(sqlite_path, postgres_url, fill) as here:
        await here.spoil("users", upserts=[(1, "spoiled", None, None)])
        assert (await here.comparator.verify()).drift_rows == 1
        plain = here.mirror.reapply

        async def reapply(table: MappedTable, keys: Sequence[Key]) -> Applied:
            applied = await plain(table, keys)
            here.comparator.applied(table, list(keys))
            assert await here.comparator.quick_check(5.0) == []
            return applied

        monkeypatch.setattr(here.mirror, "reapply", reapply)
        repaired = await here.comparator.repair()
        assert (repaired["repaired"], repaired["remaining"]) == (1, 0)
