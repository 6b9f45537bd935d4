"""Capture and fence triggers: what should stand on each mapped table, and the steps from what does stand there.

The triggers are made once, in both roles, and switched: capture is on while Postgres is primary, the fence is up while
it may not be written. Switching is one ALTER TABLE; nothing has to be created in the pause of a switch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cutover.errors import CaptureBroken
from cutover.model.control import Control, SwitchState
from cutover.model.table import Table
from cutover.schema.codecs import codec_for
from cutover.stores.postgres import catalog, suspend
from cutover.stores.postgres.catalog import Part, Trigger
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import (
    CAPTURE,
    CAPTURE_TRUNCATE,
    FENCE,
    FENCE_ROW,
    capture_function,
    capture_function_of,
    log,
    quote,
    target,
)
from cutover.stores.postgres.wanted import wanted as noted_for_sqlite

_REFUSE = "cutover.refuse"
_DEFINITIONS = {
    # name: (tgtype in pg_trigger.h's bits, events, level)
    CAPTURE: (29, "AFTER INSERT OR UPDATE OR DELETE", "ROW"),
    CAPTURE_TRUNCATE: (32, "AFTER TRUNCATE", "STATEMENT"),
    FENCE: (62, "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE", "STATEMENT"),
    FENCE_ROW: (31, "BEFORE INSERT OR UPDATE OR DELETE", "ROW"),
}


@dataclass(frozen=True)
class Wanted:
    """What the triggers should do."""

    capture: bool
    fence: bool

    @classmethod
    def by(cls, control: Control) -> Wanted:
        """What this control row demands of Postgres. A switch that is under way keeps both: it may be taken back."""
        primary = control.primary == "postgres"
        settled = control.state in {SwitchState.STEADY, SwitchState.FINISHED}
        return cls(capture=primary, fence=not (primary and settled))

    def of(self, trigger: str) -> bool:
        """Whether this trigger should be on."""
        return self.capture if trigger in {CAPTURE, CAPTURE_TRUNCATE} else self.fence


@dataclass(frozen=True)
class Step:
    """One thing that is wrong, and the SQL that puts it right (none: only people can)."""

    fault: str
    sql: str = ""
    table_id: int = 0


def function_body(table: Table) -> str:
    """Body of a table's capture function.

    Whole rows are compared, not the mapped columns: a column that a migration drops must not break the application's
    writes. It logs a little more than needed, which is harmless.
    """
    new, old = (", ".join(f"{side}.{quote(column.target)}" for column in table.key_columns) for side in ("NEW", "OLD"))
    keys = ", ".join(f"k{n}" for n in range(1, len(table.key) + 1))
    insert = f"INSERT INTO {log(table)} ({keys}) VALUES"
    return f"""
BEGIN
    IF coalesce(current_setting('cutover.applier', true), '') <> '' AND cutover.applying() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        {insert} ({new});
    ELSIF TG_OP = 'DELETE' THEN
        {insert} ({old});
    ELSIF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {log(table)} (whole) VALUES (true);
    ELSIF record_image_ne(OLD, NEW) THEN
        {insert} ({new});
        IF record_image_ne(ROW({old}), ROW({new})) THEN
            {insert} ({old});
        END IF;
    END IF;
    RETURN NULL;
