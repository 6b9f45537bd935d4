"""Drift is found, named, explained and mended; in either direction."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from cutover.compare import ledger as ledger_module
from cutover.compare.scan import Scanner
from cutover.errors import NoSuchTable
from cutover.model.control import StoreName
from cutover.settings import CompareSettings
from tests.flow.compare_world import World, world


def fill(connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?)",
        [(number, f"user {number}", number / 3, bytes([number % 256])) for number in range(1, 101)],
    )
    connection.executemany(
        "INSERT INTO posts VALUES (?, ?, ?, ?)",
        [(author, number, f"{author} {number}", number) for author in ("A", "a", "\u00e9") for number in range(1, 31)],
    )


@pytest.fixture(params=["sqlite", "postgres"])
async def here(request: pytest.FixtureRequest, sqlite_path: str, postgres_url: str) -> AsyncIterator[World]:
    async with world(sqlite_path, postgres_url, fill, primary=cast("StoreName", request.param)) as made:
        yield made


async def test_equal_stores_are_proven_equal(here: World) -> None:
    verification = await here.comparator.verify()
    assert verification.error is None
    assert verification.problems == []
    assert verification.proves
    assert {table.name: table.rows for table in verification.tables} == {"users": 100, "posts": 90}
    assert (verification.rows, verification.total, verification.drift_rows) == (190, 190, 0)
    assert all(verification.fingerprints)
    assert here.comparator.last_full is verification
    shown = here.comparator.verification_json()
    assert (shown["state"], shown["rows"], shown["drift_rows"]) == ("done", 190, 0)
    assert sum(table.reread_ranges for table in verification.tables) >= 2
    status = here.comparator.status()
    assert status["last_full"]["rows"] == 190
    assert status["rows_compared"] >= 190


async def spoil_all_ways(here: World) -> None:
    """Two users missing, one other, one of another type (by value); a post too many in the middle, and at the end."""
    async with here.source.snapshot() as snapshot:
        users = here.table("users")
        rows = await snapshot.rows(users, [(7,), (8,)])
    await here.spoil(
        "users",
        deletes=[(1,), (100,)],
        upserts=[(rows[7,][0], "somebody else", *rows[7,][2:]), (rows[8,][0], rows[8,][1], 0.5, b"other")],
    )
    await here.spoil("posts", upserts=[("A", 1000, "too many", None), ("\u00e9", 31, "too many", None)])


async def test_each_kind_of_drift_is_found_and_mended(here: World) -> None:
    await spoil_all_ways(here)
    verification = await here.comparator.verify()
    assert verification.state == "done"
    assert not verification.proves
    assert here.comparator.drift_counts() == {
        "posts": {"missing": 0, "extra": 2, "different": 0, "type_changed": 0},
        "users": {"missing": 2, "extra": 0, "different": 2, "type_changed": 0},
    }
    drift = here.comparator.drifts(None, 100)
    assert drift["drift_rows"] == verification.drift_rows == 6
    found = {(row["table"], *row["key"]): (row["kind"], row["columns"]) for row in drift["rows"]}
    assert found == {
        ("users", 1): ("missing", []),
        ("users", 100): ("missing", []),
        ("users", 7): ("different", ["handle"]),
        ("users", 8): ("different", ["score", "face"]),
        ("posts", "A", 1000): ("extra", []),
        ("posts", "\u00e9", 31): ("extra", []),
    }
    seen = {tuple(row["key"]): row["first_seen"] for row in drift["rows"]}

    dry = await here.comparator.repair("users", dry_run=True)
    assert (dry["repaired"], dry["remaining"], dry["dry_run"], len(dry["rows"])) == (0, 4, True, 4)
    again = await here.comparator.verify(["users"])
    assert not again.full
    assert again.drift_rows == 4
    assert here.comparator.last_full is verification
    now = {tuple(row["key"]): row["first_seen"] for row in here.comparator.drifts(None, 100)["rows"]}
    assert now == seen, "when a drift was first seen is kept"

    mended = await here.comparator.repair(None, dry_run=False)
    assert (mended["repaired"], mended["remaining"], len(mended["rows"])) == (6, 0, 6)
    assert here.comparator.drift_rows == 0
    assert (await here.comparator.verify()).proves


async def test_one_row_is_explained_on_both_sides(here: World) -> None:
    await spoil_all_ways(here)
    explained = await here.comparator.explain("users", ["7"])
    assert (explained["verdict"], explained["kind"]) == ("drift", "different")
    assert "handle differ" in explained["sentence"]
    assert explained["primary"]["store"] == here.source.name
    assert explained["primary"]["row"]["handle"] == "user 7"
    assert explained["shadow"]["row"]["handle"] == "somebody else"
    assert explained["shadow"]["row"]["face"] == {"base64": "Bw=="}
    columns = {column["name"]: column for column in explained["columns"]}
    assert [columns[name]["equal"] for name in ("id", "handle", "score", "face")] == [True, False, True, True]
    assert columns["id"]["primary"] == {"value": 7, "type": "integer", "canonical": "i7"}
    assert (await here.comparator.explain("users", [2]))["verdict"] == "equal"
    assert (await here.comparator.explain("users", [4711]))["verdict"] == "absent"
    assert (await here.comparator.explain("posts", ["\u00e9", "31"]))["kind"] == "extra"


async def test_a_table_that_is_not_mapped_is_named(here: World) -> None:
    with pytest.raises(NoSuchTable, match=r"no mapped table 'nobody'.*posts, users"):
        here.comparator.start_verify(["nobody"])
    with pytest.raises(NoSuchTable, match="no mapped table"):
        await here.comparator.repair("nobody")
    assert here.comparator.verification is None


async def test_with_more_drift_than_can_be_held_counts_stay_exact(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "HELD_ROWS", 7)
    await here.spoil("users", deletes=[(number,) for number in range(11, 61)])
    verification = await here.comparator.verify()
    assert verification.drift_rows == here.comparator.drift_rows == 50
    assert verification.problems == []
    assert len(here.comparator.drifts("users", 100)["rows"]) == 7
    mended = await here.comparator.repair("users")
    assert (mended["repaired"], mended["remaining"]) == (50, 0)
    assert (await here.comparator.verify()).proves


async def test_a_crowd_of_rows_that_only_the_shadow_has(here: World) -> None:
    """Far more rows than a range has, in the middle of a range and beyond the last one."""
    crowd = [("A", number, "crowd", None) for number in range(1000, 1300)]
    beyond = [("\u00ff", number, "beyond", None) for number in range(300)]
    await here.spoil("posts", upserts=crowd + beyond)
    verification = await here.comparator.verify()
    assert verification.problems == []
    assert here.comparator.drift_counts()["posts"]["extra"] == 600
    assert (await here.comparator.repair())["remaining"] == 0
    assert (await here.comparator.verify()).proves


async def test_a_shadow_that_is_empty_and_a_primary_that_is(here: World) -> None:
    await here.spoil("users", deletes=[(number,) for number in range(1, 101)])
    await here.write("DELETE FROM posts")
    await here.settled()
    await here.spoil("posts", upserts=[("A", number, "ghost", None) for number in range(1, 91)])
    await here.comparator.verify()
    counts = here.comparator.drift_counts()
    assert (counts["users"]["missing"], counts["posts"]["extra"]) == (100, 90)
    assert (await here.comparator.repair())["remaining"] == 0
    assert (await here.comparator.verify()).proves


async def test_digests_that_hide_drift_are_found_out(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blind digest: every range is taken for equal. The one that is read again in full gives it away."""
    await here.spoil("users", upserts=[(number, "drifted", None, None) for number in range(1, 101)])
    differing = Scanner._differing
    monkeypatch.setattr(
        Scanner, "_differing", lambda *arguments: ([], [*differing(*arguments)[0], *differing(*arguments)[1]])
    )
    verification = await here.comparator.verify(["users"])
    assert any("digests hide drift" in problem for problem in verification.problems)
    assert not verification.proves
    assert here.comparator.drift_rows > 0


