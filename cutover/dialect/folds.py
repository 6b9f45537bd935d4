"""The statements that applications sent, in bounded memory: texts that differ only in literals are one fold. Pure.

text ─▶ group: a text, or the texts of a fold with literals of the same classes ─▶ fold
            └ samples: a statement for each combination of classes of arguments, without data
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from cutover.dialect.recent import Recent
from cutover.dialect.rehearsal import Rehearsed
from cutover.model.statement import Statement
from cutover.schema.fingerprint import fold
from cutover.schema.sqltext import LONG

Status = Literal["unseen", "ready", "refused", "failing", "invalid"]
"""unseen: not rehearsed yet. refused: no translation. failing: Postgres refuses the translation.
invalid: SQLite refuses it as well, so nothing is lost by the switch."""

_TEXTS = 64
"""Texts of one fold that are rehearsed each for itself; further ones are, for each combination of classes."""
_EXTRA = 10_000
"""Groups beyond the first of each fold."""
_COMBINATIONS = 1024
"""Combinations of classes of arguments that one group is rehearsed with."""
_LONG_TEXTS = 16 << 20
"""Characters of the texts beyond `LONG` that are kept to be rehearsed; further ones count with others of their fold."""
_SPOTS = 5
"""Texts that wait for a look of their own."""
_REMEMBERED = 4096
"""Texts, at least, whose groups need not be looked for."""
_WORST_FIRST: tuple[Status, ...] = ("failing", "refused", "ready", "invalid")

Classes = tuple[object, ...]
"""Of the arguments of one execution; a name stands before the class of what was given by name."""


@dataclass(slots=True)
class Sample:
    """A statement that is rehearsed."""

    sql: str
    statement: Statement | None
    """With arguments that say nothing but their classes; None if it has none."""
    found: Rehearsed | None = None
    generation: int = 0
    """The schema it was rehearsed against."""


@dataclass(slots=True, eq=False)
class Group:
    """Texts that are rehearsed as one."""

    fold: Fold
    samples: dict[Classes, Sample]
    """By what it was sent with."""


@dataclass(slots=True, eq=False)
class Fold:
    """All texts that differ in literals alone."""

    shape: str
    writes: bool
    count: int = 0
    rate: float = 0.0
    """Share of its executions that are replayed."""
    status: Status = "unseen"
    sql: str = ""
    """The text that is least ready."""
    translation: str | None = None
    reason: str | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    """By their first text, or its digest (`key_of`)."""
    by_literals: dict[str, Group] = field(default_factory=dict)
    """Of the texts behind the first of them."""
    generation: int = 0
    unrehearsed: int = 0
    """Executions with combinations of classes that came after the last one that is rehearsed."""

    def samples(self) -> Iterator[Sample]:
        """All that is rehearsed of it, as of now."""
        for group in tuple(self.groups.values()):
            yield from tuple(group.samples.values())

    def reopen(self) -> None:
        """Something of it has to be rehearsed."""
        self.status, self.generation = "unseen", 0

    def judge(self, generation: int) -> None:
        """It is as ready as its worst sample, once all are rehearsed."""
        found = [(sample.sql, sample.found) for sample in self.samples() if sample.generation == generation]
        known = [(sql, one) for sql, one in found if one is not None]
        if not known or len(known) < sum(len(group.samples) for group in self.groups.values()):
            return
        self.sql, worst = min(known, key=lambda one: _WORST_FIRST.index(one[1].status))
        self.status, self.translation, self.reason = worst.status, worst.translation, worst.reason
        self.generation = generation

    def count_in(self, group: Group, statement: Statement, classes: Classes) -> bool:
        """It came with arguments of other classes, so what is known does not hold. Whether that is to be rehearsed."""
        if len(group.samples) >= _COMBINATIONS:
            self.unrehearsed += 1
            return False
        group.samples[classes] = Sample(statement.sql, blank(statement))
        self.reopen()
        return True


class Folds:
    """Finds the group of a text. Belongs to the event loop's thread."""

    def __init__(self, limit: int) -> None:
        """`limit`: folds that are remembered."""
        self.beyond = 0
        """Executions of texts for whose folds there was no room."""
        self.spots: deque[Group] = deque()
        """Texts that wait to be rehearsed for themselves, though their group is."""
        self.texts: Recent[str, Group] = Recent(_REMEMBERED)
        self._limit = limit
        self._folds: dict[str, Fold] = {}
        self._extra = self._long = 0

    def __iter__(self) -> Iterator[Fold]:
        return iter(self._folds.values())

    def __len__(self) -> int:
        return len(self._folds)

    def find(self, statement: Statement, *, writes: bool) -> tuple[Group | None, bool]:
        """(the group of a text that is not remembered, whether it is new); none where there is no room."""
        sql, key = statement.sql, key_of(statement.sql)
        if len(sql) > LONG and (group := self.texts.get(key)) is not None:
            return group, False
        shape, literals = fold(sql, LONG)
        known = self._folds.get(shape)
        if known is None:
            if len(self._folds) >= self._limit or self._is_full_for(sql):
                self.beyond += 1
                return None, False
            known = self._folds[shape] = Fold(shape, writes, sql=sql)
        group, new = self._group(known, statement, key, literals)
        self.texts.put(key, group)
        return group, new

    def _is_full_for(self, sql: str) -> bool:
        return len(sql) > LONG and self._long + len(sql) > _LONG_TEXTS

    def _group(self, known: Fold, statement: Statement, key: str, literals: str) -> tuple[Group, bool]:
        forgotten = known.groups.get(key)
        if forgotten is not None:
            return forgotten, False
        full = self._is_full_for(statement.sql)
        crowded = len(known.groups) - len(known.by_literals) >= _TEXTS or self._extra >= _EXTRA or full
        if known.groups and crowded:
            group = known.by_literals.get(literals)
            if group is not None:
                self._look_at(known, statement)
                return group, False
            if len(known.by_literals) >= _COMBINATIONS or self._extra >= 2 * _EXTRA or full:
                known.unrehearsed += 1
                return next(iter(known.groups.values())), False
        group = Group(known, {classes_of(statement): Sample(statement.sql, blank(statement))})
        if known.groups:
            self._extra += 1
            if crowded:
                known.by_literals[literals] = group
        if len(statement.sql) > LONG:
            self._long += len(statement.sql)
        known.groups[key] = group
        known.reopen()
        return group, True

    def _look_at(self, known: Fold, statement: Statement) -> None:
        """Its group is rehearsed by another text; now and then one is rehearsed for itself."""
        if len(self.spots) < _SPOTS:
            self.spots.append(Group(known, {classes_of(statement): Sample(statement.sql, blank(statement))}))


def key_of(sql: str) -> str:
    """What a text is found by: itself, or of a long one, of which there may be many, a digest."""
    if len(sql) <= LONG:
        return sql
    return blake2b(sql.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def classes_of(statement: Statement) -> Classes:
    """What one execution was sent with: a statement that is ready for numbers may not be for text."""
    if not statement.named:
        return tuple(map(type, statement.args))
    named = [part for name, value in statement.named for part in (name, type(value))]
    return (*map(type, statement.args), *named)


def blank(statement: Statement) -> Statement | None:
    """The statement with arguments that say nothing but what class they are of; None if it has none."""
    if not statement.args and not statement.named:
        return None
    args = tuple(type(value)() if value is not None else None for value in statement.args)
    named = tuple((name, type(value)() if value is not None else None) for name, value in statement.named)
    return Statement(statement.sql, args, named)
