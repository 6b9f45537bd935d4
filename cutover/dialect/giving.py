"""The automatic keys that one transaction gives, and what becomes of them when it, or a part of it, is undone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from cutover.dialect.connections import Connections
    from cutover.dialect.direct import Connection
    from cutover.dialect.drawing import Drawing
    from cutover.dialect.preparing import Prepared
    from cutover.dialect.settling import Keys, Mark, Standing

_SETTLE = "SELECT stands, by_others FROM cutover.settle($1, $2, $3, $4, $5)"
_SETTLE_SEEN = "SELECT stands, by_others, top, reader FROM cutover.settle_seen($1, $2, $3, $4, $5)"
_UNSEEN = "SELECT stands, highest FROM cutover.unseen($1, $2, $3, $4, $5)"
_STANDS = "SELECT pg_sequence_last_value($1::text::regclass)"
_BEYOND = "SELECT stood, stands FROM cutover.pass_rows($1)"
_NEVER_BACK = -(1 << 63)
_LAST = (1 << 63) - 1


class Giving:
    """The keys that one transaction gives."""

    def __init__(self, connections: Connections | None = None) -> None:
        """`connections`: where one is to be had that sees rows which the transaction does not. None: what would need
        that is not set back."""
        self._connections = connections
        self._given: dict[Standing, int] = {}
        """Highest keys, of what was not undone."""
        self._touched: dict[Standing, int] = {}
        """With how far they had come before."""
        self._uncounted: set[Standing] = set()
        """Which AUTOINCREMENT has gone on since, nobody knows how far; nor was that undone."""
        self._marks: list[tuple[dict[Standing, int], set[Standing], dict[Standing, Mark]]] = []
        self._recounted: dict[Standing, Mark] = {}
        """With what had been given and committed before."""

    async def before(self, connection: Connection, keys: Keys, prepared: Prepared, *, within: bool) -> None:
        """Have the sequence settled that the statement draws from; to be followed by `around`.

        `within`: the transaction is open on the connection. Raises what the driver raises.
        """
        translation = prepared.translation
        drawing = translation.drawing if translation is not None else None
        if drawing is None:
            if translation is not None and translation.marked:
                await self._mark(connection, keys, translation.marked, within=within)
            return
        standing = keys.of(drawing.sequence)
        keys.enter(prepared)
        try:
            while standing.settling is not None:
                await asyncio.shield(standing.settling)
            if standing.settled or standing.spared(drawing) or standing.running > 1 or standing.crowded:
                return
            if drawing.counted:
                await standing.find(connection, drawing, within=within)
            else:
                await self._settle(connection, standing, drawing, within=within)
        except BaseException:
            keys.leave(prepared)
            raise

    async def _mark(self, connection: Connection, keys: Keys, marked: Sequence[Drawing], *, within: bool) -> None:
        """Settle what sqlite_sequence is about, and tell the transaction what of it is in memory alone."""
        marks: dict[str, Sequence[int | None]] = {}
        for one in marked:
            standing = keys.of(one.sequence)
            if not standing.settled and standing.running == 0 and standing.settling is None:
                await self._settle(connection, standing, one, within=within)
                # Where rows alone hold it above its mark, it goes back once they are deleted.
                standing.settled = standing.settled and standing.given == standing.explained
            known = standing.marked(self._given.get(standing))
            if known is not None and standing not in self._uncounted:
                marks[one.sequence] = known
        await connection.execute("SELECT set_config('cutover.marks', $1, true)", json.dumps(marks))

    async def _settle(self, connection: Connection, standing: Standing, drawing: Drawing, *, within: bool) -> None:
        given = standing.floor
        if drawing.autoincrement and standing.given is not None:
            given = max(standing.given, self._given.get(standing, 0), given or 0)
        if drawing.autoincrement:
            given = max(given or 0, 0)
        explained = standing.explained
        if drawing.autoincrement and (standing.given is None or standing in self._uncounted):
            explained = _NEVER_BACK  # what was given before is not known
        marks = (mark if mark is None else min(mark, _LAST) for mark in (given, explained))
        asked: tuple[Any, ...] = (drawing.sequence, drawing.relation, drawing.column, *marks)
        standing.settling = asyncio.get_running_loop().create_future()
        try:
            if within and explained != _NEVER_BACK:
                found = await self._settle_within(connection, asked)
            elif within:
                found = await connection.fetchrow(_SETTLE, *asked)
            else:  # which sees each time what was committed until then
                async with connection.transaction(isolation="read_committed"):
                    found = await connection.fetchrow(_SETTLE, *asked)
        finally:
            standing.settling.set_result(None)
            standing.settling = None
        if found is None or (stands := found["stands"]) is None:
            return
        if found["by_others"] and standing.explained is not None:
            standing.floor = stands
        standing.settled, standing.explained = True, stands
        if standing in self._uncounted:
            self._uncounted.discard(standing)
            self._given[standing] = stands
        elif standing.given is None:
            standing.given = stands

    async def _settle_within(self, connection: Connection, asked: tuple[Any, ...]) -> asyncpg.Record | None:
        """In a transaction, to which rows that others have committed since it began are not there."""
        found = await connection.fetchrow(_SETTLE_SEEN, *asked)
        if found is None or found["reader"] is None:
            return found
        *of, given, explained = asked
        unseen = None
        if self._connections is not None:
            async with self._connections.beside() as other:
                if other is not None:
                    with suppress(asyncpg.LockNotAvailableError):
                        async with other.transaction(isolation="read_committed"):
                            unseen = await other.fetchrow(_UNSEEN, *of, found["top"], found["reader"])
        if unseen is None or unseen["stands"] is None:
            return None
        known = [mark for mark in (given, unseen["highest"]) if mark is not None]
        stood = unseen["stands"] if explained is None else min(explained, unseen["stands"])
        return await connection.fetchrow(_SETTLE, *of, max(known, default=None), stood)

    def after(self, keys: Keys, prepared: Prepared, affected: int, *, passed_over: bool = False) -> None:
        """The statement was done. Raises `Uneven` if it is better undone, and done row by row.

        `passed_over`: its row failed, for which a key may have been drawn.
        """
        translation = prepared.translation
        if translation is None:
            return
        if translation.lowered and affected:
            keys.unsettle(translation.lowered)
            for lowered in map(keys.of, translation.lowered):
                self._touched.setdefault(lowered, lowered.mark())
        for recounted in map(keys.of, translation.recounts):
            self._recounted.setdefault(recounted, recounted.said)
            recounted.forget()
            self._given.pop(recounted, None)
        for name, mark, stands in prepared.marks:
            marked = keys.of(name)
            self._recounted.setdefault(marked, marked.said)
            self._given.pop(marked, None)
            self._uncounted.discard(marked)
            marked.remark(mark, stands)
        drawing = translation.drawing
        if drawing is None:
            return
        if passed_over and drawing.spares:
            drawing = replace(drawing, spares=False)
        standing = keys.of(drawing.sequence)
        standing.even(drawing, prepared.keys)
        self._touched.setdefault(standing, standing.mark())
        top = standing.stored(drawing, prepared, affected)
        if top is not None:
            self._given[standing] = max(top, self._given.get(standing, top))
        if standing.uncounted(drawing):
            self._uncounted.add(standing)

    async def pass_moved(self, connection: Connection, keys: Keys, sequences: Sequence[str]) -> None:
        """Rows that were there got other keys. Statements that come here would find their sequence set right before
        they draw from it; native writers just draw, and must not meet those rows."""
        for sequence in sequences:
            stood, stands = await connection.fetchrow(_BEYOND, sequence) or (None, None)
            standing = keys.of(sequence)
            if stands is None or standing.explained is None:
                continue
            if stood is not None and stood > standing.explained:
                standing.floor = max(stood, standing.floor or 0)
            standing.explained = max(standing.explained, stands)

    async def count(self, connection: Connection, keys: Keys, prepared: Prepared) -> None:
        """Ask how far AUTOINCREMENT went on by a statement that is done within the transaction, where nobody knows:
        what is rolled back is given again."""
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is None or (standing := keys.of(drawing.sequence)) not in self._uncounted or standing.running:
            return
        stands = await connection.fetchval(_STANDS, drawing.sequence)
        self._uncounted.discard(standing)
        standing.settled, standing.explained = True, stands or 0
        self._given[standing] = max(stands or 0, self._given.get(standing, 0))

    @contextmanager
    def around(self, keys: Keys, prepared: Prepared, *, spared: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """The statement, which is undone if it fails. `spared`: errors of a row that is passed over then."""
        try:
            yield
        except spared:
            self.after(keys, prepared, 0, passed_over=True)
            raise
        except BaseException:
            drawing = prepared.translation.drawing if prepared.translation is not None else None
            if drawing is not None:
                standing = keys.of(drawing.sequence)
                self._touched.setdefault(standing, standing.mark())
                keys.failed(prepared)
            raise
        finally:
            keys.leave(prepared)

    def so_far(self) -> dict[Standing, int]:
        """To be given to `untold`."""
        return dict(self._given)

    def untold(self, before: dict[Standing, int]) -> None:
        """A statement kept the rows before the one that it stopped at: to AUTOINCREMENT their keys were not given."""
        self._given = before

    def savepoint(self) -> None:
        """SAVEPOINT."""
        said = {standing: standing.said for standing in self._recounted}
        self._marks.append((dict(self._given), set(self._uncounted), said))

    def release(self, at: int) -> None:
        """RELEASE of a savepoint, which is the one at this place."""
        del self._marks[at:]

    def rollback_to(self, at: int) -> None:
        """ROLLBACK TO the savepoint at this place."""
        given, uncounted, said = self._marks[at]
        self._undone({**self._recounted, **said}, wholly=False)
        self._given, self._uncounted = dict(given), set(uncounted)
        del self._marks[at + 1 :]

    @contextmanager
    def in_vain(self) -> Iterator[None]:
        """What is undone behind it."""
        self.savepoint()
        at = len(self._marks) - 1
        try:
            yield
        finally:
            self.rollback_to(at)
            self.release(at)

    def committed(self) -> None:
        """COMMIT."""
        for standing, key in self._given.items():
            standing.gave(key)
        for standing in self._touched:
            standing.kept()
        for standing in self._uncounted:
            standing.given = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The whole transaction."""
        try:
            yield
        except BaseException:
            self.rolled_back()
            raise
        self.committed()

    def rolled_back(self) -> None:
        """ROLLBACK, or nobody knows."""
        self._undone(self._recounted, wholly=True)

    def _undone(self, recounted: dict[Standing, Mark], *, wholly: bool) -> None:
        for standing, since in self._touched.items():
            standing.undone(since if wholly else None)
        for standing, said in recounted.items():
            standing.forget()
            standing.said = said
