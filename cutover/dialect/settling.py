"""Sequences that stand where SQLite would go on counting.

A sequence goes on from the last key that was drawn; SQLite goes on from the highest row there is or, with
AUTOINCREMENT, from the highest key that was given and committed. The two part where a key was drawn in vain (a
rollback, an error, a conflict clause) and where the highest row is deleted. Then the sequence is *unsettled*, and set
right before it is drawn from again. What is known of it is kept in memory, so a settled one costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutover.dialect.drawing import Drawing
    from cutover.dialect.running import Connection, Prepared

_SETTLE = "SELECT stands, by_others FROM cutover.settle($1, $2, $3, $4, $5)"
_NEVER_BACK = -(1 << 63)


class Uneven(Exception):
    """Keys were drawn for rows that were not stored, and rows behind them have higher keys than SQLite gives."""


class Standing:
    """What is known of one sequence."""

    __slots__ = ("explained", "floor", "given", "running", "settled", "settling")

    def __init__(self, explained: int | None) -> None:
        self.settled = False
        """Whether it gives next what SQLite would."""
        self.explained = explained
        """As far as it can have come by what was done here. Where it stands further, others draw from it as well."""
        self.floor: int | None = None
        """What others drew is not given again, whether or not they stored it."""
        self.given: int | None = None
        """AUTOINCREMENT: the highest key that was given and committed."""
        self.running = 0
        """Statements under way that draw from it."""
        self.settling: asyncio.Future[None] | None = None

    def forget(self) -> None:
        """It was set by a write to sqlite_sequence, or that was undone: what it gives next is asked again."""
        self.settled = False
        self.explained = self.floor = self.given = None

    def drew(self, drawing: Drawing, keys: Sequence[int | None]) -> int | None:
        """An INSERT returned these keys, None for rows that it changed instead. The highest; None if there is none."""
        stored = [key for key in keys if key is not None]
        if drawing.skips and (drawing.rows is None or len(stored) < drawing.rows):
            return self._skipped(drawing, stored)
        top = max(stored, default=None)
        if top is not None and self.explained is not None and top > self.explained:
            if drawing.rows == len(stored) and self.running <= 1 and stored[0] > self.explained + 1:
                self.floor = stored[0] - 1
            self.explained = top
        return top

    def stored(self, drawing: Drawing, prepared: Prepared, affected: int) -> int | None:  # noqa: ARG002  # for numbers
        """An INSERT is done, which changed so many rows. The highest key that it gave; None if there is none."""
        return self.drew(drawing, prepared.keys)

    @property
    def crowded(self) -> bool:
        """Whether nothing is to be gained by settling it."""
        return False

    async def find(self, connection: Connection, drawing: Drawing, *, within: bool) -> None:
        """Settle what no sequence gives."""
        raise NotImplementedError

    def mark(self) -> int:
        """To be given to `undone`."""
        return 0

    def kept(self) -> None:
        """What was done is committed."""

    def undone(self, since: int | None) -> None:  # noqa: ARG002  # for numbers
        """Keys were given in vain since then; None: since some time."""
        self.settled = False

    def uneven(self, drawing: Drawing, keys: Sequence[int | None]) -> bool:
        """Whether rows behind one that was not stored have got other keys than SQLite gives them."""
        if not (drawing.by_rows and self.settled and self.explained is not None and self.running == 1):
            return False
        stored = [key for key in keys if key is not None]
        return stored != list(range(self.explained + 1, self.explained + 1 + len(stored)))

    def _skipped(self, drawing: Drawing, stored: Sequence[int]) -> int | None:
        """Some rows took no key, or nobody knows. With AUTOINCREMENT SQLite counts those as well."""
        if not drawing.autoincrement:
            self.missed(drawing)
            return None
        if drawing.rows is None or self.explained is None:
            self.given, self.settled = None, False
            return max(stored, default=None)
        self.explained += drawing.rows
        return self.explained

    def missed(self, drawing: Drawing) -> None:
        """Keys may have been drawn in vain."""
        self.settled = False
        if drawing.rows is None or drawing.gives or self.explained is None:
            self.explained = None
        else:
            self.explained += drawing.rows

    def gave(self, key: int) -> None:
        """A key was given, and that is committed."""
        if self.given is not None and key > self.given:
            self.given = key


class Keys:
    """The sequences of one state of the schema."""

    def __init__(self, stands: Mapping[str, int | None] | None = None) -> None:
        """`stands`: the last number that each gave."""
        self._standings = {name: Standing(last or 0) for name, last in (stands or {}).items()}

    def of(self, sequence: str) -> Standing:
        """What is known of a sequence."""
        found = self._standings.get(sequence)
        if found is None:
            found = self._standings[sequence] = self.new(sequence)
        return found

    def new(self, sequence: str) -> Standing:  # noqa: ARG002  # for others
        """What is known of one of which nothing is known."""
        return Standing(None)

    def ready(self, drawing: Drawing | None) -> bool:
        """Whether the statement needs no sequence, or one that is settled, or will not be while others draw from it."""
        if drawing is None or drawing.rows == 0:
            return True
        standing = self.of(drawing.sequence)
        return standing.settled or (standing.running > 0 and standing.settling is None) or standing.crowded

    def enter(self, prepared: Prepared) -> None:
        """A statement begins; to be followed by `leave`."""
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is not None:
            self.of(drawing.sequence).running += 1

    def leave(self, prepared: Prepared) -> None:
        """It has come to its end."""
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is not None:
            self.of(drawing.sequence).running -= 1

    def done(self, prepared: Prepared, affected: int) -> None:
        """A lone statement was done, and is committed."""
        translation = prepared.translation
        if translation is None:
            return
        if translation.lowered and affected:
            self.unsettle(translation.lowered)
        for sequence in translation.recounts:
            self.of(sequence).forget()
        drawing = translation.drawing
        if drawing is not None:
            standing = self.of(drawing.sequence)
            top = standing.stored(drawing, prepared, affected)
            if top is not None:
                standing.gave(top)

    def failed(self, prepared: Prepared) -> None:
        """A statement failed, and was undone."""
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is not None:
            self.of(drawing.sequence).missed(drawing)

    def unsettle(self, sequences: Sequence[str]) -> None:
        """The highest rows of their tables may be gone."""
        for sequence in sequences:
            self.of(sequence).settled = False

    def unsettle_all(self) -> None:
        """Anything may have become of what was done."""
        for standing in self._standings.values():
            standing.settled = False


class Giving:
    """The keys that one transaction gives."""

    def __init__(self) -> None:
        self._given: dict[Standing, int] = {}
        """Highest keys, of what was not undone."""
        self._touched: dict[Standing, int] = {}
        """With how far they had come before."""
        self._marks: list[dict[Standing, int]] = []
        self._recounted: set[Standing] = set()

    async def before(self, connection: Connection, keys: Keys, prepared: Prepared, *, within: bool) -> None:
        """Have the sequence settled that the statement draws from; to be followed by `around`.

        `within`: the transaction is open on the connection. Raises what the driver raises.
        """
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is None:
            return
        standing = keys.of(drawing.sequence)
        keys.enter(prepared)
        try:
            while standing.settling is not None:
                await asyncio.shield(standing.settling)
            if standing.settled or drawing.rows == 0 or standing.running > 1 or standing.crowded:
                return
            if drawing.counted:
                await standing.find(connection, drawing, within=within)
            else:
                await self._settle(connection, standing, drawing, within=within)
        except BaseException:
            keys.leave(prepared)
            raise

    async def _settle(self, connection: Connection, standing: Standing, drawing: Drawing, *, within: bool) -> None:
        given = standing.floor
        if drawing.autoincrement and standing.given is not None:
            given = max(standing.given, self._given.get(standing, 0), given or 0)
        explained = standing.explained
        if (drawing.autoincrement and standing.given is None) or (within and explained is None):
            explained = _NEVER_BACK  # what was given before, or committed since the transaction began, is not known
        asked: tuple[Any, ...] = (drawing.sequence, drawing.relation, drawing.column, given, explained)
        standing.settling = asyncio.get_running_loop().create_future()
        try:
            if within:
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
        if standing.given is None:
            standing.given = stands

    def after(self, keys: Keys, prepared: Prepared, affected: int) -> None:
        """The statement was done. Raises `Uneven` if it is better undone, and done row by row."""
        translation = prepared.translation
        if translation is None:
            return
        if translation.lowered and affected:
            keys.unsettle(translation.lowered)
            for lowered in map(keys.of, translation.lowered):
                self._touched.setdefault(lowered, lowered.mark())
        for recounted in map(keys.of, translation.recounts):
            recounted.forget()
            self._given.pop(recounted, None)
            self._recounted.add(recounted)
        drawing = translation.drawing
        if drawing is None:
            return
        standing = keys.of(drawing.sequence)
        if standing.uneven(drawing, prepared.keys):
            raise Uneven
        self._touched.setdefault(standing, standing.mark())
        top = standing.stored(drawing, prepared, affected)
        if top is not None:
            self._given[standing] = max(top, self._given.get(standing, top))

    @contextmanager
    def around(self, keys: Keys, prepared: Prepared, *, spared: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """The statement, which is undone if it fails. `spared`: errors of a row that is passed over then."""
        try:
            yield
        except spared:
            self.after(keys, prepared, 0)
            raise
        except BaseException:
            keys.failed(prepared)
            raise
        finally:
            keys.leave(prepared)

    def savepoint(self) -> None:
        """SAVEPOINT."""
        self._marks.append(dict(self._given))

    def release(self, at: int) -> None:
        """RELEASE of a savepoint, which is the one at this place."""
        del self._marks[at:]

    def rollback_to(self, at: int) -> None:
        """ROLLBACK TO the savepoint at this place."""
        self._undone(wholly=False)
        self._given = dict(self._marks[at])
        del self._marks[at + 1 :]

    def committed(self) -> None:
        """COMMIT."""
        for standing, key in self._given.items():
            standing.gave(key)
        for standing in self._touched:
            standing.kept()

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
        self._undone(wholly=True)

    def _undone(self, *, wholly: bool) -> None:
        for standing, since in self._touched.items():
            standing.undone(since if wholly else None)
        for standing in self._recounted:
            standing.forget()
