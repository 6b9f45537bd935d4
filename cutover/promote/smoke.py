"""The operator's smoke command after a promotion. Its failure is reported loudly and switches nothing."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from cutover.logs import get_logger
from cutover.model.requests import Actor
from cutover.promote.parts import Parts

_log = get_logger("smoke")
_KEPT = 4000
"""Characters of output that the audit record keeps, from the end."""
_TIMEOUT = 120.0


async def run_smoke(parts: Parts, actor: Actor) -> dict[str, Any]:
    """Run `promotion.smoke_command` in a shell, if there is one; returns `{"smoke": {...}}` or nothing."""
    command = parts.settings.promotion.smoke_command
    if not command:
        return {}
    environment = os.environ | {
        "CUTOVER_FRONT_LISTEN": parts.settings.front.listen,
        "CUTOVER_PRIMARY": parts.situation.pair.source.name,
    }
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT)
        code, text = process.returncode, output.decode(errors="replace")
    except TimeoutError:
        process.kill()
        await process.wait()
        code, text = -1, f"It did not end within {_TIMEOUT:.0f} s and was killed."
    if code:
        _log.error(f"The smoke command failed with exit code {code}. Nothing was switched because of it.", output=text)
    await parts.trail.write("smoke", actor, exitCode=code, output=text[-_KEPT:])
    return {"smoke": {"ok": code == 0, "exit_code": code, "output": text[-_KEPT:]}}
