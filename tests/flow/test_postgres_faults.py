"""A server that dies, freezes or drops connections: an error in time, and no help needed when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cutover.clock import monotonic
from cutover.errors import ConfigurationError, StoreUnavailable
from cutover.model.control import Outcome
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import PEOPLE
from tests.support.servers import own_server, signal_all

World = tuple[EmbeddedPostgres, PostgresStore]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server of our own, and a shadow on it."""
    with own_server() as postgres:
        url = await postgres.start()
        async with ready(url, SHADOW) as store:
            yield postgres, store


async def apply(store: PostgresStore, handle: str) -> None:
    async with store.applier(1, 1, None) as applier:
        await applier.apply(PEOPLE, [("a", handle, None)], [])


async def test_no_limit_is_none_on_either_side(postgres_url: str) -> None:
    """The driver's own, for a server that went silent, is counted from that of statements."""
    store = PostgresStore(postgres_url, statement_timeout=0)
    await store.open()
    try:
        async with store.pool.acquire() as connection:
            assert await connection.fetchval("SHOW statement_timeout") == "0"
            assert connection._con._config.command_timeout is None
    finally:
        await store.close()


async def test_every_call_fails_in_time_while_frozen_and_works_after(world: World) -> None:
    postgres, store = world
    await store.prepare("s1")
    calls: list[Callable[[], Awaitable[object]]] = [
        store.control,
        store.lag,
        store.sync,
        store.check_capture,
        lambda: apply(store, "frozen"),
        lambda: store.receive(PRIMARY, "s1", 1),
        lambda: store.pool.fetchval("SELECT 1", timeout=0.5),
    ]
    patient, store._connections.connect_timeout = store._connections.connect_timeout, 0.5
    signal_all(postgres, signal.SIGSTOP)
    began = monotonic()
    results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    took = monotonic() - began
    assert not await store.wait_for_change(0.2)
    signal_all(postgres, signal.SIGCONT)
    store._connections.connect_timeout = patient
    assert [type(result).__mro__[1:2] or result for result in results[:-1]]
    assert all(isinstance(result, StoreUnavailable) for result in results[:-1]), results
    assert isinstance(results[-1], TimeoutError)
    assert took < 20
    await apply(store, "thawed")
    assert await store.pool.fetchval("SELECT handle FROM people") == "thawed"
    # The commit was sent to a frozen server: only the server knows.
    assert await store.tombstone("s1") in {Outcome.COMMITTED, Outcome.ABORTED}


async def test_a_killed_server_is_found_again(world: World) -> None:
    postgres, store = world
    await apply(store, "before")
    await store.pool.fetchval("SELECT 1")
    signal_all(postgres, signal.SIGKILL)
    for call in (store.control, store.lag, lambda: apply(store, "x"), store.open):
        with pytest.raises(StoreUnavailable):
            await call()
    waiting = asyncio.create_task(store.wait_for_change(30))
    await postgres.start()
    await _eventually(lambda: apply(store, "after"))
    await store.prepare("s1")
    await store.receive(PRIMARY, "s1", 60)
    await run(postgres.url, "UPDATE people SET handle = 'native'")
    assert await asyncio.wait_for(waiting, 60)


async def _eventually(call: Callable[[], Awaitable[object]]) -> None:
    deadline = monotonic() + 60
    while True:
        try:
            await call()
            return
        except StoreUnavailable:
            assert monotonic() < deadline


async def test_a_connection_that_breaks_in_the_middle_leaves_nothing(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as killer:

        async def broken() -> None:
            async with store.applier(1, 1, 1) as applier:
                await applier.apply(PEOPLE, [("a", "half", None)], [])
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'cutover applier 1' AND datname = current_database()"
                )
                await applier.apply(PEOPLE, [("b", "half", None)], [])

        with pytest.raises(StoreUnavailable):
            await broken()
        await apply(store, "whole")
        assert await killer.fetchval("SELECT string_agg(handle, ',') FROM people") == "whole"
        control = await store.control()
        assert control is not None
        assert control.applied_batch == 0


async def test_a_connection_that_is_gone_between_two_fetches(postgres_url: str) -> None:
    """The driver says so in words of its own, at once, which looked like a defect of ours."""
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as other:
        await other.execute("INSERT INTO people (id, handle) SELECT x::text, x::text FROM generate_series(1, 9) x")

        async def broken() -> None:
            async with store.snapshot() as snapshot:
                async for _ in snapshot.changed(PEOPLE, 1):
                    await other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cutover%' "
                        "AND datname = current_database()"
                    )
                    async with asyncio.timeout(60):
                        while not snapshot._link.raw.is_closed():  # nothing else tells
                            await asyncio.sleep(0.01)

        with pytest.raises(StoreUnavailable):
            await broken()


async def test_a_cancelled_call_gives_its_connection_back_clean(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await app.execute("BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(apply(store, "cancelled"))
        deadline = monotonic() + 60
        while not await app.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert monotonic() < deadline
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await app.execute("COMMIT")
        await apply(store, "next")
        assert await app.fetchval("SELECT string_agg(handle, ',') FROM people") == "next"


async def test_nobody_home() -> None:
    store = PostgresStore("postgresql://nobody:secret-word@127.0.0.1:1/none", connect_timeout=0.5)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert "secret-word" not in f"{caught.value!r} {caught.value} {store.describe()}"
    assert "127.0.0.1:1" in store.describe()
    await store.close()


@pytest.mark.parametrize("url", ["mysql://x:secret-word@h/d", "postgresql://x:secret-word@h:port/d", "secret-word"])
async def test_an_unusable_url_is_a_configuration_error_without_its_text(url: str) -> None:
    store = PostgresStore(url)
    with pytest.raises(ConfigurationError) as caught:
        await store.open()
    assert "secret-word" not in f"{caught.value!r} {caught.value}"


async def test_a_changed_schema_costs_one_call_and_then_works(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:

        async def read() -> int:
            async with store.snapshot() as snapshot:
                return len(await snapshot.range(PEOPLE, None, 10))

        await asyncio.gather(read(), read())
        await run(postgres_url, 'ALTER TABLE people ALTER about TYPE varchar(9) COLLATE "C"')
        with contextlib.suppress(StoreUnavailable):
            await read()
        assert await asyncio.gather(read(), read()) == [0, 0]


async def test_a_wrong_database_or_role_is_said(postgres_url: str) -> None:
    store = PostgresStore(postgres_url.replace("/test_", "/absent_", 1))
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await store.open()
    await store.close()
