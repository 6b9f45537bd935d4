"""Reading rows, ranges and digests from Postgres: the same answers as Python's canonical form gives."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import asyncpg
import pytest

from cutover.errors import CaptureBroken
from cutover.model.table import Column, Table
from cutover.model.values import Key, RangeDigest, Row
from cutover.schema.canonical import digest
from cutover.schema.codecs import codecs_for
from cutover.stores.postgres.keys import order
from tests.support.postgres import PRIMARY, native, ready, run
from tests.support.samples import ITEMS, PAIRS, PEOPLE

ODD_ITEMS: list[Row] = [
    (-(2**63), None, "", 0.0, b""),
    (-1, None, "é\U0001f600;n;", -0.0, b"\x00\xff"),
    (0, None, None, None, None),
    (7, None, "t1:x;", math.inf, b"n;"),
    (2**63 - 1, None, "\x01\u007f\u0080", 5e-324, bytes(range(256))),
]


def expected(table: Table, rows: list[Row]) -> RangeDigest:
    return RangeDigest(len(rows), digest(rows, codecs_for(table)))


async def insert(url: str, table: Table, rows: list[Row]) -> None:
    async with native(url) as app:
        await app.copy_records_to_table(table.target, columns=[column.target for column in table.columns], records=rows)


async def test_digests_equal_pythons(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await insert(postgres_url, ITEMS, ODD_ITEMS)
        async with store.snapshot() as snapshot:
            assert await snapshot.digests(ITEMS, None, [(0,)], tail=True) == [
                expected(ITEMS, ODD_ITEMS[:3]),
                expected(ITEMS, ODD_ITEMS[3:]),
            ]
            assert await snapshot.digests(ITEMS, None, [], tail=True) == [expected(ITEMS, ODD_ITEMS)]
            assert await snapshot.digests(ITEMS, (-1,), [(0,), (6,), (7,)], tail=False) == [
                expected(ITEMS, [row]) if row else RangeDigest(0, 0) for row in (ODD_ITEMS[2], None, ODD_ITEMS[3])
            ]
            cut = await snapshot.scan(ITEMS, None, 2, 10)
            assert [(it.upper, RangeDigest(it.rows, it.digest)) for it in cut] == [
                ((-1,), expected(ITEMS, ODD_ITEMS[:2])),
                ((7,), expected(ITEMS, ODD_ITEMS[2:4])),
                ((2**63 - 1,), expected(ITEMS, ODD_ITEMS[4:])),
            ]
            assert [it.upper for it in await snapshot.scan(ITEMS, (-1,), 1, 2)] == [(0,), (7,)]
            assert await snapshot.scan(ITEMS, (2**63 - 1,), 1, 2) == []
            assert await snapshot.range(ITEMS, (-1,), 2) == ODD_ITEMS[2:4]
            assert await snapshot.between(ITEMS, (0,), (2**63 - 1,)) == ODD_ITEMS[3:]
            assert await snapshot.rows(ITEMS, [(7,), (8,), ("7",), (2**70,)]) == {(7,): ODD_ITEMS[3]}
            assert await snapshot.count(ITEMS) == 5


def pairs(seed: int) -> list[Row]:
    chooser = random.Random(seed)
    texts = ["", "a", "a\x01", "ab", "\x7f", "\x80", "\ud7ff", "\ue000", "é", "\uffff", "\U00010000", "\U0010ffff"]
    chosen = {(chooser.randrange(-2, 3), chooser.choice(texts)) for _ in range(60)}
    return sorted(((a, b, None) for a, b in chosen), key=lambda row: order(row[:2]))


BOUNDS: list[Key] = [
    (0, "ab\x00c"),
    (0, "a\x00"),
    (0, "\udc80"),
    (1, "a\udcff"),
    (1, "\ud800"),
    (-1, "\U0010ffff\udcff"),
    (0.5, "x"),
    (-1.5, ""),
    (1e300, "x"),
    ("text", "x"),
    (None, "x"),
    (0, 5),
    (0, b"blob"),
    (0, None),
    (2**63, "x"),
    (1, "a"),
    (99, "nobody"),
]


async def some_collation(url: str) -> str:
    """The least bytewise one that this server has; cutover takes any it does not know for not bytewise."""
    async with native(url) as app:
        try:
            await app.execute("SELECT 'a' < 'B' COLLATE \"en-x-icu\"")
        except asyncpg.PostgresError:
            return "ucs_basic"
    return "en-x-icu"


@pytest.mark.parametrize("bytewise", [True, False])
async def test_bounds_that_postgres_cannot_hold_cut_where_sqlite_cuts(postgres_url: str, bytewise: bool) -> None:
    collation = "C" if bytewise else await some_collation(postgres_url)
    ddl = [f'CREATE TABLE pairs (a bigint, b text COLLATE "{collation}", note text, PRIMARY KEY (a, b))']
    columns = (PAIRS.columns[0], Column("b", "TEXT", "TEXT", "b", "text", target_collation=collation), PAIRS.columns[2])
    table = Table("pairs", "public", "pairs", columns, ("a", "b"))
    rows = pairs(1)
    async with ready(postgres_url, PRIMARY, ddl=ddl, tables=(table,)) as store:
        await insert(postgres_url, table, rows)
        bounds = sorted(BOUNDS, key=order)
        async with store.snapshot() as snapshot:
            for bound in bounds:
                below = [row for row in rows if order(row[:2]) <= order(bound)]
                assert await snapshot.between(table, None, bound) == below, bound
                assert await snapshot.range(table, bound, 1000) == rows[len(below) :], bound
            edges = [order(bound) for bound in bounds]
            found = await snapshot.digests(table, bounds[0], bounds[1:], tail=True)
            for n, one in enumerate(found):
                mine = [
                    row
                    for row in rows
                    if edges[n] < order(row[:2]) and (n + 1 == len(edges) or order(row[:2]) <= edges[n + 1])
                ]
                assert one == expected(table, mine), bounds[n]
            cut = await snapshot.scan(table, None, 7, 100)
            assert [it.upper for it in cut] == [rows[min(n + 6, len(rows) - 1)][:2] for n in range(0, len(rows), 7)]
            assert sum(it.digest for it in cut) % 2**64 == expected(table, rows).digest


async def test_json_and_boolean_columns_are_digested_by_value(postgres_url: str) -> None:
    ddl = ["CREATE TABLE docs (id int PRIMARY KEY, doc jsonb, raw json, yes boolean)"]
    columns = (
        Column("id", "INTEGER", "INTEGER", "id", "integer"),
        Column("doc", "TEXT", "TEXT", "doc", "jsonb"),
        Column("raw", "TEXT", "TEXT", "raw", "json"),
        Column("yes", "INTEGER", "INTEGER", "yes", "boolean"),
    )
    table = Table("docs", "public", "docs", columns, ("id",))
    async with ready(postgres_url, PRIMARY, ddl=ddl, tables=(table,)) as store:
        await run(
            postgres_url,
            """INSERT INTO docs VALUES (1, '{"b": 1.0, "a": [1, 2]}', '[ 1 ]', true), (2, NULL, NULL, NULL)""",
        )
        theirs: list[Row] = [(1, '{"a":[1,2],"b":1}', "[ 1 ]", 1), (2, None, None, None)]
        async with store.snapshot() as snapshot:
            assert await snapshot.digests(table, None, [(1,)], tail=True) == [
                expected(table, theirs[:1]),
                expected(table, theirs[1:]),
            ]
            (first, _) = await snapshot.scan(table, None, 1, 2)
            assert RangeDigest(first.rows, first.digest) == expected(table, theirs[:1])
            assert (await snapshot.range(table, None, 1))[0][3] == 1


async def test_a_snapshot_is_one_state_from_the_moment_it_opens(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await insert(postgres_url, PEOPLE, [("a", "ann", None)])
        async with store.snapshot() as snapshot:
            await run(postgres_url, "UPDATE people SET handle = 'later'")
            assert await snapshot.rows(PEOPLE, [("a",)]) == {("a",): ("a", "ann", None)}


async def test_a_rewrite_waits_for_the_snapshot_instead_of_emptying_it(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await insert(postgres_url, PEOPLE, [("a", "ann", None)])
        async with store.snapshot() as snapshot, native(postgres_url) as app:
            await app.execute("SET lock_timeout = '50ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await app.execute("ALTER TABLE people ALTER handle TYPE varchar(50) USING handle")
            assert await snapshot.count(PEOPLE) == 1


async def test_a_missing_table_is_said(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "DROP TABLE pairs")
        with pytest.raises(CaptureBroken, match="pairs"):
            async with store.snapshot():
                pass


async def test_orphans_and_scalars(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(
            postgres_url,
            "INSERT INTO people VALUES ('a', 'ann', NULL)",
            "ALTER TABLE items DISABLE TRIGGER ALL",
            "INSERT INTO items (id, owner) VALUES (1, 'a'), (2, 'gone'), (3, NULL)",
        )
        async with store.snapshot() as snapshot:
            assert await snapshot.orphans(ITEMS) == {"items.owner -> people.id": 1}
            key, parent = (
                ITEMS.foreign_keys[0],
                replace(PEOPLE, columns=(replace(PEOPLE.columns[0], collation="NOCASE"),)),
            )
            told = key.shown("items", parent)
            assert told == "items.owner -> people.id (by NOCASE on SQLite, by bytes on Postgres)"
            assert await snapshot.scalar("SELECT sum(id) FROM items") == "6"
            assert await snapshot.scalar("SELECT true") == "1"
            assert await snapshot.scalar("SELECT 0.5::float8") == "0.5"
            assert await snapshot.scalar("SELECT NULL") is None


async def test_a_table_whose_column_changed_is_read_at_once(postgres_url: str) -> None:
    """An outdated statement fails inside a transaction, so no connection of before may be kept."""
    async with ready(postgres_url, PRIMARY) as store:
        await insert(postgres_url, ITEMS, ODD_ITEMS)

        async def read() -> Row:
            async with store.snapshot() as snapshot:
                return (await snapshot.range(store._tables["items"].table, (0,), 1))[0]

        assert await read() == ODD_ITEMS[3]
        for kind, size in (("text", "Infinity"), ("double precision", math.inf)):
            await run(postgres_url, f"ALTER TABLE items ALTER COLUMN size TYPE {kind} USING size::{kind}")
            columns = [
                replace(column, target_type=kind, target_collation="C" if kind == "text" else None)
                if column.name == "size"
                else column
                for column in ITEMS.columns
            ]
            store.serve_tables((replace(ITEMS, columns=tuple(columns)), PEOPLE, PAIRS))
            assert await read() == (*ODD_ITEMS[3][:3], size, ODD_ITEMS[3][4])
