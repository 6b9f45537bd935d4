"""`cutover plan`: what will be moved, and what stands in the way. Reads only, and works without the service."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

import typer
from pydantic import SecretStr

from cutover.cli.exits import BLOCKED
from cutover.cli.options import AsJson, ConfigFile, settings_of
from cutover.cli.show import clean, console, number, print_json, rows, span
from cutover.errors import ConfigurationError, CutoverError, StoreUnavailable
from cutover.urls import split_postgres

if TYPE_CHECKING:
    from cutover.cli.plan_page import Saved
    from cutover.schema.plan import Plan
    from cutover.schema.postgres_schema import PostgresSchema
    from cutover.schema.profile import Progress
    from cutover.schema.server import ServerFacts
    from cutover.settings import PostgresSettings, Settings

_BUSY_SECONDS = 3.0


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
    tighten: Annotated[
        bool,
        typer.Option("--tighten", help="Use the tighter types that the data allow, for tables that cutover creates."),
    ] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show what columns hold in the examples; else only its kind and size.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="All columns, all DDL, all examples on the page.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page as Markdown, as for a ticket.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Read schema and data; show the mapping, the Postgres DDL and what stands in the way. Changes nothing.

    Keys of rows are shown, what other columns hold is masked unless --show-values. Exit code 3 if something blocks.

    \b
    Example:
      cutover plan --sqlite app.db
      cutover plan --sqlite app.db --tighten --write .
      cutover plan --sqlite app.db --postgres postgresql://app@db.internal/app --write .
    """
    from cutover.cli.plan_markdown import as_markdown
    from cutover.cli.plan_page import View, show
    from cutover.schema.plan import make_plan

    settings = _with(settings_of(config), sqlite, postgres)
    if not settings.sqlite.path:
        raise ConfigurationError("No SQLite file is named.", hint="Give it with --sqlite FILE, or set sqlite.path.")
    path = Path(settings.sqlite.path)
    with _open(path) as connection, _progress(connection, quiet=as_json) as progress:
        target = asyncio.run(_read_target(settings.postgres)) if settings.postgres.url.get_secret_value() else None
        schema, server = target or (None, None)
        try:
            found = make_plan(connection, schema, settings, progress, tighten=tighten, server=server)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None
    saved = _save(found, settings, write) if write else []
    view = View(found, path, target is not None, saved, show_values=show_values, full=full)
    if as_json:
        listed = [{"file": str(each.path), "kept": str(each.kept) if each.kept else None} for each in saved]
        shown = found.to_json(show_values=show_values)
        print_json({"sqlite": str(path), **shown, "saved": [each["file"] for each in listed], "files": listed})
    elif markdown:
        print(as_markdown(view))
    else:
        show(view)
    if found.blocks:
        raise typer.Exit(BLOCKED)


def _with(settings: Settings, sqlite: Path | None, postgres: str | None) -> Settings:
    """The settings with what the command line says instead."""
    if sqlite is not None:
        changed = settings.sqlite.model_copy(update={"path": str(sqlite)})
        settings = settings.model_copy(update={"sqlite": changed})
    if postgres is not None:
        try:
            split_postgres(postgres)
        except ValueError as error:
            raise ConfigurationError(f"--postgres: {error}.") from None
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


async def _read_target(settings: PostgresSettings) -> tuple[PostgresSchema, ServerFacts]:
    """Read the target's schema, and what the server says of itself.

    Raises `StoreUnavailable` or `ConfigurationError`, never with the password.
    """
    import asyncpg

    from cutover.schema.files import without_password
    from cutover.schema.postgres_schema import read_postgres_schema
    from cutover.schema.server import read_server_facts

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
        schema = await read_postgres_schema(connection, settings.schema_)
        return schema, await read_server_facts(connection, settings.schema_)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"The schema on {shown} cannot be read: {error}.") from None
    finally:
        await connection.close(timeout=settings.connect_timeout)


@contextmanager
def _progress(connection: sqlite3.Connection, *, quiet: bool) -> Iterator[Progress]:
    """A line on standard error that tells how far the reading of each table is, on a terminal only."""
    from cutover.schema.profile import estimated_rows, silent

    page = console(stderr=True)
    if quiet or not page.is_terminal:
        yield silent
        return
    totals: dict[str, int] = {}
    began: dict[str, float] = {}

    def tell(table: str, count: int) -> None:
        if not totals:
            totals.update(estimated_rows(connection))
        since = began.setdefault(table, time.monotonic())
        total = max(totals.get(table, 0), count)
        spent = time.monotonic() - since
        left = f", {span(spent * (total - count) / count)} left" if count and spent > 1 and total > count else ""
        line.update(f"Reading {clean(table)}: {number(count)} of about {rows(total)}{left}")
        if count >= total:
            began.pop(table, None)

    with page.status("Reading the schema ...") as line:
        yield tell


# -- saving --------------------------------------------------------------------------------------------------------


def _save(found: Plan, settings: Settings, folder: Path) -> list[Saved]:
    from cutover.cli.plan_page import Saved
    from cutover.schema.files import config_toml, schema_sql
    from cutover.schema.tighten import with_types

    path = Path(settings.sqlite.path).absolute()
    settings = settings.model_copy(update={"sqlite": settings.sqlite.model_copy(update={"path": str(path)})})
    if found.tightened:
        settings = with_types(settings, found.proposals)
    files = {"cutover.toml": config_toml(found, settings), "schema.sql": schema_sql(found)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [Saved(folder / name, _put(folder / name, text)) for name, text in files.items()]
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}.") from None


def _put(path: Path, text: str) -> Path | None:
    """Write. A file of that name with other contents is kept under a new name, which is returned."""
    kept = None
    if path.exists() and path.read_bytes() != text.encode():
        number = next(n for n in range(1, 10_000) if not path.with_name(f"{path.name}.{n}").exists())
        kept = path.with_name(f"{path.name}.{number}")
        path.rename(kept)
    path.write_text(text, encoding="utf-8")
    return kept
