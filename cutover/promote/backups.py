"""The backup that a switch took, looked at again where the switch was cut off: it is the last way back of all."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from cutover.audit import read_records
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.model.requests import SERVICE
from cutover.promote.parts import Parts

_log = get_logger("recovery")


async def ensure_backup(parts: Parts, switch_id: str) -> None:
    """Check the switch's backup; if it is missing or damaged, say so loudly and take another one in its place.

    Before the giver settles, a promotion's SQLite file is still exactly what was promoted. Recovery does not need the
    backup, so nothing here keeps it from going on.
    """
    record = await asyncio.to_thread(_recorded, parts.trail.log.path, switch_id)
    path, digest = record or ("", "")
    problem = await asyncio.to_thread(_problem, path, digest)
    if not problem:
        return
    another = parts.backups / f"recovered-{switch_id[:8]}.sqlite"
    _log.error(f"The backup of switch {switch_id} {problem}; another one is taken now.", path=path)
    try:
        await asyncio.to_thread(another.unlink, missing_ok=True)
        told: dict[str, str | None] = {"path": str(another), "sha256": await parts.origin.store.backup(str(another))}
    except (CutoverError, OSError) as error:
        told = {"path": None, "error": str(error)}
    await parts.trail.write("backup.replaced", SERVICE, switchId=switch_id, problem=f"{path} {problem}".strip(), **told)


def _recorded(log: Path, switch_id: str) -> tuple[str, str] | None:
    for record in reversed(read_records(log)):
        told = record.get("metadata")
        if record.get("action") == "backup" and isinstance(told, dict) and told.get("switchId") == switch_id:
            return str(told.get("path")), str(told.get("sha256"))
    return None


def _problem(path: str, digest: str) -> str:
    if not path:
        return "is not in the audit log"
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == digest else "is not what was written: its SHA-256 differs"
