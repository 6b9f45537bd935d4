"""Streams, holds and resumes on two real SQLite files: one is primary before the switch, the other after it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Not, Ok, Statement, Step
from cutover.stores.base import Member
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.store import SqliteStore
from cutover.write_through import HeldTooLong, ShuttingDown, Stream, WriteThrough

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE);
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent(id));
"""
FENCE = (
    "CREATE TRIGGER f BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'cutover: the primary is other, epoch 2'); END"
)

BEGIN, COMMIT = Statement("BEGIN IMMEDIATE"), Statement("COMMIT")


def insert(text: str) -> Statement:
    return Statement("INSERT INTO t(a) VALUES (?)", (text,))


class Stage:
    """Two members and the way to the one that is primary."""

    def __init__(self, one: Path, two: Path) -> None:
        self.metrics = Metrics("test")
        self.stores = [SqliteStore(str(path), busy_timeout=60) for path in (one, two)]
        self.executors = [SqliteExecutor(store, self.metrics, transaction_timeout=60) for store in self.stores]
        self.members = [Member(*pair) for pair in zip(self.stores, self.executors, strict=True)]
        self.way = WriteThrough(self.members[0], epoch=1, metrics=self.metrics, hold_timeout=60)

    def all(self, member: int) -> list[str]:
        db = sqlite3.connect(self.stores[member].path)
        found = [row[0] for row in db.execute("SELECT a FROM t ORDER BY id")]
        db.close()
        return found

    def alter(self, member: int, sql: str) -> None:
        db = sqlite3.connect(self.stores[member].path)
        db.executescript(sql)
        db.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    paths = tmp_path / "one.db", tmp_path / "two.db"
    for path in paths:
        db = sqlite3.connect(path)
        db.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
        db.close()
    stage = Stage(*paths)
    for store in stage.stores:
        await store.open()
    await stage.way.resume(stage.members[0], 1)
    yield stage
    await stage.way.drain(1)
    for executor, store in zip(stage.executors, stage.stores, strict=True):
        await executor.close()
        await store.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def batch(*statements: Statement) -> list[Step]:
    steps = [Step(Statement("BEGIN"))]
    steps += [Step(statement, Ok(at)) for at, statement in enumerate(statements)]
    steps.append(Step(COMMIT, Ok(len(steps) - 1)))
    steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1))))
    return steps


def codes(result: BatchResult) -> list[str | None]:
    return [None if error is None else error.code for error in result.errors]


async def test_a_stream_reads_what_it_and_others_wrote(stage: Stage) -> None:
    stream = stage.way.stream()
    for at in range(50):
        await (stream if at % 2 else stage.way.stream()).execute(insert(str(at)))
        assert (await stream.execute(Statement("SELECT count(*) FROM t"))).rows == [(at + 1,)]


async def test_held_writes_run_on_the_next_primary_in_order(stage: Stage) -> None:
    await stage.way.hold(0)
    held = [asyncio.ensure_future(stage.way.run([Step(insert(str(at)))])) for at in range(20)]
    streamed = asyncio.ensure_future(stage.way.stream().batch(batch(insert("streamed"))))
    await until(lambda: stage.way.held == 21)
    assert stage.metrics.held_writes.collect()[0].samples[0].value == 21
    assert (await stage.way.stream().execute(Statement("SELECT count(*) FROM t"))).rows == [(0,)]
    await stage.way.resume(stage.members[1], 2)
    await asyncio.gather(*held, streamed)
    assert (stage.all(0), stage.all(1)) == ([], [*map(str, range(20)), "streamed"])
    assert stage.way.held == 0


async def test_an_aborted_hold_changes_nothing(stage: Stage) -> None:
    stream = stage.way.stream()
    await stream.execute(Statement("BEGIN"))
    await stream.execute(Statement("SELECT 1"))
    await stage.way.hold(0)
    writing = asyncio.ensure_future(stream.execute(insert("x")))
    await until(lambda: stage.way.held == 1)
    await stage.way.resume(stage.members[0], 1)
    await writing
    await stream.execute(COMMIT)
    assert stage.all(0) == ["x"]


