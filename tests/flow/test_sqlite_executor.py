"""Applications' statements on a real SQLite file: groups, sessions, and what one client may not do to another."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest

from cutover.errors import Fenced, StatementError
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Not, Ok, ResultColumn, Statement, Step
from cutover.model.values import SqlValue
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.store import SqliteStore

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT);
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent(id));
CREATE TABLE late (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE fenced (id INTEGER PRIMARY KEY);
CREATE TRIGGER app_fence BEFORE INSERT ON fenced BEGIN
  SELECT RAISE(ROLLBACK, 'cutover: the primary is postgres, epoch 2');
END;
CREATE TABLE strict_app (id INTEGER PRIMARY KEY);
CREATE TRIGGER app_rule BEFORE INSERT ON strict_app BEGIN SELECT RAISE(ROLLBACK, 'not today'); END;
"""


@pytest.fixture
async def store(sqlite_path: str) -> AsyncIterator[SqliteStore]:
    setup = sqlite3.connect(sqlite_path)
    setup.executescript(SCHEMA)
    setup.close()
    store = SqliteStore(sqlite_path, busy_timeout=0.3)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def executor(store: SqliteStore) -> AsyncIterator[SqliteExecutor]:
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=60)
    yield executor
    await executor.close()


@pytest.fixture
async def hasty(store: SqliteStore) -> AsyncIterator[SqliteExecutor]:
    """One whose interactive transactions are overdue at once."""
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=0.05)
    yield executor
    await executor.close()


def one(sql: str, *args: SqlValue) -> list[Step]:
    return [Step(Statement(sql, args))]


def transaction(*inner: str) -> list[Step]:
    steps = [Step(Statement("BEGIN"))]
    steps += [Step(Statement(sql), Ok(at)) for at, sql in enumerate(inner)]
    steps.append(Step(Statement("COMMIT"), Ok(len(steps) - 1)))
    steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1))))
    return steps


def codes(result: BatchResult) -> list[str | None]:
    return [None if error is None else error.code for error in result.errors]


async def rows(executor: SqliteExecutor, sql: str) -> list[object]:
    result = (await executor.run(one(sql))).results[0]
    assert result is not None
    return list(result.rows)


async def together(executor: SqliteExecutor, *batches: list[Step]) -> list[BatchResult | BaseException]:
    """Run batches so that they meet in one group: the first occupies the writer while the others queue up."""
    return await asyncio.gather(*(executor.run(batch) for batch in batches), return_exceptions=True)


async def test_results_of_single_statements(executor: SqliteExecutor) -> None:
    async def run(sql: str, *args: SqlValue) -> object:
        result = (await executor.run(one(sql, *args))).results[0]
        assert result is not None
        return (result.rows, result.affected, result.last_insert_rowid)

    assert await run("INSERT INTO t VALUES (7, 'a', 1)") == ([], 1, 7)
    assert await run("WITH x AS (SELECT 'b' UNION SELECT 'c') INSERT INTO t(a) SELECT * FROM x") == ([], 2, 9)
    assert await run("/* x */ UPDATE t SET n = 5") == ([], 3, None)
    assert await run("INSERT INTO t(a) VALUES ('d'), ('e') RETURNING id, a") == ([(10, "d"), (11, "e")], 2, 11)
    assert await run("INSERT OR IGNORE INTO t(a) VALUES ('d')") == ([], 0, None)
    assert await run("DELETE FROM t WHERE id > ?", 9) == ([], 2, None)
    assert await run("SELECT count(*) FROM t") == ([(3,)], 0, None)
    assert await run("CREATE TABLE u (x)") == ([], 0, None)
    assert await run("EXPLAIN DELETE FROM t") != ([], 0, None)
    assert await run("SELECT ?, ?, ?, ?, ?", None, 2**63 - 1, 1.0, "x\0y", b"\0") == (
        [(None, 2**63 - 1, 1.0, "x\0y", b"\0")],
        0,
        None,
    )


