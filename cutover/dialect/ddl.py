"""What a schema change in SQLite's SQL means for Postgres: the schemas before and after it are compared. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cutover.dialect.assigning import is_misfit, is_truth
from cutover.dialect.comparing import number_of
from cutover.dialect.owed import waits
from cutover.dialect.pending import CHECKED
from cutover.dialect.schema_change import Change
from cutover.dialect.schema_terms import SchemaTerms
from cutover.dialect.typed import Refused
from cutover.model.table import Column, Table, Tables
from cutover.schema.codecs import scalars
from cutover.schema.counterparts import Counterparts
from cutover.schema.ddl import Ddl
from cutover.schema.dropping import Dropping
from cutover.schema.enforceable import is_key
from cutover.schema.findings import Finding
from cutover.schema.mapping import map_tables
from cutover.schema.migrations import marked
from cutover.schema.naming import unusable
from cutover.schema.objects_wanted import SchemaObject
from cutover.schema.postgres_schema import PostgresForeignKey, PostgresSchema
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteSchema, SqliteTable, quoted
from cutover.schema.temporary import shared
from cutover.schema.types import is_blob_by_name
from cutover.settings import Settings

TERMS = SchemaTerms()


@dataclass
class Plan:
    """Postgres's statements for a change."""

    change: Change
    tables: Tables
    """As mapped before it."""
    target: PostgresSchema
    settings: Settings
    foreign_keys: bool
    """Whether the stream has them on: dropping a table deletes its rows first, then."""
    deferring: bool = False
    """PRAGMA defer_foreign_keys."""
    beside: str = ""
    """The schema that new temporary tables are made in."""
    statements: list[str] = field(default_factory=list)
    waiting: list[tuple[SqliteTable, SqliteForeignKey]] = field(default_factory=list)
    """The keys to a dropped table whose rows stay, and are asked for their parents at COMMIT."""

    def made(self) -> list[str]:
        """All of them, in order. Raises `Refused`."""
        change = self.change
        renamed = change.dropped[0] if change.dropped and change.created else None
        if renamed is not None:
            old, new = self._mapped(renamed.name), change.created[0].name
            _demand_name(new)
            self._alter(old, f"RENAME TO {quoted(new)}")
            self.statements += marked(f"{quoted(old.target_schema)}.{quoted(new)}", new)
        else:
            for table in change.dropped:
                self._drop(self._mapped(table.name))
        for before, after in change.altered:
            self._columns(self._mapped(before.name), before, after)
        self._indexes()
        if renamed is None and change.created:
            self._create()
        return self.statements

    def _mapped(self, name: str) -> Table:
        found = next((table for table in self.tables if table.name.lower() == name.lower()), None)
        if found is None:
            raise _not_mirrored(f"A change of table {name}")
        return found

    def _alter(self, table: Table, clause: str) -> None:
        self.statements.append(f"ALTER TABLE {_place(table)} {clause}")

    def _drop(self, table: Table) -> None:
        children = [
            (one.name, key)
            for one in self.target.tables
            for key in one.foreign_keys
            if key.parent == table.target and one.name != table.target
        ]
        waiting = [each for each in children if self.foreign_keys and self._waits(table, *each)]
        acting = [each for each in children if each not in waiting]
        self._drop_keys(table, waiting)
        if acting and self.foreign_keys:
            self.statements.append(f"DELETE FROM {_place(table)}")
            self.statements.append(CHECKED)
        self._drop_keys(table, acting)
        self.statements.append(f"DROP TABLE {_place(table)}")

    def _drop_keys(self, parent: Table, keys: Sequence[tuple[str, PostgresForeignKey]]) -> None:
        for child, key in keys:
            place = f"{quoted(parent.target_schema)}.{quoted(child)}"
            self.statements.append(f"ALTER TABLE {place} DROP CONSTRAINT {quoted(key.name)}")

    def _waits(self, parent: Table, target: str, key: PostgresForeignKey) -> bool:
        """Whether SQLite has that key, too, and lets its rows be until COMMIT."""
        child = next((table for table in self.tables if table.target == target), None)
        own = self.change.before.table(child.name) if child is not None else None
        if child is None or own is None:
            return False
        targets = {column.name.lower(): column.target for column in child.columns}
        for one in own.foreign_keys:
            columns = tuple(targets.get(name.lower(), name) for name in one.columns)
            is_same = one.parent.lower() == parent.name.lower() and columns == key.columns
            if is_same and waits(one, deferring=self.deferring):
                self.waiting.append((own, one))
                return True
        return False

    def _create(self) -> None:
        created = {table.name for table in self.change.created}
        target, settings = self.target, self.settings
        if self.beside and {name.lower() for name in created} <= self.change.temporary:
            target, settings = self._elsewhere(created)
        after = self._mirrored(created, target, settings)
        mapping = map_tables(after, target, settings, born=True, loose=True, terms=TERMS)
        for name in created - {each.name for each in mapping.tables}:
            raise Refused(f"Table {name} ({_reason(mapping.findings, name)})")
        for finding in mapping.findings:
            if finding.table in created:
                _demand_carried(finding.code, finding.message)
                self._demand_enforced(finding.table, finding.message)
                _demand_values(self.change.after.table(finding.table), finding)
        for each in mapping.tables:
            if each.name in created:
                TERMS.demand_readable(each)
        self.statements += mapping.create

    def _mirrored(self, created: set[str], target: PostgresSchema, settings: Settings) -> SqliteSchema:
        """The schema after it without tables that Postgres lacks and that are not made now: SQLite has their rows."""
        after = self.change.after
        found = map_tables(after, target, settings, born=True, loose=True, terms=TERMS).tables
        absent = {each.name for each in found if each.name not in created and target.table(each.target) is None}
        if not absent:
            return after
        for key in (key for table in after.tables if table.name in created for key in table.foreign_keys):
            if any(key.parent.lower() == name.lower() for name in absent):
                raise _not_mirrored(f"A foreign key to table {key.parent}")
        return replace(after, tables=tuple(table for table in after.tables if table.name not in absent))

    def _elsewhere(self, created: set[str]) -> tuple[PostgresSchema, Settings]:
        """What stands in the way of temporary tables in a schema of their own, and how they get there. Raises
        `StatementError` where a table of the application's has the name on Postgres."""
        names, mapped = {name.lower() for name in created}, {table.target.lower() for table in self.tables}
        if names & mapped:
            raise shared(next(name for name in created if name.lower() in mapped))
        target = replace(
            self.target,
            tables=tuple(table for table in self.target.tables if table.name.lower() not in names),
            others=tuple(name for name in self.target.others if name.lower() not in names),
        )
        place = self.settings.postgres.model_copy(update={"schema_": self.beside})
        return target, self.settings.model_copy(update={"postgres": place})

    def _demand_enforced(self, table: str, message: str) -> None:
        """A foreign key that Postgres cannot have is refused, unless SQLite would refuse each write because of it."""
        own = self.change.after.table(table)
        for key in own.foreign_keys if own is not None else ():
            parent = self.change.after.table(key.parent)
            left_out = f"The foreign key ({', '.join(key.columns)}) to {key.parent} is left out"
            if is_key(parent, key) and message.startswith(left_out):
                raise Refused(f"This schema change ({message})")

    def _columns(self, table: Table, before: SqliteTable, after: SqliteTable) -> None:
        old, new = ([column.name for column in each.columns] for each in (before, after))
        targets = {column.name: column.target for column in table.columns}
        there = self.target.table(table.target)
        # Generated columns without a form on Postgres are read as the expressions that they stand for.
        absent = {each.name for each in before.columns if each.generated and there and not there.column(each.name)}
        if len(old) == len(new):
            for was, now in zip(old, new, strict=True):
                if was != now and was not in absent:
                    _demand_name(now, of_column=True)
                    self._alter(table, f"RENAME COLUMN {quoted(targets.get(was, was))} TO {quoted(now)}")
        for name in old if len(new) < len(old) else ():
            if name not in new and name not in absent:
                self._alter(table, f"DROP COLUMN {quoted(targets.get(name, name))}")
        for name in new if len(new) > len(old) else ():
            if name not in old:
                self._add_column(table, after, before, name)

    def _add_column(self, table: Table, after: SqliteTable, before: SqliteTable, name: str) -> None:
        fresh, ddl = self._fresh(after), Ddl(terms=TERMS)
        text = ddl.added_column(fresh, after, name)
        checks = [ddl.added_check(fresh, check) for check in _added(before.checks, after.checks)]
        for finding in ddl.findings:
            _demand_carried(finding.code, finding.message)
            _demand_values(after, finding)
        TERMS.demand_readable(fresh, name)
        if not text:  # generated: read as the expression that it stands for
            return
        if scalars.NAME in text:
            self.statements.append(scalars.CREATE)
        self._alter(table, f"ADD COLUMN {text}")
        column = next((each for each in fresh.columns if each.name == name), None)
        if column is not None and (is_misfit(column) or _is_no_text(column)):  # the rows there are have it at once
            what = f"ADD COLUMN {name} with a default that Postgres cannot hold"
            raise Refused(what, "Add it without one, and give the rows their value in an UPDATE.")
        if column is not None and column.not_null:
            self._alter(table, f"ALTER COLUMN {quoted(column.target)} SET NOT NULL")
        if column is not None and is_blob_by_name(column):
            self.statements.append(ddl.mark(table, column))
        for check in filter(None, checks):
            self._alter(table, f"ADD {check}")

    def _fresh(self, table: SqliteTable) -> Table:
        """The table as it would be mapped if it were made now."""
        others = tuple(each for each in self.target.tables if each.name != self._mapped(table.name).target)
        mapping = map_tables(
            self.change.after, replace(self.target, tables=others), self.settings, born=True, loose=True
        )
        found = next((each for each in mapping.tables if each.name == table.name), None)
        if found is None:
            raise Refused(f"The change of table {table.name} ({_reason(mapping.findings, table.name)})")
        return found

    def _indexes(self) -> None:
        for each in self.change.changes:
            if each.kind != "index" or self.change.before.table(each.table) is None:
                continue
            own = self.change.after.table(each.table)
            if not each.sql and own is not None:
                self._drop_index(each)
            elif own is not None and self._is_new(each):
                self._create_index(own, each)

    def _is_new(self, one: SchemaObject) -> bool:
        before = self.change.before.table(one.table)
        return before is not None and all(index.name.lower() != one.name.lower() for index in before.indexes)

    def _create_index(self, own: SqliteTable, one: SchemaObject) -> None:
        index = next(each for each in own.indexes if each.name.lower() == one.name.lower())
        taken = {index.name for table in self.target.tables for index in table.indexes}
        ddl = Ddl(taken={*taken, *self.target.others, *(table.name for table in self.target.tables)}, terms=TERMS)
        text = ddl.added_index(self._mapped(own.name), index)
        for finding in ddl.findings:
            _demand_carried(finding.code, finding.message)
        if text:
            self.statements.append(text)

    def _drop_index(self, one: SchemaObject) -> None:
        table = self._mapped(one.table)
        there = self.target.table(table.target)
        own = self.change.before.table(one.table)
        index = next((each for each in own.indexes if each.name == one.name), None) if own is not None else None
        if there is None or own is None or index is None:
            return
        try:
            found = Dropping(Counterparts(table, there), own).standing_for(index)
        except LookupError:
            raise Refused(
                f"DROP INDEX {one.name} while Postgres has several that may stand for it,",
                "Drop the right one on Postgres.",
            ) from None
        if found is not None:
            self.statements.append(f"DROP INDEX {quoted(table.target_schema)}.{quoted(found.name)}")