async def test_a_hold_waits_for_writes_under_way(stage: Stage) -> None:
    async with stage.stores[0].writer_turn:
        writing = asyncio.ensure_future(stage.way.run([Step(insert("x"))]))
        await until(lambda: stage.executors[0]._worker is not None)
        holding = asyncio.ensure_future(stage.way.hold(0))
        done, _ = await asyncio.wait({holding}, timeout=0.05)
        assert not done
    await holding
    assert stage.all(0) == ["x"]
    await writing


async def test_open_transactions_get_their_grace(stage: Stage) -> None:
    quick, slow = stage.way.stream(), stage.way.stream()
    await quick.execute(BEGIN)
    await quick.execute(insert("quick"))
    assert stage.way.open_transactions == 1
    holding = asyncio.ensure_future(stage.way.hold(60))
    await until(lambda: stage.way.holding)
    late = asyncio.ensure_future(slow.execute(BEGIN))
    await until(lambda: stage.way.held == 1)
    await quick.execute(insert("quicker"))
    assert not holding.done()
    await quick.execute(COMMIT)
    await holding
    await stage.way.resume(stage.members[1], 2)
    await late
    await slow.execute(insert("slow"))
    await slow.execute(COMMIT)
    assert (stage.all(0), stage.all(1)) == (["quick", "quicker"], ["slow"])
    assert stage.way.open_transactions == 0


async def test_who_outlasts_the_grace_is_expelled(stage: Stage) -> None:
    stream = stage.way.stream()
    await stream.execute(BEGIN)
    await stream.execute(insert("x"))
    await stage.way.hold(0.02)
    assert stage.all(0) == []
    await stage.way.resume(stage.members[1], 2)
    with pytest.raises(StatementError) as caught:
        await stream.execute(insert("y"))
    assert caught.value.code == "SQLITE_BUSY"
    await stream.execute(insert("z"))
    assert (stage.all(0), stage.all(1)) == ([], ["z"])


@pytest.mark.parametrize("late", [False, True])
async def test_who_has_changed_the_schema_has_no_grace(stage: Stage, late: bool) -> None:
    """What it commits the other side could not have, and the switch would be taken back for it."""
    stream = stage.way.stream()
    change, checked = Statement("CREATE TABLE more (n INTEGER)"), Statement("SELECT count(*) FROM t")
    await stream.execute(BEGIN)
    await stream.execute(insert("x"))
    if not late:
        await stream.execute(change)
        await stream.execute(checked)
    holding = asyncio.ensure_future(stage.way.hold(60))
    await until(lambda: stage.way.holding)
    if late:
        assert not holding.done()
        await stream.execute(change)
    async with asyncio.timeout(50):
        await holding
    assert stage.all(0) == []
    await stage.way.resume(stage.members[1], 2)
    with pytest.raises(StatementError) as caught:
        await stream.execute(COMMIT)
    assert caught.value.code == "SQLITE_BUSY"


async def test_readers_are_not_disturbed_by_a_hold(stage: Stage) -> None:
    stream = stage.way.stream()
    await stream.execute(Statement("BEGIN TRANSACTION READONLY"))
    assert (await stream.execute(Statement("SELECT count(*) FROM t"))).rows == [(0,)]
    await stage.way.hold(0)
    fresh = stage.way.stream()
    await fresh.execute(Statement("BEGIN READONLY"))
    await fresh.execute(Statement("COMMIT"))
    await stage.way.resume(stage.members[1], 2)
    await stage.way.run([Step(insert("new"))])
    assert (await stream.execute(Statement("SELECT count(*) FROM t"))).rows == [(0,)]
    with pytest.raises(StatementError) as caught:
        await stream.execute(insert("never"))
    assert caught.value.code == "SQLITE_BUSY"
    assert (await stream.execute(Statement("SELECT a FROM t"))).rows == [("new",)]
    assert stage.all(0) == []


