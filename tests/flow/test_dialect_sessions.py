"""Transactions on Postgres behave as SQLite's do, also when statements fail in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cutover.dialect import answering
from cutover.errors import Fenced, StatementError
from cutover.model.statement import IsAutocommit, Not, Ok, Statement, Step
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL UNIQUE, balance INTEGER NOT NULL);
CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT);
"""
_FAMILY = """
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""
DATA = ("INSERT INTO accounts (owner, balance) VALUES ('a', 100), ('b', 100)",)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


def steps(*sql: str) -> list[Step]:
    return [Step(Statement(text)) for text in sql]


def transaction(*sql: str) -> list[Step]:
    """As libSQL's clients send one."""
    made = [Step(Statement("BEGIN IMMEDIATE"))]
    made += [Step(Statement(text), Ok(at)) for at, text in enumerate(sql)]
    made.append(Step(Statement("COMMIT"), Ok(len(made) - 1)))
    return [*made, Step(Statement("ROLLBACK"), Not(Ok(len(made) - 1)))]


async def balances(both: World) -> dict[str, int]:
    rows = (await both.executor.run(steps("SELECT owner, balance FROM accounts"))).results[0]
    assert rows is not None
    return {str(owner): int(balance) for owner, balance in rows.rows}  # type: ignore[arg-type]


async def test_an_error_inside_a_transaction_undoes_only_its_statement(both: World) -> None:
    session = both.session
    await session.sequence("BEGIN; INSERT INTO notes (body) VALUES ('one')")
    for sql in ("INSERT INTO accounts VALUES (1, 'x', 0)", "INSERT INTO accounts (owner) VALUES ('x')", "SELECT nope"):
        with pytest.raises(StatementError):
            await session.execute(Statement(sql))
    assert session.in_transaction
    assert session.writing
    await session.sequence("INSERT INTO notes (body) VALUES ('two'); COMMIT")
    assert not session.in_transaction
    assert (await both.on_postgres("SELECT body FROM notes ORDER BY id")).rows == [("one",), ("two",)]


async def test_begin_commit_and_rollback_out_of_place(both: World) -> None:
    await both.same_error("COMMIT")
    await both.same_error("ROLLBACK")
    both.on_sqlite("BEGIN")
    await both.on_postgres("BEGIN TRANSACTION")
    await both.same_error("BEGIN IMMEDIATE")
    await both.on_postgres("ROLLBACK TRANSACTION")
    assert not both.session.in_transaction


async def test_savepoints(both: World) -> None:
    script = [
        "SAVEPOINT outer_one",
        "INSERT INTO notes (body) VALUES ('kept')",
        'SAVEPOINT "Inner"',
        "INSERT INTO notes (body) VALUES ('undone')",
        "ROLLBACK TO inner",
        "INSERT INTO notes (body) VALUES ('again')",
        "RELEASE SAVEPOINT inner",
        "RELEASE outer_one",
    ]
    for sql in script:
        both.on_sqlite(sql)
        await both.on_postgres(sql)
        assert both.session.in_transaction == both.db.in_transaction, sql
    await both.same("SELECT body FROM notes ORDER BY body")
    await both.same_error("ROLLBACK TO inner")


@pytest.mark.parametrize(("begin", "end"), [("BEGIN", "COMMIT"), ("SAVEPOINT one", "RELEASE one")])
async def test_a_commit_that_a_deferred_key_refuses_leaves_the_transaction_open(
    postgres_url: str, begin: str, end: str
) -> None:
    async with world(postgres_url, _FAMILY) as both:

        async def on_both(sql: str) -> None:
            both.on_sqlite(sql)
            await both.on_postgres(sql)

        await on_both(begin)
        await on_both("INSERT INTO children VALUES (1, 7)")
        for _ in range(2):
            await both.same_error(end)
            assert both.session.in_transaction
            assert both.db.in_transaction
        await both.same("SELECT id, parent FROM children")
        await both.same_error("INSERT INTO children VALUES (1, 8)")
        await on_both("INSERT INTO parents VALUES (7)")
        await on_both(end)
        assert not both.session.in_transaction
        await both.same("SELECT id, parent FROM children")
        refused = await both.executor.run(transaction("INSERT INTO children VALUES (2, 9)"))
        assert [error and error.message for error in refused.errors] == [
            *(None, None, "FOREIGN KEY constraint failed"),
            None,
        ]
        await both.same("SELECT id, parent FROM children")


