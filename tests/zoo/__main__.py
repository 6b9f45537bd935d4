"""Take applications of other people to Postgres and back, and print what became of each stage.

    python -m tests.zoo [NAME ...] [--scratch DIR] [--generated]

Each is installed when it is first asked for, into an environment of its own below the scratch directory. Packages come
from the registries that pip and npm are set up for.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.applications import REPOSITORY, Journey, Traveller, plain_database, there_and_back
from tests.support.servers import server

_APPLICATIONS = Path(__file__).parent / "applications"

_LONGEST_WORDS = 3000


@dataclass(frozen=True)
class Kind:
    """One application: what it needs, and what runs it."""

    packages: tuple[str, ...]
    script: str
    """A module of `applications` without its ending, or a file for Node."""
    settings: str = ""
    """More for cutover.toml."""

    @property
    def node(self) -> bool:
        """Whether npm and Node are its world."""
        return self.script.endswith(".mjs")

    def installed(self, place: Path) -> list[str]:
        """Install it below `place` unless it is; returns the command that runs it."""
        return self._with_node(place) if self.node else self._with_python(place)

    def _with_python(self, place: Path) -> list[str]:
        interpreter = place / "bin" / "python"
        if not interpreter.exists():
            _run([sys.executable, "-m", "venv", str(place)])
            _run([str(interpreter), "-m", "pip", "install", "--quiet", *self.packages])
        return [str(interpreter), "-m", f"tests.zoo.applications.{self.script}"]

    def _with_node(self, place: Path) -> list[str]:
        if not (place / "node_modules").exists():
            place.mkdir(parents=True, exist_ok=True)
            _run(["npm", "init", "--yes"], place)
            _run(["npm", "install", "--no-audit", "--no-fund", *self.packages], place)
        # Node looks for packages from the script's real place upwards.
        for script in _APPLICATIONS.glob("*.mjs"):
            (place / script.name).write_text(script.read_text())
        return ["node", str(place / self.script)]


_PSYCOPG2 = "psycopg2-binary"
_PSYCOPG3 = "psycopg[binary]"

KINDS = {
    "alembic": Kind(("sqlalchemy", "alembic", _PSYCOPG2), "alembic"),
    "drizzle": Kind(("better-sqlite3@12", "pg", "drizzle-orm", "drizzle-kit"), "drizzle.mjs"),
    "bugsink": Kind(("bugsink", _PSYCOPG3), "bugsink"),
    "jupyterhub": Kind(("jupyterhub", _PSYCOPG2), "jupyterhub"),
    "mlflow": Kind(("mlflow-skinny", "sqlalchemy", "alembic", "pandas", _PSYCOPG2), "mlflow"),
    "oscar": Kind(("django-oscar", _PSYCOPG3), "oscar"),
    "prefect": Kind(("prefect", _PSYCOPG2), "prefect"),
    "optuna": Kind(("optuna", _PSYCOPG2), "optuna"),
    "prisma": Kind((_PSYCOPG2,), "prisma"),
    "synapse": Kind(("matrix-synapse", _PSYCOPG2), "synapse"),
    "wagtail": Kind(("wagtail", _PSYCOPG3), "wagtail", "[tables.wagtailsearch_indexentry]\nignore = true\n"),
}


async def travel(name: str, kind: Kind, url: str, scratch: Path, *, generated: bool) -> Journey:
    """Take one there and back."""
    command = kind.installed(scratch / name)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
    async with plain_database(url) as postgres:
        traveller = Traveller(
            Journey(name), folder, command, str(folder / "app.db"), postgres,
            adopt=not generated, settings=kind.settings, lenient=True,
        )  # fmt: skip
        journey = await there_and_back(traveller)
    print(f"\n{name}: {journey.tables} tables, {journey.rows} rows, {journey.seconds} s ({folder})")
    for stage, outcome in journey.stages.items():
        print(f"  {stage}: {outcome[-_LONGEST_WORDS:]}")
    return journey


async def _main(names: list[str], scratch: Path, *, generated: bool) -> int:
    scratch.mkdir(parents=True, exist_ok=True)
    with server() as url:
        journeys = [await travel(name, KINDS[name], url, scratch, generated=generated) for name in names]
    print()
    for journey in journeys:
        end = "there and back" if not journey.failed else journey.failed[0][:150]
        print(f"{journey.name:20} {journey.tables:4} tables {journey.rows:7} rows  {end}")
    return int(any(journey.failed for journey in journeys))


def _run(command: list[str], place: Path = REPOSITORY) -> None:
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(KINDS)}; all if none")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "cutover-zoo")
    parser.add_argument("--generated", action="store_true", help="cutover makes the tables on Postgres")
    given = parser.parse_args()
    unknown = set(given.names) - set(KINDS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return asyncio.run(_main(given.names or list(KINDS), given.scratch, generated=given.generated))


if __name__ == "__main__":
    raise SystemExit(main())