async def test_before_the_primary_is_known_reads_wait_too(stage: Stage) -> None:
    """At a start the one member that is open may be a shadow, which lags behind."""
    way = WriteThrough(stage.members[0], epoch=1, metrics=stage.metrics, hold_timeout=60)
    await way.hold(0)
    read = Statement("SELECT a FROM t")
    script = [Step(Statement("BEGIN READONLY")), Step(read), Step(COMMIT)]
    reading = [asyncio.ensure_future(way.run([Step(read)])), asyncio.ensure_future(way.stream().batch(script))]
    alone = asyncio.ensure_future(way.stream().execute(read))
    await until(lambda: way.held == 3)
    stage.alter(1, "INSERT INTO t(a) VALUES ('there')")
    await way.resume(stage.members[1], 2)
    assert [each.results[-2 if len(each.results) > 1 else 0].rows for each in await asyncio.gather(*reading)] == [
        [("there",)],
        [("there",)],
    ]
    assert (await alone).rows == [("there",)]


async def test_reads_wait_while_it_is_in_doubt_who_is_primary(stage: Stage) -> None:
    """Others may write to the new primary as soon as the commit has happened, and its answer is on the way still."""
    read = Statement("SELECT a FROM t")
    for member, epoch in ((0, 1), (1, 2)):  # taken back; committed
        await stage.way.hold(0)
        assert (await stage.way.stream().execute(read)).rows == [], "before the commit, reads go on"
        stage.way.doubt()
        reading = asyncio.ensure_future(stage.way.stream().execute(read))
        await until(lambda: stage.way.held == 1)
        stage.alter(member, "INSERT INTO t(a) VALUES ('new')")
        await stage.way.resume(stage.members[member], epoch)
        assert (await reading).rows == [("new",)]
        stage.alter(member, "DELETE FROM t")
    assert (await stage.way.stream().execute(read)).rows == []


async def test_a_write_that_waits_too_long_never_runs(stage: Stage) -> None:
    way = WriteThrough(stage.members[0], epoch=1, metrics=stage.metrics, hold_timeout=0.03)
    await way.hold(0)
    for work in (way.run([Step(insert("x"))]), way.stream().execute(BEGIN), way.stream().execute(insert("y"))):
        with pytest.raises(HeldTooLong) as caught:
            await work
        assert (caught.value.code, caught.value.retry) == ("SQLITE_BUSY", True)
    await way.resume(stage.members[0], 1)
    await way.run([Step(insert("z"))])
    assert stage.all(0) == ["z"]


async def test_a_cancelled_held_write_never_runs(stage: Stage) -> None:
    await stage.way.hold(0)
    gone = asyncio.ensure_future(stage.way.run([Step(insert("gone"))]))
    await until(lambda: stage.way.held == 1)
    gone.cancel()
    await asyncio.wait({gone})
    assert stage.way.held == 0
    await stage.way.resume(stage.members[0], 1)
    await stage.way.run([Step(insert("after"))])
    assert stage.all(0) == ["after"]


async def test_a_write_that_began_comes_to_its_end_though_its_caller_has_gone(stage: Stage) -> None:
    direct = sqlite3.connect(stage.stores[0].path, isolation_level=None)
    direct.execute("BEGIN IMMEDIATE")
    gone = asyncio.ensure_future(stage.way.run([Step(insert("x"))]))
    await until(lambda: stage.executors[0]._worker is not None and not stage.executors[0]._queue)
    gone.cancel()
    holding = asyncio.ensure_future(stage.way.hold(0))
    done, _ = await asyncio.wait({holding, gone}, timeout=0.05)
    assert not done
    direct.execute("ROLLBACK")
    direct.close()
    await holding
    await asyncio.wait({gone})
    assert gone.cancelled()
    assert stage.all(0) == ["x"]


async def test_a_cancelled_hold_is_undone_by_resume(stage: Stage) -> None:
    stream = stage.way.stream()
    await stream.execute(BEGIN)
    holding = asyncio.ensure_future(stage.way.hold(60))
    await until(lambda: stage.way.holding)
    holding.cancel()
    await asyncio.wait({holding})
    await stage.way.resume(stage.members[0], 1)
    await stream.execute(insert("x"))
    await stream.execute(COMMIT)
    assert stage.all(0) == ["x"]


