"""The switch as Postgres sees it: giving the primacy away, receiving it, and what comes after."""

from __future__ import annotations

from collections.abc import Sequence

from cutover.crashpoints import crash_point
from cutover.errors import CaptureBroken, FenceTimeout, StaleApplier, StoreError
from cutover.model.control import Control, Outcome
from cutover.model.table import Table
from cutover.stores.postgres import capture, catalog, suspend
from cutover.stores.postgres import control as controls
from cutover.stores.postgres.capture import Wanted
from cutover.stores.postgres.errors import LOCK_NOT_AVAILABLE, PostgresAway, PostgresRefused
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.locks import holders, with_locks
from cutover.stores.postgres.names import literal, log, switch_name, target

_QUERY_CANCELED = "57014"
_UNPREPARED = "55000"

NO_HURRY = 60.0
"""Seconds for the locks of steps that nobody is waiting for."""


async def fence(link: Link, tables: Sequence[Table], control: Control, timeout: float) -> None:
    """Raise the fence and write `control`, once every writer has let go and capture was found whole."""

    async def work() -> None:
        standing = await write_newer(link, control)
        faults = [step.fault for step in await capture.steps(link, tables, Wanted.by(standing), whole=True)]
        if faults:
            raise CaptureBroken(" ".join(faults), hint="Let capture be repaired and the tables verified, then retry.")
        await _turn(link, tables, Wanted.by(control))
        crash_point("postgres.fence")

    await with_locks(link, [target(table) for table in tables], timeout, work)


async def release(link: Link, tables: Sequence[Table], control: Control) -> None:
    """Lift the fence and write `control`. Idempotent.

    A fence that was never raised needs no locks, which the writer that kept it down may hold for as long as it likes.
    """
    async with link.transaction():
        # The row's lock waits for a fence whose commit is still on its way.
        standing = await controls.read(link, "FOR NO KEY UPDATE")
        # At rest, the row keeps the number of the switch that brought it here.
        lifted = standing is not None and controls.same_place(standing.but(switch_id=control.switch_id), control)
        if lifted and not await capture.steps(link, tables, Wanted.by(control)):
            return

    async def work() -> None:
        await write_newer(link, control)
        await _turn(link, tables, Wanted.by(control))
        crash_point("postgres.release")

    await with_locks(link, [target(table) for table in tables], NO_HURRY, work)


async def settle(link: Link, tables: Sequence[Table], control: Control) -> None:
    """Become shadow: fence up, capture off, the log empty, the application's machinery at rest. Idempotent."""

    async def work() -> None:
        await write_newer(link, control)
        await _turn(link, tables, Wanted.by(control))
        await suspend.suspend(link, await catalog.parts(link, tables))
        await link.execute("; ".join(f"DELETE FROM {log(table)}" for table in tables) or "SELECT")
        await link.execute("DELETE FROM cutover.quarantine")
        crash_point("postgres.settle")

    await with_locks(link, [target(table) for table in tables], NO_HURRY, work)


async def write_newer(link: Link, control: Control) -> Control:
    """Write `control` unless a newer row stands there; returns what stood there."""
    standing = await controls.read(link, "FOR NO KEY UPDATE")
    if standing is None or standing.pair_id != control.pair_id:
        raise StoreError("PostgreSQL has no control row of this pair.")
    if standing.epoch > control.epoch or standing.generation > control.generation:
        raise StaleApplier(f"PostgreSQL is at epoch {standing.epoch}, generation {standing.generation} already.")
    await link.execute(controls.set_control(control))
    return standing


async def _turn(link: Link, tables: Sequence[Table], wanted: Wanted) -> None:
    """Have the triggers as wanted; makes missing ones, too."""
    taken = await capture.steps(link, tables, wanted)
    hopeless = [step.fault for step in taken if not step.sql]
    if hopeless:
        raise CaptureBroken(" ".join(hopeless))
    for step in taken:
        await link.execute(step.sql)
    if taken:
        await link.execute(capture.remember(tables))


async def receive(
    link: Link, tables: Sequence[Table], control: Control, switch_id: str, timeout: float, keys: Sequence[str]
) -> None:
    """THE commit point: one script, one transaction, one call. See `cutover.stores.base.Store.receive`.

    `keys`: what sets the sequences, of `sequences.setting`.
    """
    script = await _receipt(link, tables, control, (switch_id, timeout), keys)
    names = [target(table) for table in tables]
    try:
        await link.execute(script)
    except PostgresAway as error:
        if error.sqlstate not in {LOCK_NOT_AVAILABLE, _QUERY_CANCELED}:
            raise
        who, _ = await holders(link, names)
        raise FenceTimeout(
            f"The mirrored tables could not be locked within {timeout:g} s for the switch; in the way: {who}."
        ) from None
    except PostgresRefused as error:
        standing = await controls.outcome(link, switch_id)
        if error.sqlstate == _UNPREPARED and standing is Outcome.COMMITTED:
            return
        raise


async def _receipt(
    link: Link, tables: Sequence[Table], control: Control, switch: tuple[str, float], keys: Sequence[str]
) -> str:
    """The script. Sent as one simple query it is one transaction: it commits as a whole, or nothing happened."""
    switch_id, timeout = switch
    milliseconds = max(int(timeout * 1000), 1)
    wanted = Wanted.by(control)
    taken = await capture.steps(link, tables, wanted)
    hopeless = [step.fault for step in taken if not step.sql]
    if hopeless:
        raise CaptureBroken(" ".join(hopeless))
    names = ", ".join(target(table) for table in tables)
    return ";\n".join(
        [
            f"SET LOCAL application_name = {literal(switch_name(switch_id))}",
            f"SET LOCAL lock_timeout = {milliseconds}",
            f"SET LOCAL statement_timeout = {milliseconds}",
            "SET LOCAL synchronous_commit = on",
            *([f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"] if tables else []),
            _only_if_prepared(control, switch_id),
            *await suspend.restoring(link),
            *keys,
            *[f"DELETE FROM {log(table)}" for table in tables],
            *[step.sql for step in taken],
            *([capture.remember(tables)] if tables else []),
            controls.set_control(control),
        ]
    )


def _only_if_prepared(control: Control, switch_id: str) -> str:
    switch = literal(switch_id)
    return f"""DO $cutover$
        BEGIN
            PERFORM FROM cutover.control
            WHERE pair_id = {literal(control.pair_id)} AND epoch = {control.epoch - 1} AND primary_store = 'sqlite'
            FOR NO KEY UPDATE;
            IF FOUND THEN
                UPDATE cutover.switches SET outcome = 'committed', at = clock_timestamp()
                WHERE switch_id = {switch} AND outcome = 'prepared';
            END IF;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = '{_UNPREPARED}', MESSAGE = 'the switch is not prepared here';
            END IF;
        END $cutover$"""
