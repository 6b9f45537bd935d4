"""`cutover plan`: what will be moved, and what stands in the way. Reads only, and works without the service."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

import typer
from pydantic import SecretStr

from cutover.cli.exits import BLOCKED
from cutover.cli.options import AsJson, ConfigFile, settings_of
from cutover.cli.show import clean, console, grid, number, print_json, rows
from cutover.errors import ConfigurationError, CutoverError, StoreUnavailable
from cutover.logs import counted

if TYPE_CHECKING:
    from rich.console import Console

    from cutover.model.table import Table
    from cutover.schema.findings import Finding, Severity
    from cutover.schema.plan import Plan
    from cutover.schema.postgres_schema import PostgresSchema
    from cutover.schema.profile import Progress
    from cutover.settings import PostgresSettings, Settings

_BUSY_SECONDS = 3.0
_STYLES: dict[Severity, str] = {"blocks": "bold red", "warns": "yellow", "informs": "dim"}
_HEADINGS: dict[Severity, str] = {
    "blocks": "Blocks the move",
    "warns": "Will behave differently",
    "informs": "Good to know",
}


def plan(
    sqlite: Annotated[
        Path | None, typer.Option("--sqlite", metavar="FILE", help="The application's SQLite file; else sqlite.path.")
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            "--postgres",
            metavar="URL",
            help="The target, to map onto tables that are there; else postgres.url. Nothing is written to it.",
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Save cutover.toml and schema.sql in DIR.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Read schema and data; show the mapping, the Postgres DDL and what stands in the way. Changes nothing.

    Exit code 3 if something blocks the move.

    \b
    Example:
      cutover plan --sqlite app.db
      cutover plan --sqlite app.db --postgres postgresql://app@db.internal/app --write .
    """
    from cutover.schema.plan import make_plan

    settings = _with(settings_of(config), sqlite, postgres)
    if not settings.sqlite.path:
        raise ConfigurationError("No SQLite file is named.", hint="Give it with --sqlite FILE, or set sqlite.path.")
    path = Path(settings.sqlite.path)
    with _open(path) as connection, _progress(quiet=as_json) as progress:
        target = asyncio.run(_read_target(settings.postgres)) if settings.postgres.url.get_secret_value() else None
        try:
            found = make_plan(connection, target, settings, progress)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None
    saved = _save(found, settings, write) if write else []
    if as_json:
        print_json({"sqlite": str(path), **found.to_json(), "saved": [str(each) for each in saved]})
    else:
        _show(found, path, target is not None, saved)
    if found.blocks:
        raise typer.Exit(BLOCKED)


def _with(settings: Settings, sqlite: Path | None, postgres: str | None) -> Settings:
    """The settings with what the command line says instead."""
    if sqlite is not None:
        changed = settings.sqlite.model_copy(update={"path": str(sqlite)})
        settings = settings.model_copy(update={"sqlite": changed})
    if postgres is not None:
        target = settings.postgres.model_copy(update={"url": SecretStr(postgres)})
        settings = settings.model_copy(update={"postgres": target})
    return settings


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise ConfigurationError(f"There is no file {str(path)!r}.", hint="Name the application's SQLite file.")
    if not path.is_file():
        raise ConfigurationError(f"{str(path)!r} is not a file.", hint="Name the application's SQLite file.")
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    try:
        connection.execute("PRAGMA query_only = ON")
        yield connection
    finally:
        connection.close()


def _unreadable(path: Path, error: sqlite3.Error) -> CutoverError:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return ConfigurationError(
            f"{str(path)!r} is not a SQLite database, or is damaged: {text}.",
            hint="Check it with PRAGMA integrity_check.",
        )
    if "unable to open" in text or "readonly" in text:
        return ConfigurationError(
            f"{str(path)!r} cannot be opened: {text}.",
            hint="Reading a WAL database needs the right to read the file and to write in its directory.",
        )
    return StoreUnavailable(f"{str(path)!r} cannot be read: {text}.")


