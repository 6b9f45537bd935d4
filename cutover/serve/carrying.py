"""Taking the steps that were planned for the shadow: those that columns need together, constraints each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from cutover.crashpoints import crash_point
from cutover.dialect.helpers import HELPERS, install_helpers
from cutover.errors import StoreError, StoreUnavailable
from cutover.schema.evolution import Evolution, Step, TableChange
from cutover.schema.findings import Finding
from cutover.schema.mapping import map_tables
from cutover.schema.recorded import same_rows
from cutover.schema.sqlite_schema import quoted
from cutover.serve.followed import Followed
from cutover.settings import Settings
from cutover.stores.postgres.errors import PostgresRefused
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore


class Carrying:
    """Alters either store, and notes in the state what became of it."""

    def __init__(
        self, settings: Settings, sqlite: SqliteStore, postgres: PostgresStore, copied: Callable[[str], bool]
    ) -> None:
        self._settings = settings
        self._sqlite = sqlite
        self._postgres = postgres
        self._copied = copied
        self._waited = set[str]()
        """Constraints that rows stood in the way of. Where they still do once all is copied, it is said and left."""

    @property
    def follows(self) -> bool:
        """Whether the shadow is altered at all."""
        return self._settings.mirror.schema_changes == "follow"

    async def carry(self, state: Followed, evolution: Evolution, *, soft: bool) -> bool:
        """Take the steps that columns need, or with `soft` those that may fail. Whether the next pass has to see it."""
        did = evolution.record != state.record
        state.record = evolution.record
        for finding in evolution.findings:
            state.findings[finding.table, finding.message] = finding
            if finding.severity == "blocks":
                place = f"{finding.column}: " if finding.column else ""
                state.stopped[finding.table] = f"{place}{finding.message} {finding.todo}".strip()
        for change in evolution.changes:
            if change.table in state.stopped:
                continue
            if change.steps and not soft:
                did = await self._take(state, change) or did
            elif not change.steps and soft and self.follows:
                did = await self._take_soft(state, change) or did
        return did

    async def _take(self, state: Followed, change: TableChange) -> bool:
        told = "; ".join(step.sql for step in change.steps)
        if not self.follows:
            state.stopped[change.table] = (
                f"Its schema changed, and mirror.schema_changes is stop. Have your migration change the shadow: {told}"
            )
            return False
        try:
            await self._alter(state, change, change.steps)
        except StoreUnavailable:
            raise
        except StoreError as error:
            state.stopped[change.table] = f"A change of its schema could not be carried over ({told}): {error}"
            return False
        state.done += [step.sentence for step in change.steps]
        if not change.on_sqlite:
            await self._note_altered(state, change.table)
        return True

    async def _note_altered(self, state: Followed, name: str) -> None:
        """A column that Postgres was given may be gone on SQLite before this ends: it is to be known as one of ours."""
        known = state.record.of(name) if state.record else None
        now = await self._postgres.read_schema(self._settings.postgres.schema_)
        found = [each for each in map_tables(state.source, now, self._settings).tables if each.name == name]
        there = now.table(found[0].target) if found else None
        if state.record is not None and known is not None and there is not None:
            state.record = state.record.having(replace(known, table=found[0], postgres=there))
            if not same_rows(known.table, found[0]):
                state.created.add(name)

    async def _take_soft(self, state: Followed, change: TableChange) -> bool:
        did = False
        for step in change.soft:
            try:
                await self._alter(state, change, (step,))
            except StoreUnavailable:
                raise
            except StoreError as error:
                again = step.sql in self._waited and self._copied(change.table)
                if isinstance(error, PostgresRefused) and error.of_rows and not again:
                    state.waiting.add(change.table)
                    if step.sql not in self._waited:
                        state.held_up.add(change.table)
                    self._waited.add(step.sql)
                else:
                    state.findings[change.table, step.sql] = Finding(
                        "warns", "change_not_carried_over", f"{step.sentence} It failed: {error}", "", change.table
                    )
            else:
                did = True
                state.done.append(step.sentence)
        own, known = state.source.table(change.table), state.record.of(change.table) if state.record else None
        if change.table not in state.waiting and own is not None and known is not None and state.record is not None:
            state.record = state.record.having(replace(known, sqlite=own))
        return did

    async def _alter(self, state: Followed, change: TableChange, steps: Sequence[Step]) -> None:
        statements = [step.sql for step in steps]
        if change.on_sqlite:
            await self._sqlite.alter(statements)
        else:
            known = state.record.of(change.table) if state.record else None
            schema = quoted(self._settings.postgres.schema_)
            await give_helpers(self._postgres, statements)
            await self._postgres.alter(f"{schema}.{quoted(known.table.target if known else change.table)}", statements)
        crash_point("follow.altered")


async def give_helpers(postgres: PostgresStore, statements: Iterable[str]) -> None:
    """Install the helper functions where the statements call them, as CHECKs and defaults do."""
    if any(HELPERS in statement for statement in statements):
        await postgres.lent(install_helpers)
