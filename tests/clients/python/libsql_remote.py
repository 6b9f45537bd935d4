"""`libsql` from PyPI, the Rust client: describe before each statement, cursors to read, batches of one step to write.

It sends integers of more than 32 bits as floats, so those are written in the SQL, and holds the interpreter's lock
while it waits, so what happens at once happens in processes.
"""

from __future__ import annotations

import subprocess
import sys

import libsql

from tests.clients.python.harness import (
    FLOATS,
    INTEGERS,
    LARGE,
    ON_POSTGRES,
    PREFIX,
    TEXTS,
    TOKEN,
    URL,
    case,
    main,
    refused,
    tell,
)

ITEMS = f"{PREFIX}items"
COUNTER = f"{PREFIX}counter"


def connect(token: str = TOKEN, **more: object) -> libsql.Connection:
    return libsql.connect(URL, auth_token=token, **more)


db = connect()


def count(connection: libsql.Connection = db) -> int:
    return connection.execute(f"SELECT count(*) FROM {ITEMS}").fetchone()[0]


@case
def a_script_makes_the_schema() -> None:
    trigger = (
        f"CREATE TRIGGER {PREFIX}noted AFTER INSERT ON {ITEMS}"
        f" BEGIN INSERT INTO {PREFIX}log(item) VALUES (new.id); END;"
    )
    db.executescript(f"""
        CREATE TABLE {ITEMS}(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER, r REAL, b BLOB);
        CREATE TABLE {PREFIX}log(id INTEGER PRIMARY KEY, item INTEGER REFERENCES {ITEMS}(id));
        {"" if ON_POSTGRES else trigger}
        CREATE TABLE {COUNTER}(id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
        INSERT INTO {COUNTER} VALUES (1, 0);
    """)
    assert not db.in_transaction
    assert count() == 0
    if ON_POSTGRES:
        assert "SQL_NOT_TRANSLATABLE" in str(refused(ValueError, db.execute, trigger))
        db.rollback()


@case
def values() -> None:
    for at, n in enumerate(INTEGERS):
        assert db.execute(f"SELECT {n}").fetchone() == (n,), n
        db.execute(f"INSERT INTO {ITEMS}(id, n) VALUES (?, {n})", (100 + at,))
    for value in [*FLOATS, *TEXTS, LARGE, b"", None, 2**31 - 1, -(2**31)]:
        assert db.execute("SELECT ?", (value,)).fetchone() == (value,)
    db.execute(f"INSERT INTO {ITEMS}(id, b, r) VALUES (?, ?, ?)", (200, LARGE, 2.0))
    db.commit()
    assert db.execute(f"SELECT b, r FROM {ITEMS} WHERE id = 200").fetchone() == (LARGE, 2.0)
    assert db.execute(f"SELECT n FROM {ITEMS} WHERE id BETWEEN 100 AND 199 ORDER BY id").fetchall() == [
        (n,) for n in INTEGERS
    ]
    tell("integers", INTEGERS)


@case
def the_cursor() -> None:
    cursor = db.cursor()
    cursor.execute(f"INSERT INTO {ITEMS}(name) VALUES (?)", ("first",))
    assert cursor.rowcount == 1
    assert cursor.lastrowid == 201
    cursor.executemany(f"INSERT INTO {ITEMS}(name, n) VALUES (?, ?)", [(f"many {at}", at) for at in range(20)])
    db.commit()
    cursor.execute(f"SELECT id, name AS label, n FROM {ITEMS} WHERE name LIKE 'many%' ORDER BY id")
    assert [column[0] for column in cursor.description] == ["id", "label", "n"]
    assert cursor.fetchone() == (202, "many 0", 0)
    assert [row[2] for row in cursor.fetchmany(3)] == [1, 2, 3]
    assert len(cursor.fetchall()) == 16
    assert cursor.fetchone() is None
    returned = db.execute(f"INSERT INTO {ITEMS}(name) VALUES ('r1'), ('r2') RETURNING id, name").fetchall()
    assert [name for _, name in returned] == ["r1", "r2"]
    changed = db.execute(f"UPDATE {ITEMS} SET n = -1 WHERE name LIKE 'r_'")
    assert changed.rowcount == 2
    db.commit()