async def test_a_fence_is_busy_when_no_switch_is_known_and_waits_when_one_is(stage: Stage) -> None:
    stage.alter(0, FENCE)
    with pytest.raises(StatementError, match="cutover") as caught:
        await stage.way.run([Step(insert("x"))])
    assert caught.value.code == "SQLITE_BUSY"
    stream = stage.way.stream()
    await stream.execute(BEGIN)
    with pytest.raises(StatementError) as caught:
        await stream.execute(insert("x"))
    assert caught.value.code == "SQLITE_BUSY"
    assert not stream.in_transaction
    await stage.way.resume(stage.members[1], 2)
    await stage.way.run([Step(insert("x"))])
    assert (stage.all(0), stage.all(1)) == ([], ["x"])


async def test_batches_of_one_client_keep_their_order_when_they_meet_a_fence(stage: Stage) -> None:
    """The first one is written; the fence comes; the others wait for the next primary, in order."""
    stream = stage.way.stream()
    stage.alter(0, FENCE.replace("BEFORE INSERT ON t", "BEFORE INSERT ON t WHEN new.a <> 'first'"))
    batches = [[Step(insert(text))] for text in ("first", "second", "third")]
    async with stage.stores[0].writer_turn:
        writing = asyncio.ensure_future(stream.batches(batches))
        await until(lambda: stage.executors[0]._queue)
        holding = asyncio.ensure_future(stage.way.hold(60))
        await until(lambda: stage.way.holding)
    await holding
    assert stage.way.held == 1
    await stage.way.resume(stage.members[1], 2)
    results = await writing
    assert [isinstance(result, BatchResult) for result in results] == [True] * 3
    assert (stage.all(0), stage.all(1)) == (["first"], ["second", "third"])


async def test_draining_answers_everybody(stage: Stage) -> None:
    stream = stage.way.stream()
    await stream.execute(BEGIN)
    await stream.execute(insert("open"))
    holding = asyncio.ensure_future(stage.way.hold(60))
    await until(lambda: stage.way.holding)
    held = asyncio.ensure_future(stage.way.run([Step(insert("held"))]))
    await until(lambda: stage.way.held == 1)
    await stage.way.drain(1)
    for work in (held, stage.way.run([Step(insert("new"))]), stage.way.run([Step(Statement("SELECT 1"))])):
        with pytest.raises(ShuttingDown):
            await work
    holding.cancel()
    await asyncio.wait({holding})
    assert stage.all(0) == []


async def test_a_streams_past_is_its_own(stage: Stage) -> None:
    mine, other = stage.way.stream(), stage.way.stream()
    await mine.execute(Statement("INSERT INTO t VALUES (100, 'mine')"))
    await other.execute(Statement("INSERT INTO t VALUES (200, 'other'), (201, 'another')"))
    assert (await mine.execute(Statement("SELECT last_insert_rowid(), changes()"))).rows == [(100, 1)]
    assert (await other.execute(Statement("SELECT last_insert_rowid(), changes()"))).rows == [(201, 2)]
    assert (await stage.way.stream().execute(Statement("SELECT last_insert_rowid()"))).rows == [(0,)]
    await mine.execute(Statement("INSERT INTO parent VALUES (last_insert_rowid())"))
    assert (await mine.execute(Statement("SELECT id FROM parent"))).rows == [(100,)]
    result = await mine.batch(
        [
            Step(Statement("INSERT INTO t VALUES (7, 'b')")),
            Step(Statement("INSERT INTO parent VALUES (last_insert_rowid())")),
        ]
    )
    assert codes(result) == [None, None]
    assert (await mine.execute(Statement("SELECT min(id) FROM parent"))).rows == [(7,)]
    assert (await mine.execute(Statement("SELECT last_insert_rowid()"))).rows == [(7,)]
    ignored = await mine.execute(Statement("INSERT OR IGNORE INTO parent VALUES (7)"))
    assert (ignored.affected, ignored.last_insert_rowid) == (0, 7)
    changed = await mine.execute(Statement("INSERT INTO parent VALUES (100) ON CONFLICT DO UPDATE SET id = 101"))
    assert (changed.affected, changed.last_insert_rowid) == (1, 7)
    zero = await mine.execute(Statement("INSERT INTO parent VALUES (0)"))
    assert (zero.affected, zero.last_insert_rowid) == (1, 0)
    assert (await mine.execute(Statement("SELECT last_insert_rowid()"))).rows == [(0,)]


