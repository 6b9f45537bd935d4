"""Ways to a crash point: the world a case starts from, what drives the service there, what is left to do then."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from tests.support import hindrances, tamper
from tests.support.crash_run import Act, Run, ignored, until_killed, until_steady
from tests.support.crash_worlds import find_postgres, lose_postgres
from tests.support.promises import UnrecordedError, postgres_rows, sqlite_rows
from tests.support.service import until

_PRIMARY = {"promote": "sqlite", "demote": "postgres"}
_PHASE = {"promote": "shadowing", "demote": "promoted"}


@dataclass(frozen=True)
class Way:
    """`story` ends with the process dead at the point. `heal` is what an operator does after the new start, if
    anything: no promise but honest drift may depend on it."""

    world: str
    story: Act
    heal: Act | None = None


def crashing(act: Act, *, passage: int = 1, **environment: str) -> Act:
    """The process is started with the point armed, and dies of `act`."""

    async def story(run: Run) -> None:
        run.environment |= environment
        await run.crash(act, passage)

    return story


def commanded(phase: str, path: str, **body: Any) -> Act:
    """An operator's command to a service that reached this phase and was verified."""

    async def act(run: Run) -> None:
        await run.service.up(phase)
        await run.service.verified()
        while await _gated(run, path, **body):
            await run.service.verified()

    return act


async def _gated(run: Run, path: str, **body: Any) -> bool:
    """Give a command; whether its gates have to be met again, as on a machine so busy that the mirror lags."""
    told: list[tuple[int, Any]] = []

    async def ask() -> None:
        told.append(await run.service.post(path, **body))

    await ignored(ask())
    return any(code == 409 and answer["error"]["code"] == "gates_failed" for code, answer in told)


def switching(direction: str) -> Act:
    return commanded(_PHASE[direction], f"/v1/{direction}", approval="CHANGE-1")


# -- a switch that is taken back -------------------------------------------------------------------------------------


def blocked(direction: str) -> Act:
    """A transaction past the front door outlasts the pause, so the fence never stands."""
    return hindered(direction, hindrances.sqlite_locked if direction == "promote" else hindrances.postgres_written)


def undrained(direction: str) -> Act:
    """The fence stands, and somebody keeps the shadow locked, so that the rest is not applied within the pause."""
    return hindered(direction, hindrances.postgres_locked if direction == "promote" else hindrances.sqlite_locked_late)


def uncommitted() -> Act:
    """The fence stands, and somebody keeps Postgres's tables from being locked for the commit."""
    return hindered("promote", hindrances.postgres_written)


