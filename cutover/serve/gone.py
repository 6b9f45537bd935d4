"""Tables that the primary has no more."""

from __future__ import annotations

from cutover.model.control import StoreName
from cutover.serve.followed import Followed
from cutover.stores.base import Store


async def forget_gone(state: Followed, primary: StoreName, shadow: Store) -> None:
    """Their rows in quarantine go with them: nothing will ever make them fit, and a switch waits for them."""
    held = {row.table for row in await shadow.quarantined()}
    gone = sorted(name for name in held if _is_gone(state, name, primary))
    if gone:
        await shadow.forget_quarantine(gone)


def _is_gone(state: Followed, name: str, primary: StoreName) -> bool:
    own = state.source.table(name)
    if primary == "sqlite":
        return own is None
    known = next((table for table in state.mapping.tables if table.name == name), None)
    if known is None and state.record is not None and (recorded := state.record.of(name)) is not None:
        known = recorded.table
    if known is not None:
        return state.target.table(known.target) is None
    return own is None
