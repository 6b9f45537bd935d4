"""`cutover inspect`: the control rows as they stand, and what a start would make of them. Works without the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cutover.audit import AuditCheck, read_records, verify_chain
from cutover.cli.exits import BLOCKED
from cutover.cli.options import AsJson, ConfigFile, settings_of
from cutover.cli.show import clean, console, grid, print_json
from cutover.model.control import Control, Inspected, columns_of
from cutover.promote.evidence import conclusion, rebuilt
from cutover.promote.highwater import HighWater, read_high_water

if TYPE_CHECKING:
    from cutover.settings import Settings

_TABLES = {"sqlite": "_cutover_control", "postgres": "cutover.control"}


def inspect(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show who is primary by each store's own record, what speaks against it, and what a start would do. Read only.

    Works without the service, and while it runs. Exit code 3 if a record cannot be believed.

    \b
    Example:
      cutover inspect
      cutover inspect --json --config cutover.toml
    """
    settings = settings_of(config)
    stores = look(settings)
    mark = read_high_water(settings.state_dir / "high-water.json")
    audit = check_audit(settings.state_dir / "audit.jsonl", stores)
    told = conclusion(stores["sqlite"], stores["postgres"], mark)
    if audit.problem:
        told.append(f"The audit log does not hold: {audit.problem}.")
    ways_out = _ways_out(settings, stores)
    if as_json:
        print_json(
            {
                **{name: _json(found) for name, found in stores.items()},
                "high_water": None if mark is None else vars(mark),
                "audit": vars(audit),
                "conclusion": told,
                "ways_out": ways_out,
            }
        )
    else:
        _show(stores, mark, audit)
        typer.echo("\n".join(["", *(clean(sentence, 2000) for sentence in told)]))
        for sql in ways_out:
            typer.echo(
                f"\nThe rest of the evidence calls for this row. With the service stopped:\n  {clean(sql, 4000)}"
            )
    if audit.problem or any(found.damaged for found in stores.values()):
        raise typer.Exit(BLOCKED)


def look(settings: Settings) -> dict[str, Inspected]:
    """Both stores, the origin first."""
    from cutover.stores.postgres.embedded import EmbeddedPostgres
    from cutover.stores.postgres.inspect import inspect_postgres
    from cutover.stores.postgres.link import Connections
    from cutover.stores.sqlite.inspect import inspect_sqlite

    url, ssl_mode = settings.postgres.url.get_secret_value(), settings.postgres.ssl_mode
    where = "the server of postgres.url"
    if not url:
        url, ssl_mode = EmbeddedPostgres(settings.state_dir / "postgres").url, "disable"
        where = "the embedded server, which runs while the service does"
    connections = Connections(url, connect_timeout=settings.postgres.connect_timeout, ssl_mode=ssl_mode)
    return {
        "sqlite": inspect_sqlite(settings.sqlite.path),
        "postgres": asyncio.run(inspect_postgres(connections, where)),
    }


def check_audit(log: Path, stores: dict[str, Inspected]) -> AuditCheck:
    """The chain, and the records that the stores remember of it."""
    rows = [found.control for found in stores.values() if found.control is not None]
    return verify_chain(log, [(row.audit_sequence, row.audit_hash) for row in rows])


def _ways_out(settings: Settings, stores: dict[str, Inspected]) -> list[str]:
    records = read_records(settings.state_dir / "audit.jsonl")
    committed = sum(record.get("action") in ("promote.committed", "demote.committed") for record in records)
    found = []
    for name, other in (("sqlite", "postgres"), ("postgres", "sqlite")):
        damaged, known = stores[name], stores[other]
        row = rebuilt(damaged, known, committed)
        if row is not None:
            found.append(_sql(name, row.but(peer=known.identity if name == "sqlite" else None)))
    return found


def _sql(store: str, row: Control) -> str:
    columns = {"one": 1 if store == "sqlite" else True, **columns_of(row)}
    names, values = ", ".join(columns), ", ".join(_literal(value) for value in columns.values())
    return f"DELETE FROM {_TABLES[store]}; INSERT INTO {_TABLES[store]} ({names}) VALUES ({values});"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _json(found: Inspected) -> dict[str, Any]:
    return {
        "where": found.where,
        "problem": found.problem or None,
        "control": found.row,
        "believed": found.control is not None,
        "fenced": found.fenced,
        "changes": found.changes,
        "switches": [{"switch_id": name, "outcome": outcome} for name, outcome in found.switches],
    }


def _show(stores: dict[str, Inspected], mark: HighWater | None, audit: AuditCheck) -> None:
    rows = {name: found.row or {} for name, found in stores.items()}
    names = list(dict.fromkeys(key for row in rows.values() for key in row if key not in ("one", "seal", "applying")))
    lines: list[tuple[object, ...]] = [(name, *(row.get(name, "-") for row in rows.values())) for name in names]
    lines.append(("believed", *("yes" if found.control else "no" for found in stores.values())))
    lines.append(("fenced", *({True: "yes", False: "no", None: "-"}[found.fenced] for found in stores.values())))
    lines.append(("changes logged", *("-" if found.changes is None else found.changes for found in stores.values())))
    lines.append(("last switches", *(_switches(found) for found in stores.values())))
    console().print(grid(("", "SQLite", "Postgres"), lines))
    reached = f"epoch {mark.epoch}, batch {mark.batch}" if mark else "none"
    typer.echo(f"High-water mark: {reached}. Audit log: {audit.records} records{'' if audit.ok else ', not whole'}.")


def _switches(found: Inspected) -> str:
    return ", ".join(f"{name[:8]} {outcome}" for name, outcome in found.switches) or "-"