@pytest.mark.parametrize(
    ("sql", "affected", "left"),
    [
        ("DELETE FROM sqlite_sequence", 1, {}),
        ("DELETE FROM SQLite_Sequence WHERE seq > 0 RETURNING name", 1, {}),
        ("UPDATE sqlite_sequence SET seq = 0", 1, {"theirs": 0}),
        ("UPDATE sqlite_sequence SET seq = 7 WHERE name = 'theirs'", 1, {"theirs": 7}),
        ("INSERT INTO sqlite_sequence (name, seq) VALUES ('other', 3)", 1, {"theirs": 2, "other": 3}),
    ],
)
async def test_the_counters_of_cutovers_own_tables_are_nobodys(
    sqlite_path: str, executor: SqliteExecutor, sql: str, affected: int, left: dict[str, int]
) -> None:
    setup = sqlite3.connect(sqlite_path)
    for name in ("theirs", "_cutover_test"):
        setup.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        setup.execute(f"INSERT INTO {name} VALUES (1), (2)")
    setup.commit()
    result = (await executor.run(one(sql))).results[0]
    assert result is not None
    assert result.affected == affected
    counters = dict(setup.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    setup.close()
    assert {name: seq for name, seq in counters.items() if not name.startswith("_cutover")} == left
    assert counters["_cutover_test"] == 2


async def test_want_rows_false_still_runs_to_the_end(executor: SqliteExecutor) -> None:
    statement = Statement("INSERT INTO t(a) VALUES ('a'), ('b'), ('c') RETURNING a", want_rows=False)
    result = (await executor.run([Step(statement)])).results[0]
    assert result is not None
    assert (result.rows, result.affected) == ([], 3)
    assert await rows(executor, "SELECT count(*) FROM t") == [(3,)]


async def test_declared_types(executor: SqliteExecutor) -> None:
    result = (await executor.run(one("SELECT n AS x, a, id FROM t"))).results[0]
    assert result is not None
    assert result.columns == [ResultColumn("x", "INT"), ResultColumn("a", "TEXT"), ResultColumn("id", "INTEGER")]
    await executor.run(one("ALTER TABLE t ADD COLUMN extra VARCHAR(9)"))
    result = (await executor.run(one("SELECT * FROM t"))).results[0]
    assert result is not None
    assert [column.decltype for column in result.columns] == ["INTEGER", "TEXT", "INT", "VARCHAR(9)"]
    result = (await executor.run(one("SELECT a, n + 1 FROM t"))).results[0]
    assert result is not None
    assert [column.decltype for column in result.columns] == ["TEXT", None]
    await executor.run(one("CREATE TABLE named (k TEXT NOT NULL PRIMARY KEY)"))
    result = (await executor.run(one("SELECT k, rowid, _rowid_ FROM named"))).results[0]
    assert result is not None
    assert [column.decltype for column in result.columns] == ["TEXT", "INTEGER", "INTEGER"]


@pytest.mark.parametrize(
    ("sql", "args", "code"),
    [
        ("SELEC 1", (), "SQL_PARSE_ERROR"),
        ("SELECT 'open", (), "SQL_PARSE_ERROR"),
        ("SELECT nope", (), "SQL_INPUT_ERROR"),
        ("SELECT * FROM nope", (), "SQLITE_UNKNOWN"),
        ("", (), "SQL_NO_STATEMENT"),
        ("DELETE FROM t; DELETE FROM t", (), "SQL_MANY_STATEMENTS"),
        ("ATTACH 'x' AS y", (), "SQLITE_AUTH"),
        ("PRAGMA journal_mode = DELETE", (), "SQLITE_AUTH"),
        ("SELECT load_extension('x')", (), "SQLITE_AUTH"),
        ("INSERT INTO _cutover_control VALUES (1)", (), "SQLITE_AUTH"),
        ("INSERT INTO child(p) VALUES (99)", (), "SQLITE_CONSTRAINT"),
        ("SELECT ?", (), "ARGS_INVALID"),
        ("SELECT ?", (1, 2), "ARGS_INVALID"),
        ("SELECT nope, ?", (), "SQL_INPUT_ERROR"),
        ("UPDATE t SET nope = ?", (), "SQL_INPUT_ERROR"),
        ("ALTER TABLE t ADD CONSTRAINT t_1 CHECK (?? > 0)", (), "SQL_PARSE_ERROR"),
        ("SELECT ?40000", (), "SQL_PARSE_ERROR"),
        ("INSERT INTO strict_app VALUES (1)", (), "SQLITE_CONSTRAINT"),
        ("SELECT 1 \0", (), "SQL_PARSE_ERROR"),
        ("COMMIT", (), "SQLITE_UNKNOWN"),
    ],
)
async def test_errors(executor: SqliteExecutor, sql: str, args: tuple[SqlValue, ...], code: str) -> None:
    assert codes(await executor.run(one(sql, *args))) == [code]


async def test_named_arguments(executor: SqliteExecutor) -> None:
    statement = Statement("SELECT :a, @b, $c, :a, ?1", named=((":a", 1), ("b", 2), ("c", 3)))
    result = (await executor.run([Step(statement)])).results[0]
    assert result is not None
    assert result.rows == [(1, 2, 3, 1, 1)]
    both = Statement("SELECT :a", (1,), ((":a", 1),))
    assert codes(await executor.run([Step(both)])) == ["ARGS_BOTH_POSITIONAL_AND_NAMED"]
    missing = Statement("SELECT :a, :b", named=((":a", 1),))
    assert codes(await executor.run([Step(missing)])) == ["ARGS_INVALID"]


async def test_many_writes_share_commits_and_all_count(executor: SqliteExecutor) -> None:
    batches = [one("INSERT INTO t VALUES (?, ?, 0)", at, str(at)) for at in range(200)]
    results = await together(executor, *batches)
    assert [result.results[0].last_insert_rowid for result in results] == list(range(200))  # type: ignore[union-attr]
    assert await rows(executor, "SELECT count(*) FROM t") == [(200,)]
    groups = executor._metrics.write_group_size.collect()[0].samples
    committed = next(sample.value for sample in groups if sample.name.endswith("_count"))
    assert committed < 10


async def test_a_failing_statement_of_one_leaves_the_others_alone(executor: SqliteExecutor) -> None:
    results = await together(
        executor,
        one("INSERT INTO t(a) VALUES ('first')"),
        one("INSERT INTO t(a) VALUES ('x')"),
        one("INSERT INTO t(a) VALUES ('y'), ('x')"),
        transaction("INSERT INTO t(a) VALUES ('z')", "INSERT INTO t(a) VALUES ('x')"),
        transaction("INSERT INTO t(a) VALUES ('v')", "INSERT INTO t(a) VALUES ('w')"),
    )
    assert [codes(result) for result in results] == [  # type: ignore[arg-type]
        [None],
        [None],
        ["SQLITE_CONSTRAINT"],
        [None, None, "SQLITE_CONSTRAINT", None, None],
        [None] * 5,
    ]
    assert results[3].results[3] is None  # type: ignore[union-attr]  # COMMIT was skipped
    assert results[3].results[4] is not None  # type: ignore[union-attr]  # ROLLBACK ran
    assert await rows(executor, "SELECT a FROM t ORDER BY id") == [("first",), ("x",), ("v",), ("w",)]


@pytest.mark.parametrize(
    "bad",
    [
        one("INSERT OR ROLLBACK INTO t(a) VALUES ('x')"),
        one("INSERT INTO strict_app VALUES (1)"),
        one("INSERT INTO late(p) VALUES (99)"),
    ],
)
async def test_one_that_ends_the_groups_transaction_is_alone_in_failing(
    executor: SqliteExecutor, bad: list[Step]
) -> None:
    results = await together(
        executor,
        one("INSERT INTO t(a) VALUES ('first')"),
        one("INSERT INTO t(a) VALUES ('x')"),
        bad,
        transaction("INSERT INTO t(a) VALUES ('y')"),
        one("INSERT INTO t(a) VALUES ('z')"),
    )
    assert codes(results[2]) == ["SQLITE_CONSTRAINT"]  # type: ignore[arg-type]
    assert [codes(results[at]) for at in (0, 1, 3, 4)] == [[None], [None], [None] * 3 + [None], [None]]  # type: ignore[arg-type]
    assert await rows(executor, "SELECT a FROM t ORDER BY id") == [("first",), ("x",), ("y",), ("z",)]


async def test_a_deferred_foreign_key_fails_its_own_commit(executor: SqliteExecutor) -> None:
    first, bad, good = await together(
        executor,
        one("INSERT INTO parent VALUES (1)"),
        transaction("INSERT INTO late(p) VALUES (99)"),
        transaction("INSERT INTO late(p) VALUES (2)", "INSERT INTO parent VALUES (2)"),
    )
    assert codes(bad) == [None, None, "SQLITE_CONSTRAINT", None]  # type: ignore[arg-type]
    assert codes(first) == [None]  # type: ignore[arg-type]
    assert codes(good) == [None] * 5  # type: ignore[arg-type]
    assert await rows(executor, "SELECT p FROM late") == [(2,)]


async def test_a_fence_raises_fenced_and_nothing_of_the_batch_was_executed(executor: SqliteExecutor) -> None:
    results = await together(
        executor,
        one("INSERT INTO t(a) VALUES ('first')"),
        one("INSERT INTO fenced VALUES (1)"),
        transaction("INSERT INTO t(a) VALUES ('x')", "INSERT INTO fenced VALUES (1)"),
        one("INSERT INTO t(a) VALUES ('y')"),
    )
    assert [type(result) for result in results] == [BatchResult, Fenced, Fenced, BatchResult]
    assert await rows(executor, "SELECT a FROM t ORDER BY id") == [("first",), ("y",)]


async def test_a_fence_after_an_autocommitted_step_is_the_steps_error(executor: SqliteExecutor) -> None:
    steps = [*one("INSERT INTO t(a) VALUES ('x')"), *one("INSERT INTO fenced VALUES (1)")]
    assert codes(await executor.run(steps)) == [None, "SQLITE_BUSY"]
    assert await rows(executor, "SELECT a FROM t") == [("x",)]


async def test_text_that_cannot_be_read_undoes_its_returning(executor: SqliteExecutor) -> None:
    sql = "INSERT INTO t(a) VALUES (CAST(x'ff' AS TEXT)) RETURNING a"
    alone = await executor.run(one(sql))
    assert alone.errors[0] is not None
    results = await together(
        executor, one("INSERT INTO t(a) VALUES ('x')"), one(sql), one("DELETE FROM t WHERE a = 'q'")
    )
    assert [codes(result)[0] is None for result in results] == [True, False, True]  # type: ignore[arg-type]
    assert await rows(executor, "SELECT a FROM t") == [("x",)]


async def test_a_direct_writer_makes_writes_wait_and_then_busy(
    executor: SqliteExecutor, store: SqliteStore, sqlite_path: str
) -> None:
    direct = sqlite3.connect(sqlite_path, isolation_level=None)
    direct.execute("BEGIN IMMEDIATE")
    results = await together(executor, *[one("INSERT INTO t(a) VALUES (?)", str(at)) for at in range(3)])
    told = [result.code if isinstance(result, StatementError) else codes(result)[0] for result in results]  # type: ignore[arg-type, attr-defined]
    assert told == ["SQLITE_BUSY"] * 3
    await store.write_in_turn(lambda db: db.execute("PRAGMA busy_timeout = 60000"))
    waiting = asyncio.ensure_future(executor.run(one("INSERT INTO t(a) VALUES ('late')")))
    await asyncio.sleep(0)
    direct.execute("COMMIT")
    direct.close()
    assert codes(await waiting) == [None]
    assert await rows(executor, "SELECT a FROM t") == [("late",)]


async def test_what_a_one_shot_leaves_open_is_rolled_back(executor: SqliteExecutor) -> None:
    result = await executor.run([*one("BEGIN"), *one("INSERT INTO t(a) VALUES ('x')")])
    assert codes(result) == [None, None]
    assert await rows(executor, "SELECT a FROM t") == []
    assert codes(await executor.run(one("INSERT INTO t(a) VALUES ('y')"))) == [None]


async def test_a_cancelled_caller_in_the_queue_never_writes(executor: SqliteExecutor, store: SqliteStore) -> None:
    async with store.writer_turn:
        stays = asyncio.ensure_future(executor.run(one("INSERT INTO t(a) VALUES ('stays')")))
        queued = asyncio.ensure_future(executor.run(one("INSERT INTO t(a) VALUES ('gone')")))
        while len(executor._queue) < 2:
            await asyncio.sleep(0)
        queued.cancel()
    assert codes(await stays) == [None]
    assert codes(await executor.run(one("INSERT INTO t(a) VALUES ('after')"))) == [None]
    assert await rows(executor, "SELECT a FROM t ORDER BY id") == [("stays",), ("after",)]


async def test_a_long_read_keeps_nobody_waiting(executor: SqliteExecutor) -> None:
    count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c{}) SELECT count(*) FROM c"
    slow = asyncio.ensure_future(executor.run(one(count.format(" LIMIT 100000"))))
    endless = asyncio.ensure_future(executor.run(one(count.format(""))))
    async with asyncio.timeout(20):  # less than a statement may take
        quick = await asyncio.gather(*(executor.run(one("SELECT ?", at)) for at in range(60)))
    assert [result.results[0].rows for result in quick] == [[(at,)] for at in range(60)]  # type: ignore[union-attr]
    assert (await slow).results[0].rows == [(100000,)]  # type: ignore[union-attr]
    assert not endless.done()
    endless.cancel()


