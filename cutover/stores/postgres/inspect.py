"""What stands in a Postgres database, read without the service and without changing anything."""

from __future__ import annotations

from cutover.errors import ConfigurationError, ControlDamaged, StoreError
from cutover.model.control import Inspected
from cutover.stores.postgres import control as controls
from cutover.stores.postgres.link import Connections, Link

_SWITCHES = 5


async def inspect_postgres(connections: Connections, where: str) -> Inspected:
    """Read the control row and what belongs to it. Never raises for what it finds. `where` is for people."""
    try:
        async with connections.use("cutover inspect") as link, link.transaction("BEGIN READ ONLY"):
            return await _inspect(link, where)
    except (StoreError, ConfigurationError, OSError, TimeoutError) as error:
        return Inspected(where, None, None, f"it cannot be asked: {error}")
    finally:
        connections.close()


async def _inspect(link: Link, where: str) -> Inspected:
    identity = await controls.identity(link)
    if await link.value("SELECT to_regclass('cutover.control') IS NULL"):
        return Inspected(where, None, None, "cutover was never installed here", identity=identity)
    row = await link.row("SELECT * FROM cutover.control")
    control, damaged = None, False
    try:
        control, problem = await controls.read(link), ""
    except ControlDamaged as error:
        problem, damaged = error.message, True
    fenced = await link.value(
        """
        SELECT EXISTS (
            SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE p.pronamespace = to_regnamespace('cutover') AND p.proname = 'refuse' AND t.tgenabled <> 'D')"""
    )
    logs = await link.fetch(
        "SELECT oid::regclass::text FROM pg_class "
        "WHERE relnamespace = to_regnamespace('cutover') AND relkind = 'r' AND relname ~ '^log_[0-9]+$'"
    )
    counts = [int(str(await link.value(f"SELECT count(*) FROM {log[0]}"))) for log in logs]
    switches = []
    if not await link.value("SELECT to_regclass('cutover.switches') IS NULL"):
        switches = await link.fetch(
            f"SELECT switch_id, outcome FROM cutover.switches ORDER BY at DESC LIMIT {_SWITCHES}"
        )
    return Inspected(
        where,
        None if row is None else dict(row),
        control,
        problem,
        damaged=damaged,
        fenced=bool(fenced),
        changes=sum(counts),
        switches=tuple((each["switch_id"], each["outcome"]) for each in reversed(switches)),
        identity=identity,
    )