async def _read_target(settings: PostgresSettings) -> PostgresSchema:
    """Read the target's schema. Raises `StoreUnavailable` or `ConfigurationError`, never with the password."""
    import asyncpg

    from cutover.schema.files import without_password
    from cutover.schema.postgres_schema import read_postgres_schema

    url = settings.url.get_secret_value()
    try:
        shown = without_password(url)
        connection = await asyncpg.connect(
            url,
            timeout=settings.connect_timeout,
            command_timeout=settings.statement_timeout,
            ssl=None if "sslmode=" in urlsplit(url).query else settings.ssl_mode,
            server_settings={"application_name": "cutover plan"},
        )
    except (asyncpg.ClientConfigurationError, ValueError):
        raise ConfigurationError(
            "The Postgres URL cannot be understood.", hint="Write it as postgresql://user@host:5432/database."
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or f"no answer within {settings.connect_timeout:g} s"
        raise StoreUnavailable(
            f"Postgres at {shown} cannot be reached: {reason}.",
            hint="Plan without --postgres, or give a URL that works.",
        ) from None
    try:
        return await read_postgres_schema(connection, settings.schema_)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"The schema on {shown} cannot be read: {error}.") from None
    finally:
        await connection.close(timeout=settings.connect_timeout)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A line on standard error that counts the rows read, on a terminal only."""
    from cutover.schema.profile import silent

    page = console(stderr=True)
    if quiet or not page.is_terminal:
        yield silent
        return
    with page.status("Reading the schema ...") as line:
        yield lambda table, count: line.update(f"Reading {clean(table)}: {rows(count)}")


# -- saving --------------------------------------------------------------------------------------------------------


def _save(found: Plan, settings: Settings, folder: Path) -> list[Path]:
    from cutover.schema.files import config_toml, schema_sql

    path = Path(settings.sqlite.path).absolute()
    settings = settings.model_copy(update={"sqlite": settings.sqlite.model_copy(update={"path": str(path)})})
    files = {"cutover.toml": config_toml(found, settings), "schema.sql": schema_sql(found)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _put(folder / name, text)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}.") from None
    return [folder / name for name in files]


def _put(path: Path, text: str) -> None:
    """Write, keeping a file of that name with other contents under a new name."""
    if path.exists() and path.read_bytes() != text.encode():
        number = next(n for n in range(1, 10_000) if not path.with_name(f"{path.name}.{n}").exists())
        path.rename(path.with_name(f"{path.name}.{number}"))
    path.write_text(text, encoding="utf-8")


# -- the page ------------------------------------------------------------------------------------------------------


def _show(found: Plan, path: Path, has_target: bool, saved: list[Path]) -> None:
    page = console()
    page.print(f"Plan for {clean(str(path))}", style="bold")
    page.print()
    if found.mapping.tables:
        page.print(_tables(found))
    for table in found.mapping.tables:
        if _is_worth_showing(table):
            page.print(clean(table.name), style="bold")
            page.print(_columns(table))
    if found.mapping.create:
        page.print("Postgres DDL" + ("" if has_target else " (no --postgres given: for an empty target)"), style="bold")
        page.print()
        page.print(";\n\n".join(clean_lines(statement) for statement in found.mapping.create) + ";", soft_wrap=True)
        page.print()
    _show_findings(page, found.findings)
    for file in saved:
        page.print(f"Saved {clean(str(file))}")
    _show_verdict(page, found)


def clean_lines(text: str) -> str:
    """`show.clean` for text whose lines are meant."""
    return "\n".join(clean(line, limit=10_000) for line in text.split("\n"))


def _tables(found: Plan) -> object:
    lines = [
        (
            table.name,
            f"{table.target_schema}.{table.target}",
            "exists" if table.name in found.adopted else "to be created",
            number(found.rows.get(table.name, 0)),
            ", ".join(table.key),
        )
        for table in found.mapping.tables
    ]
    return grid(("table", "on Postgres", "", "rows", "key"), lines, numbers=(3,))


def _is_worth_showing(table: Table) -> bool:
    """Columns are listed where the mapping says more than the DDL does: another name, or another kind of type."""
    return any(
        column.name != column.target or column.declared.lower() != column.target_type for column in table.columns
    )


def _columns(table: Table) -> object:
    lines = [
        (
            column.name,
            column.declared or "(none)",
            column.target if column.target != column.name else "",
            column.target_type,
        )
        for column in table.columns
    ]
    return grid(("column", "declared", "named on Postgres", "type on Postgres"), lines)


def _show_findings(page: Console, findings: tuple[Finding, ...]) -> None:
    for severity, heading in _HEADINGS.items():
        chosen = [finding for finding in findings if finding.severity == severity]
        if not chosen:
            continue
        page.print(f"{heading} ({len(chosen)})", style=_STYLES[severity])
        for finding in chosen:
            place = ".".join(filter(None, (finding.table, finding.column))) or "the database"
            count = f" [{rows(finding.count)}]" if finding.count is not None else ""
            page.print(f"  {clean(place)}{count}: {clean(finding.message)}")
            if finding.examples:
                page.print(f"    for example {', '.join(_key(key) for key in finding.examples[:3])}", style="dim")
            if finding.todo:
                page.print(f"    → {clean(finding.todo)}")
        page.print()


def _key(key: tuple[object, ...]) -> str:
    parts = [f"x'{part.hex()}'" if isinstance(part, bytes) else clean(part, limit=60) for part in key]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def _show_verdict(page: Console, found: Plan) -> None:
    blocking = sum(finding.severity == "blocks" for finding in found.findings)
    if blocking:
        page.print(f"Not ready: {blocking} finding{'s' if blocking > 1 else ''} must be dealt with.", style="bold red")
    elif not found.mapping.tables:
        page.print("There is no table to move.", style="yellow")
    else:
        page.print(
            f"Ready: {rows(sum(found.rows.values()))} in {counted(len(found.rows), 'table')}.", style="bold green"
        )
