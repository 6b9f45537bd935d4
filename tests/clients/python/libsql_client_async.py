"""`libsql-client` from PyPI: stateless over HTTP, with transactions and its DB-API over WebSocket."""

from __future__ import annotations

import asyncio
import math

import libsql_client
from libsql_client import LibsqlError, dbapi2

from tests.clients.python.harness import (
    FLOATS,
    INTEGERS,
    KIND,
    LARGE,
    PREFIX,
    TEXTS,
    TOKEN,
    URL,
    case,
    main,
    refused,
    refused_soon,
    tell,
)

ITEMS = f"{PREFIX}items"
SOCKET = KIND == "ws"


def connect(token: str = TOKEN) -> libsql_client.Client:
    return libsql_client.create_client(URL, auth_token=token)


async def count(client: libsql_client.Client) -> int:
    return (await client.execute(f"SELECT count(*) FROM {ITEMS}"))[0][0]


@case
async def values() -> None:
    async with connect() as client:
        await client.execute(f"CREATE TABLE {ITEMS}(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER, b BLOB)")
        for at, n in enumerate(INTEGERS):
            await client.execute(f"INSERT INTO {ITEMS}(id, n) VALUES (?, ?)", [100 + at, n])
        found = await client.execute(f"SELECT n FROM {ITEMS} ORDER BY id")
        assert [row["n"] for row in found] == INTEGERS
        for value in [*FLOATS, *TEXTS, LARGE, b"", None]:
            assert (await client.execute("SELECT ?", [value]))[0][0] == value
        edges = (await client.execute("SELECT 9e999 AS a, -9e999 AS b, 2.0 AS c"))[0]
        assert edges.asdict() == {"a": math.inf, "b": -math.inf, "c": 2.0}
        assert isinstance(edges["c"], float)
        await client.execute(f"INSERT INTO {ITEMS}(id, b) VALUES (:id, :b)", {"id": 200, "b": LARGE})
        assert (await client.execute(f"SELECT b FROM {ITEMS} WHERE id = 200"))[0]["b"] == LARGE
        tell("integers", INTEGERS)


@case
async def results() -> None:
    async with connect() as client:
        made = await client.execute(f"INSERT INTO {ITEMS}(name) VALUES ('a'), ('b') RETURNING id, name")
        assert (made.columns, made.rows_affected, made.last_insert_rowid) == (("id", "name"), 2, 202)
        assert [tuple(row) for row in made] == [(201, "a"), (202, "b")]
        twice = await client.execute("SELECT 1 AS x, 2 AS x")
        assert (twice.columns, tuple(twice[0])) == (("x", "x"), (1, 2))
        big = await client.execute(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " SELECT i, 'row ' || i FROM n"
        )
        assert (len(big), tuple(big[-1])) == (10_000, (10_000, "row 10000"))


@case
async def errors() -> None:
    async with connect() as client:
        error = await refused_soon(LibsqlError, client.execute(f"INSERT INTO {ITEMS}(name) VALUES ('a')"))
        assert error.code == "SQLITE_CONSTRAINT"
        assert f"UNIQUE constraint failed: {ITEMS}.name" in str(error)
        assert "no such table" in str(await refused_soon(LibsqlError, client.execute("SELECT * FROM nowhere")))
        assert (await refused_soon(LibsqlError, client.execute("SELEC 1"))).code == "SQL_PARSE_ERROR"
        await refused_soon(LibsqlError, client.execute("SELECT ?, ?", [1]))
        assert (await client.execute("SELECT 1"))[0][0] == 1


@case
async def a_batch_is_all_or_nothing() -> None:
    async with connect() as client:
        before = await count(client)
        insert = f"INSERT INTO {ITEMS}(name) VALUES (?)"
        done = await client.batch([(insert, ["c"]), f"SELECT count(*) FROM {ITEMS}", (insert, ["d"])])
        assert [one.rows_affected for one in done] == [1, 0, 1]
        assert done[1][0][0] == before + 1
        error = await refused_soon(LibsqlError, client.batch([(insert, ["lost"]), (insert, ["a"])]))
        assert error.code == "SQLITE_CONSTRAINT"
        assert await count(client) == before + 2