def hindered(direction: str, hindrance: hindrances.Hindrance) -> Act:
    """A switch with little patience while somebody is in its way."""

    async def story(run: Run) -> None:
        run.environment |= {"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "2s", "CUTOVER_SQLITE_BUSY_TIMEOUT": "500ms"}

        async def act(run: Run) -> None:
            await run.service.up(_PHASE[direction])
            gated = True
            while gated:
                await run.service.verified()
                async with hindrance(run.service.sqlite, run.postgres):
                    gated = await _gated(run, f"/v1/{direction}", approval="CHANGE-1")

        await run.crash(act)

    return story


async def repaired(run: Run) -> None:
    """What differs is still known, or found again, and mended when asked for."""
    await run.service.verified()
    code, body = await run.service.post("/v1/repair")
    assert code == 200, body
    assert body["remaining"] == 0, body


# -- recovery: a second crash, while the first is being recovered from -----------------------------------------------


def recovering(world: str) -> Way:
    return Way(world, crashing(until_steady))


def unanswerable(direction: str) -> Way:
    """The receiver knows nothing of the switch that may have been committed there, until the right one is back."""
    on_postgres = "UPDATE cutover.switches SET switch_id = {} RETURNING 1"
    on_sqlite = "UPDATE _cutover_switches SET switch_id = {}"
    hide, show = "'hidden ' || switch_id", "replace(switch_id, 'hidden ', '')"

    async def rename(run: Run, how: str) -> None:
        if direction == "promote":
            await postgres_rows(run.postgres, on_postgres.format(how))
        else:
            _write_sqlite(run.service.sqlite, on_sqlite.format(how))

    async def story(run: Run) -> None:
        await rename(run, hide)
        await run.crash(until_killed)
        await rename(run, show)

    return Way(f"{direction}-sending", story)


def set_back(world: str, store: str, column: str) -> Way:
    """A store remembers less than the other: an older copy. If it is the primary's, the right one is put back."""

    async def put(run: Run, value: object) -> None:
        if store == "sqlite":
            _write_sqlite(run.service.sqlite, f"UPDATE _cutover_control SET {column} = {value}")
        else:
            await postgres_rows(run.postgres, f"UPDATE cutover.control SET {column} = {value} RETURNING 1")

    async def story(run: Run) -> None:
        table = "_cutover_control" if store == "sqlite" else "cutover.control"
        sql = f"SELECT {column} FROM {table}"
        rows = sqlite_rows(run.service.sqlite, sql) if store == "sqlite" else await postgres_rows(run.postgres, sql)
        await put(run, 0)
        await run.crash(until_killed)
        if column == "trimmed_batch":
            await put(run, rows[0][0])

    return Way(world, story)


def _write_sqlite(path: str, sql: str) -> None:
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute(sql)
        connection.commit()


async def _returning(run: Run) -> None:
    """The Postgres that was given up answers again, and an operator has everything copied to it."""
    run.readmits = True
    await run.crash(until_steady)
    run.epoch = 3  # by force, which the first start may not have come to


async def _name_the_lost(run: Run) -> None:
    """What Postgres had and SQLite never saw is in the audit log, key by key."""
    told = [record for record in run.evidence().records() if record["action"] == "recovery.lost_writes"]
    if len(told) != 1:
        raise UnrecordedError(f"{len(told)} records say what was lost")
    run.lost = {key for (key,) in told[0]["metadata"]["keys"].get("items", [])}


# -- the ends with no way back ---------------------------------------------------------------------------------------


async def forcing(run: Run) -> None:
    """Postgres is gone for the service, though its own applications still write there until it is back."""
    lose_postgres(run.service, run.postgres)

    async def act(run: Run) -> None:
        await run.service.answering()
        await ignored(run.service.switch("demote", force=True, accept_data_loss=True))

    await run.crash(act)
    run.readmits = True
    await run.service.start()
    await run.service.answering()
    code, body = await run.service.switch("demote", force=True, accept_data_loss=True)
    assert code == 200, body
    assert body["result"] in ("demoted", "already_demoted"), body
    assert await run.service.stop() == 0
    run.epoch = 3  # by force, which the first start may not have come to
    find_postgres(run.service, run.postgres)


async def _forged(run: Run) -> None:
    """The shadow is changed past its fence, and then an operator repairs what a verification finds."""
    await tamper.forge(run.service, run.postgres, run.shadow)

    async def act(run: Run) -> None:
        await run.service.up("shadowing" if run.shadow == "postgres" else "promoted")
        assert (await run.service.verified())["drift_rows"] == 1
        await ignored(run.service.post("/v1/repair"))

    await run.crash(act)


async def copying_first(run: Run) -> None:
    """The first start, until everything is copied."""
    await run.service.up()


def copying_again(phase: str) -> Act:
    """An operator has everything copied again."""

    async def act(run: Run) -> None:
        await run.service.up(phase)
        await ignored(run.service.post("/v1/backfill"))

        async def copied() -> bool:
            tables = (await run.service.status())["tables"]
            return all(table["backfill"]["state"] == "done" for table in tables)

        await until(copied, "the end of the copy")

    return act


def copies(world: str, act: Act) -> dict[str, Way]:
    """Two ways: cut off in the middle of a table that takes several transactions, and as soon as the point is met."""
    name = {"new": "first", "shadowing": "to-postgres", "promoted": "to-sqlite"}[world]
    return {
        f"copy-{name}": Way(world, crashing(act, passage=3, CUTOVER_MIRROR_BACKFILL_ROWS="100")),
        f"copy-{name}-at-once": Way(world, crashing(act)),
    }


# -- a schema that changes -------------------------------------------------------------------------------------------


def altering(phase: str) -> Act:
    """The application's migration, on the primary and past the front door: a table and a column come."""

    async def act(run: Run) -> None:
        await run.service.up(phase)
        for sql in (
            "ALTER TABLE accounts ADD COLUMN note TEXT DEFAULT 'none'",
            "CREATE TABLE extra(id BIGINT PRIMARY KEY, body TEXT)",
        ):
            if phase == "shadowing":
                _write_sqlite(run.service.sqlite, sql)
            else:
                await postgres_rows(run.postgres, sql)
        await until_killed(run)

    return act


def altering_by_front_door() -> Act:
    """The same migration through the front door, as one transaction."""

    async def act(run: Run) -> None:
        await run.service.up("promoted")
        script = (
            "BEGIN; ALTER TABLE accounts ADD COLUMN note TEXT DEFAULT 'none'; "
            "CREATE TABLE extra(id BIGINT PRIMARY KEY, body TEXT); COMMIT"
        )
        body = {"baton": None, "requests": [{"type": "sequence", "sql": script}, {"type": "close"}]}

        async def done() -> bool:
            """The writers may be in the way (SQLITE_BUSY), and the kill may come before the answer."""
            try:
                _, answer = await run.service.request("POST", run.service.front + "/v3/pipeline", body)
            except (aiohttp.ClientError, OSError):
                return True
            return not isinstance(answer, dict) or answer["results"][0]["type"] == "ok"

        await until(done, "the migration")
        await until_killed(run)

    return act


async def _carried(run: Run) -> None:
    """The same columns and rows on both sides."""

    async def alike() -> bool:
        asked = "SELECT count(note), 'one' FROM accounts UNION ALL SELECT id, body FROM extra"
        return await postgres_rows(run.postgres, asked) == sqlite_rows(run.service.sqlite, asked)

    async def there() -> bool:
        try:
            return await alike()
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, sqlite3.OperationalError):
            return False

    await until(there, "the new column and table on both sides")
    await run.steady()