def _is_no_text(column: Column) -> bool:
    """Whether rows that are older than a text column have another default than those to come: TRUE and FALSE are
    integers there, and a number is as it was written."""
    written, number = column.default or "", number_of(column.default or "")
    return column.affinity == "TEXT" and (
        is_truth(written) or (number is not None and str(number) != written.lstrip("+"))
    )


def _demand_carried(code: str, message: str) -> None:
    """What would leave Postgres without a rule that SQLite has is refused; a slow index is no wrong answer."""
    if code in ("default_not_carried_over", "check_constraint_not_carried_over", "unique_index_not_carried_over"):
        raise Refused(f"This schema change ({message})")


def _added(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    """The checks of a new column. SQLite writes it behind the other columns, before what is told of the whole table."""
    differing = (at for at, (one, two) in enumerate(zip(before, after, strict=False)) if one != two)
    same = next(differing, len(before))
    return after[same : same + len(after) - len(before)]


def _demand_values(table: SqliteTable | None, finding: Finding) -> None:
    """A generated column that Postgres has not is read as its expression, but nobody would see to NOT NULL."""
    column = table.column(finding.column) if table is not None else None
    if finding.code == "generated_column_not_carried_over" and column is not None and column.not_null:
        raise Refused(f"This schema change ({finding.message})")


def _not_mirrored(what: str) -> Refused:
    return Refused(f"{what}, which is not mirrored,", "`cutover plan` tells why.")


def _reason(findings: Sequence[Finding], table: str) -> str:
    """Why it is not mapped: what blocks it, else what leaves it out, and how it would be mapped."""
    found = [each for each in findings if each.table == table]
    said = [each.message for each in found if each.severity == "blocks"]
    return " ".join(said or [f"{each.message} {each.todo}" for each in found]) or "it cannot be mapped"


def _demand_name(name: str, *, of_column: bool = False) -> None:
    if wrong := unusable(name, of_column=of_column):
        raise Refused(f"This schema change ({wrong.message})")


def _place(table: Table) -> str:
    return f"{quoted(table.target_schema)}.{quoted(table.target)}"
