"""Sequences that stand where SQLite would go on counting.

A sequence goes on from the last key that was drawn; SQLite goes on from the highest row there is or, with
AUTOINCREMENT, from the highest key that was given and committed. The two part where a key was drawn in vain (a
rollback, an error, a conflict clause) and where the highest row is deleted. Then the sequence is *unsettled*, and set
right before it is drawn from again. What is known of it is kept in memory, so a settled one costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection
    from cutover.dialect.drawing import Drawing
    from cutover.dialect.preparing import Prepared

_LAST = 2**63 - 1
Mark = tuple[int | None, bool | None]
"""The highest key that AUTOINCREMENT gave, and whether sqlite_sequence has a row of it if that is none."""


class Uneven(Exception):
    """Keys were drawn for rows that were not stored, and rows behind them have higher keys than SQLite gives.

    `wanted`: what SQLite gives to the rows for which a key was drawn, in their order; one that is not stored has the
    key that goes to the next one.
    """

    def __init__(self, wanted: list[int]) -> None:
        super().__init__()
        self.wanted = wanted


class Standing:
    """What is known of one sequence."""

    __slots__ = ("explained", "floor", "given", "listed", "running", "settled", "settling")

    def __init__(self, explained: int | None) -> None:
        self.settled = False
        """Whether it gives next what SQLite would."""
        self.explained = explained
        """As far as it can have come by what was done here. Where it stands further, others draw from it as well."""
        self.floor: int | None = None
        """What others drew is not given again, whether or not they stored it."""
        self.given = explained
        """AUTOINCREMENT: the highest key that was given and committed."""
        self.listed: bool | None = None
        """Whether sqlite_sequence has a row of it though no key above zero was given; None: if the table has rows."""
        self.running = 0
        """Statements under way that draw from it."""
        self.settling: asyncio.Future[None] | None = None

    def forget(self) -> None:
        """Keys were changed, or a write to sqlite_sequence was undone: what it gives next is asked again."""
        self.settled = False
        self.explained = self.floor = self.given = self.listed = None

    @property
    def said(self) -> Mark:
        """What sqlite_sequence says of it, where that is known."""
        return self.given, self.listed

    @said.setter
    def said(self, mark: Mark) -> None:
        self.given, self.listed = mark

    def remark(self, mark: int | None, stands: int | None) -> None:
        """A write to sqlite_sequence left this there, None for no row, and the sequence where its rows let it stand."""
        self.settled, self.floor = False, None
        self.given, self.explained, self.listed = max(mark or 0, 0), max(stands or 0, 0), mark is not None

    def marked(self, given: int | None) -> tuple[int, int | None, bool | None] | None:
        """What sqlite_sequence says of it: the highest key that was given, how far the sequence came, and whether there
        is a row if that is none. `given`: within the transaction that asks. None where nobody knows."""
        if self.given is None:
            return None
        listed = self.listed if given is None else None
        return max(self.given, given or 0, self.floor or 0), self.explained, listed

    def drew(self, drawing: Drawing, keys: Sequence[int | None]) -> int | None:
        """An INSERT returned these keys, None for rows that it changed instead. The highest; None if there is none."""
        stored = [key for key in keys if key is not None]
        rows = len(stored) if drawing.spares else drawing.rows
        if drawing.moves or (drawing.skips and (rows is None or (rows and len(stored) < rows + drawing.besides))):
            return self._skipped(drawing, stored)
        top = max(stored, default=None)
        if self.explained is not None and self.explained < 1 and stored and rows != len(stored):
            self.settled = self.settled and (drawing.autoincrement or min(stored) > 0)
        if top == _LAST and rows != len(stored) and not drawing.autoincrement:
            self.settled, self.explained = False, None  # such a key moves nothing, if it was given
        elif top is not None and self.explained is not None and top > self.explained:
            if rows == len(stored) and self.running <= 1 and stored[0] > self.explained + 1:
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

    def even(self, drawing: Drawing, keys: Sequence[int | None]) -> None:
        """Raises `Uneven` where rows behind one that was not stored have got other keys than SQLite gives them."""
        if not (drawing.by_rows and self.settled and self.explained is not None and self.running == 1):
            return
        stored = [key for key in keys if key is not None]
        first = self.explained + 1
        if stored == list(range(first, first + len(stored))):
            return
        if drawing.gives and drawing.rows is not None:  # which of the keys were given is not known here
            if len(stored) < drawing.rows + drawing.besides:
                raise Uneven([])
            return
        if min(stored, default=first) < first:  # a key was given that is too high to move it
            self.settled, self.explained = False, None
            return
        kept, wanted = set(stored), []
        following = first
        for drawn in range(first, max(stored) + 1):
            wanted.append(following)
            following += drawn in kept
        raise Uneven(wanted)

    def _skipped(self, drawing: Drawing, stored: Sequence[int]) -> int | None:
        """Some rows took no key, or nobody knows. With AUTOINCREMENT SQLite counts those as well."""
        if not drawing.autoincrement:
            self.missed(drawing)
            return None
        if drawing.rows is None or drawing.moves or self.explained is None:
            self.explained, self.settled = None, False
            return max(stored, default=None)
        self.explained += drawing.rows
        return self.explained

    def spared(self, drawing: Drawing) -> bool:
        """Whether nothing is drawn, nor moved from where AUTOINCREMENT stands and nobody knows."""
        return drawing.rows == 0 and not drawing.moves and (self.given is not None or not drawing.autoincrement)

    def uncounted(self, drawing: Drawing) -> bool:
        """Whether AUTOINCREMENT went on, and nobody knows how far."""
        return drawing.autoincrement and drawing.skips and self.explained is None

    def missed(self, drawing: Drawing) -> None:
        """Keys may have been drawn in vain."""
        self.settled = False
        if drawing.rows is None or drawing.gives or self.explained is None:
            self.explained = None
        else:
            self.explained += drawing.rows

    def gave(self, key: int) -> None:
        """A key was given, and that is committed."""
        self.listed = None
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

    def mark(self, marks: Mapping[str, tuple[int, int]]) -> None:
        """By sequence, how far it was set, and the highest key that was given: where it stands further, or comes to do
        so, others draw from it."""
        for name, (explained, given) in marks.items():
            self._standings[name] = standing = Standing(explained)
            standing.given = given

    def knows(self, sequence: str, last: int | None) -> bool:
        """Whether it is known how this came to be the last number that the sequence gave. A statement that failed may
        have drawn less than it could have."""
        found = self._standings.get(sequence)
        return found is not None and last is not None and found.explained is not None and last <= found.explained

    def explain(self, stands: Mapping[str, int | None]) -> None:
        """Where it is not known how far statements have brought a sequence, it is as far as it stands: what
        AUTOINCREMENT has given until then is known all the same."""
        for name, last in stands.items():
            found = self._standings.get(name)
            if found is not None and found.explained is None and found.given is not None:
                found.explained = last

    def given(self) -> dict[str, tuple[int, int]]:
        """By sequence, how far it can have come by what was done here, and the highest key that was given on the way.
        Those alone of which both are known."""
        return {
            name: (known.explained, max(known.given, known.floor or 0))
            for name, known in self._standings.items()
            if known.explained is not None and known.given is not None
        }

    def share(self, other: Keys, sequences: Iterable[str]) -> None:
        """What is known of these is one for both."""
        self._standings |= {name: known for name in sequences if (known := other._standings.get(name)) is not None}

    def new(self, sequence: str) -> Standing:  # noqa: ARG002  # for others
        """What is known of one of which nothing is known."""
        return Standing(None)

    def ready(self, drawing: Drawing | None) -> bool:
        """Whether the statement needs no sequence, or one that is settled, or will not be while others draw from it."""
        if drawing is None:
            return True
        standing = self.of(drawing.sequence)
        return (
            standing.settled
            or standing.spared(drawing)
            or (standing.running > 0 and standing.settling is None)
            or standing.crowded
        )

    def enter(self, prepared: Prepared) -> Standing | None:
        """A statement begins; to be followed by `leave`, or by counting down `running` of what it draws from."""
        drawing = prepared.translation.drawing if prepared.translation is not None else None
        if drawing is None:
            return None
        standing = self.of(drawing.sequence)
        standing.running += 1
        return standing

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
        for name, mark, stands in prepared.marks:
            self.of(name).remark(mark, stands)
        drawing = translation.drawing
        if drawing is not None:
            standing = self.of(drawing.sequence)
            top = standing.stored(drawing, prepared, affected)
            if top is not None:
                standing.gave(top)
            if standing.uncounted(drawing):
                standing.given = None

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
