"""What every store must do, whichever database it is. Reads like `cutover/stores/base.py`, from top to bottom."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from cutover.errors import StaleApplier, StoreError
from cutover.model.control import BackfillProgress, Control, Outcome, SwitchState
from cutover.model.table import Table
from cutover.model.values import Applied, Key, Pending, RangeDigest, Row
from cutover.schema.canonical import digest
from cutover.schema.codecs import codecs_for
from cutover.stores.base import Snapshot, Store
from tests.contract.conftest import World, as_primary, as_shadow
from tests.support.samples import ITEMS, PAIRS, PEOPLE, TABLES

NativeError = (sqlite3.Error, asyncpg.PostgresError)
ADD = "INSERT INTO people (id, handle) VALUES (?, ?)"


@pytest.fixture
async def primary(world: World) -> Store:
    """The store as primary, capturing."""
    await world.store.initialise(as_primary(world.store))
    await world.store.install_capture()
    return world.store


@pytest.fixture
async def shadow(world: World) -> Store:
    """The store as shadow, fenced."""
    await world.store.initialise(as_shadow(world.store))
    await world.store.install_capture()
    return world.store


def giving(control: Control) -> Control:
    """The control row of a store that gives the primacy away."""
    state = SwitchState.PROMOTING if control.primary == "sqlite" else SwitchState.DEMOTING
    return control.but(state=state, switch_id="s1")


async def control_of(store: Store) -> Control:
    control = await store.control()
    assert control is not None
    return control


async def logged(snapshot: Snapshot, table: Table, fetch: int = 100) -> dict[Key, Row | None]:
    return {key: row async for rows in snapshot.changed(table, fetch) for key, row in rows}


async def drain(store: Store, batch: int) -> dict[str, dict[Key, Row | None]]:
    """What one mirrored batch would see, removed from the log."""
    async with store.snapshot() as snapshot:
        pending = await snapshot.pending()
        found = {table.name: await logged(snapshot, table) for table in TABLES}
    await store.trim(pending, batch)
    return {name: rows for name, rows in found.items() if rows}


async def apply(store: Store, table: Table, upserts: list[Row], deletes: list[Key] | None = None) -> Applied:
    async with store.applier(0, 1, None) as applier:
        return await applier.apply(table, upserts, deletes or [])


# -- control -----------------------------------------------------------------------------------------------------------


async def test_nothing_is_there_before_it_is_installed(world: World) -> None:
    assert await world.store.control() is None
    assert await world.store.outcome("s1") is None


async def test_the_first_control_row_stays(world: World) -> None:
    first = as_primary(world.store)
    await world.store.initialise(first)
    await world.store.initialise(first.but(epoch=7))
    assert (await control_of(world.store)).epoch == 1


async def test_a_store_of_another_pair_is_refused(primary: Store) -> None:
    with pytest.raises(StoreError, match="pair"):
        await primary.initialise(as_primary(primary).but(pair_id="another"))


async def test_control_is_compared_and_set(primary: Store) -> None:
    control = await control_of(primary)
    changed = control.but(generation=3, switch_id="x")
    await primary.write_control(changed, expect=control)
    assert (await control_of(primary)).generation == 3
    with pytest.raises(StaleApplier):
        await primary.write_control(control.but(generation=4), expect=control)
    assert (await control_of(primary)) == changed


async def test_counters_never_go_back(primary: Store, world: World) -> None:
    before = await control_of(primary)
    await primary.anchor(5, "five")
    await world.write(ADD, "a", "a")
    await drain(primary, 4)
    await primary.write_control(before.but(generation=1), expect=before)
    control = await control_of(primary)
    assert (control.audit_sequence, control.audit_hash, control.trimmed_batch) == (5, "five", 4)


async def test_an_owner_takes_over_from_an_older_one(shadow: Store) -> None:
    await shadow.take_over(2)
    assert (await control_of(shadow)).generation == 2
    with pytest.raises(StaleApplier):
        await shadow.take_over(1)
    with pytest.raises(StaleApplier):
        async with shadow.applier(1, 1, None):
            pass


async def test_a_store_says_where_it_is(world: World) -> None:
    assert world.store.name.lower() in world.store.describe().lower().replace("postgresql", "postgres")


# -- capture -----------------------------------------------------------------------------------------------------------


async def test_each_kind_of_change_is_captured(primary: Store, world: World) -> None:
    await world.write("INSERT INTO people (id, handle) VALUES ('a', 'a'), ('b', 'b'), ('c', 'c')")
    await drain(primary, 1)
    await world.write("UPDATE people SET about = 'x' WHERE id = 'a'")
    await world.write("DELETE FROM people WHERE id = 'b'")
    await world.write("UPDATE people SET id = 'd' WHERE id = 'c'")
    await world.write("INSERT INTO pairs VALUES (1, 'x', NULL)")
    await world.write("INSERT INTO items (label, size, data) VALUES ('l', 0.5, NULL)")
    assert await drain(primary, 2) == {
        "people": {("a",): ("a", "a", "x"), ("b",): None, ("c",): None, ("d",): ("d", "c", None)},
        "pairs": {(1, "x"): (1, "x", None)},
        "items": {(1,): (1, None, "l", 0.5, None)},
    }
    assert await primary.lag() == (0, None)


async def test_a_transaction_is_captured_whole_or_not_at_all(primary: Store, world: World) -> None:
    with pytest.raises(NativeError):
        await world.transaction([(ADD, ("a", "a")), (ADD, ("b", "a"))])
    assert await primary.lag() == (0, None)
    await world.transaction([(ADD, ("a", "a")), (ADD, ("b", "b"))])
    assert set((await drain(primary, 1))["people"]) == {("a",), ("b",)}


async def test_a_change_between_snapshot_and_trim_stays_in_the_log(primary: Store, world: World) -> None:
    await world.write(ADD, "a", "v1")
    async with primary.snapshot() as snapshot:
        await world.write("UPDATE people SET handle = 'v2'")
        await world.write(ADD, "b", "b")
        pending = await snapshot.pending()
        assert await logged(snapshot, PEOPLE) == {("a",): ("a", "v1", None)}
    await primary.trim(pending, 1)
    assert await drain(primary, 2) == {"people": {("a",): ("a", "v2", None), ("b",): ("b", "b", None)}}


async def test_a_trim_repeated_removes_nothing_new(primary: Store, world: World) -> None:
    await world.write(ADD, "a", "a")
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
    await primary.trim(pending, 1)
    await world.write(ADD, "b", "b")
    await primary.trim(pending, 1)
    assert await drain(primary, 2) == {"people": {("b",): ("b", "b", None)}}


async def test_pending_counts_and_dates_the_log(primary: Store, world: World) -> None:
    before = time.time()
    for name in ("a", "b"):
        await world.write(ADD, name, name)
    await world.write("UPDATE people SET about = 'x' WHERE id = 'a'")
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
        assert await snapshot.pending_keys(PEOPLE, [("a",), ("c",)]) == {("a",)}
        assert await snapshot.pending_keys(PAIRS, [(1, "a")]) == set()
    assert pending.count == 3
    assert pending.tables in (None, frozenset({"people"}))
    assert not pending.whole
    count, oldest = await primary.lag()
    assert count == 3
    assert oldest == pending.oldest_at
    assert oldest is not None
    assert before - 1 <= oldest <= time.time() + 1


async def test_many_changes_come_in_the_pieces_asked_for(primary: Store, world: World) -> None:
    await world.transaction([(ADD, (f"{n:03}", f"{n}")) for n in range(25)])
    async with primary.snapshot() as snapshot:
        sizes = [len(rows) async for rows in snapshot.changed(PEOPLE, 10)]
    assert sum(sizes) == 25
    assert max(sizes) <= 10


async def test_capture_is_installed_again_without_a_trace(primary: Store, world: World) -> None:
    fingerprint = await primary.schema_fingerprint()
    await primary.install_capture()
    assert await primary.check_capture() == []
    assert await primary.schema_fingerprint() == fingerprint
    await world.write(ADD, "a", "a")
    assert await primary.lag() == (1, (await primary.lag())[1])


async def test_a_changed_schema_is_noticed(primary: Store, world: World) -> None:
    fingerprint = await primary.schema_fingerprint()
    await world.write("ALTER TABLE people ADD COLUMN extra TEXT")
    assert await primary.schema_fingerprint() != fingerprint
    await world.write("DROP TABLE pairs")
    assert any("pairs" in problem for problem in await primary.check_capture())


async def test_a_new_table_is_noticed(primary: Store, world: World) -> None:
    fingerprint = await primary.schema_fingerprint()
    await world.write("CREATE TABLE newcomers (id INTEGER PRIMARY KEY)")
    assert await primary.schema_fingerprint() != fingerprint


async def test_the_first_table_of_all_is_noticed(primary: Store, world: World) -> None:
    primary.serve_tables(())
    fingerprint = await primary.schema_fingerprint()
    await world.write("CREATE TABLE newcomers (id INTEGER PRIMARY KEY)")
    assert await primary.schema_fingerprint() != fingerprint


async def test_a_commit_of_another_process_wakes_the_mirror(primary: Store, world: World) -> None:
    while await primary.wait_for_change(0.3):
        pass  # what installing capture set off
    waiter = asyncio.create_task(primary.wait_for_change(60))
    await asyncio.sleep(0)
    await world.write(ADD, "a", "a")
    assert await waiter


async def test_a_wake_before_the_wait_is_not_lost(primary: Store) -> None:
    primary.wake()
    assert await primary.wait_for_change(5)


# -- snapshots ---------------------------------------------------------------------------------------------------------

SAMPLE: list[Row] = [
    (1, None, "plain", 0.5, b""),
    (2, None, "ünïcode; 'quoted':", -1e300, b"\x00\xff"),
    (3, None, None, None, None),
    (-7, None, "", 1e-5, b"x" * 300),
    (9_223_372_036_854_775_807, None, "Zz", 3.0, None),
]
PAIR_ROWS: list[Row] = [(a, b, None) for a in (1, 2, 10) for b in ("", "A", "B", "a", "é", "\U0001f600")]


async def fill(world: World) -> None:
    for row in SAMPLE:
        await world.write("INSERT INTO items (id, owner, label, size, data) VALUES (?, ?, ?, ?, ?)", *row)
    for row in PAIR_ROWS:
        await world.write("INSERT INTO pairs (a, b, note) VALUES (?, ?, ?)", *row)


async def test_rows_come_back_as_they_are(primary: Store, world: World) -> None:
    await fill(world)
    async with primary.snapshot() as snapshot:
        keys: list[Key] = [(row[0],) for row in SAMPLE]
        assert await snapshot.rows(ITEMS, [*keys, (77,)]) == {(row[0],): row for row in SAMPLE}
        assert await snapshot.rows(PAIRS, [(1, "A"), (1, "C")]) == {(1, "A"): (1, "A", None)}
        assert await snapshot.count(ITEMS) == 5


async def test_ranges_are_in_byte_order_of_the_key(primary: Store, world: World) -> None:
    await fill(world)
    async with primary.snapshot() as snapshot:
        assert await snapshot.between(PAIRS, None, None) == PAIR_ROWS
        walked: list[Row] = []
        while rows := await snapshot.range(PAIRS, PAIRS.key_of(walked[-1]) if walked else None, 5):
            walked += rows
        assert walked == PAIR_ROWS
        assert await snapshot.between(PAIRS, (1, "é"), (10, "")) == PAIR_ROWS[5:13]
        assert await snapshot.between(ITEMS, (1,), None) == [SAMPLE[1], SAMPLE[2], SAMPLE[4]]


@pytest.mark.parametrize("table", [ITEMS, PAIRS, PEOPLE], ids=lambda table: table.name)
async def test_scans_and_digests_say_what_the_rows_say(primary: Store, world: World, table: Table) -> None:
    await fill(world)
    codecs = codecs_for(table)
    async with primary.snapshot() as snapshot:
        rows = await snapshot.between(table, None, None)
        scanned = await snapshot.scan(table, None, 4, 100)
        chunks = [rows[at : at + 4] for at in range(0, len(rows), 4)]
        assert [(found.upper, found.rows, found.digest) for found in scanned] == [
            (table.key_of(chunk[-1]), len(chunk), digest(chunk, codecs)) for chunk in chunks
        ]
        if scanned:
            assert await snapshot.scan(table, scanned[0].upper, 4, 1) == scanned[1:2]
        uppers = [found.upper for found in scanned[:-1]]
        found = await snapshot.digests(table, None, uppers, tail=True)
        assert found == [RangeDigest(one.rows, one.digest) for one in scanned] or not scanned
        assert len(await snapshot.digests(table, None, uppers, tail=False)) == len(uppers)


async def test_digests_of_empty_ranges(primary: Store, world: World) -> None:
    await fill(world)
    async with primary.snapshot() as snapshot:
        nothing = RangeDigest(0, 0)
        assert await snapshot.digests(PAIRS, (99, ""), [(100, "")], tail=True) == [nothing, nothing]
        assert await snapshot.digests(PEOPLE, None, [], tail=True) == [nothing]
        assert await snapshot.scan(PEOPLE, None, 10, 10) == []


async def test_a_snapshot_is_fixed_when_it_is_entered(primary: Store, world: World) -> None:
    async with primary.snapshot() as snapshot, primary.snapshot() as another:
        await world.write(ADD, "a", "a")
        assert await snapshot.count(PEOPLE) == 0
        assert (await another.pending()).count == 0
    async with primary.snapshot() as snapshot:
        assert await snapshot.count(PEOPLE) == 1


async def test_orphans_and_scalars(primary: Store, world: World) -> None:
    await world.write(ADD, "a", "a")
    await world.write("INSERT INTO items (owner) VALUES ('a')")
    async with primary.snapshot() as snapshot:
        assert await snapshot.orphans(ITEMS) == {"items.owner -> people.id": 0}
        assert await snapshot.scalar("SELECT count(*) FROM people") == "1"
        assert await snapshot.scalar("SELECT NULL") is None
        assert await snapshot.scalar("SELECT handle FROM people") == "a"


async def test_a_snapshot_cannot_write(primary: Store) -> None:
    with pytest.raises(StoreError):
        async with primary.snapshot() as snapshot:
            await snapshot.scalar("INSERT INTO people (id, handle) VALUES ('x', 'x') RETURNING id")
    async with primary.snapshot() as snapshot:
        assert await snapshot.count(PEOPLE) == 0


# -- applying ----------------------------------------------------------------------------------------------------------


async def test_rows_are_made_so(shadow: Store, world: World) -> None:
    done = await apply(shadow, ITEMS, SAMPLE)
    assert (done.upserted, done.quarantined) == (5, 0)
    assert await world.rows(ITEMS) == sorted(SAMPLE)
    changed: Row = (1, None, "other", None, None)
    done = await apply(shadow, ITEMS, [*SAMPLE[1:3], changed], [(-7,), (123,)])
    assert (done.upserted, done.unchanged, done.deleted) == (1, 2, 1)
    assert await world.rows(ITEMS) == [changed, SAMPLE[1], SAMPLE[2], SAMPLE[4]]


async def test_an_exception_takes_everything_back(shadow: Store, world: World) -> None:
    async def fail() -> None:
        async with shadow.applier(0, 1, 9) as applier:
            await applier.apply(PEOPLE, [("a", "a", None)], [])
            await applier.save_progress(BackfillProgress("people", "done"))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        await fail()
    assert await world.rows(PEOPLE) == []
    assert await shadow.progress() == {}
    assert (await control_of(shadow)).applied_batch == 0
    await apply(shadow, PEOPLE, [("a", "a", None)])


async def test_a_batch_is_recorded_with_its_rows(shadow: Store) -> None:
    async with shadow.applier(0, 1, 3) as applier:
        await applier.apply(PEOPLE, [("a", "a", None)], [])
    assert (await control_of(shadow)).applied_batch == 3
    await apply(shadow, PEOPLE, [("b", "b", None)])
    assert (await control_of(shadow)).applied_batch == 3


@pytest.mark.parametrize(("generation", "epoch"), [(1, 1), (0, 2), (0, 0)])
async def test_a_stale_applier_is_refused(shadow: Store, generation: int, epoch: int) -> None:
    with pytest.raises(StaleApplier):
        async with shadow.applier(generation, epoch, None):
            pass


async def test_nothing_is_applied_to_a_primary(primary: Store) -> None:
    with pytest.raises(StaleApplier):
        async with primary.applier(0, 1, None):
            pass


async def test_a_unique_value_moves_between_rows(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None), ("b", "y", None), ("c", "z", None)])
    swapped: list[Row] = [("a", "y", None), ("b", "x", "more"), ("c", "z", None)]
    done = await apply(shadow, PEOPLE, swapped)
    assert (done.upserted + done.unchanged, done.quarantined) == (3, 0)
    assert await world.rows(PEOPLE) == swapped
    assert await shadow.quarantined() == []


async def test_a_unique_value_moves_between_calls(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None), ("b", "y", None)])
    async with shadow.applier(0, 1, None) as applier:
        await applier.apply(PEOPLE, [("a", "y", None)], [])
        await applier.apply(PEOPLE, [("b", "z", None)], [])
    assert await world.rows(PEOPLE) == [("a", "y", None), ("b", "z", None)]
    assert await shadow.quarantined() == []


async def test_a_row_that_does_not_fit_is_quarantined_and_heals(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None), ("b", "y", None)])
    await apply(shadow, PEOPLE, [("b", "x", None), ("c", "c", None)])
    assert await world.rows(PEOPLE) == [("a", "x", None), ("c", "c", None)]
    (held,) = await shadow.quarantined()
    assert (held.table, held.key) == ("people", ("b",))
    assert held.reason
    await apply(shadow, PEOPLE, [("b", "fits", None)])
    assert await shadow.quarantined() == []
    assert ("b", "fits", None) in await world.rows(PEOPLE)


async def test_a_deleted_row_leaves_quarantine(shadow: Store) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None)])
    await apply(shadow, PEOPLE, [("b", "x", None)])
    assert len(await shadow.quarantined()) == 1
    await apply(shadow, PEOPLE, [], [("b",)])
    assert await shadow.quarantined() == []


async def test_of_a_table_that_is_gone_nothing_stays_in_quarantine(shadow: Store) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None)])
    await apply(shadow, PEOPLE, [("b", "x", None)])
    await shadow.forget_quarantine(["others"])
    assert len(await shadow.quarantined()) == 1
    await shadow.forget_quarantine(["people", "others"])
    assert await shadow.quarantined() == []


async def test_a_cascade_of_the_shadow_does_not_act(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "a", None)])
    await apply(shadow, ITEMS, [(1, "a", None, None, None)])
    await apply(shadow, PEOPLE, [("a", "renamed", None)])
    await apply(shadow, PEOPLE, [], [("a",)])
    assert await world.rows(ITEMS) == [(1, "a", None, None, None)]
    await apply(shadow, ITEMS, [], [(1,)])


async def test_a_range_is_replaced(shadow: Store, world: World) -> None:
    async with shadow.applier(0, 1, None) as applier:
        await applier.replace_range(PAIRS, None, None, PAIR_ROWS)
    wanted: list[Row] = [(2, "A", "new"), (2, "b", None)]
    async with shadow.applier(0, 1, None) as applier:
        done = await applier.replace_range(PAIRS, (1, "\U0001f600"), (2, "é"), wanted)
    assert done.deleted == 4
    assert done.upserted == 2
    rows = await world.rows(PAIRS)
    assert rows == [*PAIR_ROWS[:6], *wanted, *PAIR_ROWS[11:]]


async def test_quarantine_of_a_replaced_range_is_forgotten(shadow: Store) -> None:
    await apply(shadow, PEOPLE, [("a", "x", None)])
    await apply(shadow, PEOPLE, [("b", "x", None)])
    async with shadow.applier(0, 1, None) as applier:
        await applier.replace_range(PEOPLE, ("a",), None, [])
    assert await shadow.quarantined() == []


async def test_progress_is_kept_and_forgotten(shadow: Store) -> None:
    progress = BackfillProgress("pairs", "copying", after=(1, "é"), rows=5, total=18)
    async with shadow.applier(0, 1, None) as applier:
        await applier.save_progress(replace(progress, rows=1))
        await applier.save_progress(progress)
        await applier.save_progress(BackfillProgress("people", "done"))
    assert await shadow.progress() == {"pairs": progress, "people": BackfillProgress("people", "done")}
    await shadow.forget_progress(["pairs"])
    assert set(await shadow.progress()) == {"people"}


# -- the switch --------------------------------------------------------------------------------------------------------


async def refused(world: World, *words: str) -> None:
    """Every kind of native write is refused with these words, and changes nothing."""
    before = await world.rows(PEOPLE)
    for sql in (
        "INSERT INTO people (id, handle) VALUES ('new', 'new')",
        "UPDATE people SET about = 'changed'",
        "DELETE FROM people",
    ):
        with pytest.raises(NativeError, match="cutover") as caught:
            await world.write(sql)
        for word in words:
            assert word in str(caught.value)
    assert await world.rows(PEOPLE) == before


async def test_a_fence_holds_and_is_lifted(primary: Store, world: World) -> None:
    await world.write(ADD, "a", "a")
    control = await control_of(primary)
    await primary.fence(giving(control), 60)
    assert (await control_of(primary)).state is giving(control).state
    await refused(world, "1")
    assert (await drain(primary, 1)) == {"people": {("a",): ("a", "a", None)}}
    for _ in range(2):
        await primary.release(control)
    await world.write(ADD, "b", "b")
    assert (await drain(primary, 2)) == {"people": {("b",): ("b", "b", None)}}
    assert (await control_of(primary)).state is SwitchState.STEADY
    assert await primary.check_capture() == []


async def test_a_shadow_refuses_and_names_the_primary(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "a", None)])
    await refused(world, (await control_of(shadow)).primary, "epoch 1")
    assert await shadow.check_capture() == []


async def test_only_a_prepared_switch_is_received(shadow: Store, world: World) -> None:
    control = await control_of(shadow)
    received = control.but(primary=shadow.name, epoch=2)
    with pytest.raises(StoreError):
        await shadow.receive(received, "s1", 60)
    await apply(shadow, PEOPLE, [("a", "a", None)])
    await refused(world)
    await shadow.prepare("s1")
    assert await shadow.outcome("s1") is Outcome.PREPARED
    await shadow.receive(received, "s1", 60)
    assert await shadow.outcome("s1") is Outcome.COMMITTED
    assert await shadow.tombstone("s1") is Outcome.COMMITTED
    assert (await control_of(shadow)).primary == shadow.name
    await world.write(ADD, "b", "b")
    assert await drain(shadow, 1) == {"people": {("b",): ("b", "b", None)}}
    assert await shadow.check_capture() == []


async def test_a_tombstone_cannot_be_committed(shadow: Store, world: World) -> None:
    await apply(shadow, PEOPLE, [("a", "a", None)])
    await shadow.prepare("s1")
    assert await shadow.tombstone("s1") is Outcome.ABORTED
    control = await control_of(shadow)
    with pytest.raises(StoreError):
        await shadow.receive(control.but(primary=shadow.name, epoch=2), "s1", 60)
    assert await shadow.outcome("s1") is Outcome.ABORTED
    await refused(world)
    assert await control_of(shadow) == control


@pytest.mark.parametrize("turn", range(6))
async def test_recoveries_that_race_with_each_other_and_with_the_commit_agree(
    shadow: Store, world: World, turn: int
) -> None:
    """Whoever asks is told the same, and the control row is what they were told."""
    await apply(shadow, PEOPLE, [("a", "a", None)])
    await shadow.prepare("s1")
    before = await control_of(shadow)
    after = before.but(primary=shadow.name, epoch=2, switch_id="s1")

    async def commit() -> Outcome:
        try:
            await shadow.receive(after, "s1", 60)
        except StoreError:  # ended by a tombstone, or too late
            return await shadow.tombstone("s1")
        return Outcome.COMMITTED

    calls = [shadow.tombstone("s1"), commit(), shadow.tombstone("s1")]
    told = await asyncio.gather(*calls[turn % 3 :], *calls[: turn % 3])
    assert len(set(told)) == 1, told
    assert await shadow.outcome("s1") is told[0]
    row = await control_of(shadow)
    assert (row.primary, row.epoch) == ((shadow.name, 2) if told[0] is Outcome.COMMITTED else (before.primary, 1))
    if told[0] is Outcome.ABORTED:
        await refused(world)


async def test_there_and_back(primary: Store, world: World) -> None:
    """Giver, shadow that is applied to, receiver, primary again: on one store."""
    await world.write("INSERT INTO people (id, handle) VALUES ('a', 'a'), ('b', 'b')")
    await world.write("INSERT INTO items (owner, label) VALUES ('a', 'first')")
    await drain(primary, 1)
    control = await control_of(primary)
    await primary.fence(giving(control), 60)
    away = as_shadow(primary).but(epoch=2)
    for _ in range(2):
        await primary.settle(away)
    await refused(world, away.primary, "epoch 2")
    assert await primary.check_capture() == []
    async with primary.applier(0, 2, 2) as applier:
        await applier.apply(ITEMS, [(50, "b", "applied", None, None)], [(1,)])
    await primary.prepare("s2")
    await primary.receive(control.but(epoch=3), "s2", 60)
    assert await primary.lag() == (0, None)
    await world.write("INSERT INTO items (label) VALUES ('after')")
    assert await world.rows(ITEMS) == [(50, "b", "applied", None, None), (51, None, "after", None, None)]
    assert await drain(primary, 3) == {"items": {(51,): (51, None, "after", None, None)}}
    with pytest.raises(StaleApplier):
        async with primary.applier(0, 2, 4):
            pass


async def test_dismantling_leaves_the_control_row(primary: Store, world: World) -> None:
    control = (await control_of(primary)).but(state=SwitchState.FINISHED)
    await primary.dismantle(control, helpers=False)
    await world.write(ADD, "a", "a")
    assert await control_of(primary) == control


async def test_a_store_is_probed(primary: Store) -> None:
    checks = await primary.probe()
    assert {"version", "privileges", "sequences"} <= {name for name, _, _ in checks}
    assert all(isinstance(ok, bool) and detail for _, ok, detail in checks)


async def test_sync_and_identity(primary: Store) -> None:
    await primary.sync()
    assert (await primary.identity() is None) == (primary.name == "sqlite")


async def test_backup_is_sqlites(primary: Store, world: World, tmp_path: Path) -> None:
    await world.write(ADD, "a", "a")
    target = tmp_path / "copy.db"
    if primary.name == "postgres":
        with pytest.raises(StoreError):
            await primary.backup(str(target))
        return
    assert len(await primary.backup(str(target))) == 64
    assert target.stat().st_size > 0


async def test_nothing_pending_is_trimmed_as_well(primary: Store) -> None:
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
    assert isinstance(pending, Pending)
    assert (pending.count, pending.oldest_at) == (0, None)
    await primary.trim(pending, 1)


async def test_closing_twice_is_allowed(world: World) -> None:
    await world.store.close()
    await world.store.close()
    await world.store.open()
    assert await world.store.control() is None