@case
def transactions() -> None:
    before = count()
    db.execute(f"INSERT INTO {ITEMS}(name) VALUES ('in')")
    assert db.in_transaction
    assert count() == before + 1
    assert count(connect()) == before
    db.rollback()
    assert not db.in_transaction
    assert count() == before
    db.execute(f"INSERT INTO {ITEMS}(name) VALUES ('in')")
    db.commit()
    assert count(connect()) == before + 1
    auto = connect(isolation_level=None)
    auto.execute(f"INSERT INTO {ITEMS}(name) VALUES ('auto')")
    assert not auto.in_transaction
    assert count() == before + 2
    auto.execute("BEGIN IMMEDIATE")
    auto.execute(f"DELETE FROM {PREFIX}log")
    auto.execute("ROLLBACK")
    assert count() == before + 2


@case
def errors_and_the_transaction_after_them() -> None:
    before = count()
    db.execute(f"INSERT INTO {ITEMS}(name) VALUES ('kept')")
    taken = refused(ValueError, db.execute, f"INSERT INTO {ITEMS}(name) VALUES ('kept')")
    assert f"UNIQUE constraint failed: {ITEMS}.name" in str(taken)
    assert "SQLITE_CONSTRAINT" in str(taken)
    assert "no such table: nowhere" in str(refused(ValueError, db.execute, "SELECT * FROM nowhere"))
    assert "syntax error" in str(refused(ValueError, db.execute, "SELEC 1"))
    assert db.in_transaction
    db.commit()
    assert count() == before + 1
    fk = refused(ValueError, db.execute, f"INSERT INTO {PREFIX}log(item) VALUES (99999)")
    assert "FOREIGN KEY constraint failed" in str(fk)
    db.rollback()


@case
def a_connection_that_is_dropped_leaves_nothing() -> None:
    before = count()
    other = connect()
    other.execute(f"INSERT INTO {ITEMS}(name) VALUES ('lost')")
    del other
    db.execute(f"INSERT INTO {ITEMS}(name) VALUES ('after')")
    db.commit()
    assert count() == before + 1


@case
def a_big_result() -> None:
    rows = db.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, 'row ' || i FROM n"
    ).fetchall()
    assert len(rows) == 20_000
    assert rows[-1] == (20_000, "row 20000")


@case
def rows_that_nobody_fetches() -> None:
    numbers = (
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
        " SELECT i, 'row ' || i FROM n"
    )
    before = count()
    for _ in range(3):
        assert db.execute(numbers).fetchone() == (1, "row 1")
        db.execute(f"INSERT INTO {ITEMS}(n) VALUES (0)")
        assert db.execute(numbers).fetchone() == (1, "row 1")
        db.execute(f"INSERT INTO {ITEMS}(n) VALUES (0)")
        db.commit()
    assert count() == before + 6


@case
def processes_at_once_add_up() -> None:
    script = f"""
import libsql
db = libsql.connect({URL!r}, auth_token={TOKEN!r}, isolation_level=None)
for turn in range(10):
    db.execute("BEGIN IMMEDIATE")
    n = db.execute("SELECT n FROM {COUNTER} WHERE id = 1").fetchone()[0]
    db.execute("UPDATE {COUNTER} SET n = ? WHERE id = 1", (n + 1,))
    db.execute("COMMIT")
    db.execute("UPDATE {COUNTER} SET n = n + 1 WHERE id = 1")
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert db.execute(f"SELECT n FROM {COUNTER}").fetchone() == (60,)
    tell("counter", 60)


@case
def tokens() -> None:
    if TOKEN:
        for wrong in ("wrong", ""):
            assert "401" in str(refused(ValueError, connect(wrong).execute, "SELECT 1"))
    tell(
        "names",
        [row[0] for row in db.execute(f"SELECT name FROM {ITEMS} WHERE name IS NOT NULL ORDER BY id").fetchall()],
    )


main()
