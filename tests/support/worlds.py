"""Starting points of crash stories, each reached once in a test process and copied for every case.

A world is a stopped service's SQLite file, its state directory and its Postgres database. The database is copied by the
server (`CREATE DATABASE ... TEMPLATE`), so pair, system identifier and transaction numbers stay what they are.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.support.ledger import ACCOUNTS, OPENING, Ledger
from tests.support.servers import database_of, drop_database, make_database, with_database
from tests.support.service import Service, create, until

LANES = ("one", "two", "three", "direct", "native", "strict", "early", "earlydirect", "earlynative")
"""Names of writers: those of the case, and those that wrote before it began."""
OLD_ITEMS = 300

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE items(id TEXT PRIMARY KEY, n INTEGER NOT NULL, body TEXT);
CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE pairs(a TEXT, b INTEGER, v REAL, x BLOB, PRIMARY KEY(a, b)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class World:
    """What a case starts from."""

    name: str
    folder: Path
    database: str
    ledgers: tuple[Ledger, ...]
    """What was acknowledged on the way here."""

    @property
    def path(self) -> Path:
        return self.folder / "app.db"


Build = Callable[["Worlds", Service, str], Awaitable[Iterable[Ledger]]]
"""(worlds, a service that is not started, its Postgres URL) → ledgers of the writers on the way."""


@dataclass(frozen=True)
class Recipe:
    """How a world is made: the one it begins from ('' for new files), and how to go on from there."""

    parent: str
    build: Build
    postgres: str = ""
    """The world whose Postgres it gets instead of its parent's: an older or a newer copy."""


class Worlds:
    """All worlds of one test process, made when they are first asked for."""

    def __init__(self, server: str, folder: Path, recipes: dict[str, Recipe]) -> None:
        self._server, self._folder, self._recipes = server, folder, recipes
        self._made: dict[str, World] = {}
        self._databases: list[str] = []

    async def get(self, name: str) -> World:
        """The world of this name."""
        if name not in self._made:
            self._made[name] = await self._make(name)
        return self._made[name]

    async def _make(self, name: str) -> World:
        recipe = self._recipes[name]
        folder = self._folder / name
        before: tuple[Ledger, ...] = ()
        if recipe.parent:
            service, url = await self.copy(recipe.parent, folder, recipe.postgres)
            before = (await self.get(recipe.parent)).ledgers
        else:
            folder.mkdir()
            create(str(folder / "app.db"), SCHEMA + seed())
            url = await self.database()
            service = self._service(folder, url)
        try:
            ledgers = await recipe.build(self, service, url)
        finally:
            if service.process is not None and service.process.returncode is None:
                await service.kill()
        await nobody_connected(url)
        return World(name, folder, database_of(url), (*before, *ledgers))

    async def copy(self, name: str, folder: Path, postgres: str = "") -> tuple[Service, str]:
        """A service that is not started, on a copy of this world in `folder`, and the URL of its database.

        With `postgres`, that database is a copy of another world's.
        """
        world = await self.get(name)
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal"):
            if Path(f"{world.path}{suffix}").exists():
                shutil.copy(f"{world.path}{suffix}", folder / f"app.db{suffix}")
        if (world.folder / "state").exists():
            shutil.copytree(world.folder / "state", folder / "state")
        url = await self.database((await self.get(postgres or name)).database)
        return self._service(folder, url), url

    def _service(self, folder: Path, url: str) -> Service:
        return Service(folder, str(folder / "app.db"), url, "[mirror]\ntrim_after = 0\n")  # each trim is a way to die

    async def database(self, template: str = "template0") -> str:
        """URL of a new database."""
        name = f"crash_{uuid.uuid4().hex[:16]}"
        await make_database(self._server, name, template)
        self._databases.append(name)
        return with_database(self._server, name)

    async def drop(self, url: str) -> None:
        """Remove a case's database, whoever is still connected."""
        name = database_of(url)
        await drop_database(self._server, name)
        self._databases.remove(name)

    async def close(self) -> None:
        """Remove every database that is left."""
        for name in self._databases:
            await drop_database(self._server, name)


def seed() -> str:
    """Rows that are there before cutover is."""
    old = ",".join(f"('old-{number}', {number}, 'body {number}')" for number in range(OLD_ITEMS))
    accounts = ",".join(f"({number}, {OPENING})" for number in range(1, ACCOUNTS + 1))
    lanes = ",".join(f"('{lane}', 0, {index}.5, x'00ff{index:02x}')" for index, lane in enumerate(LANES))
    return f"INSERT INTO items VALUES {old}; INSERT INTO accounts VALUES {accounts}; INSERT INTO pairs VALUES {lanes};"


async def nobody_connected(url: str, like: str = "%") -> None:
    """Wait until the server has noticed that everybody who used this database is gone (or those with such a name)."""
    connection = await asyncpg.connect(with_database(url, "postgres"), timeout=30)
    name = database_of(url)
    sql = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = $1 AND backend_type = 'client backend' AND application_name LIKE $2"
    )
    try:

        async def gone() -> bool:
            return await connection.fetchval(sql, name, like) == 0

        await until(gone, f"the end of every session in {name}")
    finally:
        await connection.close()
