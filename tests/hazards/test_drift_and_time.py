"""Section C: drift that is none (36), drift that nobody sees (37), the audit log's tail (38), clocks (39), files (40).

35 is in `test_uncaptured.py`.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cutover.audit import verify_chain
from cutover.errors import CaptureBroken
from cutover.model.control import SwitchState
from cutover.settings import CompareSettings
from tests.flow.compare_world import world
from tests.support.checks import settled
from tests.support.commands import cutover
from tests.support.postgres import native, run
from tests.support.service import Service, until
from tests.support.sqlite_world import PRIMARY, direct, make, one, served


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO users (id, handle) VALUES (1, 'v0'), (2, 'v0')")


# -- 36: rows in flight ----------------------------------------------------------------------------------------------


async def test_hazard_36_naive_the_order_of_looking_makes_drift(sqlite_path: str, postgres_url: str) -> None:
    make(sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE TABLE log (id)")
    make(sqlite_path, "CREATE TRIGGER c AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (NEW.id); END")
    make(sqlite_path, "INSERT INTO t VALUES (1, 'v0')")
    await run(postgres_url, "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'v0')")
    async with native(postgres_url) as shadow:
        seen = await shadow.fetchval("SELECT v FROM t")
        make(sqlite_path, "UPDATE t SET v = 'v1'")
        await shadow.execute("UPDATE t SET v = 'v1'")  # mirrored ...
        make(sqlite_path, "DELETE FROM log")  # ... and trimmed
        assert one(sqlite_path, "SELECT v FROM t") != seen
        assert one(sqlite_path, "SELECT count(*) FROM log") == 0  # nothing says that it was in flight
        assert await shadow.fetchval("SELECT v FROM t") == "v1"


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_hazard_36_what_is_in_flight_is_no_drift(sqlite_path: str, postgres_url: str, primary: Any) -> None:
    settings = CompareSettings(scan_interval=0, settle_timeout=0.2)
    async with world(sqlite_path, postgres_url, fill, primary=primary, compare=settings) as here:
        here.mirror.pause()
        await here.write("UPDATE users SET handle = 'v1' WHERE id = 1")
        await here.write("DELETE FROM users WHERE id = 2")
        await here.write("INSERT INTO users (id, handle) VALUES (3, 'v1')")
        found = await here.comparator.verify()
        assert (found.state, found.drift_rows, found.suspended) == ("done", 0, 3)
        here.mirror.resume()
        await here.settled()
        await here.spoil("users", upserts=[(1, "spoiled", None, None)])
        assert (await here.comparator.verify()).drift_rows == 1


async def test_hazard_36_two_states_that_match_stay_so(sqlite_path: str, postgres_url: str) -> None:
    async with world(sqlite_path, postgres_url, fill) as here:
        users = here.table("users")
        async with here.comparator._ground.matched([users]) as states:
            for value in ("v1", "v0", "v2"):  # there, back again, and on; mirrored and trimmed each time
                await here.write(f"UPDATE users SET handle = '{value}' WHERE id = 1")
                await here.settled()
            mine, theirs = [await side.rows(users, [(1,)]) for side in (states.primary, states.shadow)]
            assert mine == theirs == {(1,): (1, "v0", None, None)}
            assert await states.in_flight(users, [(1,)]) == set()


# -- 37: what is not mapped ------------------------------------------------------------------------------------------


async def failing(service: Service) -> dict[str, str]:
    """Gates that do not pass, with what they say."""
    return {gate["name"]: gate["detail"] for gate in (await service.status())["gates"] if not gate["ok"]}


async def shows(service: Service, name: str = "") -> None:
    """Await that the gate does not pass, or that all do: the status shows those of a moment ago."""

    async def shown() -> bool:
        found = await failing(service)
        return name in found if name else not found

    await until(shown, f"a gate {name} that fails" if name else "gates that pass")


async def test_hazard_37_a_column_that_nobody_compares_stops_the_promotion(service: Service) -> None:
    service.config.write_text(service.config.read_text() + '[mirror]\nschema_changes = "stop"\n')
    await service.start()
    await service.up()
    await service.verified()
    await shows(service)
    make(service.sqlite, "ALTER TABLE items ADD COLUMN more TEXT", "UPDATE items SET more = 'hidden'")
    code, body = await service.switch("promote")
    assert code == 409, body

    async def said() -> bool:
        return "more" in (await failing(service)).get("target_ready", "")

    await until(said, "a gate that names the column")
    await service.verified()  # every row that is compared is equal
    await shows(service, "target_ready")
    assert (await service.switch("promote"))[0] == 409


async def test_hazard_37_a_table_made_after_the_verification_stops_the_promotion(service: Service) -> None:
    # A scheduled verification is due as soon as the new table is copied, and would open the gate that this looks at.
    service.config.write_text(service.config.read_text() + "[compare]\nscan_interval = 0\n")
    await service.start()
    await service.up()
    await service.verified()
    make(service.sqlite, "CREATE TABLE later (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO later VALUES (1, 'x')")
    code, body = await service.switch("promote")
    assert code == 409, body

    async def copied() -> bool:
        tables = {table["name"]: table["backfill"]["state"] for table in (await service.status())["tables"]}
        return tables.get("later") == "done"

    await until(copied, "a copy of the table")
    await shows(service, "verified")
    await service.up()
    await settled(service)
    await service.verified()
    body = await service.switched("promote")
    assert await service.rows("SELECT v FROM later") == [["x"]]


async def test_hazard_37_the_fence_itself_looks_for_new_tables(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, "CREATE TABLE later (k TEXT NOT NULL PRIMARY KEY)")
        with pytest.raises(CaptureBroken, match="later"):
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)


# -- 38: the tail of the audit log -----------------------------------------------------------------------------------


async def test_hazard_38_a_cut_tail_is_whole_to_the_chain_and_not_to_the_anchors(service: Service) -> None:
    await service.start()
    await service.up()
    for _ in range(2):
        assert (await service.post("/v1/backup"))[0] == 200
    assert await service.stop() == 0
    log = service.folder / "state" / "audit.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    assert verify_chain(log).ok  # the naive check
    await service.start()
    assert await service.died() != 0
    assert "the tail is missing" in service.log.read_text()
    log.write_bytes(b"".join(lines)[:-10])  # torn, but it was anchored: no crash can have done that
    await service.start()
    assert await service.died() != 0
    log.write_bytes(b"".join(lines) + b'{"sequence": 3, "torn')  # torn before it was anchored: a crash
    await service.start()
    await service.up()
    assert verify_chain(log).ok
    assert b"audit.repaired" in log.read_bytes()


# -- 39: clocks ------------------------------------------------------------------------------------------------------


async def test_hazard_39_a_clock_that_steps_hides_no_change(service: Service) -> None:
    await service.start()
    await service.up()
    assert (await service.post("/v1/mirror/pause"))[0] == 200
    make(service.sqlite, "INSERT INTO items VALUES ('late', 1, NULL)")
    for step, least, most in ((3600, 0, 0), (-7200, 3500, 3800)):
        make(service.sqlite, f"UPDATE _cutover_log SET at = at + {step}")
        mirror = (await service.status())["mirror"]
        assert mirror["lag_changes"] == 1
        assert least <= mirror["lag_seconds"] <= most
    await shows(service, "mirror_caught_up")


# -- 40: files that cannot be shared ---------------------------------------------------------------------------------


async def planned(path: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and findings of `cutover plan`."""
    ran = await cutover("plan", "--sqlite", path, "--json")
    return ran.code, json.loads(ran.out)["findings"]


async def test_hazard_40_naive_an_exclusive_writer_keeps_everybody_out(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with direct(sqlite_path) as holder, direct(sqlite_path) as other:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("INSERT INTO t VALUES (1)")
        other.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("SELECT * FROM t")


async def test_hazard_40_the_plan_says_what_stands_in_the_way(sqlite_path: str, tmp_path: Path) -> None:
    make(sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with direct(sqlite_path) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("INSERT INTO t VALUES (1)")
        code, findings = await planned(sqlite_path)
        assert (code, [(found["severity"], found["code"]) for found in findings]) == (3, [("blocks", "locked")])
    other = str(tmp_path / "delete.db")
    with direct(other) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
    code, findings = await planned(other)
    assert {(found["code"], found["table"]) for found in findings} >= {("not_wal", ""), ("virtual_table", "words")}
    with direct(other) as connection:
        connection.execute("DROP TABLE words")
        connection.execute("PRAGMA journal_mode = WAL")
    assert (await planned(other))[0] == 0
