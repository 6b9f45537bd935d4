"""Constraints, defaults and indexes of a table whose columns are in order: what Postgres still lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cutover.model.table import Column, Table
from cutover.schema.counterparts import bare
from cutover.schema.ddl import Ddl
from cutover.schema.defaults import translate_default
from cutover.schema.evolution import Step
from cutover.schema.evolve_indexes import Indexes
from cutover.schema.evolve_pairing import Pairing
from cutover.schema.findings import Finding
from cutover.schema.parts import Untranslatable
from cutover.schema.recorded import Recorded
from cutover.schema.sqlite_schema import quoted


@dataclass
class Rest:
    """Constraints, defaults and indexes of one table."""

    pairing: Pairing
    known: Recorded
    ddl: Ddl
    on: str

    def steps(self) -> Iterator[Step]:
        """What SQLite changed."""
        yield from self._columns()
        yield from self._checks()
        yield from self.indexes()

    def indexes(self) -> Iterator[Step]:
        """Also what somebody changed on Postgres."""
        yield from Indexes(self.pairing, self.known, self.ddl, self._mapped).steps()

    @property
    def _mapped(self) -> Table:
        """With the columns as they are on Postgres."""
        pairing, fresh = self.pairing, self.pairing.fresh
        known = fresh or self.known.table
        columns = []
        for column in known.columns:
            found = pairing.there.column(pairing.target_name(column.name))
            if found is not None:
                columns.append(replace(column, target=found.name, target_type=found.type))
        return replace(
            known, target=pairing.there.name, target_schema=self.known.table.target_schema, columns=tuple(columns)
        )

    def _columns(self) -> Iterator[Step]:
        pairing = self.pairing
        for column in self._mapped.columns:
            found, was = pairing.there.column(column.target), self.known.sqlite.column(column.name)
            if found is None or found.identity or column.name in self._mapped.key:
                continue
            alter = f"ALTER TABLE {self.on} ALTER COLUMN {quoted(found.name)}"
            if (was is None or was.not_null != column.not_null) and found.not_null != column.not_null:
                verb = "SET" if column.not_null else "DROP"
                said = "demands a value" if column.not_null else "may be NULL"
                yield Step(f"{pairing.there.name}.{found.name} {said}.", f"{alter} {verb} NOT NULL")
            if was is not None and was.default != column.default:
                yield from self._default(column, alter)

    def _default(self, column: Column, alter: str) -> Iterator[Step]:
        name = f"{self.pairing.there.name}.{column.target}"
        if column.default is None or column.default.upper() == "NULL":
            yield Step(f"{name} has no default any more.", f"{alter} DROP DEFAULT")
            return
        try:
            default = translate_default(column.default, column)
        except Untranslatable:
            self._left_out(f"The default {column.default}", column.name)
            yield Step(f"{name} has no default any more.", f"{alter} DROP DEFAULT")
        else:
            yield Step(f"{name} gets the default {default}.", f"{alter} SET DEFAULT {default}")

    def _checks(self) -> Iterator[Step]:
        before, now = set(self.known.sqlite.checks), set(self.pairing.source.checks)
        mapped = self._mapped
        for check in sorted(before - now):
            text = Ddl().added_check(self.known.table, check)
            found = [each for each in self.pairing.there.checks if text and bare(each.definition) == bare(text)]
            for each in found:
                yield Step(f"{each.name} is dropped.", f"ALTER TABLE {self.on} DROP CONSTRAINT {quoted(each.name)}")
            if not found:
                self._left_out(f"That CHECK ({check}) is gone", "", verb="was not carried over: Postgres's is unknown")
        for check in sorted(now - before):
            text = self.ddl.added_check(mapped, check)
            if text and not any(bare(each.definition) == bare(text) for each in self.pairing.there.checks):
                yield Step(f"{self.pairing.there.name} gets {text}.", f"ALTER TABLE {self.on} ADD {text}")

    def _left_out(self, what: str, column: str, *, verb: str = "has no sure equivalent on Postgres") -> None:
        self.ddl.findings.append(
            Finding(
                "warns",
                "change_not_carried_over",
                f"{what} {verb}.",
                "Change it on Postgres yourself, if anything depends on it there.",
                self.pairing.source.name,
                column,
            )
        )
