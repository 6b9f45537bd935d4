"""The SQL that reads and writes one mapped table's rows, and the values on its way there and back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from cutover.model.table import Column, Table
from cutover.model.values import Key, Row, SqlValue
from cutover.schema.codecs import Codec, base_of, codec_for, codecs_for, digestible
from cutover.stores.postgres.copytext import Encode, encoders
from cutover.stores.postgres.keys import Bound
from cutover.stores.postgres.names import log, quote, target

Convert = Callable[[Any], SqlValue]


class Rows:
    """Statements and conversions for `table`. The table is called `t` in them, given keys `k`."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.codecs = codecs_for(table)
        self.name = target(table)
        self.log = log(table)
        self.digestible = digestible(table)
        self.key_codecs = tuple(codec_for(column) for column in table.key_columns)
        self.bytewise = all(_bytewise(column) and not _by_label(column) for column in table.key_columns)
        self.columns = _shown(table.columns, self.codecs)
        self.key = _shown(table.key_columns, self.key_codecs)
        self.order = ", ".join(_ordered(column) for column in table.key_columns)
        self.given = self._unnest(self.key_codecs, "k", 1)
        self.same_key = " AND ".join(_same(column, f"k.k{n}") for n, column in enumerate(table.key_columns, 1))
        self._row_back = _converters(self.codecs)
        self._key_back = _converters(self.key_codecs)

    # -- values ----------------------------------------------------------------------------------------------------

    def row_back(self, record: Iterable[Any]) -> Row:
        """SQLite's values of a whole row."""
        return _convert(tuple(record), self._row_back)

    def key_back(self, record: Iterable[Any]) -> Key:
        """SQLite's values of a key."""
        return _convert(tuple(record), self._key_back)

    def row_there(self, row: Row) -> tuple[object, ...]:
        """Postgres's values of a row. Raises `Unrepresentable` naming the column."""
        return tuple(
            None if value is None else codec.to_target(value) for value, codec in zip(row, self.codecs, strict=True)
        )

    def key_there(self, key: Key) -> tuple[object, ...]:
        """Postgres's values of a key. Raises `Unrepresentable`; a NULL in a key matches nothing."""
        pairs = zip(key, self.key_codecs, strict=True)
        return tuple([None if value is None else codec.to_target(value) for value, codec in pairs])

    @cached_property
    def encoders(self) -> tuple[Encode, ...]:
        """How the columns' values are written for COPY."""
        return encoders(self.table.columns, self.codecs)

    # -- reading ---------------------------------------------------------------------------------------------------

    @cached_property
    def hash(self) -> str:
        """`cutover.schema.canonical.row_hash` in SQL, as a signed bigint (the same modulo 2**64)."""
        parts = [
            f"coalesce({codec.digest.format('t.' + quote(column.target))} || ';', 'n;')"
            for column, codec in zip(self.table.columns, self.codecs, strict=True)
            if codec.digest is not None
        ]
        return f"('x' || left(md5({' || '.join(parts)}), 16))::bit(64)::bigint"

    @cached_property
    def by_key(self) -> str:
        """Rows with the given keys (one array a key column)."""
        return f"SELECT {self.columns} FROM {self.given} JOIN {self.name} t ON {self.same_key}"

    @cached_property
    def logged(self) -> str:
        """Distinct logged keys, each with whether the row exists, and the row."""
        keys = ", ".join(f"k{n}" for n in range(1, len(self.table.key) + 1))
        return f"""
            SELECT {self._numbered("k.k")}, t.tableoid IS NOT NULL,
                   {self.columns}
            FROM (SELECT DISTINCT {keys} FROM {self.log} WHERE NOT whole) k
            LEFT JOIN {self.name} t ON {self.same_key}"""

    @cached_property
    def logged_among(self) -> str:
        """Which of the given keys are in the log."""
        keys = self._numbered("k.k")
        same = " AND ".join(f"l.k{n} = k.k{n}" for n in range(1, len(self.table.key) + 1))
        return f"SELECT DISTINCT {keys} FROM {self.given} JOIN {self.log} l ON NOT l.whole AND {same}"

    def condition(self, after: Bound | None, upto: Bound | None, first: int = 1) -> tuple[str, list[object]]:
        """SQL for after < key <= upto and its arguments, numbered from `first`."""
        parts: list[str] = []
        values: list[object] = []
        for bound, below in ((after, False), (upto, True)):
            if bound is None:
                continue
            parts.append(self._side(bound, first + len(values), below=below))
            values.extend(bound.values)
        return " AND ".join(parts) or "true", values

    def _side(self, bound: Bound, first: int, *, below: bool) -> str:
        if not bound.values:
            return "true" if bound.inclusive is below else "false"
        sides = ("<=", ">") if bound.inclusive else ("<", ">=")
        operator = sides[0] if below else sides[1]
        columns = self.table.key_columns[: len(bound.values)]
        left = ", ".join(_ordered(column) for column in columns)
        right = ", ".join(
            _bound(column, codec, f"${first + n}::{codec.sql_type}")
            for n, (column, codec) in enumerate(zip(columns, self.key_codecs, strict=False))
        )
        return f"({left}) {operator} ({right})"

    @cached_property
    def many_ranges(self) -> str:
        """Digests of many ranges at once: the arrays of the lower keys, then those of the upper keys."""
        width = len(self.table.key)
        both = self.key_codecs * 2
        arrays = ", ".join(f"${n}::{codec.sql_type}[]" for n, codec in enumerate(both, 1))
        names = [f"{side}{n}" for side in "lu" for n in range(1, width + 1)]
        columns = self.table.key_columns * 2
        sides = [_bound(column, codec, f"b.{name}") for name, column, codec in zip(names, columns, both, strict=True)]
        low, high = (", ".join(sides[at : at + width]) for at in (0, width))
        return f"""
            SELECT d.n, d.s FROM unnest({arrays}) WITH ORDINALITY AS b({", ".join(names)}, place)
            CROSS JOIN LATERAL (
                SELECT count(*) AS n, coalesce(sum({self.hash}), 0) AS s FROM {self.name} t
                WHERE ({self.order}) > ({low}) AND ({self.order}) <= ({high})) d
            ORDER BY b.place"""

    def scan(self, condition: str, rows_per_range: int, limit: int) -> str:
        """Consecutive ranges of `rows_per_range` rows: count, sum of hashes, and the last key of each."""
        width = range(1, len(self.table.key) + 1)
        keys = ", ".join(f"t.{quote(column.target)} AS k{n}" for n, column in enumerate(self.table.key_columns, 1))
        order = ", ".join(_in_order(column, f"k{n}") for n, column in enumerate(self.table.key_columns, 1))
        last = f"FILTER (WHERE is_last OR rn % {rows_per_range} = 0)"
        uppers = ", ".join(
            codec.read(f"(array_agg(k{n}) {last})[1]") for n, codec in zip(width, self.key_codecs, strict=True)
        )
        return f"""
            SELECT count(*), coalesce(sum(h), 0), {uppers}
            FROM (
                SELECT *, row_number() OVER (ORDER BY {order}) AS rn,
                       lead(false, 1, true) OVER (ORDER BY {order}) AS is_last
                FROM (SELECT {keys}, {self.hash} AS h FROM {self.name} t
                      WHERE {condition} ORDER BY {self.order} LIMIT {limit}) s
            ) n GROUP BY (rn - 1) / {rows_per_range} ORDER BY (rn - 1) / {rows_per_range}"""

    # -- writing ---------------------------------------------------------------------------------------------------

    @cached_property
    def insert(self) -> str:
        """Insert rows (one array a column)."""
        names = ", ".join(quote(column.target) for column in self.table.columns)
        values = ", ".join(f"v.k{n}" for n in range(1, len(self.codecs) + 1))
        # Keys of GENERATED ALWAYS columns are the primary's, too.
        return (
            f"INSERT INTO {self.name} AS t ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {values} FROM {self._unnest(self.codecs, 'v', 1)}"
        )

    @cached_property
    def upsert(self) -> str:
        """Insert rows, or update those of the same key that differ in any bit."""
        keys = ", ".join(quote(column.target) for column in self.table.key_columns)
        others = [column for n, column in enumerate(self.table.columns) if n not in self.table.key_indexes]
        if not others:
            return f"{self.insert} ON CONFLICT ({keys}) DO NOTHING"
        sets = ", ".join(f"{quote(column.target)} = excluded.{quote(column.target)}" for column in others)
        ours = ", ".join(f"t.{quote(column.target)}" for column in others)
        theirs = ", ".join(f"excluded.{quote(column.target)}" for column in others)
        # IS DISTINCT FROM does not know json and overlooks the bits that equality overlooks.
        return (
            f"{self.insert} ON CONFLICT ({keys}) DO UPDATE SET {sets} WHERE record_image_ne(ROW({ours}), ROW({theirs}))"
        )

    @cached_property
    def delete(self) -> str:
        """Delete the rows with the given keys."""
        return f"DELETE FROM {self.name} t USING {self.given} WHERE {self.same_key}"

    def delete_others(self, condition: str, first: int) -> str:
        """Delete the rows of a range that are not among the given keys, whose arrays are numbered from `first`."""
        given = self._unnest(self.key_codecs, "k", first)
        return f"DELETE FROM {self.name} t WHERE {condition} AND NOT EXISTS (SELECT FROM {given} WHERE {self.same_key})"

    def _numbered(self, prefix: str) -> str:
        return ", ".join(codec.read(f"{prefix}{n}") for n, codec in enumerate(self.key_codecs, 1))

    @staticmethod
    def _unnest(codecs: Sequence[Codec], alias: str, first: int) -> str:
        """Parameters as rows of values of the columns' types, named k1, k2 ..."""
        arrays = ", ".join(f"${n}::{codec.sql_type}[]" for n, codec in enumerate(codecs, first))
        names = ", ".join(f"k{n}" for n in range(1, len(codecs) + 1))
        if not any(codec.by_text for codec in codecs):
            return f"unnest({arrays}) AS {alias}({names})"
        values = ", ".join(f"{codec.write(f'u.k{n}')} AS k{n}" for n, codec in enumerate(codecs, 1))
        return f"(SELECT {values} FROM unnest({arrays}) AS u({names})) AS {alias}"