@case
async def transactions() -> None:
    async with connect() as client:
        if not SOCKET:
            assert refused(LibsqlError, client.transaction).code == "TRANSACTIONS_NOT_SUPPORTED"
            return
        before = await count(client)
        with client.transaction() as transaction:
            await transaction.execute(f"INSERT INTO {ITEMS}(name) VALUES ('in')")
            assert await count(client) == before
            await refused_soon(LibsqlError, transaction.execute(f"INSERT INTO {ITEMS}(name) VALUES ('in')"))
            await transaction.commit()
        with client.transaction() as transaction:
            await transaction.execute(f"INSERT INTO {ITEMS}(name) VALUES ('lost')")
            await transaction.rollback()
        with client.transaction() as transaction:
            await transaction.execute(f"INSERT INTO {ITEMS}(name) VALUES ('lost')")
        assert await count(client) == before + 1


@case
async def many_at_once_add_up() -> None:
    async with connect() as first, connect() as second:
        await first.execute(f"INSERT INTO {ITEMS}(id, n) VALUES (1000, 0)")
        add = f"UPDATE {ITEMS} SET n = n + 1 WHERE id = 1000"
        await asyncio.gather(*(client.execute(add) for client in (first, second) for _ in range(50)))
        if SOCKET:

            async def careful(client: libsql_client.Client) -> None:
                with client.transaction() as transaction:
                    await transaction.execute(f"UPDATE {ITEMS} SET name = name WHERE id = 1000")  # takes the lock
                    n = (await transaction.execute(f"SELECT n FROM {ITEMS} WHERE id = 1000"))[0][0]
                    await transaction.execute(f"UPDATE {ITEMS} SET n = ? WHERE id = 1000", [n + 1])
                    await transaction.commit()

            await asyncio.gather(*(careful(client) for client in (first, second) for _ in range(10)))
        total = 120 if SOCKET else 100
        assert (await second.execute(f"SELECT n FROM {ITEMS} WHERE id = 1000"))[0][0] == total
        tell("counter", total)


@case
def its_db_api() -> None:
    if not SOCKET:
        return
    db = dbapi2.connect(f"{URL}?authToken={TOKEN}", uri=True)
    cursor = db.cursor()
    cursor.execute(f"INSERT INTO {ITEMS}(name, n) VALUES (?, ?)", ("dbapi", 2**63 - 1))
    assert (cursor.rowcount, db.in_transaction) == (1, True)
    db.rollback()
    with db:
        cursor.execute(f"INSERT INTO {ITEMS}(name, b) VALUES (:name, :b)", {"name": "dbapi", "b": b"\0\xff"})
        cursor.executemany(f"INSERT INTO {ITEMS}(name) VALUES (?)", [("many 1",), ("many 2",)])
    assert not db.in_transaction
    found = cursor.execute(f"SELECT name, b, n FROM {ITEMS} WHERE name = 'dbapi'")
    assert [column[0] for column in found.description] == ["name", "b", "n"]
    assert found.fetchall() == [("dbapi", b"\0\xff", None)]
    error = refused(dbapi2.IntegrityError, cursor.execute, f"INSERT INTO {ITEMS}(name) VALUES ('dbapi')")
    assert "UNIQUE constraint failed" in str(error)
    db.rollback()
    refused(dbapi2.OperationalError, cursor.execute, "SELECT * FROM nowhere")
    cursor.executescript(
        f"UPDATE {ITEMS} SET n = 1 WHERE name = 'many 1'; UPDATE {ITEMS} SET n = 2 WHERE name = 'many 2'"
    )
    assert cursor.execute(f"SELECT sum(n) FROM {ITEMS} WHERE name LIKE 'many%'").fetchone() == (3,)
    db.close()


@case
async def tokens() -> None:
    async with connect() as client:
        names = await client.execute(f"SELECT name FROM {ITEMS} WHERE name IS NOT NULL ORDER BY id")
        tell("names", [row[0] for row in names])
    if TOKEN:
        for wrong in ("wrong", ""):
            async with connect(wrong) as client:
                await refused_soon(LibsqlError, client.execute("SELECT 1"))


main()
