"""A column whose type was guessed from its name gets one that holds what an application puts there.

A `datetime` of SQLite's holds texts or numbers, whichever come. Where such a column was made while it held nothing it
is text on Postgres, since most are. The first number that comes decides otherwise: as long as there is no value yet
the column becomes one of integers; one that holds values gets the type for all of them (`scalars.NAME`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.failures import Conflict
from cutover.dialect.typed import NUMERIC_AFFINITIES, Refused
from cutover.dialect.whole import as_stored
from cutover.model.values import SqlValue
from cutover.schema.codecs import scalars
from cutover.schema.types import BY_NAME, is_blob_by_name, is_soft
from cutover.stores.postgres.names import quote, target

if TYPE_CHECKING:
    from cutover.dialect.catalog import Catalog
    from cutover.dialect.direct import Connection
    from cutover.model.table import Column, Table

GIVE = "Give a value of the column's own type, as its other rows have."
_WIDENED = "cutover: as its values are"
"""The comment on a column of which the type was changed here: it may be changed again."""
_STANDS = """
SELECT col_description(attrelid, attnum) = ANY ($3) AS chosen,
    attcollation = 'pg_catalog."C"'::regcollation AS bytewise, pg_get_expr(adbin, adrelid) AS filled
FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid = $1::text::regclass AND attname = $2"""


_MISFITS = {"in a column of integers": "bigint", "in a column of text ": "text", "in a column of blobs ": "bytea"}
"""What our functions say of a value that a column of the type does not hold."""
_NAMES: dict[type, str] = {str: "A text", bytes: "A blob"}


_BYTES = "CASE WHEN {0} IS NOT NULL THEN jsonb_build_object('x', encode({0}, 'hex')) END"


class Unheld(Refused):
    """A value of a kind that the column does not hold, though it could if it were of another type."""

    def __init__(
        self,
        what: str,
        column: Column,
        value: SqlValue = None,
        *,
        slot: int | None = None,
        integer: bool = False,
    ) -> None:
        """`value`, where it is known, or the `slot` of the parameter that it comes in, or else whether it is computed
        as an `integer`."""
        super().__init__(what, GIVE)
        self.column, self.value, self.slot, self._integer = column, value, slot, integer

    def of_integers(self, bound: Sequence[SqlValue]) -> bool:
        """Whether it is stored as an integer, in a statement with these arguments."""
        value = self.value if self.slot is None else bound[self.slot]
        return self._integer if value is None else isinstance(as_stored(self.column, value), int)


def is_wide(column: Column) -> bool:
    """Whether SQLite would take texts and numbers alike, and the column's name alone says what it is here."""
    return is_soft(column.affinity) and column.affinity in NUMERIC_AFFINITIES and not column.exact


@dataclass(frozen=True)
class Whole:
    """Encodes a number or a text for a column of integers that may have to be widened for it."""

    column: Column

    def __call__(self, value: SqlValue) -> SqlValue:
        if type(as_stored(self.column, value)) is not int:
            what = f"{_NAMES.get(type(value), 'A real')} for column {self.column.name} of integers"
            raise Unheld(what, self.column, value)
        return value


@dataclass(frozen=True)
class Worded:
    """Encodes a text for a column of texts that may have to be widened if SQLite makes a number of it."""

    column: Column

    def __call__(self, value: SqlValue) -> SqlValue:
        if not isinstance(as_stored(self.column, value), str):
            raise Unheld(f"A number for column {self.column.name}, which holds text,", self.column, value)
        return value


def misfit(unsure: Sequence[Column], error: asyncpg.InvalidTextRepresentationError) -> Unheld | None:
    """Which column could not hold what was computed: the first of the type that the error tells of. If that was another
    one, the statement fails again, and this one is none of those any more.
    """
    for words, target_type in _MISFITS.items():
        for column in unsure if words in str(error) else ():
            if column.target_type == target_type:
                what = f"A computed value for column {column.name} of type {target_type}"
                return Unheld(what, column, integer=target_type == "text")  # of a text it said that it is a number
    return None


async def demand_own(connection: Connection, catalog: Catalog, told: Unheld) -> tuple[Table, str | None]:
    """(the column's table, its default on Postgres) where its type is cutover's to choose. Raises `told`."""
    table = next((each for each in catalog.tables.values() if any(one is told.column for one in each.columns)), None)
    if table is None or told.column.name in table.key:
        raise told
    there = await connection.fetchrow(_STANDS, target(table), told.column.target, [_WIDENED, BY_NAME])
    if there is None or not (there["chosen"] or there["bytewise"]):
        raise told
    return table, there["filled"]


async def widen(connection: Connection, catalog: Catalog, told: Unheld, bound: Sequence[SqlValue]) -> Table:
    """Give the column a type that holds the value of a statement with these arguments; returns its table.

    Raises `told` where the type is not cutover's to choose, or something depends on it; `Conflict` where another
    client has stored the first value meanwhile.
    """
    table, filled = await demand_own(connection, catalog, told)
    place, name = target(table), quote(told.column.target)
    empty = not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {place} WHERE {name} IS NOT NULL)")
    if is_blob_by_name(told.column):
        kind, held = scalars.NAME, _BYTES
    elif empty and filled is None and told.of_integers(bound):
        # A value that another client stored meanwhile, which this transaction does not see, must not become NULL.
        kind, held = "bigint", "nullif(1 / ({0} IS NULL)::int, 1)"
    else:
        kind, held = scalars.NAME, "to_jsonb({0})"
    if kind == scalars.NAME:
        await connection.execute(scalars.CREATE)
    try:
        await connection.execute(f"ALTER TABLE {place} ALTER COLUMN {name} DROP DEFAULT")
        await connection.execute(f"ALTER TABLE {place} ALTER COLUMN {name} TYPE {kind} USING {held.format(name)}")
        if filled is not None:
            await connection.execute(f"ALTER TABLE {place} ALTER COLUMN {name} SET DEFAULT {held.format(filled)}")
        await connection.execute(f"COMMENT ON COLUMN {place}.{name} IS '{_WIDENED}'")
    except asyncpg.DivisionByZeroError:
        raise Conflict("The column got its first value from another client.") from None
    except (asyncpg.FeatureNotSupportedError, asyncpg.DatatypeMismatchError, asyncpg.UndefinedFunctionError):
        raise told from None  # a key, a check, an index or a view goes by the old type
    except asyncpg.InsufficientPrivilegeError:
        raise told from None
    return table