@pytest.mark.parametrize(
    ("sql", "in_session"),
    [
        ("SELECT count(*) FROM c", False),
        ("INSERT INTO t (n) SELECT n FROM c WHERE n < 0", False),
        ("SELECT count(*) FROM c", True),
        ("INSERT INTO t (n) SELECT n FROM c WHERE n < 0", True),
    ],
)
async def test_an_endless_statement_is_ended(store: SqliteStore, sql: str, in_session: bool) -> None:
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=5, statement_timeout=0.2)
    endless = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) {sql}"
    session = executor.session()
    async with asyncio.timeout(60):
        many = [session.batch(one(endless))] if in_session else [executor.run(one(endless)) for _ in range(6)]
        others = [executor.run(one("INSERT INTO t (a) VALUES (?)", f"a{at}")) for at in range(3)]
        results = await asyncio.gather(*many, *others, executor.run(one("SELECT 1")))
    assert [codes(result) for result in results[: len(many)]] == [["SQLITE_INTERRUPT"]] * len(many)
    assert [codes(result) for result in results[len(many) :]] == [[None]] * 4
    assert (await executor.run(one("SELECT count(*) FROM t"))).results[0].rows == [(3,)]  # type: ignore[union-attr]
    await session.close()
    await executor.close()


async def test_closing_ends_an_endless_read(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.stores.sqlite.executor._LAST_SECONDS", 0.2)
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=5)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    running = asyncio.ensure_future(executor.run(one(endless)))
    await executor.run(one("SELECT 1"))  # another reader's: it was given back by the one that turned out slow
    async with asyncio.timeout(60):
        await executor.close()
    assert codes(await running) == ["SQLITE_INTERRUPT"]


