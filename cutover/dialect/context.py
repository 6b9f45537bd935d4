"""What is remembered while one statement is rewritten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.drawing import Drawing
from cutover.dialect.reading import Reading
from cutover.dialect.typed import SQL_TYPE, Kind, Typed, cast
from cutover.model.table import Column
from cutover.model.values import SqlValue

Encoder = Callable[[Any], Any]

LAST_INSERT_ROWID, CHANGES, TOTAL_CHANGES = -1, -2, -3
"""Slots of what the session remembers, for the SQL functions of these names."""


@dataclass(frozen=True, slots=True)
class Use:
    """One argument as Postgres gets it."""

    slot: int
    sql_type: str
    encode: Encoder | None


@dataclass
class Context:
    """What is remembered while one statement is rewritten."""

    catalog: Catalog
    kinds: Sequence[Kind]
    """Kind of the argument in each slot."""
    arguments: Sequence[SqlValue] = ()
    uses: list[Use] = field(default_factory=list)
    places: dict[Use, int] = field(default_factory=dict)
    """Where each of `uses` stands."""
    hints: dict[int, Kind] = field(default_factory=dict)
    """Slots that need not tell NULL from this kind, because the place they stand in is typed."""
    reading: Reading | None = None
    """How SQLite would read for the outermost SELECT."""
    changing: Reading | None = None
    """How SQLite reads what an UPDATE names, and what stands in its FROM."""
    scalars: tuple[Reading, ...] = ()
    """How SQLite would read for each subquery that is one value, where its plan tells of just as many as there are."""
    lists: tuple[Reading, ...] = ()
    """The same for each query behind IN."""
    named: tuple[tuple[str, Reading], ...] = ()
    """The same for each query that has a name and is not merged into another, where LIMIT stands in one."""
    of_view: dict[int, Reading] = field(default_factory=dict)
    """The same for those of the only view that is named, by their places in it."""
    never_null: dict[int, str] = field(default_factory=dict)
    """Slots whose arguments are refused if they are NULL: what they are for."""
    caveats: dict[str, None] = field(default_factory=dict)
    """What may be refused for rows that nobody has seen."""
    collates: bool = False
    """COLLATE is written somewhere in the statement."""
    gathers: bool = False
    """It has a function to which the order of rows matters: queries in FROM have theirs."""
    by_row: bool = False
    """The statement is for one row of several, and may fail for it alone."""
    wide: bool = False
    """Numbers go on where 64 bits or a double end. It is how a statement is tried again that met such an end."""
    may_widen: bool = False
    """There is arithmetic that may meet one."""
    distinct: bool = False
    """What stands in FROM has another name than what is around it. It is how a tree is tried again whose names hide
    others."""
    unsure: list[Column] = field(default_factory=list)
    """Columns that get a computed value which they may not hold, though they could if they were of another type."""
    filled: dict[str, Kind] = field(default_factory=dict)
    """Columns that get a value of which only the rows tell whether they hold it, with what they hold."""
    keys_slot: int | None = None
    """Where the argument stands that gives the automatic keys of the rows of a SELECT; None: the sequence does."""
    marked: tuple[Drawing, ...] = ()
    """What would draw from the sequences that are read as sqlite_sequence."""
    nulls_matter: bool = False
    """The statement means something else for a NULL argument (OR IGNORE, OR REPLACE), so there are no hints."""

    def hint(self, slot: int | None, kind: Kind) -> None:
        """Note that NULL in this slot needs no translation of its own."""
        if slot is not None and not self.nulls_matter:
            self.hints.setdefault(slot, kind)

    def parameter(self, slot: int) -> Typed:
        """The parameter as an expression of its own kind."""
        kind = self.kinds[slot]
        if kind is Kind.NULL:
            return Typed(exp.Null(), Kind.NULL, slot=slot)
        return Typed(self.use(slot, SQL_TYPE[kind]), kind, slot=slot)

    def use(self, slot: int, sql_type: str, encode: Encoder | None = None) -> exp.Expr:
        """The parameter cast to a type, its value encoded by `encode` before it is sent."""
        wanted = Use(slot, sql_type, encode)
        place = self.places.setdefault(wanted, len(self.uses))
        if place == len(self.uses):
            self.uses.append(wanted)
        return cast(exp.Placeholder(this=str(place)), sql_type)


def number_parameters(root: exp.Expr, uses: Sequence[Use]) -> tuple[exp.Expr, tuple[Use, ...]]:
    """Give the parameters that are left in the tree their `$n`, in order. Postgres refuses numbers it cannot type."""
    kept: dict[int, int] = {}
    for node in list(root.find_all(exp.Placeholder)):
        number = kept.setdefault(int(node.name), len(kept) + 1)
        node.replace(exp.Parameter(this=exp.Literal.number(number)))
    return root, tuple(uses[index] for index in kept)
