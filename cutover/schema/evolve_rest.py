"""Constraints, defaults and indexes of a table whose columns are in order: what Postgres still lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cutover.model.table import Column, Table
from cutover.schema.counterparts import Counterparts, bare
from cutover.schema.ddl import Ddl
from cutover.schema.defaults import translate_default
from cutover.schema.evolution import Step
from cutover.schema.evolve_indexes import Indexes
from cutover.schema.evolve_pairing import Pairing
from cutover.schema.findings import Finding
from cutover.schema.parts import Untranslatable
from cutover.schema.postgres_schema import PostgresCheck, PostgresColumn
from cutover.schema.recorded import Recorded
from cutover.schema.sqlite_schema import SqliteColumn, quoted


@dataclass
class Rest:
    """Constraints, defaults and indexes of one table."""

    pairing: Pairing
    known: Recorded
    ddl: Ddl
    on: str

    def steps(self) -> Iterator[Step]:
        """What SQLite changed, and what somebody else did on Postgres."""
        yield from self._not_null()
        yield from self._defaults()
        yield from self._checks()
        yield from self._indexes()

    def standing(self) -> Iterator[Step]:
        """Without which rows that SQLite refuses would come in: of a table that cutover made, as it was made."""
        yield from self._not_null()
        if self.known.made:
            yield from self._given(self._lacking)
        yield from self._indexes()

    def _indexes(self) -> Iterator[Step]:
        return Indexes(self.pairing, self.known, self.ddl, self._mapped).steps()

    @cached_property
    def _mapped(self) -> Table:
        """With the columns as they are on Postgres. A key that it has not there is none of an adopted table's."""
        pairing = self.pairing
        known = pairing.fresh or self.known.table
        columns = []
        for column in known.columns:
            found = pairing.there.column(pairing.target_name(column.name))
            if found is not None:
                columns.append(replace(column, target=found.name, target_type=found.type))
        standing = {column.name for column in columns}
        return replace(
            known,
            target=pairing.there.name,
            target_schema=self.known.table.target_schema,
            columns=tuple(columns),
            key=tuple(name for name in known.key if name in standing),
        )

    def _columns(self) -> Iterator[tuple[Column, PostgresColumn, SqliteColumn | None, str]]:
        """Each that is no key: as it is now, on Postgres, as it was, and what alters it."""
        for column in self._mapped.columns:
            found, was = self.pairing.there.column(column.target), self.known.sqlite.column(column.name)
            if found is not None and not found.identity and column.name not in self._mapped.key:
                yield column, found, was, f"ALTER TABLE {self.on} ALTER COLUMN {quoted(found.name)}"

    def _not_null(self) -> Iterator[Step]:
        for column, found, was, alter in self._columns():
            changed = was is None or was.not_null != column.not_null or (self.known.made and column.not_null)
            if changed and found.not_null != column.not_null:
                verb = "SET" if column.not_null else "DROP"
                said = "demands a value" if column.not_null else "may be NULL"
                yield Step(f"{self.pairing.there.name}.{found.name} {said}.", f"{alter} {verb} NOT NULL")

    def _defaults(self) -> Iterator[Step]:
        for column, _, was, alter in self._columns():
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
        unknown = []
        for check in sorted(before - now):
            found = self._in_words(check)
            yield from map(self._dropped, found)
            if not found:
                unknown.append(check)
        yield from self._in_other_words(unknown, sorted(before & now))
        for check in sorted(now - before):
            plain = Ddl().added_check(mapped, check)
            if plain and any(bare(each.definition) == bare(plain) for each in self.pairing.there.checks):
                continue
            if plain or check in self._lacking:
                yield from self._given([check], plain)
        if self.known.made:
            yield from self._given(check for check in self._lacking if check in before)

    def _dropped(self, check: PostgresCheck) -> Step:
        return Step(f"{check.name} is dropped.", f"ALTER TABLE {self.on} DROP CONSTRAINT {quoted(check.name)}")

    def _in_words(self, check: str) -> list[PostgresCheck]:
        """What Postgres has for a CHECK, as far as it prints it as it would be written."""
        text = Ddl().added_check(self.known.table, check)
        return [each for each in self.pairing.there.checks if text and bare(each.definition) == bare(text)]

    def _in_other_words(self, gone: Sequence[str], kept: Sequence[str]) -> Iterator[Step]:
        """Drop what stands there for CHECKs that are gone, and that Postgres prints in words of its own.

        Of a table that cutover made it is what is about the same columns, if there are as many of them as SQLite had;
        which of them stands for one that is kept nobody knows, so that one is given anew.
        """
        was, both = self.known.sqlite, Counterparts(self.known.table, self.pairing.there)
        told = {each.name for check in was.checks for each in self._in_words(check)}
        kept = [check for check in kept if not self._in_words(check)]
        for about in {both.about_here(check, was): None for check in gone}:
            found = [each for each in self.pairing.there.checks if each.name not in told]
            found = [each for each in found if both.about_there(each, was) == about]
            mine, stay = ([each for each in some if both.about_here(each, was) == about] for some in (gone, kept))
            if self.known.made and len(found) == len(mine) + len(stay):
                yield from map(self._dropped, found)
                yield from self._given(stay)
            else:
                for check in mine if found else ():
                    verb = "was not carried over: Postgres's is unknown"
                    self._left_out(f"That CHECK ({check}) is gone", "", verb=verb)

    @cached_property
    def _lacking(self) -> Sequence[str]:
        return Counterparts(self._mapped, self.pairing.there).lacking_checks(self.pairing.source)

    def _given(self, checks: Iterable[str], text: str = "") -> Iterator[Step]:
        for check in checks:
            made = text or self.ddl.added_check(self._mapped, check)
            if made:
                yield Step(f"{self.pairing.there.name} gets {made}.", f"ALTER TABLE {self.on} ADD {made}")

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