async def test_foreign_keys_belong_to_the_stream(stage: Stage) -> None:
    off, on = stage.way.stream(), stage.way.stream()
    orphan = Statement("INSERT INTO child(p) VALUES (99)")
    await off.execute(Statement("PRAGMA foreign_keys = OFF"))
    assert (await off.execute(Statement("PRAGMA foreign_keys"))).rows == [(0,)]
    await off.execute(orphan)
    await on.execute(Statement("PRAGMA foreign_keys = ON"))
    assert (await on.execute(Statement("PRAGMA foreign_keys"))).rows == [(1,)]
    with pytest.raises(StatementError, match="FOREIGN KEY"):
        await on.execute(orphan)
    await off.execute(Statement("PRAGMA foreign_keys = ON"))
    with pytest.raises(StatementError, match="FOREIGN KEY"):
        await off.execute(orphan)
    await off.close()


async def test_read_uncommitted_is_told_to_the_stream_that_set_it(stage: Stage) -> None:
    """It changes nothing else without a shared cache, and streams share connections."""
    ask = Statement("PRAGMA read_uncommitted")
    mine, other = stage.way.stream(), stage.way.stream()
    assert (await mine.execute(Statement("PRAGMA main.read_uncommitted = 1"))).rows == []
    for _ in range(2):
        assert ((await mine.execute(ask)).rows, (await other.execute(ask)).rows) == ([(1,)], [(0,)])
        assert [row for piece in await (await mine.pieces([Step(ask)])).more() for row in piece.rows] == [(1,)]
        await mine.execute(Statement("BEGIN"))
        assert (await mine.execute(ask)).rows == [(1,)]
        await mine.execute(Statement("ROLLBACK"))
        await stage.way.hold(0)
        await stage.way.resume(stage.members[1], 2)
    steps = [
        Step(ask),
        Step(Statement("PRAGMA read_uncommitted(off)")),
        Step(ask),
        Step(Statement(ask.sql, want_rows=False)),
    ]
    told = (await mine.batch(steps)).results
    assert [result and result.rows for result in told] == [[(1,)], [], [(0,)], []]
    skipped = [Step(Statement("SELECT nothing")), Step(Statement("PRAGMA read_uncommitted = ON"), Ok(0)), Step(ask)]
    last = (await mine.batch(skipped)).results[2]
    assert last is not None
    assert last.rows == [(0,)]
    with pytest.raises(StatementError, match="PRAGMA read_uncommitted answers"):
        await mine.execute(Statement("SELECT * FROM pragma_read_uncommitted"))


async def test_foreign_keys_stay_off_through_a_switch(stage: Stage) -> None:
    """As they stay on SQLite's own connections: a migration that goes on would lose rows to a key that acts."""
    migration = stage.way.stream()
    orphan = Statement("INSERT INTO child(p) VALUES (99)")
    await migration.execute(Statement("PRAGMA foreign_keys = OFF"))
    await stage.way.hold(0)
    await stage.way.resume(stage.members[1], 2)
    await migration.execute(Statement("BEGIN"))
    await migration.execute(orphan)
    await stage.way.hold(0)
    await stage.way.resume(stage.members[0], 3)
    with pytest.raises(StatementError, match="switch"):
        await migration.execute(orphan)
    await migration.execute(orphan)
    assert (await migration.execute(Statement("SELECT p FROM child"))).rows == [(99,)]
    assert (await migration.execute(Statement("PRAGMA foreign_keys"))).rows == [(0,)]
    await migration.execute(Statement("PRAGMA foreign_keys = ON"))
    await stage.way.hold(0)
    await stage.way.resume(stage.members[1], 4)
    with pytest.raises(StatementError, match="FOREIGN KEY"):
        await migration.execute(orphan)
    await migration.close()