END
"""


def _function(table: Table) -> str:
    return f"""CREATE OR REPLACE FUNCTION {capture_function(table)}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $cutover${function_body(table)}$cutover$"""


def _log_columns(table: Table) -> list[tuple[str, str]]:
    return [(f"k{n}", codec_for(column).native) for n, column in enumerate(table.key_columns, 1)]


def _log_table(table: Table) -> str:
    keys = "".join(f", {name} {sql_type}" for name, sql_type in _log_columns(table))
    # No sequence (it would change the application's lastval()), no unique key (hazard 18), never unlogged (27).
    # Entries live for a moment: vacuum by number of dead ones, not by share.
    return f"""CREATE TABLE {log(table)} (
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(), at timestamptz NOT NULL DEFAULT clock_timestamp(),
        whole boolean NOT NULL DEFAULT false{keys}
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)"""


async def steps(
    link: Link, tables: Sequence[Table], wanted: Wanted, held: Sequence[Table] = (), *, whole: bool = False
) -> list[Step]:
    """Everything between what stands and what is wanted, in an order that can be executed.

    Tables that are `held`, which is not to be mirrored for now, keep their fence on the shadow; those that the front
    door has just made keep their capture, unless the `whole` schema is to be mapped: a switch would leave them behind.
    """
    parts = await catalog.parts(link, tables)
    standing = await catalog.triggers(link)
    columns = await catalog.columns(link, tables)
    objects = await _Objects.read(link, tables)
    found: list[Step] = []
    in_order: list[Table] = []
    parts_of = defaultdict[int, list[Part]](list)
    for part in parts:
        parts_of[part.table_id].append(part)
    for table in tables:
        mine = parts_of[table.id]
        faults = _schema_faults(table, columns.get(table.id))
        if not faults and mine:
            faults = objects.steps(table)
            for part in mine:
                faults.extend(_trigger_steps(table, part, standing.get(part.oid, {}), wanted))
            in_order.extend([] if faults else [table])
        found.extend(faults)
    if wanted.capture:
        found.extend(await _disturbed(link, in_order))
    mapped = {part.oid for part in parts}
    if held and not wanted.capture:
        mapped |= {part.oid for part in await catalog.parts(link, held)}
    others = {oid: triggers for oid, triggers in standing.items() if oid not in mapped}
    spared = await _to_be_mapped(link, others) if others and wanted.capture and not whole else set()
    found.extend(await _leftovers(link, [oid for oid in others if oid not in spared]))
    return found


def _schema_faults(table: Table, columns: dict[str, str] | None) -> list[Step]:
    if columns is None:
        return [Step(f"Table {target(table)} does not exist.")]
    faults = []
    for column in table.columns:
        found = columns.get(column.target)
        if found is None:
            faults.append(Step(f"Column {column.target} of {target(table)} does not exist."))
        elif found != column.target_type:
            faults.append(
                Step(f"Column {column.target} of {target(table)} is {found}; it was mapped as {column.target_type}.")
            )
    return faults


@dataclass(frozen=True)
class _Objects:
    """Change logs and capture functions as they stand, by table id."""

    logs: dict[int, list[tuple[str, str]]]
    """(name, type) of the key columns."""
    bodies: dict[int, str]

    @classmethod
    async def read(cls, link: Link, tables: Sequence[Table]) -> _Objects:
        """Of all these tables at once: a switch asks in its pause."""
        ids = [table.id for table in tables]
        columns = await link.fetch(
            """
            SELECT given.id, a.attname, format_type(a.atttypid, a.atttypmod)
            FROM unnest($1::int[], $2::text[]) AS given (id, name)
            JOIN pg_attribute a ON a.attrelid = to_regclass(given.name) AND a.attnum > 3 AND NOT a.attisdropped
            ORDER BY given.id, a.attnum""",
            ids,
            [log(table) for table in tables],
        )
        functions = await link.fetch(
            """
            SELECT given.id, p.prosrc FROM unnest($1::int[], $2::text[]) AS given (id, name)
            JOIN pg_proc p ON p.oid = to_regprocedure(given.name)
            WHERE p.prosecdef AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']""",
            ids,
            [f"{capture_function(table)}()" for table in tables],
        )
        logs: dict[int, list[tuple[str, str]]] = {}
        for table_id, name, sql_type in columns:
            logs.setdefault(table_id, []).append((name, sql_type))
        return cls(logs, dict(map(tuple, functions)))

    def steps(self, table: Table) -> list[Step]:
        """What is to be done about those of `table`."""
        found = []
        if self.logs.get(table.id) != _log_columns(table):
            sql = f"DROP TABLE IF EXISTS {log(table)}; {_log_table(table)}"
            found.append(Step(f"The change log of {target(table)} is missing or of another form.", sql, table.id))
        if self.bodies.get(table.id) != function_body(table):
            found.append(
                Step(f"The capture function of {target(table)} is missing or altered.", _function(table), table.id)
            )
        return found


def _trigger_steps(table: Table, part: Part, standing: dict[str, Trigger], wanted: Wanted) -> list[Step]:
    found = []
    for name, (kind, events, level) in _DEFINITIONS.items():
        if name == FENCE_ROW and not (part.subscribed and part.kind == "r"):
            continue
        function = _REFUSE if name in {FENCE, FENCE_ROW} else capture_function(table)
        there = standing.get(name)
        cloned = name == CAPTURE and part.partition
        if (there is None or (there.type, there.function) != (kind, function)) and not cloned:
            sql = (
                f"DROP TRIGGER IF EXISTS {name} ON {part.name}; CREATE TRIGGER {name} {events} ON {part.name} "
                f"FOR EACH {level} EXECUTE FUNCTION {function}()"
            )
            found.append(Step(f"The trigger {name} of {part.name} is missing or altered.", sql, table.id))
            there = None
        if there is None or there.enabled != ("A" if wanted.of(name) else "D"):
            word = "ENABLE ALWAYS" if wanted.of(name) else "DISABLE"
            sql = f"ALTER TABLE ONLY {part.name} {word} TRIGGER {name}"
            found.append(Step(f"The trigger {name} of {part.name} is switched wrongly.", sql, table.id))
    return found