async def test_automatic_keys_and_memory(both: World) -> None:
    assert (await both.on_postgres("INSERT INTO notes (body) VALUES ('a'), ('b')")).last_insert_rowid == 2
    assert (await both.on_postgres("INSERT INTO notes VALUES (50, 'c')")).last_insert_rowid == 50
    assert (await both.on_postgres("INSERT INTO notes (body) VALUES ('d') RETURNING body")).last_insert_rowid == 51
    assert (await both.on_postgres("SELECT last_insert_rowid(), changes()")).rows == [(51, 1)]
    assert (await both.on_postgres("UPDATE notes SET body = 'x' WHERE id > 1")).affected == 3
    assert (await both.on_postgres("SELECT changes(), total_changes()")).rows == [(3, 9)]


async def test_a_sequence_that_fell_behind_catches_up(both: World) -> None:
    async with both.pool.acquire() as native:
        await native.execute("INSERT INTO notes (id, body) SELECT n, 'native' FROM generate_series(1, 30) AS n")
    assert (await both.on_postgres("INSERT INTO notes (body) VALUES ('x')")).last_insert_rowid == 31
    async with both.pool.acquire() as native:
        await native.execute("INSERT INTO notes (id, body) VALUES (32, 'native')")
    await both.session.sequence("BEGIN")
    assert (await both.on_postgres("INSERT INTO notes (body) VALUES ('y')")).last_insert_rowid == 33
    await both.session.sequence("COMMIT")


async def test_a_key_at_the_end_of_the_numbers_stops_no_other(both: World) -> None:
    end = 2**63 - 1
    insert = "INSERT INTO accounts (owner, balance) VALUES (?, 0)"
    assert (await both.on_postgres("INSERT INTO accounts VALUES (?, 'end', 0), (7, 'x', 0)", end)).affected == 2
    assert (await both.on_postgres(insert, "first")).last_insert_rowid == 8
    async with both.pool.acquire() as native:
        await native.execute("INSERT INTO accounts (id, owner, balance) VALUES (9, 'native', 0)")
    assert (await both.on_postgres(insert, "second")).last_insert_rowid == 10
    await both.on_postgres("INSERT INTO accounts VALUES (?, 'almost', 0)", end - 1)
    with pytest.raises(StatementError, match=r"automatic keys .* used up") as caught:
        await both.on_postgres(insert, "third")
    assert caught.value.code == "SQLITE_FULL"


async def test_concurrent_transfers_are_repeated_until_they_pass(both: World) -> None:
    async def transfer(source: str, target: str) -> None:
        result = await both.executor.run(
            transaction(
                f"UPDATE accounts SET balance = balance - 1 WHERE owner = '{source}'",
                f"UPDATE accounts SET balance = balance + 1 WHERE owner = '{target}'",
            )
        )
        assert result.errors == [None] * 5, result.errors

    await asyncio.gather(*(transfer(*("ab" if at % 2 else "ba")) for at in range(12)))
    assert await balances(both) == {"a": 100, "b": 100}


_REPLACE = "INSERT OR REPLACE INTO accounts VALUES (7, 'late', 70)"


@pytest.mark.parametrize("batch", [steps(_REPLACE), transaction(_REPLACE)], ids=["statement", "transaction"])
async def test_a_replace_that_a_native_writer_overtakes_evicts_that_row_too(both: World, batch: list[Step]) -> None:
    """REPLACE clears two keys before it inserts; what comes in between is a row like any other, not a failure."""
    async with both.pool.acquire() as native, both.pool.acquire() as looking:
        await native.execute("BEGIN ISOLATION LEVEL READ COMMITTED; INSERT INTO accounts VALUES (9, 'late', 90)")
        replacing = asyncio.create_task(both.executor.run(batch))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        async with asyncio.timeout(60):
            while not await looking.fetchval(waits):
                await asyncio.sleep(0.01)
        await native.execute("COMMIT")
    assert not any((await replacing).errors), "SQLite's REPLACE never fails for a unique key"
    found = await both.on_postgres("SELECT id, balance FROM accounts WHERE owner = 'late'")
    assert found.rows == [(7, 70)]


