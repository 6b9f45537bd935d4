"""The operator's smoke command after a promotion. Its failure is reported loudly and switches nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

from cutover.logs import get_logger
from cutover.model.requests import Actor
from cutover.promote.parts import Parts

_log = get_logger("smoke")
_KEPT = 4000
"""Characters of output that the audit record keeps, from the end."""
_CHUNK = 65_536


async def run_smoke(parts: Parts, actor: Actor) -> dict[str, Any]:
    """Run `promotion.smoke_command` in a shell, if there is one; returns `{"smoke": {...}}` or nothing."""
    settings = parts.settings.promotion
    if not settings.smoke_command:
        return {}
    environment = os.environ | {
        "CUTOVER_FRONT_LISTEN": parts.settings.front.listen,
        "CUTOVER_PRIMARY": parts.situation.pair.source.name,
        "CUTOVER_EPOCH": str(parts.situation.pair.epoch),
    }
    try:
        code, text = await _run(settings.smoke_command, environment, settings.smoke_timeout)
    except OSError as error:
        code, text = -1, f"It could not be started: {error}"
    if code:
        _log.error(f"The smoke command failed with exit code {code}. Nothing was switched because of it.", output=text)
    else:
        _log.info("The smoke command succeeded.")
    await parts.trail.write("smoke", actor, command=settings.smoke_command, exitCode=code, output=text)
    return {"smoke": {"ok": code == 0, "exit_code": code, "output": text}}


async def _run(command: str, environment: dict[str, str], timeout: float) -> tuple[int, str]:
    """(exit code, end of the output). After `timeout` seconds the command and all that it started are killed."""
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    output = bytearray()
    try:
        async with asyncio.timeout(timeout):
            assert process.stdout is not None, "a pipe was asked for"
            while chunk := await process.stdout.read(_CHUNK):
                output += chunk
                del output[:-_CHUNK]
            code = await process.wait()
    except TimeoutError:
        output += f"\nIt did not end within {timeout:g} s and was killed.".encode()
        code = -1
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return code, output.decode(errors="replace")[-_KEPT:]
