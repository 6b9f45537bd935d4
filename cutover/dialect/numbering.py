"""Numbers of rows that Postgres does not number: what last_insert_rowid() is where a table's key is no integer.

On SQLite such a row has a hidden rowid, one more than the highest there is. Postgres keeps none, so the highest is
counted in memory: from where SQLite stood at the promotion, after a restart from the number of rows when a table is
first written to, one further with each row. What deletions
and rollbacks leave of the rows that were counted last is asked before the next one, by their keys. For a client that is
alone that is SQLite's number; nothing depends on it, and no write asks while others write to the table.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cutover import clock
from cutover.dialect.drawing import UNNUMBERED, Check, Drawing, unnumbered
from cutover.dialect.settling import Keys, Standing
from cutover.dialect.typed import identifier
from cutover.model.table import Column, Table
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from cutover.dialect.context import Use
    from cutover.dialect.direct import Connection
    from cutover.dialect.preparing import Prepared
    from cutover.dialect.translation import Command
    from cutover.dialect.writes import Written

_REMEMBERED = 32
_COUNTED = 10_000
_COMPANY = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class _Entry:
    """A row that was inserted, or the last of several."""

    place: int
    number: int
    sql: str
    arguments: Sequence[Any]


class Number(Standing):
    """The highest number of a table's rows."""

    __slots__ = ("_base", "_company", "_emptied", "_gone", "_last", "_places", "_recent", "_told")

    def __init__(self, told: int = 0) -> None:
        """`told`: the highest that a row had on SQLite."""
        super().__init__(None)
        self._told = told
        self._last: int | None = None
        self._base = 0
        """The highest of the rows whose keys are not known here."""
        self._recent: deque[_Entry] = deque()
        """The last that were inserted. One without a query is not found, and taken for granted unless it is undone."""
        self._places = 0
        self._gone: set[_Entry] = set()
        """Of these, rows that are gone, unless that is undone."""
        self._emptied = False
        """The same of those whose keys are not known."""
        self._company = -_COMPANY

    @property
    def crowded(self) -> bool:
        """Whether several clients wrote to it at once a moment ago: then its numbers tell none of them anything."""
        return clock.monotonic() - self._company < _COMPANY

    def stored(self, drawing: Drawing, prepared: Prepared, affected: int) -> int | None:
        """An INSERT is done: number its rows."""
        keys = prepared.keys
        born = [key is not None for key in keys] if keys else [True] * len(drawing.checks)
        count = sum(born) if keys else drawing.rows if drawing.clears and drawing.rows is not None else affected
        if self.running > 1:
            self._crowd(prepared, count)
        elif self._last is not None and count:
            self._count(drawing, prepared, born, count)
        return None

    def _count(self, drawing: Drawing, prepared: Prepared, born: Sequence[bool], count: int) -> None:
        assert self._last is not None
        checks = drawing.checks
        if len(born) == len(checks) and sum(born) == count:
            for check in (check for check, new in zip(checks, born, strict=True) if new):
                self._last += 1
                self._append(check.sql, [prepared.arguments[at] for at in check.places])
        else:
            self._last += count
            self._append("", ())
        while len(self._recent) > _REMEMBERED:
            self._base = max(self._base, self._recent.popleft().number)
        prepared.numbered = self._last

    def _crowd(self, prepared: Prepared, count: int) -> None:
        """Others write to it as well: which rows are there is not known any more, only how many came."""
        self._company = clock.monotonic()
        if self._last is not None and count:
            self._last = self._base = prepared.numbered = self._last + count
            self._recent.clear()

    def _append(self, sql: str, arguments: Sequence[Any]) -> None:
        assert self._last is not None
        self._places += 1
        self._recent.append(_Entry(self._places, self._last, sql, arguments))

    def missed(self, drawing: Drawing) -> None:
        """A row that was not stored has no number."""

    def forget(self) -> None:
        """Keys were changed: by theirs the rows are not found any more."""
        if self._last is not None:
            self._base = max(self._base, self._last)
        self._recent.clear()

    def undone(self, since: int | None) -> None:
        """What was inserted `since` then is undone; None: nobody knows which of it."""
        self.settled = self._emptied = False
        self._gone.clear()
        if since is not None:
            self._recent = deque(entry for entry in self._recent if entry.place <= since)

    def kept(self) -> None:
        """The transaction was committed."""
        if self._gone:
            self._recent = deque(entry for entry in self._recent if entry not in self._gone)
            self._gone.clear()
        if self._emptied:
            self._base, self._emptied = 0, False

    def mark(self) -> int:
        """To be given to `undone`."""
        return self._places

    async def find(self, connection: Connection, drawing: Drawing, *, within: bool) -> None:
        """Ask which of the rows that were counted are there still. Raises what the driver raises.

        `within` a transaction, where what is gone may come back.
        """
        if self._last is None:
            counted = (
                f"SELECT count(*) FROM (SELECT FROM {drawing.relation} LIMIT {_COUNTED}) AS counted"  # quoted name
            )
            there: int = await connection.fetchval(counted)
            self._last = self._base = max(there, self._told) if there else 0
        else:
            self._last = await self._highest(connection, drawing)
        if not within:
            self.kept()
        self.settled = True

    async def _highest(self, connection: Connection, drawing: Drawing) -> int:
        if not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {drawing.relation})"):  # quoted name
            self._gone.update(self._recent)
            self._emptied = True
            return 0
        for entry in sorted(self._recent, key=attrgetter("number"), reverse=True):
            if entry in self._gone:
                continue
            if not entry.sql or await connection.fetchval(entry.sql, *entry.arguments):
                return entry.number
            self._gone.add(entry)
        return 0 if self._emptied else self._base


