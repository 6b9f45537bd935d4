"""A Postgres server of our own, for a first run without one: its data stays in a directory, between runs too."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from cutover.errors import ConfigurationError, StoreError, StoreUnavailable
from cutover.logs import get_logger
from cutover.stores.postgres.installed import Account, account_for_root, binaries, open_way

_log = get_logger("postgres")

START_TIMEOUT = 600
"""Seconds. Crash recovery replays the WAL first, and giving up on it would help nobody."""

_SOCKET_PATH_LIMIT = 90
"""Bytes. The system's limit is 104 to 108, `/.s.PGSQL.5432` included."""

_NOBODY = 1 << 22
"""One more than the highest process id there can be."""

_OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "logging_collector": "on",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_size": "0",
}


class EmbeddedPostgres:
    """One server with its data in `data_dir`; reachable through a Unix socket by this user (and root) only.

    `settings` are server settings on top of the house's own, as for `postgres -c`.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = {**_OPTIONS, **(settings or {})}
        self._lock = asyncio.Lock()

    async def start(self) -> str:
        """Make the server run and return its URL. A server that still runs from an earlier service is adopted.

        Waits for crash recovery, up to `START_TIMEOUT`. Raises `ConfigurationError` where the binaries are missing or
        the data are of another major version, `StoreUnavailable` with the end of the server's log if it will not start.
        """
        async with self._lock:
            return await asyncio.to_thread(self.start_blocking)

    async def stop(self) -> None:
        """Fast shutdown: transactions are rolled back, everything is on disk. Idempotent."""
        async with self._lock:
            await asyncio.to_thread(self.stop_blocking)

    def start_blocking(self) -> str:
        """As `start`, for callers without an event loop."""
        programs = binaries()
        account = account_for_root()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initialise(programs, account)
        self._check_version(programs)
        open_way(self.data_dir, account)
        deadline = time.monotonic() + START_TIMEOUT
        while not (self._running() and self._ready(programs, account)):
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"The embedded Postgres in {self.data_dir} is not ready: {self._start_log()}")
            if self._running():
                time.sleep(0.05)
                continue
            self._disown_strangers()
            answer = self._run(programs / "pg_ctl", account, *self._start_arguments())
            # After a kill, the dead server's children hold its shared memory for a moment longer.
            if answer.returncode and not self._transient():
                raise StoreUnavailable(
                    f"The embedded Postgres in {self.data_dir} did not start: {self._why(answer)}",
                    hint="Its log is in the same directory; or give a server of your own in postgres.url.",
                )
        _log.info("embedded postgres ready", data_dir=str(self.data_dir))
        return self.url

    def stop_blocking(self) -> None:
        """As `stop`, for callers without an event loop."""
        if not self._running():
            return
        answer = self._run(
            binaries() / "pg_ctl", account_for_root(), "stop", "-D", str(self.data_dir), "-m", "fast", "-w", "-t", "60"
        )
        if answer.returncode and self._running():
            raise StoreError(f"The embedded Postgres in {self.data_dir} did not stop: {self._why(answer)}")

    @property
    def url(self) -> str:
        """Its URL; it stays the same between runs."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.socket_dir), safe='')}&port=5432"

    @property
    def socket_dir(self) -> Path:
        """Where the socket is: in `data_dir`, or in a short private directory where that path would be too long."""
        if len(os.fsencode(self.data_dir)) <= _SOCKET_PATH_LIMIT:
            return self.data_dir
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"cutover-{name}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None if there is none."""
        recorded = self._recorded_pid()
        return recorded if recorded is not None and self._is_ours(recorded) else None

    def _initialise(self, programs: Path, account: Account | None) -> None:
        """Build beside and rename, so that a killed first start leaves nothing half made."""
        building = self.data_dir.with_name(self.data_dir.name + ".new")
        if building.exists():
            self._run(Path("/bin/rm"), None, "-rf", "--", str(building))
        building.mkdir(parents=True, mode=0o700)
        if account is not None:
            os.chown(building, account.uid, account.gid)
        open_way(building, account)
        answer = self._run(
            programs / "initdb",
            account,
            *("-D", str(building), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
        )
        if answer.returncode:
            raise StoreUnavailable(
                f"No Postgres data could be made in {self.data_dir}: {answer.stderr.strip()[-600:]}",
                hint="Check the directory's owner and space, or give a server of your own in postgres.url.",
            )
        if self.data_dir.exists():
            self.data_dir.rmdir()
        building.rename(self.data_dir)

    def _check_version(self, programs: Path) -> None:
        found = (self.data_dir / "PG_VERSION").read_text().strip()
        ours = self._run(programs / "postgres", None, "--version").stdout.split()[-1].split(".")[0]
        if found != ours:
            raise ConfigurationError(
                f"{self.data_dir} holds data of Postgres {found}; the installed package has Postgres {ours}.",
                hint="Install the package version that was used before, or move the data with pg_upgrade.",
            )

    def _start_arguments(self) -> tuple[str, ...]:
        self._make_socket_dir()
        settings = {**self._settings, "unix_socket_directories": str(self.socket_dir)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = str(self.data_dir / "start.log")
        return ("start", "-D", str(self.data_dir), "-l", log, "-o", options, "-w", "-t", str(START_TIMEOUT))

    def _make_socket_dir(self) -> None:
        if self.socket_dir == self.data_dir:
            return
        account = account_for_root()
        owner = account.uid if account is not None else os.geteuid()
        try:
            self.socket_dir.mkdir(mode=0o700)
            if account is not None:
                os.chown(self.socket_dir, account.uid, account.gid)
        except FileExistsError:
            state = self.socket_dir.lstat()
            if state.st_uid != owner or state.st_mode & 0o077:
                raise ConfigurationError(
                    f"{self.socket_dir} belongs to somebody else and cannot hold the server's socket.",
                    hint="Choose a shorter service.state_dir.",
                ) from None

    def _recorded_pid(self) -> int | None:
        return _first_line(self.data_dir / "postmaster.pid")

    def _is_ours(self, pid: int) -> bool:
        """Whether that process is a server of this directory: after a reboot the number may be anybody's."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        if not Path("/proc/self").exists():
            return True
        try:
            with Path(f"/proc/{pid}/stat").open(encoding="utf-8", errors="replace") as file:
                dead = file.read().rpartition(")")[2].split()[0] in "ZX"
            return not dead and Path(f"/proc/{pid}/cwd").readlink() == self.data_dir.resolve()
        except OSError:
            return False

    def _running(self) -> bool:
        return self.pid is not None

    def _disown_strangers(self) -> None:
        """Postgres believes any live process (or zombie) of the recorded number to be itself; we have looked closer.

        The rest of the file stays: by it Postgres finds children of the dead server that still use its memory.
        """
        for file in (self.data_dir / "postmaster.pid", self.socket_dir / ".s.PGSQL.5432.lock"):
            recorded = _first_line(file)
            if recorded is not None and not self._is_ours(recorded):
                with file.open("r+", encoding="utf-8") as opened:
                    rest = opened.read().partition("\n")[2]
                    opened.seek(0)
                    opened.write(f"{_NOBODY}\n{rest}")
                    opened.truncate()

    def _transient(self) -> bool:
        if "is still in use" not in self._start_log():
            return False
        time.sleep(0.2)
        return True

    def _ready(self, programs: Path, account: Account | None) -> bool:
        where = ("-h", str(self.socket_dir), "-p", "5432", "-U", "postgres", "-d", "postgres")
        return self._run(programs / "pg_isready", account, "-q", *where).returncode == 0

    def _start_log(self) -> str:
        """The end of what the server said last."""
        logs = [self.data_dir / "start.log", *(self.data_dir / "log").glob("*.log")]
        written = sorted((log for log in logs if log.exists()), key=lambda log: log.stat().st_mtime)
        return " ".join(log.read_text(errors="replace")[-400:] for log in written[-2:])

    def _why(self, answer: subprocess.CompletedProcess[str]) -> str:
        return " ".join((answer.stderr + " " + self._start_log()).split())[-800:]

    def _run(self, program: Path, account: Account | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Output goes to files, not pipes: the server would inherit a pipe and keep it open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(  # noqa: S603  # our own programs
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                check=False,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def _first_line(file: Path) -> int | None:
    """The number in the first line of a lock file; None if there is no such file or number."""
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
