"""Stores left in the middle of a promotion, as a kill would leave them, made by what the service itself uses."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cutover.audit import AuditLog
from cutover.model.control import Control, SwitchState
from cutover.schema.mapping import map_tables
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.store import SqliteStore
from tests.support.service import Service

SWITCH = "left-in-the-middle"


async def leave(
    service: Service, postgres_url: str, state: SwitchState, *, committed: bool = False, native: str = ""
) -> Control:
    """Bring the stores of a stopped service into `state` of a promotion. Returns SQLite's control row.

    With `committed` the commit reached Postgres, and `native` is SQL that an application ran there after it.
    """
    log = AuditLog(service.folder / "state" / "audit.jsonl")
    log.open()
    log.append("promote.requested", "operator", {"switchId": SWITCH, "approval": "CHANGE-1"})
    async with AsyncExitStack() as closing:
        sqlite = SqliteStore(service.sqlite, owner_lock=owner_lock_path(service.sqlite))
        postgres = PostgresStore(postgres_url, pool_size=2)
        for store in (sqlite, postgres):
            await store.open()
            closing.push_async_callback(store.close)
        mapping = map_tables(await sqlite.read_schema(), await postgres.read_schema("public"), Settings())
        for store in (sqlite, postgres):
            store.serve_tables(mapping.tables)
        before = await sqlite.control()
        peer = await postgres.control()
        assert before is not None
        assert peer is not None
        await postgres.prepare(SWITCH)
        fenced = before.but(state=SwitchState.PROMOTING, switch_id=SWITCH)
        await sqlite.fence(fenced, 60)
        if state is SwitchState.COMMITTING:
            await sqlite.write_control(fenced.but(state=state), expect=fenced)
        if committed:
            await postgres.receive(peer.but(primary="postgres", epoch=before.epoch + 1, switch_id=SWITCH), SWITCH, 60)
        if native:
            await postgres.create_tables([native])
        standing = await sqlite.control()
        assert standing is not None
        return standing


async def point_at(service: Service, before: str, after: str) -> None:
    """Write another Postgres into the configuration."""
    service.config.write_text(service.config.read_text().replace(before, after))