def arrays(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as one list a column."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _shown(columns: Iterable[Column], codecs: Iterable[Codec]) -> str:
    """The columns as the driver is to give them."""
    pairs = zip(columns, codecs, strict=True)
    return ", ".join(codec.read(f"t.{quote(column.target)}") for column, codec in pairs)


def _bytewise(column: Column) -> bool:
    return column.target_collation in {None, "C"}


def _ordered(column: Column) -> str:
    """The column in bytewise order. Only without an explicit COLLATE is an index of another name for "C" used."""
    return _in_order(column, f"t.{quote(column.target)}")


def _in_order(column: Column, name: str) -> str:
    if _by_label(column):
        return f'{name}::text COLLATE "C"'
    return name if _bytewise(column) else f'{name} COLLATE "C"'


def _bound(column: Column, codec: Codec, parameter: str) -> str:
    """What a key is compared with in order: a bound need not be a label."""
    return parameter if _by_label(column) else codec.write(parameter)


def _by_label(column: Column) -> bool:
    """Postgres sorts an enum in the order of its labels' making, SQLite sorts their text."""
    return base_of(column) == "enum"


def _same(column: Column, other: str) -> str:
    """Equality that an index can serve and that is exact to the byte."""
    name = f"t.{quote(column.target)}"
    equal = f"{name} = {other}"
    return equal if _bytewise(column) else f'{equal} AND {name} COLLATE "C" = {other}'


def _converters(codecs: Sequence[Codec]) -> list[tuple[int, Convert]]:
    """Only what has something to do: most values are the same on both sides."""
    return [(n, codec.to_source) for n, codec in enumerate(codecs) if codec.to_source is not _PLAIN]


_PLAIN = codec_for(Column("", "", "INTEGER", "", "bigint")).to_source


def _convert(values: tuple[Any, ...], converters: list[tuple[int, Convert]]) -> tuple[SqlValue, ...]:
    if not converters:
        return values
    changed = list(values)
    for index, convert in converters:
        if changed[index] is not None:
            changed[index] = convert(changed[index])
    return tuple(changed)
