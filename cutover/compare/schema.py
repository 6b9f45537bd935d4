"""A shadow whose tables are not what they were mapped as: the one cause of odd results that has a simple cure."""

from __future__ import annotations

from cutover.errors import CutoverError
from cutover.logs import counted
from cutover.stores.base import Store

_TOLD = 3


async def schema_fault(store: Store) -> str:
    """What is wrong with the tables of `store` and what to do, in a few sentences; empty if nothing is known to be."""
    try:
        found = await store.check_capture()
    except (CutoverError, OSError, TimeoutError):
        return ""
    if not found:
        return ""
    more = f" And {counted(len(found) - _TOLD, 'problem')} more." if len(found) > _TOLD else ""
    return (
        f"The tables of {store.name} are not what they were mapped as: {' '.join(found[:_TOLD])}{more} "
        "Change them back and verify again; or restart the service, which maps the tables as they are now and says "
        "what does not fit."
    )