class KeysAndNumbers(Keys):
    """The sequences of one state of the schema, and the numbers of tables without one, which outlast it."""

    def __init__(
        self, stands: Mapping[str, int | None] | None = None, numbers: dict[str, Standing] | None = None
    ) -> None:
        super().__init__(stands)
        self.numbers: dict[str, Standing] = {} if numbers is None else numbers
        for number in self.numbers.values():
            number.settled = False
            number.forget()  # the queries that find rows may not hold any more

    def number_from(self, highest: Mapping[Table, int]) -> None:
        """SQLite has numbered the rows of these tables so far: what was counted before holds no longer."""
        for table, told in highest.items():
            if unnumbered(table):
                self.numbers[UNNUMBERED + table.sql] = Number(told)

    def following(self, stands: Mapping[str, int | None], drawn: Container[str]) -> KeysAndNumbers:
        """Those of a schema that was read anew. Of a sequence that stands where it was left, what was known holds."""
        asked = but(stands, drawn)
        fresh = KeysAndNumbers(asked, self.numbers)
        self.explain(asked)
        fresh.share(self, (name for name, last in stands.items() if self.knows(name, last)))
        return fresh

    def within(self, kept: Iterable[str], stands: Mapping[str, int | None]) -> KeysAndNumbers:
        """Those of a transaction that changed the schema: the same for the sequences that were there before. `stands`:
        of those that it made."""
        own = KeysAndNumbers(stands, self.numbers)
        own.share(self, kept)
        return own

    def new(self, sequence: str) -> Standing:
        """As `Keys.new`."""
        if not sequence.startswith(UNNUMBERED):
            return super().new(sequence)
        return self.numbers.setdefault(sequence, Number())


def number_rows(written: Written, columns: Sequence[Column], *, clears: bool) -> None:
    """Have an INSERT into a table without numbers count. `clears`: what has the same keys goes, so all rows are new."""
    table, values = written.table, written.node.expression
    rows = len(values.expressions) if isinstance(values, exp.Values) else 1 if values is None else None
    name, relation = UNNUMBERED + table.sql, target(table)
    written.drawing = Drawing(
        name, relation, "", False, rows, False, False, counted=True, clears=clears
    )  # as named there
    written.lookups = _lookups(table, columns, values)


def _lookups(table: Table, columns: Sequence[Column], values: exp.Expr | None) -> list[exp.Select]:
    """Queries that find the rows of VALUES by their keys; none where the values do not tell, or for many rows."""
    names = [column.name for column in columns]
    if not isinstance(values, exp.Values) or len(values.expressions) > _REMEMBERED or not table.key:
        return []
    if any(name not in names for name in table.key):
        return []
    found = []
    for row in values.expressions:
        conditions: list[exp.Expr] = []
        for name in table.key:
            at = names.index(name)
            value = row.expressions[at]
            if value.find(exp.Column, exp.Select, exp.Var) is not None or "random" in value.sql():
                return []
            conditions.append(exp.EQ(this=exp.Column(this=identifier(columns[at].target)), expression=value.copy()))
        relation = exp.Table(this=identifier(table.target), db=identifier(table.target_schema))
        found.append(
            exp.Select(
                expressions=[exp.Boolean(this=True)],
                from_=exp.From(this=relation),
                where=exp.Where(this=exp.and_(*conditions, copy=False)),
            )
        )
    return found


def with_checks(drawing: Drawing, lookups: Sequence[Command], uses: Sequence[Use]) -> Drawing:
    """With the queries that find its rows, whose arguments are among those of the statement, which are `uses`."""
    places = {id(use): at for at, use in enumerate(uses)}
    if any(id(use) not in places for lookup in lookups for use in lookup.uses):
        return drawing
    checks = tuple(Check(lookup.sql, tuple(places[id(use)] for use in lookup.uses)) for lookup in lookups)
    return replace(drawing, checks=checks)


def but(stands: Mapping[str, int | None], drawn: Container[str]) -> dict[str, int | None]:
    """Where sequences stand. Of those that open transactions have drawn from it is not known whose doing that is: there
    may be rows that one which began before their end does not see."""
    return {name: None if name in drawn else last for name, last in stands.items()}
