"""Tables that stand on Postgres and on SQLite no more, when a new one is to get their name.

Nothing is dropped with its table while SQLite is primary, so its copy stays on Postgres. It is no table of the
applications': behind a promotion CREATE TABLE of that name has to make an empty one, as on SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cutover.dialect.schema_change import Change
from cutover.dialect.typed import Refused
from cutover.model.table import Tables
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.recorded import Record
from cutover.schema.sqlite_schema import quoted
from cutover.settings import Settings
from cutover.stores.postgres.control import recorded
from cutover.stores.postgres.link import Link


@dataclass(frozen=True)
class Leftovers:
    """Those that cutover made, which may go."""

    there: PostgresSchema
    tables: tuple[PostgresTable, ...] = ()
    ours: frozenset[str] = frozenset()
    """Names of the tables whose foreign keys to them go with them: those of SQLite come back with the new table."""

    @property
    def without(self) -> PostgresSchema:
        """The schema as it is without them."""
        return replace(self.there, tables=tuple(table for table in self.there.tables if table not in self.tables))

    def drops(self) -> list[str]:
        """Postgres's statements. They fail where something of somebody else's depends on a table."""
        names, statements = {table.name for table in self.tables}, list[str]()
        for one in self.there.tables if names else ():
            for key in one.foreign_keys:
                if key.parent in names and one.name in self.ours and one.name not in names:
                    statements.append(f"ALTER TABLE {_place(self.there, one)} DROP CONSTRAINT {quoted(key.name)}")
        together = ", ".join(_place(self.there, table) for table in self.tables)
        return [*statements, f"DROP TABLE {together}"] if names else []


async def leftovers(link: Link, change: Change, tables: Tables, there: PostgresSchema, settings: Settings) -> Leftovers:
    """What stands in the way of the tables that are new. Raises `Refused` where that is somebody else's, with rows."""
    found = _standing(change, tables, there, settings)
    if not found:
        return Leftovers(there)
    text = await recorded(link)
    made = {each.postgres.oid for each in Record.load(text).tables if each.made} if text else set()
    for table in found:
        if table.oid not in made and await link.value(f"SELECT EXISTS (SELECT FROM {_place(there, table)})"):
            raise Refused(
                f"A new table {table.name} while Postgres has a table of that name, with rows that SQLite never had,",
                "Drop or rename it on Postgres.",
            )
    mapped = {table.target for table in tables}
    ours = frozenset(table.name for table in there.tables if table.oid in made or table.name in mapped)
    return Leftovers(there, tuple(table for table in found if table.oid in made), ours)


def _standing(change: Change, tables: Tables, there: PostgresSchema, settings: Settings) -> list[PostgresTable]:
    mapped, given = {table.target for table in tables}, {name.lower(): one for name, one in settings.tables.items()}
    found = []
    for table in change.created:
        chosen = given.get(table.name.lower())
        one = there.named((chosen.target if chosen else "") or table.name)
        if one is not None and one.name not in mapped and table.name.lower() not in change.temporary:
            found.append(one)
    return found


def _place(there: PostgresSchema, table: PostgresTable) -> str:
    return f"{quoted(there.name)}.{quoted(table.name)}"