async def _disturbed(link: Link, tables: Sequence[Table]) -> list[Step]:
    """Tables whose triggers stand as they should, and that changed past them all the same (hazard 9).

    Not those whose log says so already, as it does after TRUNCATE.
    """
    now = await catalog.fingerprints(link, tables)
    rows = await link.fetch("SELECT table_id, fingerprint FROM cutover.installed")
    recorded = {row["table_id"]: row["fingerprint"] for row in rows}
    found = []
    for table in tables:
        if table.id not in now:  # gone since its columns were read
            found.append(Step(f"Table {target(table)} does not exist."))
        elif recorded.get(table.id, now[table.id]) == now[table.id]:
            continue
        elif not await link.value(f"SELECT EXISTS (SELECT FROM {log(table)} WHERE whole)"):
            sql = f"INSERT INTO {log(table)} (whole) VALUES (true)"
            found.append(Step(f"{target(table)} was changed past its capture triggers.", sql, table.id))
    return found


async def _to_be_mapped(link: Link, standing: Mapping[int, dict[str, Trigger]]) -> set[int]:
    """Tables that the front door has just made, with their capture, and that SQLite is yet to get."""
    noted = {capture_function_of(each.name) for each in await noted_for_sqlite(link) if each.kind == "table"}
    return {oid for oid, found in standing.items() if CAPTURE in found and found[CAPTURE].function in noted}


async def _leftovers(link: Link, oids: Sequence[int]) -> list[Step]:
    """Our triggers on tables that are no longer mapped would refuse or log their writes for ever."""
    if not oids:
        return []
    rows = await link.fetch(
        """
        SELECT format('%I.%I', n.nspname, c.relname) AS relation, t.tgname AS name
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = ANY($1::oid[]) AND t.tgparentid = 0 AND t.tgname LIKE 'cutover\\_%'""",
        list(oids),
    )
    return [
        Step(
            f"{row['relation']} is not mapped and still has the trigger {row['name']}.",
            f"DROP TRIGGER {quote(row['name'])} ON {row['relation']}",
        )
        for row in rows
    ]


async def check(link: Link, tables: Sequence[Table], control: Control, held: Sequence[Table] = ()) -> list[str]:
    """What is wrong, one sentence each. A finished migration has nothing that could be."""
    if control.state is SwitchState.FINISHED:
        return []
    wanted = Wanted.by(control)
    faults = [step.fault for step in await steps(link, tables, wanted, held)]
    if not wanted.capture:
        faults += map(str, await suspend.acting(link, await catalog.parts(link, tables)))
    return faults


async def install(link: Link, tables: Sequence[Table], control: Control, held: Sequence[Table] = ()) -> None:
    """Take all steps, inside the caller's transaction and locks. Raises `CaptureBroken` where only people can help.

    A table whose capture had broken while Postgres was primary is logged as changed as a whole.
    """
    wanted = Wanted.by(control)
    taken = await steps(link, tables, wanted, held)
    hopeless = [step.fault for step in taken if not step.sql]
    if hopeless:
        raise CaptureBroken(" ".join(hopeless), hint="Correct the schema or the mapping; see `cutover plan`.")
    known = {row["table_id"] for row in await link.fetch("SELECT table_id FROM cutover.installed")}
    if not wanted.capture:
        await suspend.suspend(link, await catalog.parts(link, tables))
    for step in taken:
        await link.execute(step.sql)
    by_id = {table.id: table for table in tables}
    for table_id in {step.table_id for step in taken} & known if wanted.capture else ():
        await link.execute(f"INSERT INTO {log(by_id[table_id])} (whole) VALUES (true)")
    touched = [table for table in tables if table.id not in known or table.id in {step.table_id for step in taken}]
    if touched:
        await link.execute(remember(touched))


def remember(tables: Sequence[Table]) -> str:
    """SQL that records the tables' present fingerprints as the undisturbed ones."""
    return f"""
        INSERT INTO cutover.installed (table_id, fingerprint) {catalog.fingerprint_query(tables)}
        ON CONFLICT (table_id) DO UPDATE SET fingerprint = excluded.fingerprint"""


async def complete(link: Link, tables: Sequence[Table], control: Control, held: Sequence[Table] = ()) -> bool:
    """Whether there is nothing for `install` to do."""
    if control.state is SwitchState.FINISHED:
        return True
    known = {row["table_id"] for row in await link.fetch("SELECT table_id FROM cutover.installed")}
    return known >= {table.id for table in tables} and not await check(link, tables, control, held)
