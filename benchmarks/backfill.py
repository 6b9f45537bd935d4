"""The first copy into an empty table, key and index built, against pgloader and against a pipe of the two shells."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.harness import Missing, Stage, cutover, make_database
from benchmarks.load import TABLE
from benchmarks.peers import tool, version_of
from benchmarks.report import Line, Report, median, our_versions

_INDEX = "CREATE INDEX items_author ON items (author)"


async def run(stage: Stage) -> Report:
    """Each side copies the same file into a database of its own on the same server; seconds, medians."""
    rows = 20_000 if stage.quick else 300_000
    report = Report("backfill", "the first copy into an empty table")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {
        "rows": f"{rows:,} of 200 bytes, text key, one more index, both there before the copy",
        "rounds": f"{stage.rounds}, interleaved, medians",
        "cutover": "from the first range read to the last one applied, capture and mirror on",
    }
    database = make_database(stage.path("backfill.db"), TABLE, rows)
    sides: dict[str, Callable[[], Awaitable[float]]] = {"cutover": lambda: _ours(stage, rows)}
    for name, peer, package in (("pgloader", _pgloader, "pgloader"), ("the pipe", _pipe, "sqlite3")):
        try:
            report.versions[package] = version_of(tool(package, "a package of most systems"))
            tool("psql", "package postgresql-client")
        except Missing as missing:
            report.notes.append(f"skipped: {missing}")
        else:
            sides[name] = partial(peer, stage, database, rows)
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(stage.rounds):
        for name, side in sides.items():
            seen[name].append(await side())
    took = {name: median(times) for name, times in seen.items()}
    for name, target in (("pgloader", 2.5), ("the pipe", 0.7)):
        if name in took:
            shown = f"{took['cutover']:.2f} s", f"{took[name]:.2f} s"
            report.lines.append(Line(f"against {name}", *shown, took[name] / took["cutover"], target))
    return report


async def _empty(stage: Stage) -> str:
    url = await stage.database()
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.execute(_INDEX)
    await connection.close()
    return url


async def _ours(stage: Stage, rows: int) -> float:
    """A copy of the file for each round, because capture stays in it."""
    fresh = make_database(stage.path("copy.db"), TABLE, rows)
    async with cutover(stage, fresh, wait=False, postgres=await _empty(stage)) as service:
        began = await service.phase("backfilling")
        ended = await service.phase("shadowing")
        status = await service.get("/v1/status")
        assert status["tables"][0]["backfill"]["rows"] == rows, status["tables"]
    return ended - began


async def _shell(command: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command}: {output.decode(errors='replace')[-1000:]}")
    return time.perf_counter() - began


async def _pgloader(stage: Stage, database: Path, rows: int) -> float:
    url = await _empty(stage)
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    target = f"pgsql://postgres@unix:{folder}:5432{parts.path}"
    command = stage.path("pgloader.load")
    command.write_text(
        f"LOAD DATABASE FROM sqlite://{database} INTO {target}\n"
        "WITH data only, truncate, workers = 2, concurrency = 1, batch rows = 25000;\n"
    )
    took = await _shell(f"pgloader {shlex.quote(str(command))}")
    await _counted(url, rows)
    return took


async def _pipe(stage: Stage, database: Path, rows: int) -> float:
    url = await _empty(stage)
    dump = f"sqlite3 -csv {shlex.quote(str(database))} 'SELECT * FROM items'"
    took = await _shell(f"{dump} | psql --quiet {shlex.quote(url)} --command '\\copy items FROM STDIN CSV'")
    await _counted(url, rows)
    return took


async def _counted(url: str, rows: int) -> None:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT count(*) FROM items")
    await connection.close()
    if found != rows:
        raise RuntimeError(f"{found} rows arrived of {rows}")