async def test_a_migration_with_foreign_keys_off(stage: Stage) -> None:
    """As client.migrate() of libSQL sends it."""
    steps = [Step(Statement("PRAGMA foreign_keys=off")), Step(Statement("BEGIN"))]
    for sql in ("ALTER TABLE t ADD COLUMN b", "INSERT INTO child(p) VALUES (5)"):
        steps.append(Step(Statement(sql), Ok(len(steps) - 1)))
    steps.append(Step(COMMIT, Ok(len(steps) - 1)))
    steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1))))
    steps.append(Step(Statement("PRAGMA foreign_keys=on")))
    stream = stage.way.stream()
    result = await stream.batch(steps)
    assert codes(result) == [None] * 7
    assert (await stream.execute(Statement("SELECT p FROM child"))).rows == [(5,)]
    with pytest.raises(StatementError, match="FOREIGN KEY"):
        await stream.execute(Statement("INSERT INTO child(p) VALUES (99)"))


async def test_an_index_that_a_migration_dropped_is_there_no_more(stage: Stage) -> None:
    """SQLite tells what exists already from the schema that a connection saw last, and the migration has its own."""
    stream = stage.way.stream()
    for sql in (
        "CREATE TABLE p (id INTEGER PRIMARY KEY, a)",
        "CREATE UNIQUE INDEX p_a ON p (a)",
        "INSERT INTO p (a) VALUES (1)",
        "PRAGMA foreign_keys = OFF",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, a)",
        "DROP TABLE p",
        "ALTER TABLE n RENAME TO p",
        "PRAGMA foreign_keys = ON",
        "CREATE UNIQUE INDEX p_a ON p (a)",
    ):
        await stream.execute(Statement(sql))
    await stream.close()


async def test_observers_see_statements_and_reads(stage: Stage) -> None:
    texts: list[str] = []
    reads: list[int] = []
    stage.way.on_statement = lambda statement: texts.append(statement.sql)
    stage.way.on_read = lambda steps, result: reads.append(len(result.results))
    await stage.way.run([Step(Statement("SELECT 1"))])
    await stage.way.stream().execute(insert("x"))
    assert texts == ["SELECT 1", "INSERT INTO t(a) VALUES (?)"]
    assert reads == [1]


async def test_writers_lose_nothing_through_many_switches(stage: Stage) -> None:
    acknowledged: list[str] = []
    refused: set[str] = set()
    stop = False

    async def writer(name: int) -> None:
        stream: Stream = stage.way.stream()
        at = 0
        while not stop:
            at += 1
            text = f"{name}-{at}"
            try:
                if at % 3 == 0:
                    await stream.execute(BEGIN)
                    await stream.execute(insert(text))
                    await stream.execute(COMMIT)
                elif at % 3 == 1:
                    assert codes(await stream.batch(batch(insert(text)))) == [None] * 4
                else:
                    await stream.execute(insert(text))
                acknowledged.append(text)
            except StatementError as error:
                refused.add(error.code)
        await stream.close()

    writers = [asyncio.ensure_future(writer(name)) for name in range(6)]
    for epoch in range(2, 10):
        enough = len(acknowledged) + 20
        await until(lambda enough=enough: len(acknowledged) >= enough)  # type: ignore[misc]
        await stage.way.hold(0.005)
        giver = stage.all(epoch % 2)
        await stage.way.resume(stage.members[(epoch + 1) % 2], epoch)
        assert stage.all(epoch % 2)[: len(giver)] == giver
    stop = True
    await asyncio.gather(*writers)
    assert refused <= {"SQLITE_BUSY"}
    assert sorted(stage.all(0) + stage.all(1)) == sorted(acknowledged)


async def test_what_keeps_a_hold_waiting_is_named(stage: Stage) -> None:
    stream, reader = stage.way.stream(client="billing"), stage.way.stream(client="reports")
    assert stage.way.in_the_way() == ""
    for each, texts in (
        (reader, ("BEGIN", "SELECT count(*) FROM t")),
        (stream, (BEGIN.sql, "INSERT INTO t VALUES (1, 'a')")),
    ):
        for text in texts:
            await each.execute(Statement(text))
    holding = asyncio.ensure_future(stage.way.hold(60))
    await until(lambda: stage.way.holding)
    assert stage.way.in_the_way() == "writes of the front door: 1 in open transactions (token billing)"
    await stream.execute(Statement("ROLLBACK"))
    await holding
    assert stage.way.in_the_way() == ""
    await stage.way.resume(stage.members[0], 1)
    await reader.close()