async def test_reads_fail_each_for_itself(executor: SqliteExecutor) -> None:
    results = await asyncio.gather(*(executor.run(one("SELECT 1" if at % 2 else "SELECT nope")) for at in range(40)))
    assert [codes(result) for result in results] == [[None] if at % 2 else ["SQL_INPUT_ERROR"] for at in range(40)]


async def test_reads_of_a_closed_store_are_answered(executor: SqliteExecutor, store: SqliteStore) -> None:
    await store.close()
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(executor.run(one("SELECT 1")) for _ in range(40)), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)


# -- sessions ------------------------------------------------------------------------------------------------------


async def test_an_interactive_transaction(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.execute(Statement("BEGIN"))
    assert (session.in_transaction, session.writing) == (True, False)
    await session.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    assert (session.in_transaction, session.writing) == (True, True)
    with pytest.raises(StatementError, match=r"UNIQUE constraint failed: t\.a"):
        await session.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    assert await rows(executor, "SELECT a FROM t") == []
    await session.execute(Statement("COMMIT"))
    assert (session.in_transaction, session.writing) == (False, False)
    assert await rows(executor, "SELECT a FROM t") == [("x",)]
    await session.close()


async def test_closing_rolls_back_and_frees_the_lock(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.execute(Statement("BEGIN IMMEDIATE"))
    await session.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    await session.close()
    await session.close()
    assert codes(await executor.run(one("INSERT INTO t(a) VALUES ('x')"))) == [None]


async def test_a_cancelled_close_keeps_the_connection_and_rolls_back(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.batch([*one("BEGIN IMMEDIATE"), *one("INSERT INTO t(a) VALUES ('gone')")])
    closing = asyncio.ensure_future(session.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert len(executor._idle) == 1  # the session's own has come back
    lent = await executor.lend()
    assert await lent.run(lambda db: (db.in_transaction, db.execute("SELECT a FROM t").fetchall())) == (False, [])
    await lent.close()


async def test_a_read_that_nobody_waits_for_is_cut_off(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.stores.sqlite.executor._LAST_SECONDS", 600)
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=1, statement_timeout=0)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    reading = asyncio.ensure_future(executor.run(one(endless)))
    await executor.run(one("SELECT 1"))
    reading.cancel()
    async with asyncio.timeout(60):  # less than closing leaves to what is being read
        await executor.close()


async def test_foreign_keys_off_is_the_sessions_own(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.execute(Statement("PRAGMA foreign_keys = OFF"))
    await session.execute(Statement("INSERT INTO child(p) VALUES (99)"))
    assert codes(await executor.run(one("INSERT INTO child(p) VALUES (99)"))) == ["SQLITE_CONSTRAINT"]
    await session.close()
    other = executor.session()
    with pytest.raises(StatementError, match="FOREIGN KEY"):
        await other.execute(Statement("INSERT INTO child(p) VALUES (98)"))
    await other.close()


async def test_a_long_transaction_gives_way_only_when_another_waits(hasty: SqliteExecutor) -> None:
    session = hasty.session()
    await session.execute(Statement("BEGIN IMMEDIATE"))
    await session.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    while not hasty.turns._overdue:
        await asyncio.sleep(0.01)
    await session.execute(Statement("INSERT INTO t(a) VALUES ('y')"))
    assert session.in_transaction
    async with asyncio.timeout(60):
        assert codes(await hasty.run(one("INSERT INTO t(a) VALUES ('z')"))) == [None]
    with pytest.raises(StatementError) as caught:
        await session.execute(Statement("INSERT INTO t(a) VALUES ('w')"))
    assert caught.value.code == "TRANSACTION_TIMEOUT"
    with pytest.raises(StatementError, match="no transaction is active"):
        await session.execute(Statement("COMMIT"))
    await session.close()
    assert await rows(hasty, "SELECT a FROM t") == [("z",)]


async def test_writers_take_turns(executor: SqliteExecutor) -> None:
    first, second = executor.session(), executor.session()
    await first.execute(Statement("BEGIN IMMEDIATE"))
    waiting = asyncio.ensure_future(second.execute(Statement("BEGIN IMMEDIATE")))
    await first.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    assert not waiting.done()
    await first.execute(Statement("COMMIT"))
    await waiting
    await second.execute(Statement("ROLLBACK"))
    await first.close()
    await second.close()


async def test_expelling_interrupts_a_running_statement(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.execute(Statement("BEGIN IMMEDIATE"))
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    running = asyncio.ensure_future(session.execute(Statement(endless)))
    while not session._running:
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await session.expel()
    with pytest.raises(StatementError, match="repeat it") as caught:
        await running
    assert (caught.value.code, caught.value.retry) == ("SQLITE_BUSY", True), "it did nothing wrong, and may try again"
    with pytest.raises(StatementError) as caught:
        await session.execute(Statement("SELECT 1"))
    assert caught.value.code == "SQLITE_BUSY"
    assert (await session.execute(Statement("SELECT 1"))).rows == [(1,)]
    await session.close()


async def test_sequences_stop_at_the_first_error(executor: SqliteExecutor) -> None:
    session = executor.session()
    with pytest.raises(StatementError, match="UNIQUE"):
        await session.sequence("INSERT INTO t(a) VALUES ('x'); INSERT INTO t(a) VALUES ('x'); DELETE FROM t;")
    assert await rows(executor, "SELECT a FROM t") == [("x",)]
    await session.sequence("-- nothing\n;")
    await session.close()


# -- describe ------------------------------------------------------------------------------------------------------


async def test_describe(executor: SqliteExecutor) -> None:
    session = executor.session()
    found = await session.describe("SELECT a, n AS x, a FROM t WHERE id = ?2 AND a = :name;")
    assert found.params == (None, "?2", ":name")
    assert found.columns == (ResultColumn("a", "TEXT"), ResultColumn("x", "INT"), ResultColumn("a", "TEXT"))
    assert (found.is_explain, found.is_readonly) == (False, True)
    found = await session.describe("INSERT INTO t(a) VALUES (?) RETURNING id, upper(a) AS u")
    assert [column.name for column in found.columns] == ["id", "u"]
    assert not found.is_readonly
    assert (await session.describe("BEGIN READONLY")).is_readonly
    assert (await session.describe("EXPLAIN SELECT 1")).is_explain
    assert [c.name for c in (await session.describe("PRAGMA table_info(t)")).columns][:2] == ["cid", "name"]
    temporary = await session.describe("PRAGMA temp.table_info(t)")
    assert [column.name for column in temporary.columns][:2] == ["cid", "name"]
    assert (await session.execute(Statement("PRAGMA temp.table_info(t)"))).rows == []
    assert (await session.describe("DELETE FROM t")).columns == ()
    assert await rows(executor, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT nope FROM t", "SQL_INPUT_ERROR"),
        ("SELECT * FROM nope", "SQLITE_UNKNOWN"),
        ("SELEC", "SQL_PARSE_ERROR"),
        ("", "SQL_NO_STATEMENT"),
        ("SELECT 1; SELECT 2", "SQL_MANY_STATEMENTS"),
    ],
)
async def test_describe_reports_what_is_wrong(executor: SqliteExecutor, sql: str, code: str) -> None:
    with pytest.raises(StatementError) as caught:
        await executor.session().describe(sql)
    assert caught.value.code == code


async def test_describe_sees_the_transactions_own_tables(executor: SqliteExecutor) -> None:
    session = executor.session()
    await session.execute(Statement("BEGIN"))
    await session.execute(Statement("CREATE TABLE fresh (x BLOB)"))
    assert (await session.describe("SELECT * FROM fresh")).columns == (ResultColumn("x", "BLOB"),)
    await session.execute(Statement("ROLLBACK"))
    with pytest.raises(StatementError, match="no such table"):
        await session.describe("SELECT * FROM fresh")
    await executor.run(one("CREATE TABLE fresh (y TEXT)"))
    assert (await session.describe("SELECT * FROM fresh")).columns == (ResultColumn("y", "TEXT"),)
    await session.close()


async def test_declared_types_of_tables_that_are_not_committed(executor: SqliteExecutor) -> None:
    session = executor.session()

    async def declared(*before: str) -> list[str | None]:
        steps = [Step(Statement(sql)) for sql in (*before, "SELECT a, b, a || b FROM fresh")]
        result = (await session.batch(steps)).results[-1]
        return [] if result is None else [column.decltype for column in result.columns]

    assert await declared("BEGIN", "CREATE TABLE fresh (a TEXT, b FURRY BUNNY)") == ["TEXT", "FURRY BUNNY", None]
    assert await declared("SAVEPOINT s", "ALTER TABLE fresh RENAME TO old") == []
    assert await declared("CREATE TABLE fresh (a BLOB, b)") == ["BLOB", None, None]
    assert await declared("ROLLBACK TO s") == ["TEXT", "FURRY BUNNY", None]
    await session.execute(Statement("ROLLBACK"))
    await executor.run(one("CREATE TABLE fresh (a REAL, b NUMERIC)"))
    assert await declared() == ["REAL", "NUMERIC", None]
    await session.close()


async def test_describing_is_no_read(executor: SqliteExecutor) -> None:
    """A deferred transaction sees the moment of its first read. Clients describe what they are going to write: if that
    were a read, the write would come too late as soon as anybody else had written."""
    session = executor.session()
    await session.execute(Statement("BEGIN"))
    await session.describe("INSERT INTO t(a) VALUES (?)")
    await executor.run(one("INSERT INTO t(a) VALUES ('meanwhile')"))
    await session.execute(Statement("INSERT INTO t(a) VALUES ('mine')"))
    await session.execute(Statement("COMMIT"))
    await session.close()
    assert await rows(executor, "SELECT a FROM t ORDER BY id") == [("meanwhile",), ("mine",)]


async def test_describing_something_endless_ends(executor: SqliteExecutor) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    assert (await executor.session().describe(endless)).is_readonly


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        ("SELECT t.a, p.id FROM t JOIN parent AS p ON p.id = t.n", ["TEXT", "INTEGER"]),
        ("SELECT *, rowid FROM (SELECT n AS x, a FROM t)", ["INT", "TEXT", None]),
        ("WITH q AS (SELECT a, n + 1 AS m FROM t) SELECT m, a AS b, a FROM q WHERE a = ?", [None, "TEXT", "TEXT"]),
        ("SELECT * FROM seen", ["VARCHAR(9)", None]),
        ("SELECT a FROM t UNION ALL SELECT label FROM wide ORDER BY 1 LIMIT ? OFFSET :from", ["TEXT"]),
        ("SELECT max(n), n, CAST(n AS TEXT), (SELECT label FROM wide) FROM t", [None, "INT", None, "VARCHAR(9)"]),
        ("SELECT a, a FROM t LEFT JOIN wide ON a = label -- why not", ["TEXT", "TEXT"]),
        ("SELECT label FROM wide INDEXED BY by_label WHERE label > ?1;", ["VARCHAR(9)"]),
        ("INSERT INTO t(a, n) VALUES (?, 1) RETURNING n, a, a || '?' AS x", ["INT", "TEXT", None]),
        ("UPDATE OR IGNORE t SET n = 2 WHERE a = ? RETURNING id", ["INTEGER"]),
        ("SELECT 1 FROM t", [None]),
    ],
)
async def test_declared_types_of_any_column_that_is_one_of_a_table(
    executor: SqliteExecutor, sql: str, types: list[str | None]
) -> None:
    session = executor.session()
    await session.sequence(
        "CREATE TABLE wide (label VARCHAR(9)); CREATE VIEW seen AS SELECT label AS l, label || '!' AS shout FROM wide;"
        "CREATE INDEX by_label ON wide (label)"
    )
    described = await session.describe(sql)
    assert [column.decltype for column in described.columns] == types
    if "RETURNING" in sql:
        grouped = await asyncio.gather(*(executor.run(one(sql, *(at for _ in described.params))) for at in (7, 8)))
        for found in grouped:
            assert found.results[0] is not None
            assert found.results[0].columns == list(described.columns)
    await session.batch([*one("BEGIN")])
    result = await session.execute(Statement(sql, tuple(1 for _ in described.params)))
    assert result.columns == list(described.columns)
    await session.close()


async def test_describing_a_limit(executor: SqliteExecutor) -> None:
    found = await executor.session().describe("SELECT a FROM t LIMIT ? OFFSET ?")
    assert (found.columns, found.params) == ((ResultColumn("a", "TEXT"),), (None, None))


async def test_a_read_only_session_is_held_to_it_by_sqlite(executor: SqliteExecutor) -> None:
    session = executor.session(read_only=True)
    for sql in ("BEGIN", "SELECT count(*) FROM t"):
        await session.execute(Statement(sql))
    with pytest.raises(StatementError) as caught:
        await session.execute(Statement("INSERT INTO t(a) VALUES ('x')"))
    assert caught.value.code == "SQLITE_READONLY"
    await session.execute(Statement("COMMIT"))
    await session.close()
    other = executor.session()
    for sql in ("BEGIN", "INSERT INTO t(a) VALUES ('x')", "COMMIT"):
        await other.execute(Statement(sql))
    await other.close()
    assert await rows(executor, "SELECT a FROM t") == [("x",)]


async def own(executor: SqliteExecutor, name: str) -> None:
    """An interactive transaction that writes a row."""
    session = executor.session()
    for sql in ("BEGIN IMMEDIATE", f"INSERT INTO t(a) VALUES ('own-{name}')", "COMMIT"):
        assert codes(await session.batch(one(sql))) == [None]
    await session.close()


async def test_one_after_the_other_of_interactive_transactions_and_groups(
    executor: SqliteExecutor, store: SqliteStore
) -> None:
    """Neither starves: whoever asked first has the turn first, and a group takes everybody who waits by then."""
    metrics = executor._metrics
    stop = asyncio.Event()

    async def write_always(name: str) -> int:
        written = 0
        while not stop.is_set():
            assert codes(await executor.run(one("INSERT INTO t(a) VALUES (?)", f"{name}-{written}"))) == [None]
            written += 1
        return written

    def groups() -> float:
        return metrics.registry.get_sample_value("cutover_write_commit_seconds_count") or 0.0

    await own(executor, "first")  # opens the connection that the others take over: they ask as soon as they begin
    writers = [asyncio.ensure_future(write_always(str(at))) for at in range(8)]
    between: list[float] = []
    for at in range(20):
        before = groups()
        await own(executor, str(at))
        between.append(groups() - before)
    stop.set()
    assert max(between) <= 2  # the one that ran when the transaction asked, and the one that asked before it
    assert min(await asyncio.gather(*writers)) >= 10  # between two transactions nearly every writer had its turn


async def test_in_a_long_batch_each_statement_is_its_own_though_they_share_a_commit(
    executor: SqliteExecutor, store: SqliteStore
) -> None:
    insert = "INSERT INTO t(id, a) VALUES (?, ?)"
    steps = [Step(Statement(insert, (number, "x" if number == 7 else str(number)))) for number in range(40)]
    steps.insert(0, Step(Statement("INSERT INTO t(id, a) VALUES (100, 'x')")))
    before = await store.read(lambda db: db.execute("PRAGMA data_version").fetchone()[0])
    result = await executor.run(steps)
    after = await store.read(lambda db: db.execute("PRAGMA data_version").fetchone()[0])
    assert codes(result) == [None] * 8 + ["SQLITE_CONSTRAINT"] + [None] * 32
    assert await rows(executor, "SELECT count(*) FROM t") == [(40,)]
    assert after > before


async def test_a_transaction_that_is_taken_away_is_believed_in_until_its_client_knows(executor: SqliteExecutor) -> None:
    """Whoever asks while it is rolled back must not hear of none: what follows would run on its own."""
    session = executor.session()
    await session.execute(Statement("BEGIN IMMEDIATE"))
    expelling = asyncio.ensure_future(session.expel())
    while not expelling.done():
        assert session.in_transaction or session.expelled
        await asyncio.sleep(0)
    assert session.expelled
    with pytest.raises(StatementError):
        await session.execute(Statement("SELECT 1"))
    assert not session.expelled
    await session.close()
