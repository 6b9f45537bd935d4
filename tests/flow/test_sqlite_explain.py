"""EXPLAIN after another process changed the schema: SQLite reads freed memory if the statement is the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sqlite_world import make

# In a process of its own, because what it tests against is a crash.
SCRIPT = """
import asyncio, sqlite3, sys
from cutover.metrics import Metrics
from cutover.model.statement import Statement, Step
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.store import SqliteStore

STATEMENTS = (
    "UPDATE t SET id = id + 1",
    "INSERT INTO t (id) SELECT id + 1 FROM t",
    "INSERT OR REPLACE INTO t (id) VALUES (5)",
    "DELETE FROM t WHERE id IN (SELECT id FROM t)",
)

async def main(path, how):
    store = SqliteStore(path, readers=1)
    await store.open()
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=1)

    async def look():
        for sql in STATEMENTS:
            if how == "describe":
                await executor.session().describe(sql)
            else:
                await executor.run([Step(Statement("EXPLAIN " + sql))])

    await look()
    application = sqlite3.connect(path, isolation_level=None)
    for before, after in ("vw", "wx", "xy"):
        application.execute(f"ALTER TABLE t RENAME COLUMN {before} TO {after}")
        await executor.run([Step(Statement("SELECT count(*) FROM t"))])
        await look()
    application.close()
    await executor.close()
    await store.close()
    print("alive")

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("how", ["describe", "explain"])
def test_an_explained_statement_outlives_its_schema(sqlite_path: str, how: str) -> None:
    make(
        sqlite_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE, n)",
        "CREATE TABLE log (id, v)",
        "CREATE TRIGGER x BEFORE INSERT ON t BEGIN INSERT INTO log SELECT id, v FROM t AS o WHERE o.v = NEW.v; END",
        "CREATE TRIGGER y AFTER UPDATE ON t BEGIN INSERT INTO log SELECT OLD.id, NEW.v WHERE OLD.v IS NOT NEW.v; END",
        "CREATE TRIGGER z AFTER DELETE ON t BEGIN INSERT INTO log VALUES (OLD.id, OLD.v); END",
    )
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, sqlite_path, how],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MALLOC_PERTURB_": "165"},  # freed memory looks freed
    )
    assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr
