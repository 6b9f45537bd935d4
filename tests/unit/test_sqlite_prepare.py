"""A statement is prepared again where another connection changes the schema just then."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.stores.sqlite.describe import describe
from cutover.stores.sqlite.running import run_statement
from cutover.stores.sqlite.schemacopy import SchemaCopy
from cutover.stores.sqlite.undisturbed import asked


@pytest.mark.parametrize("changes", [1, 2, 5])
def test_what_is_wrong_is_told_and_not_that_the_schema_changed(tmp_path: Path, changes: int) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as asking, closing(sqlite3.connect(path)) as other:
        asking.execute("PRAGMA journal_mode = WAL")
        asking.execute("CREATE TABLE t (a)")
        left = list(range(changes))

        def meanwhile(action: int, *_: object) -> int:
            """SQLite asks for leave to read a column while it prepares, when it has read the schema."""
            if left and action == sqlite3.SQLITE_READ:
                other.execute(f"CREATE TABLE made_{left.pop()} (a)")
            return sqlite3.SQLITE_OK

        asking.set_authorizer(meanwhile)
        with pytest.raises(StatementError) as failed:
            run_statement(asking, Statement("SELECT a, nope FROM t"))
        assert failed.value.code == "SQL_INPUT_ERROR"
        assert "no such column: nope" in failed.value.message
        assert not left


def test_a_wrong_statement_without_a_table_behind_a_schema_change(tmp_path: Path) -> None:
    """SQLite 3.40 forgets the schema it knew, reads no other, and says so each time."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as asking, closing(sqlite3.connect(path)) as other:
        asking.execute("PRAGMA journal_mode = WAL")
        asking.execute("SELECT * FROM sqlite_master")
        other.execute("CREATE TABLE made (a)")
        with pytest.raises(StatementError) as failed:
            run_statement(asking, Statement("SELECT foobar"))
        assert (failed.value.code, failed.value.message) == ("SQL_INPUT_ERROR", "no such column: foobar (at offset 7)")


def test_describing_a_wrong_statement_behind_a_schema_change(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as asking, closing(sqlite3.connect(path)) as other:
        asking.execute("PRAGMA journal_mode = WAL")
        asking.execute("SELECT * FROM sqlite_master")
        with closing(SchemaCopy([])) as copy:
            other.execute("CREATE TABLE made (a)")
            with pytest.raises(StatementError) as failed:
                describe(asking, copy, "SELECT foobar")
        assert (failed.value.code, failed.value.message) == ("SQL_INPUT_ERROR", "no such column: foobar (at offset 7)")


def test_an_interrupt_that_comes_late_is_not_for_cutovers_own_questions() -> None:
    """It ended a stream's COMMIT, which was made, in an error of the driver."""
    late = [1, 1, 0]
    with closing(sqlite3.connect(":memory:")) as db:
        db.set_progress_handler(lambda: late.pop(0) if late else 0, 1)  # what is not 0 interrupts
        assert asked(db, "SELECT count(*) + 7 FROM sqlite_master") == (7,)
        assert not late
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            asked(db, "SELECT 1 FROM nowhere")