async def test_a_conflict_of_an_interactive_transaction_is_busy_until_rollback(both: World) -> None:
    first, second = both.executor.session(), both.executor.session()
    for session in (first, second):
        await session.sequence("BEGIN")
        await session.execute(Statement("SELECT sum(balance) FROM accounts"))
    await first.execute(Statement("UPDATE accounts SET balance = balance + 1 WHERE owner = 'a'"))
    await first.sequence("COMMIT")
    result = await second.batch(
        steps("UPDATE accounts SET balance = balance - 1 WHERE owner = 'a'", "DELETE FROM accounts", "COMMIT")
    )
    assert {error.code for error in result.errors if error} == {"SQLITE_BUSY"}
    assert None not in result.errors
    assert second.in_transaction
    assert not second.writing
    await second.sequence("ROLLBACK")
    assert not second.in_transaction
    assert await balances(both) == {"a": 101, "b": 100}
    await first.close()
    await second.close()


async def test_batches_follow_their_conditions(both: World) -> None:
    result = await both.executor.run(
        [
            Step(Statement("INSERT INTO notes (body) VALUES ('one')")),
            Step(Statement("INSERT INTO accounts VALUES (1, 'x', 0)")),
            Step(Statement("INSERT INTO notes (body) VALUES ('skipped')"), Ok(1)),
            Step(Statement("INSERT INTO notes (body) VALUES ('alone')"), IsAutocommit()),
        ]
    )
    assert [outcome is not None for outcome in result.results] == [True, False, False, True]
    assert result.errors[1] is not None
    assert result.errors[1].message == "UNIQUE constraint failed: accounts.id"
    failing = await both.executor.run(
        transaction("INSERT INTO notes (body) VALUES ('gone')", "INSERT INTO accounts VALUES (1, 'x', 0)")
    )
    assert failing.results[4] is not None
    assert (await both.on_postgres("SELECT body FROM notes ORDER BY body")).rows == [("alone",), ("one",)]


async def test_expelled_and_overdue_transactions_hold_nothing(both: World) -> None:
    session = both.session
    await session.sequence("BEGIN IMMEDIATE; INSERT INTO notes (body) VALUES ('x')")
    await session.expel()
    with pytest.raises(StatementError) as expelled:
        await session.execute(Statement("INSERT INTO notes (body) VALUES ('y')"))
    assert expelled.value.code == "SQLITE_BUSY"
    await session.sequence("BEGIN; INSERT INTO notes (body) VALUES ('z'); COMMIT")
    hurried = both.executor.session()
    hurried._holding._timeout = 0.05
    await hurried.sequence("BEGIN; INSERT INTO notes (body) VALUES ('late')")
    async with asyncio.timeout(60):
        while hurried.writing:
            await asyncio.sleep(0.01)
    with pytest.raises(StatementError) as late:
        await hurried.execute(Statement("COMMIT"))
    assert late.value.code == "TRANSACTION_TIMEOUT"
    await hurried.close()
    assert (await both.on_postgres("SELECT body FROM notes")).rows == [("z",)]


async def test_a_fence_is_told_as_a_fence(both: World) -> None:
    async with both.pool.acquire() as native:
        await native.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'cutover: the primary is sqlite, epoch 2' USING ERRCODE = '25006'; END $$;"
            "CREATE TRIGGER fence BEFORE INSERT ON notes FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
        )
    with pytest.raises(Fenced, match="epoch 2"):
        await both.executor.run(steps("INSERT INTO notes (body) VALUES ('x')"))
    with pytest.raises(Fenced):
        await both.executor.run(transaction("INSERT INTO notes (body) VALUES ('x')"))
    result = await both.executor.run(
        steps("UPDATE accounts SET balance = 1 WHERE owner = 'a'", "INSERT INTO notes (body) VALUES ('x')")
    )
    assert result.errors[0] is None
    assert result.errors[1] is not None
    assert result.errors[1].code == "SQLITE_BUSY"


async def test_a_lost_connection_is_busy_or_unknown_never_silent(both: World) -> None:
    await both.session.sequence("BEGIN; INSERT INTO notes (body) VALUES ('x')")
    assert both.session._holding.transaction is not None
    await _kill(both, both.session._holding.transaction.connection.get_server_pid())
    with pytest.raises(StatementError) as lost:
        await both.session.execute(Statement("INSERT INTO notes (body) VALUES ('y')"))
    assert lost.value.code == "SQLITE_BUSY"
    await both.session.sequence("ROLLBACK")
    await both.session.sequence("BEGIN; INSERT INTO notes (body) VALUES ('x')")
    await _kill(both, both.session._holding.transaction.connection.get_server_pid())
    with pytest.raises(StatementError) as unknown:
        await both.session.execute(Statement("COMMIT"))
    assert unknown.value.code == "OUTCOME_UNKNOWN"
    assert (await both.on_postgres("SELECT count(*) FROM notes")).rows == [(0,)]


async def _kill(both: World, pid: int) -> None:
    async with both.pool.acquire() as native:
        await native.execute("SELECT pg_terminate_backend($1)", pid)
        async with asyncio.timeout(60):
            while await native.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
                await asyncio.sleep(0.01)


async def test_a_cancelled_caller_leaves_no_commit_unknown(both: World) -> None:
    for _ in range(5):
        task = asyncio.create_task(both.executor.run(steps("INSERT INTO notes (body) VALUES ('once')")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    found = await both.on_postgres("SELECT count(*) FROM notes")
    assert found.rows in ([(0,)], [(5,)])


async def test_statements_survive_a_change_of_their_table(both: World) -> None:
    query = Statement("SELECT * FROM accounts WHERE owner = ?", ("a",))
    await both.session.execute(query)
    async with both.pool.acquire() as native:
        await native.execute("ALTER TABLE accounts ALTER COLUMN balance TYPE integer")
    assert (await both.session.execute(query)).rows == [(1, "a", 100)]
    await both.session.sequence("BEGIN")
    await both.session.execute(query)
    await both.session.sequence("COMMIT")


async def test_a_read_only_session_is_held_to_it_by_postgres(both: World) -> None:
    session = both.executor.session(read_only=True)
    await session.sequence("BEGIN; SELECT sum(balance) FROM accounts")
    with pytest.raises(StatementError) as caught:
        await session.execute(Statement("UPDATE accounts SET balance = 0"))
    assert caught.value.code == "SQLITE_BUSY", "as a fence; the wall before this one says SQLITE_READONLY"
    await session.sequence("ROLLBACK")
    await session.close()
    assert await balances(both) == {"a": 100, "b": 100}


async def test_transactions_that_write_wait_for_each_other(both: World) -> None:
    """Each sees what those before it did, and none has to begin again."""
    await both.same("UPDATE accounts SET balance = 0 WHERE id = 1")
    count = 12

    async def add(begin: str) -> None:
        session = both.executor.session()
        for sql in (begin, "UPDATE accounts SET balance = balance + 1 WHERE id = 1"):
            await session.execute(Statement(sql))
        age = (await session.execute(Statement("SELECT balance FROM accounts WHERE id = 1"))).rows[0][0]
        await session.execute(Statement("UPDATE accounts SET balance = ? WHERE id = 1", (int(str(age)) + 1,)))
        await session.execute(Statement("COMMIT"))
        await session.close()

    async def alone() -> None:
        result = await both.executor.run([Step(Statement("UPDATE accounts SET balance = balance + 1 WHERE id = 1"))])
        assert result.errors == [None]

    begins = [add("BEGIN IMMEDIATE" if at % 2 else "BEGIN") for at in range(count)]
    await asyncio.gather(*begins, *(alone() for _ in range(count)))
    found = await both.on_postgres("SELECT balance FROM accounts WHERE id = 1")
    assert found.rows == [(3 * count,)]


async def test_a_transaction_that_is_taken_away_is_believed_in_until_its_client_knows(both: World) -> None:
    """Whoever asks while it is rolled back must not hear of none: what follows would run on its own."""
    session = both.executor.session()
    await session.execute(Statement("BEGIN IMMEDIATE"))
    expelling = asyncio.ensure_future(session.expel())
    while not expelling.done():
        assert session.in_transaction or session.expelled
        await asyncio.sleep(0)
    assert session.expelled
    with pytest.raises(StatementError):
        await session.execute(Statement("SELECT 1"))
    await session.close()


_KIN = """
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents);
"""


async def test_foreign_keys_are_checked_at_commit_where_the_stream_says_so(postgres_url: str) -> None:
    async with world(postgres_url, _KIN) as both:
        child = "INSERT INTO children VALUES (1, 7)"
        await both.same("PRAGMA defer_foreign_keys = ON")  # before the transaction: it holds until its end
        for sql in ("BEGIN", child):
            await both.same(sql)
        await both.same_error("COMMIT")
        told = "PRAGMA defer_foreign_keys"
        for sql in ("INSERT INTO parents VALUES (7)", told, "COMMIT", told):
            await both.same(sql)


_ACTS = """
CREATE TABLE p (id INTEGER PRIMARY KEY);
CREATE TABLE strict (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE RESTRICT ON UPDATE RESTRICT);
CREATE TABLE other (id INTEGER PRIMARY KEY, p INTEGER DEFAULT 2 REFERENCES p ON DELETE SET DEFAULT);
CREATE TABLE late (id INTEGER PRIMARY KEY,
    p INTEGER DEFAULT 3 REFERENCES p ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED);
INSERT INTO p VALUES (1), (2), (3), (4); INSERT INTO strict VALUES (1, 1);
INSERT INTO other VALUES (1, 2), (2, 4); INSERT INTO late VALUES (1, 3);
"""


async def test_what_postgres_checks_too_soon_is_refused_and_not_told_as_a_violation(postgres_url: str) -> None:
    schema, data = _ACTS.split("INSERT", 1)
    rows = [f"INSERT{text}" for text in data.split("INSERT")]
    async with world(postgres_url, schema, store=True, data=rows) as both:
        for sql in ("DELETE FROM p WHERE id = 1", "DELETE FROM p WHERE id = 2", "UPDATE p SET id = 7 WHERE id = 1"):
            await both.same_error(sql)
        for sql in ("BEGIN", "DELETE FROM p WHERE id = 4"):
            await both.same(sql)
        await both.refused("DELETE FROM p WHERE id = 3", "late_p_fkey.*Give the rows other parents")
        await both.same_error("DELETE FROM p WHERE id = 1")
        await both.same("PRAGMA defer_foreign_keys = ON")
        for sql in ("DELETE FROM p WHERE id = 1", "UPDATE p SET id = 7 WHERE id = 1", "DELETE FROM p WHERE id = 2"):
            await both.refused(sql, "broken until COMMIT")
        for sql in (
            "UPDATE strict SET p = NULL",
            "DELETE FROM p WHERE id = 1",
            "COMMIT",
            "SELECT * FROM p ORDER BY id",
        ):
            await both.same(sql)


async def test_what_defers_foreign_keys_outlasts_savepoints_and_failures(postgres_url: str) -> None:
    async with world(postgres_url, _KIN) as both:
        child = "INSERT INTO children VALUES (1, 7)"
        await both.same("BEGIN")
        await both.same_error(child)
        for sql in ("SAVEPOINT a", "PRAGMA defer_foreign_keys = ON"):
            await both.same(sql)
        await both.same_error("INSERT INTO parents VALUES (8), (8)")
        for sql in (child, "ROLLBACK TO a", "SELECT count(*) FROM children", child, "ROLLBACK"):
            await both.same(sql)
        await both.same_error(child)
        await both.same("SELECT * FROM children")


@pytest.mark.parametrize("defect", [KeyError, ValueError])
async def test_an_answer_that_nobody_can_read_ends_neither_the_transaction_nor_the_connection(
    both: World, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    real = answering.rows_of

    def fails(records: Any, translation: Any) -> Any:
        if "unreadable" in str(records):
            raise defect("secret")
        return real(records, translation)

    monkeypatch.setattr(answering, "rows_of", fails)
    session = both.session
    await session.sequence("BEGIN; INSERT INTO notes (body) VALUES ('one')")
    for sql in ("SELECT 'unreadable'", "INSERT INTO notes (body) VALUES ('unreadable') RETURNING body"):
        with pytest.raises(StatementError) as told:
            await session.execute(Statement(sql))
        assert told.value.code == "SQLITE_UNKNOWN"
        assert "broke" not in told.value.message
        assert "secret" not in told.value.message
    assert session.in_transaction
    await session.sequence("INSERT INTO notes (body) VALUES ('two'); COMMIT")
    with pytest.raises(StatementError) as told:
        await session.execute(Statement("SELECT 'unreadable'"))
    assert told.value.code == "SQLITE_UNKNOWN"
    with pytest.raises(StatementError) as told:
        await session.execute(Statement("INSERT INTO notes (body) VALUES ('unreadable') RETURNING body"))
    assert told.value.code == "OUTCOME_UNKNOWN"
    found = (await both.on_postgres("SELECT length(body) FROM notes ORDER BY id")).rows
    assert found == [(3,), (3,), (10,)]


_LATE = ("INSERT INTO notes (body) VALUES ('mine')", "CREATE TABLE late (id INTEGER PRIMARY KEY)", "DELETE FROM notes")


@pytest.mark.parametrize("first", ["BEGIN", "SAVEPOINT a"])
@pytest.mark.parametrize("late", _LATE)
@pytest.mark.parametrize("whole", [False, True], ids=["statement", "transaction"])
async def test_who_has_read_writes_no_more_once_others_have_written(
    both: World, first: str, late: str, whole: bool
) -> None:
    """Also where the two could have come one after the other: what it was told of may have been answered before."""
    other = both.executor.session()
    for sql in (first, "SELECT count(*) FROM accounts"):
        await both.on_postgres(sql)
    write = "UPDATE notes SET body = 'theirs' WHERE id = 0"
    await both.executor.run(transaction(write) if whole else steps(write))
    for sql in ("BEGIN IMMEDIATE", "DELETE FROM notes", "ROLLBACK"):
        await other.execute(Statement(sql))
    await both.on_postgres("INSERT INTO notes (body) VALUES ('before')")  # nothing was changed until then
    for sql in ("COMMIT", first, "SELECT count(*) FROM accounts"):
        await both.on_postgres(sql)
    write = "INSERT INTO notes (body) VALUES ('theirs')"
    await both.executor.run(transaction(write) if whole else steps(write))
    with pytest.raises(StatementError) as told:
        await both.on_postgres(late)
    assert told.value.code == "SQLITE_BUSY"
    await both.on_postgres("ROLLBACK")
    for sql in ("BEGIN", "SELECT count(*) FROM accounts", late, "COMMIT"):
        await both.on_postgres(sql)
    await other.close()


async def test_who_has_read_and_then_writes_has_the_turn(both: World) -> None:
    other = both.executor.session()
    for sql in ("BEGIN", "SELECT count(*) FROM accounts", "INSERT INTO notes (body) VALUES ('mine')"):
        await both.on_postgres(sql)
    await other.sequence("BEGIN; SELECT count(*) FROM notes")
    with pytest.raises(StatementError, match="met another"):
        await other.execute(Statement("INSERT INTO notes (body) VALUES ('theirs')"))
    await other.sequence("ROLLBACK")
    waiting = asyncio.create_task(both.executor.run(steps("INSERT INTO notes (body) VALUES ('waiting')")))
    await both.on_postgres("COMMIT")
    await waiting
    found = await both.on_postgres("SELECT id, body FROM notes ORDER BY id")
    assert found.rows == [(1, "mine"), (2, "waiting")]
    await other.close()


@pytest.mark.parametrize(
    "begin",
    [
        ("SAVEPOINT a",),
        ("BEGIN", "SAVEPOINT a"),
        ("BEGIN", "SELECT name FROM sqlite_master"),
        ("SAVEPOINT a", "SAVEPOINT b"),
    ],
    ids=" ".join,
)
async def test_who_waits_for_the_turn_holds_no_connection(both: World, begin: tuple[str, ...]) -> None:
    """As many as the pool has connections would leave none to the writes that the turn waits for."""
    await both.same("UPDATE accounts SET balance = 0 WHERE id = 1")
    count = both.pool.get_max_size()

    async def add() -> None:
        session = both.executor.session()
        for sql in (*begin, "UPDATE accounts SET balance = balance + 1 WHERE id = 1"):
            await session.execute(Statement(sql))
        for sql in ("UPDATE accounts SET balance = balance + 1 WHERE id = 1", "SELECT 1 FROM accounts", "COMMIT"):
            await session.execute(Statement(sql))
        await session.close()

    async def alone() -> None:
        await both.executor.run(steps("UPDATE accounts SET balance = balance + 1 WHERE id = 2"))

    both.executor._connections._lending._patience = 60.0
    async with asyncio.timeout(120):  # one that gets no connection is refused after sixty, and fails this
        for _ in range(5):
            await asyncio.gather(*(each() for _ in range(count) for each in (add, alone)))
    assert (await both.on_postgres("SELECT balance FROM accounts WHERE id = 1")).rows == [(10 * count,)]


async def test_a_transaction_that_has_not_asked_anything_yet_has_savepoints(both: World) -> None:
    for sql in (
        "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO A", "RELEASE a",
        "SAVEPOINT a", "SAVEPOINT b", "RELEASE b", "SAVEPOINT c", "INSERT INTO notes (body) VALUES ('c')",
        "ROLLBACK TO c", "INSERT INTO notes (body) VALUES ('a')", "RELEASE a",
        "BEGIN", "SAVEPOINT a", "RELEASE a", "INSERT INTO notes (body) VALUES ('kept')", "COMMIT",
        "SAVEPOINT a", "COMMIT", "BEGIN", "SAVEPOINT a", "ROLLBACK",
        "PRAGMA defer_foreign_keys = ON", "SAVEPOINT a", "PRAGMA defer_foreign_keys = ON", "RELEASE a",
    ):  # fmt: skip
        both.on_sqlite(sql)
        await both.on_postgres(sql)
        assert both.session.in_transaction == both.db.in_transaction, sql
    await both.same("SELECT * FROM notes ORDER BY id")
    await both.same("PRAGMA defer_foreign_keys")
    for sql in ("RELEASE a", "ROLLBACK TO a", "COMMIT"):
        await both.same_error(sql)
    for sql in ("BEGIN", "SAVEPOINT b"):
        both.on_sqlite(sql)
        await both.on_postgres(sql)
    for sql in ("RELEASE a", "ROLLBACK TO a", "BEGIN IMMEDIATE"):
        await both.same_error(sql)
    await both.on_postgres("ROLLBACK")


async def test_a_transaction_for_which_no_connection_is_free_stays_begun(
    both: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = both.session
    others = [both.executor.session() for _ in range(both.pool.get_max_size())]
    for each in others:
        await each.sequence("BEGIN; SELECT count(*) FROM accounts")
    await session.execute(Statement("BEGIN"))
    with monkeypatch.context() as hasty:
        hasty.setattr(both.executor._connections._lending, "_patience", 0.05)
        with pytest.raises(StatementError, match="connections are in use"):
            await session.execute(Statement("INSERT INTO notes (body) VALUES ('one')"))
    for each in others:
        await each.close()
    assert session.in_transaction
    await session.execute(Statement("INSERT INTO notes (body) VALUES ('two')"))
    await session.execute(Statement("ROLLBACK"))
    assert (await both.on_postgres("SELECT * FROM notes")).rows == []
