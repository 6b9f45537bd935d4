"""The service as a process: what is checked first, its signals, its exit codes."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from cutover.errors import AuditBroken, ConfigurationError, ControlDamaged, CutoverError, OwnedElsewhere, SchemaError
from cutover.logs import configure_logs, get_logger
from cutover.serve.ending import LastResort
from cutover.serve.service import Service
from cutover.settings import Settings

_log = get_logger("serve")
_SWITCH_INTERVAL = 0.0005
"""Seconds that a thread (a digest, a large result) may keep the interpreter from the event loop; usually 5 ms."""

_OPEN_FILES = 65_536


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 for what only a human can put right."""
    configure_logs(settings.service.log_format, settings.service.log_level)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        _check(settings)
        _warn(settings)
        _raise_open_files()
        try:
            import uvloop
        except ImportError:
            asyncio.run(_serve(settings))
        else:
            uvloop.run(_serve(settings))
    except (ConfigurationError, OwnedElsewhere, SchemaError, ControlDamaged, AuditBroken) as error:
        print(f"cutover: {error}", file=sys.stderr)  # the operator's terminal
        return 2
    except ExceptionGroup as group:
        known, unknown = group.split(CutoverError)
        if unknown is not None:
            _log.error("A service failed in a way nobody foresaw.", exc_info=unknown)
            return 1
        for failure in known.exceptions if known else ():
            print(f"cutover: {failure}", file=sys.stderr)  # the operator's terminal
        return 1
    return 0


def _check(settings: Settings) -> None:
    if settings.service.role == "gateway":
        raise ConfigurationError(
            "service.role = gateway does not exist yet.", hint='Run one owner; leave role out, or set it to "owner".'
        )
    if not settings.sqlite.path:
        raise ConfigurationError(
            "sqlite.path is not set.",
            hint="Set it in the configuration file, or CUTOVER_SQLITE_PATH in the environment.",
        )
    if not Path(settings.sqlite.path).is_file():
        raise ConfigurationError(
            f"There is no SQLite file {settings.sqlite.path!r}.",
            hint="cutover serves the file that the application made; it does not create one.",
        )
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"service.state_dir {str(settings.state_dir)!r} cannot be made: {error.strerror}.",
            hint="Name a folder on a local disk that the service may write to.",
        ) from error


def _warn(settings: Settings) -> None:
    """What is allowed, and hardly meant."""
    hold, pause = settings.front.hold_timeout, settings.promotion.pause_timeout
    if hold < pause:
        _log.warning(
            f"front.hold_timeout ({hold:g} s) is shorter than promotion.pause_timeout ({pause:g} s): writes may be "
            "refused in a switch that would have come to its end."
        )


def _ease_collection() -> None:
    """Requests make many small objects and no cycles: looking for cycles among them costs a sixth of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _raise_open_files() -> None:
    """As many as this process may have: the usual limit is 1024, and each connection is one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    last = LastResort(settings.service.shutdown_timeout + settings.promotion.pause_timeout)

    def stopping() -> None:
        stop.set()
        last.arm()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    async with AsyncExitStack() as closing:
        service = Service(settings)
        loop.add_signal_handler(signal.SIGHUP, service.doors.reload)
        closing.push_async_callback(service.close)
        closing.callback(last.arm)  # also where a service failed
        await service.open()
        _ease_collection()
        await service.run_until(stop, last.arm)