@pytest.mark.parametrize(
    ("column", "mapped", "changed"),
    [
        ("amount", "bigint", "numeric"),  # digests stay equal
        ("score", "double precision", "numeric"),  # rows differ
        ("score", "double precision", "text"),  # cannot be read
    ],
)
async def test_a_column_changed_on_the_shadow_is_named_and_what_to_do(
    sqlite_path: str, postgres_url: str, column: str, mapped: str, changed: str
) -> None:
    schema = "CREATE TABLE measures (id INTEGER PRIMARY KEY, amount INTEGER, score REAL)"

    def measures(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO measures VALUES (?1, ?1, ?1 / 3.0)", [(n,) for n in range(1, 101)])

    async with world(sqlite_path, postgres_url, measures, schema=schema) as here:
        assert (await here.comparator.verify()).proves
        await alter(postgres_url, f"ALTER TABLE measures ALTER {column} TYPE {changed} USING {column}::{changed}")
        for _ in range(3):
            verification = await here.comparator.verify()
            told = " ".join([verification.error or "", *verification.problems])
            assert f'Column {column} of "public"."measures" is {changed}; it was mapped as {mapped}.' in told
            assert "restart the service" in told
            assert "Please report it" not in told
            assert not verification.proves
        await alter(postgres_url, f"ALTER TABLE measures ALTER {column} TYPE {mapped} USING {column}::{mapped}")
        await here.comparator.verify()
        assert (await here.comparator.repair())["remaining"] == 0
        verification = await here.comparator.verify()
        assert verification.proves, (verification.error, verification.problems)


async def alter(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_keys_that_cannot_be_typed_are_explained(sqlite_path: str, postgres_url: str) -> None:
    schema = "CREATE TABLE notes (name TEXT PRIMARY KEY, body TEXT)"

    def unusual(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (NULL, 'none'), (CAST(x'61ff' AS TEXT), 'broken'), ('null', 'n')")

    async with world(sqlite_path, postgres_url, unusual, schema=schema) as here:
        for word, body in (('{"null": true}', "none"), ('{"text_hex": "61ff"}', "broken"), ("null", "n")):
            explained = await here.comparator.explain("notes", [word])
            assert explained["primary"]["row"]["body"] == body
            assert explained["verdict"] == ("equal" if body == "n" else "quarantined")


async def test_a_store_that_is_away_fails_the_verification_and_no_more(here: World, postgres_server: str) -> None:
    async with here.postgres_away(postgres_server):
        failed = await here.comparator.verify()
    assert failed.state == "failed"
    assert failed.error
    assert here.comparator.last_full is None
    assert (await here.comparator.verify()).proves


async def test_forgetting_ends_what_is_under_way(here: World) -> None:
    await here.spoil("users", deletes=[(1,)])
    await here.comparator.verify()
    assert here.comparator.drift_rows == 1
    running = here.comparator.start_verify()
    assert here.comparator.start_verify() is running, "one at a time"
    here.comparator.forget()
    assert running.state == "failed"
    assert "changed" in (running.error or "")
    assert (here.comparator.drift_rows, here.comparator.last_full) == (0, None)
    assert (await here.comparator.verify()).drift_rows == 1


async def test_what_fails_behind_the_end_of_the_migration_is_not_told(sqlite_path: str, postgres_url: str) -> None:
    compare = CompareSettings(scan_interval=1000)
    async with world(sqlite_path, postgres_url, fill, compare=compare) as here, here.serving(here.comparator.run):
        while here.comparator.verification is None:
            await asyncio.sleep(0)
        here.comparator.end()
        here.comparator.forget()
        assert here.comparator.verification.state == "failed"
        await here.comparator.verify()
        assert "finished" in here.comparator.last_sentence


async def test_rows_the_shadow_cannot_hold_are_not_drift(sqlite_path: str, postgres_url: str) -> None:
    async with world(sqlite_path, postgres_url, fill) as here:
        await here.write("UPDATE users SET handle = ?1 WHERE id = 5", [("with \x00 nul",)])
        await here.settled()
        verification = await here.comparator.verify()
        assert verification.proves
        assert verification.rows == 190
        explained = await here.comparator.explain("users", [5])
        assert explained["verdict"] == "quarantined"
        assert "NUL" in explained["quarantined"]
        await here.write("UPDATE users SET handle = 'mended' WHERE id = 5")
        await here.settled()
        assert (await here.comparator.explain("users", [5]))["verdict"] == "equal"


async def test_a_value_that_only_changed_its_type(sqlite_path: str, postgres_url: str) -> None:
    """On a Postgres primary, with a column that SQLite leaves as it comes."""
    schema = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body BLOB); INSERT INTO notes VALUES (1, x'37'), (2, x'');"
    settings = CompareSettings(scan_interval=0)
    async with world(
        sqlite_path, postgres_url, lambda _: None, schema=schema, primary="postgres", compare=settings
    ) as here:
        await here.spoil("notes", upserts=[(1, "7")])
        await here.comparator.verify()
        (row,) = here.comparator.drifts()["rows"]
        assert (row["kind"], row["columns"]) == ("type_changed", ["body"])
        assert (row["primary"]["body"], row["shadow"]["body"]) == ({"base64": "Nw=="}, "7")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_spoiled_is_found_exactly_and_mended(here: World, seed: int) -> None:
    """Random rows deleted, changed and invented on the shadow: the report names these and no others."""
    dice = random.Random(seed)
    posts = here.table("posts")
    async with here.source.snapshot() as snapshot:
        rows = await snapshot.range(posts, None, 1000)
    for _ in range(3):
        chosen = dice.sample(rows, dice.randint(1, 60))
        cut = dice.randint(0, len(chosen))
        invented = {
            (dice.choice(["", "A", "B", "a", "\u00e9", "\U0001f600"]), dice.randint(31, 5000))
            for _ in range(dice.randint(0, 60))
        }
        changed = [(*row[:2], dice.choice([None, "", "other"]), row[3]) for row in chosen[:cut]]
        gone = [posts.key_of(row) for row in chosen[cut:]]
        await here.spoil("posts", upserts=[*changed, *((*key, "x", None) for key in invented)], deletes=gone)
        expected = {posts.key_of(row): "different" for row in changed}
        expected |= dict.fromkeys(gone, "missing") | dict.fromkeys(invented, "extra")
        verification = await here.comparator.verify()
        assert verification.problems == []
        found = {tuple(row["key"]): row["kind"] for row in here.comparator.drifts("posts", 1000)["rows"]}
        assert found == expected
        assert (await here.comparator.repair())["repaired"] == len(expected)
        assert (await here.comparator.verify()).proves
