"""Following a schema that changes: both schemas are read, planned for, altered, and read again until nothing is left.

No step is remembered. What was done shows in the schemas, and what is half done after a kill is planned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cutover.crashpoints import crash_point
from cutover.dialect.ddl import TERMS
from cutover.errors import StoreError, StoreUnavailable
from cutover.model.control import StoreName
from cutover.schema.evolution import Evolution
from cutover.schema.evolve_postgres import evolve_postgres, missing_columns
from cutover.schema.evolve_sqlite import evolve_sqlite
from cutover.schema.findings import Finding
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.objects_wanted import SchemaObject, in_turn, missing, read_objects, told
from cutover.schema.plan import map_with_data
from cutover.schema.recorded import Record, Recorded
from cutover.schema.types import is_guessed
from cutover.serve.carrying import Carrying, give_helpers
from cutover.serve.followed import Followed, Records, linked, unfinished
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore

_PASSES = 5
"""Renames, then columns, then constraints. What is not done by then waits for the next look, which comes at once."""


class Follower:
    """Brings the shadow's schema to what the primary's is, or says which tables have to wait."""

    def __init__(
        self, settings: Settings, sqlite: SqliteStore, postgres: PostgresStore, copied: Callable[[str], bool]
    ) -> None:
        self._settings = settings
        self._sqlite = sqlite
        self._postgres = postgres
        self._records = Records(sqlite, postgres)
        self._carrying = Carrying(settings, sqlite, postgres, copied)
        self._in_force: tuple[SchemaObject, ...] = ()
        """What was noted, of all that the mapping in force goes by."""

    def in_force(self, state: Followed) -> None:
        """Statements go by the mapping of this state from now on."""
        self._in_force = state.noted

    async def look(self) -> Followed:
        """Both schemas and the mapping, nothing changed."""
        source = await self._sqlite.read_schema()
        target = await self._postgres.read_schema(self._settings.postgres.schema_)
        return Followed(source, target, map_tables(source, target, self._settings), await self._records.load())

    async def follow(self, primary: StoreName) -> Followed:
        """Have the shadow altered until both sides fit or nothing more can be done, and record what is mapped."""
        state, noted = await self._look_with_noted(primary)
        before = state.record
        if primary == "sqlite":
            if await self._records.take_up(state):
                await self._read_again(state)
            for _ in range(_PASSES):
                if not await self._to_postgres(state):
                    break
            else:
                state.unfinished = True
        elif state.record is not None:
            await self._from_postgres(state, noted)
        await self._records.keep(state, before, primary)
        if primary == "sqlite":
            await self._postgres.settled(await self._postgres.wanted())
        return state

    async def _look_with_noted(self, primary: StoreName) -> tuple[Followed, Sequence[SchemaObject] | None]:
        """Both schemas, and what applications said of Postgres's in their own SQL: neither is older than the other, or
        SQLite would get a table that Postgres has by what Postgres calls its types. None if they change all the time.
        """
        if primary != "postgres":
            return await self.look(), []
        for _ in range(_PASSES):
            noted = await self._postgres.wanted()
            state = await self.look()
            if await self._postgres.wanted() == noted:
                state.noted = tuple(noted)
                return state, noted
        return state, None

    async def uncarried(self) -> list[str]:
        """Changes of the front door that SQLite does not have, by kind and name."""
        changes = await self._postgres.wanted()
        if not changes:
            return []
        return [f"{each.kind} {each.name}" for each in missing(await self._sqlite.survey(read_objects), changes)]

    async def _read_again(self, state: Followed) -> None:
        now = await self.look()
        state.source, state.target, state.mapping = now.source, now.target, now.mapping

    # -- Postgres is the shadow --------------------------------------------------------------------------------------

    async def _to_postgres(self, state: Followed) -> bool:
        """One pass. Whether the schemas have to be looked at again."""
        did, evolution = False, None
        if state.record is not None:
            evolution = await self._plan_postgres(state)
            if evolution.forgets and self._carrying.follows:
                await self._records.write(evolution.record)
            did = await self._carrying.carry(state, evolution, soft=False)
        if not did:
            did = await self._create(state)
        if not did and evolution is not None:  # a foreign key may point to a table that was just created
            did = await self._carrying.carry(state, evolution, soft=True)
        if did:
            await self._read_again(state)
        return did

    async def _plan_postgres(self, state: Followed) -> Evolution:
        """Types of new columns may have to be read from the data; nothing else of them is read."""
        source, record = state.source, state.record
        assert record is not None
        wanted = set(missing_columns(source, state.target, self._settings))
        wanted |= {t.name for t in source.tables if (known := record.of(t.name)) and known.sqlite.sql != t.sql}
        wanted |= {each.table.name for each in record.tables if each.made} & await self._held_back(state)
        fresh = {table.name: table for table in state.mapping.tables}
        if wanted:
            some = replace(source, tables=tuple(table for table in source.tables if table.name in wanted))
            found = await self._sqlite.survey(lambda c: map_with_data(c, some, None, self._settings))
            fresh |= {table.name: table for table in found.tables}
            for finding in found.findings:
                if finding.code == "type_undecided":
                    state.findings[finding.table, finding.column] = finding
        return evolve_postgres(record, source, state.target, fresh, self._settings, TERMS)

    async def _held_back(self, state: Followed) -> set[str]:
        """Tables with rows in quarantine, of which a column may have been mapped while it held nothing."""
        open_ones = {table.name for table in state.mapping.tables if any(map(is_guessed, table.columns))}
        return open_ones & {each.table for each in await self._postgres.quarantined()} if open_ones else set()

    async def _create(self, state: Followed) -> bool:
        source, target = state.source, state.target
        mapping = await self._sqlite.survey(lambda c: map_with_data(c, source, target, self._settings, terms=TERMS))
        state.mapping = mapping
        names = [name for name in state.to_create(mapping) if name not in state.stopped]
        if not names:
            return False
        if state.record is not None and not self._carrying.follows:
            told = "; ".join(mapping.create)
            for name in names:
                state.stopped[name] = f"It is new, and mirror.schema_changes is stop. Create it on Postgres: {told}"
            return False
        try:
            await give_helpers(self._postgres, mapping.create)
            await self._postgres.create_tables([*mapping.create, *unfinished(mapping.tables, names)])
        except StoreUnavailable:
            raise
        except StoreError as error:
            if state.record is None:
                raise
            for name in names:
                state.stopped[name] = f"It could not be created on Postgres: {error}"
            return False
        self._records.made |= set(names)
        for finding in mapping.findings:
            if finding.table in names and finding.code.endswith("_not_carried_over"):
                state.findings[finding.table, finding.message] = finding
        if state.record is not None:
            state.done += [f"Table {name} is created on Postgres." for name in names]
        await self._note_created(state, mapping, names)
        return True

    async def _note_created(self, state: Followed, mapping: Mapping, names: Sequence[str]) -> None:
        """What was created is mapped as it was then: the table may be another one on SQLite before this ends."""
        now = await self._postgres.read_schema(self._settings.postgres.schema_)
        for table in mapping.tables:
            own, there = state.source.table(table.name), now.table(table.target)
            if table.name in names and own is not None and there is not None:
                created = Recorded(table, linked(own, mapping.tables), there, made=True)
                state.record = (state.record or Record()).having(created)
                state.created.add(table.name)

    # -- SQLite is the shadow ----------------------------------------------------------------------------------------

    async def _from_postgres(self, state: Followed, noted: Sequence[SchemaObject] | None) -> None:
        """Give SQLite what was said in its SQL, and only then what was changed in Postgres's own.

        What was not noted by the time of a look is told apart from native changes by nothing, so after each step both
        are read again: SQLite would get an index beside the constraint that it stands for. Changes stay noted until a
        mapping that goes by them is in force, for the statements of applications are read by them until then, also
        those that SQLite has no need of, such as a column that got another type on Postgres alone.
        """
        if noted:
            todo = missing(await self._sqlite.survey(read_objects), noted)
            await self._postgres.settled([each for each in noted if each in self._in_force and each not in todo])
            noted = todo
        given = set[SchemaObject]()
        for _ in range(_PASSES):
            if noted is None:
                break
            todo = [each for each in noted if each not in given]
            given.update(todo)
            if not (await self._take_over(state, todo) or await self._to_sqlite(state)):
                break
            seen, noted = await self._look_with_noted("postgres")
            state.source, state.target, state.mapping = seen.source, seen.target, seen.mapping
            state.noted = seen.noted

    async def _take_over(self, state: Followed, changes: Sequence[SchemaObject]) -> bool:
        """Give SQLite what applications said in its own SQL: their texts, as they are. Whether there was anything.

        Tables made anew are empty: that they are to be copied is recorded first, by taking them out of the record, and
        a kill in between only makes it be done again.
        """
        todo = missing(await self._sqlite.survey(read_objects), changes)
        if not todo or state.record is None:
            return False
        if not self._carrying.follows:
            self._name_missing(state, todo)
            return False
        names = {each.name.lower() for each in todo if each.kind == "table"}
        state.record = state.record.without(names)
        await self._records.write(state.record)
        await self._sqlite.forget_progress([each.name for each in todo if each.kind == "table"])
        crash_point("follow.front.noted")
        for some in in_turn(todo):
            await self._give(state, some)
        crash_point("follow.front.taken")
        return True

    async def _give(self, state: Followed, some: Sequence[SchemaObject]) -> None:
        """What fails is tried again with the next look: rows that are not mirrored yet may stand in an index's way."""
        try:
            await self._sqlite.take_schema_over(some)
        except StoreUnavailable:
            raise
        except StoreError as error:
            for each in some:
                message = f"The {each.kind} {each.name} is not on SQLite yet: {error}"
                if each.kind == "index":
                    state.waiting.add(each.table)
                    state.findings[each.table, message] = Finding(
                        "warns", "change_not_carried_over", message, "It is tried again.", each.table
                    )
                else:
                    state.stopped[each.name] = message
            return
        self._records.made |= {each.name for each in some if each.kind == "table" and each.sql}
        state.done += [told(each) for each in some]

    def _name_missing(self, state: Followed, todo: Sequence[SchemaObject]) -> None:
        """The texts stay noted, for statements are read by them; a migration of the SQLite file settles them."""
        for each in todo:
            if each.kind == "table" and each.sql and state.source.table(each.name) is None:
                state.stopped[each.name] = (
                    f"It is new, and mirror.schema_changes is stop. Create it in the SQLite file: {each.sql}"
                )

    async def _to_sqlite(self, state: Followed) -> bool:
        assert state.record is not None
        evolution = evolve_sqlite(state.record, state.source, state.target, self._settings)
        return await self._carrying.carry(state, evolution, soft=False) or await self._carrying.carry(
            state, evolution, soft=True
        )
