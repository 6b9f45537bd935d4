"""Where it all happens: a folder with disks that can be filled, a Postgres, a link to it, and the service."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import psutil

from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.service import Service, create
from tests.torture.link import Link

_DISK = 256 << 20
_POSTGRES = {"max_wal_size": "64MB", "dynamic_shared_memory_type": "mmap", "log_min_messages": "warning"}
_SETTINGS = """
[compare]
scan_interval = "15s"
"""


class Disk:
    """A file system of its own, if this user may mount one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "cutover-torture", str(path)]
        done = subprocess.run(mount, capture_output=True, check=False) if shutil.which("mount") else None
        self.mounted = done is not None and done.returncode == 0

    def fill(self) -> None:
        """Not a byte more."""
        with (self.path / "filler").open("wb") as filler:
            with suppress(OSError):
                os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(self.path).free)
            with suppress(OSError):
                while os.write(filler.fileno(), bytes(4096)):
                    pass

    def free(self) -> None:
        """Room again."""
        (self.path / "filler").unlink(missing_ok=True)


class Place:
    """Everything that a run needs, and the knobs that faults turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk, self.state_disk, self.postgres_disk = (
            Disk(folder / name) for name in ("disk", "state-disk", "postgres-disk")
        )
        self.sqlite = str(self.disk.path / "app.db")
        self.postgres = EmbeddedPostgres(self.postgres_disk.path / "postgres", _POSTGRES)
        self.native = ""
        self.started = 0.0
        """When the service was started last."""
        self.switching = False
        """Whether a switch was asked for, and the answer is not there: probes come more often then."""
        self.link: Link
        self.service: Service
        self._looker: asyncpg.Connection | None = None
        self._undertaker = _undertaker(self)

    @classmethod
    @asynccontextmanager
    async def open(cls, schema: str) -> AsyncIterator[Place]:
        """A place with a database of this schema, Postgres up, the service not started; all gone afterwards."""
        place = cls(Path(tempfile.mkdtemp(prefix="cutover-torture-")))
        try:
            place.native = await place.postgres.start()
            place.link = await Link.open(str(place.postgres.socket_dir / ".s.PGSQL.5432"))
            create(place.sqlite, "PRAGMA journal_mode = WAL;" + schema)
            url = f"postgresql://postgres@127.0.0.1:{place.link.port}/postgres"
            place.service = Service(place.folder, place.sqlite, url, _SETTINGS)
            config = place.service.config.read_text()
            state = place.folder / "state"
            place.service.config.write_text(config.replace(f'"{state}"', f'"{place.state}"'))
            yield place
            if place._looker is not None:
                place._looker.terminate()
            await place.link.close()
        finally:
            assert place._undertaker.stdin is not None
            place._undertaker.stdin.close()
            await asyncio.to_thread(place._undertaker.wait, 60)

    async def looker(self) -> asyncpg.Connection:
        """A native connection for those who only look."""
        if self._looker is None or self._looker.is_closed():
            self._looker = await asyncpg.connect(self.native, timeout=1)
        return self._looker

    @property
    def state(self) -> Path:
        """The service's state directory."""
        return self.state_disk.path / "state"

    async def start_service(self) -> None:
        """Start it, and have it die with us."""
        await self.service.start()
        self.started = time.monotonic()
        assert self.service.process is not None
        with (self.folder / "pids").open("a") as pids:
            pids.write(f"{self.service.process.pid}\n")

    async def rival(self) -> tuple[int | None, str]:
        """Exit code and last words of a second service on the same file."""
        command = [sys.executable, "-m", "cutover", "serve", "--config", str(self.service.config)]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), 60)
        except TimeoutError:
            process.kill()
            await process.wait()
            return None, "it did not end within a minute"
        return process.returncode, said.decode(errors="replace")

    def signal_service(self, number: int) -> None:
        """SIGSTOP, SIGCONT."""
        assert self.service.process is not None
        with suppress(ProcessLookupError):
            self.service.process.send_signal(number)

    def cannot(self, fault: str) -> bool:
        """Whether this fault needs a disk that could not be mounted. SQLite's can be replaced by a limit."""
        return fault in ("disk-state", "disk-postgres") and not self.disk.mounted

    def limit_service(self, *, full: bool) -> None:
        """Where nothing can be mounted: files of the service do not grow."""
        assert self.service.process is not None
        wal = Path(self.sqlite + "-wal")
        soft = wal.stat().st_size if full and wal.exists() else resource.RLIM_INFINITY
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self.service.process.pid).rlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    def clear_backups(self) -> None:
        """What an operator does now and then."""
        for path in sorted((self.state / "backups").glob("*"), key=lambda path: path.stat().st_mtime)[:-2]:
            path.unlink()

    async def keep(self, target: Path) -> None:
        """Copy everything that is worth looking at. The service has stopped, nobody has the file open."""
        await self.postgres.stop()
        await asyncio.to_thread(
            shutil.copytree, self.folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("filler", ".s.*")
        )


def integrity(path: str) -> list[str]:
    """What SQLite finds wrong with the file."""
    connection = sqlite3.connect(path)
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found
    finally:
        connection.close()


def _undertaker(place: Place) -> subprocess.Popen[bytes]:
    """Ends what we started and removes the folder when our end of its pipe closes, also if we are killed."""
    folder, data = shlex.quote(str(place.folder)), shlex.quote(str(place.postgres.data_dir))
    script = f"""
cat >/dev/null; cd /
for pid in $(cat {folder}/pids 2>/dev/null); do
  [ "$(readlink /proc/$pid/cwd)" = {folder} ] && kill -KILL $pid
done
pid=$(head -n 1 {data}/postmaster.pid 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink /proc/$pid/cwd)" = {data} ]; then
  children=$(cat /proc/$pid/task/$pid/children); kill -QUIT $pid; kill -CONT $pid $children; n=0
  while [ -e /proc/$pid ] && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.05; done
  [ -e /proc/$pid ] && kill -KILL $pid $children
fi
for disk in disk state-disk postgres-disk; do umount -l {folder}/$disk 2>/dev/null; done
rm -rf {folder}
"""
    return subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


KILL, STOP, CONTINUE = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