WAYS: dict[str, Way] = {
    "alter-sqlite": Way("shadowing", crashing(altering("shadowing")), _carried),
    "alter-postgres": Way("promoted", crashing(altering("promoted")), _carried),
    "alter-front": Way("promoted", crashing(altering_by_front_door()), _carried),
    **copies("new", copying_first),
    **copies("shadowing", copying_again("shadowing")),
    **copies("promoted", copying_again("promoted")),
    "write-to-sqlite": Way("shadowing", crashing(until_killed, passage=3)),
    "write-to-postgres": Way("promoted", crashing(until_killed, passage=3)),
    "promote": Way("shadowing", crashing(switching("promote"))),
    "demote": Way("promoted", crashing(switching("demote"))),
    "promote-blocked": Way("shadowing", blocked("promote")),
    "demote-blocked": Way("promoted", blocked("demote")),
    "promote-undrained": Way("shadowing", undrained("promote")),
    "demote-undrained": Way("promoted", undrained("demote")),
    "promote-uncommitted": Way("shadowing", uncommitted()),
    **{
        f"{direction}-{cut}": recovering(f"{direction}-{cut}")
        for direction in ("promote", "demote")
        for cut in ("fenced", "sending", "sent")
    },
    "promote-unanswerable": unanswerable("promote"),
    "demote-unanswerable": unanswerable("demote"),
    "shadow-postgres-old": set_back("shadowing", "postgres", "applied_batch"),
    "shadow-postgres-older": Way("postgres-of-before", crashing(until_steady)),
    "shadow-sqlite-old": set_back("promoted", "sqlite", "applied_batch"),
    "primary-postgres-old": set_back("promoted", "postgres", "trimmed_batch"),
    "start-new": Way("new", crashing(until_steady)),
    "start-shadowing": Way("shadowing", crashing(until_steady)),
    "start-promoted": Way("promoted", crashing(until_steady)),
    "postgres-returned": Way("forced", _returning, _name_the_lost),
    "force": Way("promoted", forcing, _name_the_lost),
    "finish": Way("promoted", crashing(commanded("promoted", "/v1/finish", approval="CHANGE-2"))),
    "repair-postgres": Way("shadowing", _forged, repaired),
    "repair-sqlite": Way("promoted", _forged, repaired),
}
