"""The applier on Postgres: bulk where rows agree, row by row where they resist."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from cutover.clock import monotonic
from cutover.errors import StaleApplier, StoreError
from cutover.model.control import BackfillProgress
from cutover.model.table import Column, Table
from cutover.model.values import Applied, Key, Row
from cutover.stores.postgres.names import quote
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import ITEMS, PAIRS, PEOPLE


async def apply(
    store: PostgresStore, table: Table, upserts: Sequence[Row], deletes: Sequence[Key] = (), batch: int | None = None
) -> Applied:
    async with store.applier(1, 1, batch) as applier:
        return await applier.apply(table, upserts, deletes)


async def rows(url: str, table: Table) -> list[Row]:
    columns = ", ".join(quote(column.target) for column in table.columns)
    async with native(url) as app:
        return [tuple(row) for row in await app.fetch(f"SELECT {columns} FROM {quote(table.target)} ORDER BY 1, 2")]


async def quarantined(store: PostgresStore) -> dict[Key, str]:
    return {it.key: it.reason for it in await store.quarantined()}


async def test_state_is_applied_and_unchanged_rows_are_not_rewritten(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        first: list[Row] = [("a", "ann", None), ("b", "bob", "x"), ("c", "cid", "y")]
        assert await apply(store, PEOPLE, first, batch=1) == Applied(upserted=3)
        async with native(postgres_url) as app:
            before = await app.fetchval("SELECT ctid FROM people WHERE id = 'a'")
            second: list[Row] = [("a", "ann", None), ("b", "bob", "changed"), ("d", "dee", "")]
            assert await apply(store, PEOPLE, second, [("c",), ("gone",)], batch=2) == Applied(
                upserted=2, deleted=1, unchanged=1
            )
            assert await app.fetchval("SELECT ctid FROM people WHERE id = 'a'") == before
        assert await rows(postgres_url, PEOPLE) == sorted(second)
        control = await store.control()
        assert control is not None
        assert control.applied_batch == 2


async def test_cascades_and_triggers_do_not_act_on_applied_rows(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await run(
            postgres_url,
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.label = 'meddled'; RETURN NEW; END $$",
            "CREATE TRIGGER ordinary BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION meddle()",
            "CREATE TRIGGER eager BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION meddle()",
            "ALTER TABLE items ENABLE ALWAYS TRIGGER eager",
        )
        assert any("eager" in fault for fault in await store.check_capture())
        await store.install_capture()
        item: Row = (1, "nobody yet", "mine", None, None)
        await apply(store, ITEMS, [item])
        await apply(store, PEOPLE, [("nobody yet", "n", None)])
        await apply(store, PEOPLE, [], [("nobody yet",)])
        assert await rows(postgres_url, ITEMS) == [item]


async def test_unique_values_may_move_in_one_batch_in_any_order(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        old: list[Row] = [(str(n), f"h{n}", None) for n in range(50)]
        await apply(store, PEOPLE, old)
        new: list[Row] = [(str(n), f"h{(n + 7) % 50}", "moved") for n in range(50)]
        random.Random(3).shuffle(new)
        async with store.applier(1, 1, 1) as applier:
            for at in range(0, 50, 5):  # every chunk collides with rows of later chunks
                await applier.apply(PEOPLE, new[at : at + 5], [])
        assert await rows(postgres_url, PEOPLE) == sorted(new)
        assert await store.quarantined() == []


async def test_rows_that_do_not_fit_are_quarantined_and_heal(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await run(postgres_url, "ALTER TABLE people ADD CHECK (about <> 'forbidden')")
        await apply(store, PEOPLE, [("a", "ann", "old"), ("b", "bob", "old"), ("u", "uma", None)])
        result = await apply(
            store,
            PEOPLE,
            [
                ("a", "ann", "nul\x00"),
                ("b", "bob", "forbidden"),
                ("c", "cid", "fine"),
                ("n\x00ul", "x", None),
                (5, "y", None),
                ("s\udcff", "z", None),
                ("twin", "uma", None),
            ],
        )
        assert result.quarantined == 5
        assert await rows(postgres_url, PEOPLE) == [("c", "cid", "fine"), ("u", "uma", None)]
        reasons = await quarantined(store)
        assert set(reasons) == {("a",), ("b",), ("n\x00ul",), (5,), ("s\udcff",), ("twin",)}
        assert "NUL" in reasons[("a",)]
        assert "violates check" in reasons[("b",)]
        assert "unique" in reasons[("twin",)]
        await apply(store, PEOPLE, [("a", "ann", "healed"), ("twin", "own", None)], [("n\x00ul",), (5,), ("b",)])
        assert set(await quarantined(store)) == {("s\udcff",)}
        assert ("a", "ann", "healed") in await rows(postgres_url, PEOPLE)


async def test_a_key_too_long_for_its_index_is_the_rows_fault(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
        assert (await apply(store, PEOPLE, [(long, "l", None), ("s", "s", None)])).quarantined == 1
        assert await rows(postgres_url, PEOPLE) == [("s", "s", None)]
        assert set(await quarantined(store)) == {(long,)}


async def test_a_failing_applier_leaves_nothing(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:

        async def failing() -> None:
            async with store.applier(1, 1, 1) as applier:
                await applier.apply(PEOPLE, [("a", "ann", None), ("b", "b\x00", None)], [])
                await applier.save_progress(BackfillProgress("people", "copying", ("a",), 1, 2))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await failing()
        assert await rows(postgres_url, PEOPLE) == []
        assert await store.quarantined() == []
        assert await store.progress() == {}


async def test_ranges_are_made_exact(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        async with store.applier(1, 1, None) as applier:
            first = [(n, "x", "new") for n in range(10)]
            assert await applier.replace_range(PAIRS, None, (4, "x"), first[:5]) == Applied(upserted=5)
            assert await applier.replace_range(PAIRS, (4, "x"), None, [*first[5:], (99, "n\x00", "q")]) == Applied(
                upserted=5, quarantined=1
            )
            await applier.save_progress(BackfillProgress("pairs", "done", (99, "n\x00"), 10, 10))
        assert await rows(postgres_url, PAIRS) == first
        assert await store.progress() == {"pairs": BackfillProgress("pairs", "done", (99, "n\x00"), 10, 10)}
        await store.forget_progress(["pairs"])
        assert await store.progress() == {}
        async with store.applier(1, 1, None) as applier:
            changed: list[Row] = [(3, "x", "new"), (4, "w", "added"), (5, "x", "changed")]
            assert await applier.replace_range(PAIRS, (2, "x"), (6, "n\x00"), changed) == Applied(
                upserted=2, deleted=1, unchanged=1
            )
            await applier.replace_range(PAIRS, (90, ""), None, [])
        assert await rows(postgres_url, PAIRS) == [*first[:4], (4, "w", "added"), (5, "x", "changed"), *first[6:]]
        assert await store.quarantined() == []


async def test_a_range_that_resists_copy_goes_in_row_by_row(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await apply(store, PEOPLE, [("a", "taken", None)])
        async with store.applier(1, 1, None) as applier:
            rows_: list[Row] = [(f"k{n}", f"h{n}", None) for n in range(20)]
            rows_[7] = ("k7", "taken", None)
            await applier.replace_range(PEOPLE, ("b",), None, rows_)
            await applier.apply(PEOPLE, [("a", "free", None)], [])
        assert ("k7", "taken", None) in await rows(postgres_url, PEOPLE)
        assert len(await rows(postgres_url, PEOPLE)) == 21
        assert await store.quarantined() == []


async def test_special_columns(postgres_url: str) -> None:
    ddl = [
        "CREATE TABLE docs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc jsonb, raw json, yes boolean, "
        "code varchar(3), small smallint)"
    ]
    columns = (
        Column("id", "INTEGER", "INTEGER", "id", "bigint"),
        Column("doc", "TEXT", "TEXT", "doc", "jsonb"),
        Column("raw", "TEXT", "TEXT", "raw", "json"),
        Column("yes", "INTEGER", "INTEGER", "yes", "boolean"),
        Column("code", "TEXT", "TEXT", "code", "character varying(3)"),
        Column("small", "INTEGER", "INTEGER", "small", "smallint"),
    )
    table = Table("docs", "public", "docs", columns, ("id",))
    async with ready(postgres_url, SHADOW, ddl=ddl, tables=(table,)) as store:
        good: list[Row] = [(1, '{"a":1}', "[ 1 ]", 1, "abc", -5), (2, None, None, None, None, None)]
        bad: list[Row] = [
            (3, "{", None, None, None, None),
            (4, None, None, 2, None, None),
            (5, None, None, 0, "abcd", 0),
        ]
        assert await apply(store, table, [*good, *bad]) == Applied(upserted=2, quarantined=3)
        assert await apply(store, table, good) == Applied(unchanged=2)
        async with store.applier(1, 1, None) as applier:
            await applier.replace_range(table, (5,), None, [(6, '"x"', "1", 0, "z", 1)])
        async with store.snapshot() as snapshot:
            assert await snapshot.range(table, None, 10) == [*good, (6, '"x"', "1", 0, "z", 1)]


async def test_stale_appliers_are_refused(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        for generation, epoch in ((0, 1), (2, 1), (1, 2), (1, 0)):
            with pytest.raises(StaleApplier):
                async with store.applier(generation, epoch, 1):
                    pass
        await store.take_over(2)
        with pytest.raises(StaleApplier):
            async with store.applier(1, 1, 1):
                pass
        with pytest.raises(StaleApplier):
            await store.take_over(1)
        async with store.applier(2, 1, 1) as applier:
            await applier.apply(PEOPLE, [("a", "ann", None)], [])


async def test_a_takeover_ends_an_applier_that_is_frozen_in_the_middle(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        newer = PostgresStore(postgres_url)
        await newer.open()

        async def old_owner() -> None:
            async with store.applier(1, 1, 1) as applier:
                await applier.apply(PEOPLE, [("a", "old", None)], [])
                await asyncio.wait_for(newer.take_over(2), 60)
                await applier.apply(PEOPLE, [("b", "old", None)], [])

        with pytest.raises(StoreError):
            await old_owner()
        await newer.close()
        assert await rows(postgres_url, PEOPLE) == []


async def test_a_role_without_superuser_rights_applies_too(postgres_url: str) -> None:
    role = "plain_" + postgres_url.rpartition("test_")[2][:8]
    await run(
        postgres_url, f"CREATE ROLE {role} LOGIN", f"GRANT CREATE ON SCHEMA public TO {role}",
        f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$",
    )  # fmt: skip
    theirs = postgres_url.replace("postgres@", f"{role}@", 1)
    try:
        async with ready(theirs, SHADOW) as store:
            await run(
                theirs,
                "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
                "CREATE TRIGGER meddling BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION meddle()",
            )
            await store.install_capture()
            assert await store.check_capture() == []
            await apply(store, ITEMS, [(1, "a", None, None, None), (4, None, None, None, None)])
            await apply(store, PEOPLE, [("a", "ann", None), ("b", "bob", None)])
            await apply(store, PEOPLE, [], [("b",)])
            await store.prepare("switch-1")
            await store.receive(PRIMARY, "switch-1", 60)
            async with native(theirs) as app:
                assert await app.fetchval("INSERT INTO items (owner) VALUES ('a') RETURNING id") == 5
                with pytest.raises(asyncpg.ForeignKeyViolationError):
                    await app.execute("INSERT INTO items (owner) VALUES ('nobody')")
                assert await app.execute("INSERT INTO people VALUES ('c', 'cid', NULL)") == "INSERT 0 0"
                await app.execute("DELETE FROM people WHERE id = 'a'")
                assert await app.fetchval("SELECT count(*) FROM items") == 1
                await _until_validated(app)
            await store.settle(SHADOW.but(epoch=3))
            assert await store.check_capture() == []
            async with store.applier(1, 3, 1) as applier:
                await applier.apply(ITEMS, [(9, "orphan", None, None, None)], [])
    finally:
        await run(postgres_url, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def _until_validated(app: asyncpg.Connection) -> None:
    deadline = monotonic() + 60
    while not await app.fetchval("SELECT bool_and(convalidated) FROM pg_constraint WHERE conrelid = 'items'::regclass"):
        assert monotonic() < deadline
        await asyncio.sleep(0.02)
