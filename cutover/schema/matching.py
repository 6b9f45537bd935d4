"""Which column of a Postgres table stands for which column of a SQLite table, and what the key is. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cutover.errors import SchemaError
from cutover.model.table import Column, UniqueIndex
from cutover.schema.codecs import FITTING, base_of, codec_for
from cutover.schema.findings import Finding
from cutover.schema.postgres_schema import PostgresColumn, PostgresTable
from cutover.schema.sqlite_schema import ROWID, SqliteColumn, SqliteTable
from cutover.schema.types import Histogram, alike, choose_type, normal_type
from cutover.settings import ColumnSettings, TableSettings

_ROWID_KEY = (
    f"The table has no key, so SQLite's hidden rowid tells its rows apart: it is column {ROWID} on Postgres, where "
    "`SELECT *` in Postgres's own SQL shows it."
)
_ROWID_KEY_TODO = "VACUUM gives such rows new numbers, after which the table is copied again; a primary key avoids it."

Histograms = Mapping[tuple[str, str], Histogram]
"""By (table, column): what the columns hold whose declared type does not say."""


def pick(name: str, names: Iterable[str]) -> str | None:
    """`name` among `names`: exactly, or else the only one that differs by case alone."""
    known = list(names)
    if name in known:
        return name
    alike = [each for each in known if each.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence naming the nearest of `names`, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" The nearest is {near[0]}." if near else ""


@dataclass
class Match:
    """One table's columns as far as they were matched. `whole` is False once something stands in the way."""

    source: SqliteTable
    target: PostgresTable | None
    settings: TableSettings
    findings: list[Finding]
    columns: list[Column] = field(default_factory=list)
    whole: bool = True

    def blocks(self, code: str, message: str, todo: str, *, column: str = "") -> None:
        """Record what keeps this table from being mirrored."""
        self.whole = False
        self.findings.append(Finding("blocks", code, message, todo, self.source.name, column))

    def says(self, code: str, message: str, todo: str = "", *, column: str = "", warns: bool = False) -> None:
        """Record what does not keep it."""
        self.findings.append(Finding("warns" if warns else "informs", code, message, todo, self.source.name, column))

    def column(self, name: str) -> Column | None:
        """The mapped column of that source name, in any case."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


def match_columns(
    match: Match, histograms: Histograms, open_key: frozenset[str] = frozenset(), *, born: bool = False
) -> None:
    """Fill `match.columns`: from the target where it exists, else by what the source holds.

    `open_key`: columns of a declared key that the rowid stands in for. They get types as if they were `born`.
    """
    given = {name.lower(): each for name, each in match.settings.columns.items()}
    held = [(each, histograms.get((match.source.name, each.name))) for each in match.source.columns]
    for column, histogram in held:
        chosen = given.get(column.name.lower(), ColumnSettings())
        if chosen.ignore:
            match.says("column_ignored", "The configuration leaves this column out.", column=column.name, warns=True)
        elif match.target is not None:
            _adopt(match, match.target, column, chosen)
        elif column.generated:
            continue
        else:
            open_ = born or column.name in open_key
            _create(match, column, chosen, alike(column, histogram, held), born=open_)
    if match.target is not None:
        _unmatched(match, match.target)


def _create(
    match: Match, column: SqliteColumn, chosen: ColumnSettings, histogram: Histogram | None, *, born: bool
) -> None:
    referring = (name for key in match.source.foreign_keys for name in key.columns)
    in_key = column.name in (*match.settings.key, *match.source.primary_key, *referring) or any(
        column.name in index.columns for index in match.source.unique
    )
    try:
        kind = normal_type(chosen.type) if chosen.type else choose_type(column, histogram, born=born, in_key=in_key)
    except SchemaError as error:
        match.blocks("type_undecided", error.message.removeprefix("Column : "), error.hint, column=column.name)
        return
    if column.name == match.source.rowid_alias:
        kind = "bigint"
    made = PostgresColumn(chosen.target or column.name, kind, column.not_null)
    mapped = _mapped(column, made, chosen)
    if _has_codec(match, mapped):
        match.columns.append(mapped)


def _has_codec(match: Match, column: Column) -> bool:
    try:
        codec_for(column)
    except SchemaError as error:
        code = "format_unknown" if column.format else "type_unsupported"
        match.blocks(code, error.message, error.hint, column=column.name)
        return False
    return True


def _mapped(column: SqliteColumn, target: PostgresColumn, chosen: ColumnSettings) -> Column:
    return Column(
        name=column.name,
        hidden=column.hidden,
        declared=column.declared,
        affinity=column.affinity,
        target=target.name,
        target_type=target.type,
        not_null=column.not_null,
        default=column.default,
        collation=column.collation,
        target_collation=target.collation,
        base_type=target.base_type,
        labels=target.labels,
        format=chosen.format,
    )


def _adopt(match: Match, target: PostgresTable, column: SqliteColumn, chosen: ColumnSettings) -> None:
    blocks: Callable[[str, str, str], None] = partial(match.blocks, column=column.name)
    names = [each.name for each in target.columns]
    name = pick(chosen.target or column.name, names)
    found = target.column(name) if name else None
    if column.generated:
        if found is None or not found.generated:
            match.says(
                "generated_not_computed",
                f"Generated by SQLite; {target.name} does not generate it, so it is not mirrored.",
                "Make it GENERATED ALWAYS AS (...) STORED on Postgres too, if anything reads it there.",
                column=column.name,
                warns=True,
            )
        return
    if found is None:
        blocks(
            "column_missing",
            f"Table {target.name} on Postgres has no column {chosen.target or column.name}."
            + nearest(chosen.target or column.name, names),
            "Name its counterpart with `target`, add the column on Postgres, or set ignore = true.",
        )
        return
    # A row that brings its key may: that is what OVERRIDING SYSTEM VALUE is for. An update may not.
    own = found.identity == "always" and column.name not in match.source.primary_key
    if found.generated or own:
        blocks(
            "column_generated",
            f"Postgres makes the values of {found.name} itself ({'generated' if found.generated else 'identity always'}"
            "), so those of SQLite cannot be stored.",
            f"ALTER TABLE {target.name} ALTER COLUMN {found.name} "
            + ("DROP EXPRESSION." if found.generated else "SET GENERATED BY DEFAULT."),
        )
        return
    wanted = (column.default or "NULL").strip("() ").upper() != "NULL"
    lacks = wanted and found.default is None and not found.identity
    mapped = replace(_mapped(column, found, chosen), default_lacks=lacks, nulls_last=_nulls_last(target, found.name))
    if not _has_codec(match, mapped):
        return
    _compare_types(match, mapped, found, chosen)
    match.columns.append(mapped)


def _nulls_last(target: PostgresTable, name: str) -> bool:
    """Whether all indexes that have the column sort its NULLs as Postgres does unasked."""
    sorted_last = [
        last
        for index in target.indexes
        for each, last in zip(index.columns, index.nulls_last, strict=False)
        if each == name
    ]
    return bool(sorted_last) and all(sorted_last)


def _compare_types(match: Match, column: Column, found: PostgresColumn, chosen: ColumnSettings) -> None:
    fitting = FITTING.get(column.affinity)
    if fitting is not None and base_of(column) not in fitting:
        match.blocks(
            "type_mismatch",
            f"SQLite's {column.declared} cannot be stored in Postgres's {found.type}: every row would be held back.",
            f"Change the type on Postgres to one of {', '.join(sorted(fitting))}.",
            column=column.name,
        )
    if chosen.type and _normal(chosen.type) != found.type:
        match.says(
            "type_setting_unused",
            f"The configured type {chosen.type} is not used: the table exists, with {found.type}.",
            "Remove `type`, or change the table on Postgres.",
            column=column.name,
            warns=True,
        )
    if not found.deterministic:
        match.says(
            "collation_looser",
            f"The collation {found.collation} takes different texts for equal.",
            'Use COLLATE "C" on Postgres, or expect rows that are equal to it to be held back.',
            column=column.name,
            warns=True,
        )
    elif found.collation is not None:
        match.says(
            "collation_differs",
            f"Postgres sorts it by {found.collation}, SQLite by bytes.",
            'ALTER COLUMN ... TYPE text COLLATE "C" keeps the order of ORDER BY, and makes comparison faster.',
            column=column.name,
        )


def _normal(written: str) -> str:
    try:
        return normal_type(written)
    except SchemaError:
        return written


def _unmatched(match: Match, target: PostgresTable) -> None:
    taken = [column.target for column in match.columns]
    for name in sorted({name for name in taken if taken.count(name) > 1}):
        match.blocks("target_twice", f"Two columns are mapped to {name}.", "Give one of them another `target`.")
    generated = {column.name.lower() for column in match.source.columns if column.generated}
    for column in target.columns:
        if column.name in taken or column.generated or column.name.lower() in generated:
            continue
        if column.not_null and column.default is None and not column.identity:
            match.blocks(
                "target_column_required",
                f"Postgres demands a value for {target.name}.{column.name}, which SQLite does not have.",
                f"Name its counterpart with `target`, give it a default, or drop its NOT NULL on {target.name}.",
            )
        else:
            match.says(
                "target_column_unmapped",
                f"{target.name}.{column.name} exists on Postgres alone: it keeps its default, and is not compared.",
            )


def choose_key(match: Match) -> tuple[str, ...]:
    """The key in source names, in order; empty (and said) if there is none that is sure to name one row."""
    source = match.source
    if match.settings.key and not source.primary_key:
        return _configured_key(match)
    if source.is_keyless:
        match.says("rowid_key", _ROWID_KEY, _ROWID_KEY_TODO)
        return _usable(match, source.primary_key)
    if match.settings.key and {name.lower() for name in match.settings.key} != {
        name.lower() for name in source.primary_key
    }:
        match.says(
            "key_setting_unused",
            f"The configured key is not used: the table declares {', '.join(source.primary_key)}.",
            "Remove `key` from the configuration.",
            warns=True,
        )
    if source.primary_key:
        return _usable(match, source.primary_key)
    for index in sorted(source.unique, key=lambda index: (len(index.columns), index.name)):
        if tells_apart(source, index):
            return _usable(
                match, tuple(column.name for name in index.columns if name and (column := source.column(name)))
            )
    match.blocks(
        "no_key",
        "The table has no primary key and no unique index over NOT NULL columns, so its rows cannot be told apart.",
        f"Add a primary key in SQLite, name key columns in the configuration, add {ROWID} BIGINT PRIMARY KEY to the "
        "table on Postgres, or set ignore = true.",
    )
    return ()


def tells_apart(source: SqliteTable, index: UniqueIndex) -> bool:
    """Whether no two rows can be the same in all columns of the index."""
    columns = [source.column(name) for name in index.columns if name is not None]
    if index.partial or len(columns) != len(index.columns):
        return False
    return all(column and column.not_null and not column.generated and not column.hidden for column in columns)


def _configured_key(match: Match) -> tuple[str, ...]:
    found = [match.source.column(name) for name in match.settings.key]
    if any(column is None for column in found):
        match.blocks(
            "key_unknown",
            f"The configured key ({', '.join(match.settings.key)}) names a column that the table does not have.",
            f"The columns are {', '.join(column.name for column in match.source.columns)}.",
        )
        return ()
    key = tuple(column.name for column in found if column)
    if not any(set(index.columns) == set(key) and not index.partial for index in match.source.unique):
        match.says(
            "key_not_enforced",
            f"SQLite does not enforce that ({', '.join(key)}) names one row.",
            f"CREATE UNIQUE INDEX ... ON {match.source.name} ({', '.join(key)}) in SQLite.",
            warns=True,
        )
    return _usable(match, key)


def _usable(match: Match, key: tuple[str, ...]) -> tuple[str, ...]:
    for name in key:
        column = match.column(name)
        if column is None:
            match.blocks("key_not_mapped", "This key column is not mirrored.", "Map it; keys are needed.", column=name)
            return ()
        exact = replace(column, exact=True)
        if why := codec_for(exact).key:
            code = "key_is_json" if base_of(column) in ("json", "jsonb") else "key_type"
            match.blocks(
                code,
                f"A column of type {column.target_type} cannot be part of a key: {why}.",
                "Choose another key, or change the type on Postgres.",
                column=name,
            )
            return ()
        match.columns[match.columns.index(column)] = exact
    if match.target is not None:
        _check_target_key(match, match.target, key)
    return key


def _check_target_key(match: Match, target: PostgresTable, key: tuple[str, ...]) -> None:
    columns = {column.target for name in key if (column := match.column(name))}
    fitting = [index for index in target.indexes if index.unique and set(index.columns) == columns]
    if any(index.valid and index.immediate and index.partial is None for index in fitting):
        return
    match.blocks(
        "target_key_missing",
        f"Table {target.name} on Postgres has no primary key or unique index on exactly ({', '.join(sorted(columns))})"
        + (" that is valid, not partial and not deferrable." if fitting else "."),
        f"ALTER TABLE {target.name} ADD UNIQUE ({', '.join(sorted(columns))}).",
    )
