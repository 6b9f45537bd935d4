"""One table of SQLite and its place on Postgres, as far as the two alone tell; foreign keys are the mapping's. Pure.

A schema is mapped again after each change of one table, and matching the columns of all others takes a millisecond for
each. Both schemas keep the very objects of what did not change, so what was found for these is found again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cutover.model.table import Table, Unkept
from cutover.schema.counterparts import Counterparts
from cutover.schema.ddl import MOST_COLUMNS
from cutover.schema.findings import Finding
from cutover.schema.matching import Histograms, Match, choose_key, match_columns
from cutover.schema.naming import unusable
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.rowids import carries_rowid, keyed_by_rowid, with_rowid, without_rowid
from cutover.schema.sqlite_schema import ROWID, SqliteTable
from cutover.settings import TableSettings

_MOST_COLUMNS = 1600
_MOST_KNOWN = 2000


@dataclass(frozen=True, slots=True)
class Asked:
    """All that decides how a table is mapped, but for what its columns hold."""

    source: SqliteTable
    target: PostgresTable | None
    chosen: TableSettings
    schema: str
    taken: bool
    """Whether its name on Postgres is that of something else."""
    born: bool
    loose: bool
    """Whether keys that are not declared NOT NULL are to take NULL."""
    numbered: bool
    """Whether a table that is made carries SQLite's rowid beside its key."""

    def is_as(self, other: Asked) -> bool:
        """Whether it is the same question. Tables are compared by identity: comparing each column would take long."""
        return (
            self.source is other.source
            and self.target is other.target
            and (self.schema, self.taken, self.born) == (other.schema, other.taken, other.born)
            and (self.loose, self.numbered) == (other.loose, other.numbered)
            and self.chosen == other.chosen
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What became of it: no `table` where something is in the way, which a finding says."""

    table: Table | None
    keyed: SqliteTable | None
    """The table with its rowid, where Postgres has that."""
    findings: tuple[Finding, ...]


_known: dict[tuple[int, int], tuple[Asked, Found]] = {}
"""By the identity of the two tables, which are kept."""


def map_table(asked: Asked, histograms: Histograms) -> Found:
    """Map it, unless that was just done. `histograms` are those of its columns."""
    key = id(asked.source), id(asked.target)
    known = _known.get(key)
    if histograms or known is None or not known[0].is_as(asked):
        found = _map(asked, histograms)
        if not histograms:
            _known[key] = asked, found
            while len(_known) > _MOST_KNOWN:
                _known.pop(next(iter(_known)), None)  # another thread may have done it
        return found
    return known[1]


def _map(asked: Asked, histograms: Histograms) -> Found:
    source, target, chosen, keyed = asked.source, asked.target, asked.chosen, None
    wanted = chosen.target or source.name
    held = {name: histograms.get((source.name, name)) for name in source.primary_key}
    nulls = frozenset(name for name, each in held.items() if each and each.null and not each.classes)
    open_key = frozenset[str]()
    if keyed_by_rowid(source, target, chosen, nulls, born=asked.born, loose=asked.loose):
        open_key = nulls.intersection(source.primary_key)
        source = keyed = with_rowid(source, as_key=True)
    elif carries_rowid(source, target, wanted=asked.numbered):
        source = keyed = with_rowid(source, as_key=False)
    else:
        source = without_rowid(source)
    findings = list[Finding]()
    match = Match(source, target, chosen, findings)
    if asked.taken:
        match.blocks("name_taken", f"{wanted} exists on Postgres and is not a table.", "Set `target`, or drop it.")
    match_columns(match, histograms, open_key, born=asked.born)
    key = choose_key(match) if match.whole else ()
    if target is None:
        _check_names(match, wanted)
        if len(key) > MOST_COLUMNS:
            message = f"The primary key has {len(key)} columns, and Postgres takes {MOST_COLUMNS}."
            match.blocks("key_too_wide", message, "Give the table a key of fewer columns in SQLite.")
    if not match.whole or not key:
        return Found(None, keyed, tuple(findings))
    table = Table(
        name=source.name,
        target_schema=asked.schema,
        target=target.name if target else wanted,
        columns=tuple(match.columns),
        key=key,
        unique=source.unique,
        rowid_alias=source.rowid_alias if source.rowid_alias in (ROWID, *key) else None,
        autoincrement=source.autoincrement,
        keys=chosen.keys,
        without_rowid=source.without_rowid,
        downwards=source.downwards,
        sql=source.sql,
        target_shape=tuple(f"{column.name} {column.type}" for column in target.columns) if target else (),
    )
    if target is not None and (lacking := Counterparts(table, target).lacking(source)):
        table = replace(table, unique=tuple(replace(index, lacks=index.name in lacking) for index in table.unique))
        for name in sorted(lacking):
            match.says(
                "unique_index_lacking",
                f"{target.name} on Postgres has nothing that could stand for the unique index {name}, "
                "so writes which could break it are refused there.",
                f"Create its equal on Postgres under the name {name}, or drop it in SQLite.",
                warns=True,
            )
    if target is not None and target.checks and source.checks:
        table = replace(table, checks=tuple(Counterparts(table, target).called(source)))
    if target is not None and (unkept := tuple(_unkept(table, source, target))):
        table = replace(table, unkept=unkept)
        for each in unkept:
            match.says(
                "constraint_lacking",
                f"{target.name} on Postgres has nothing that could stand for {each.what}, "
                "so writes which could break it are refused there.",
                "Create its equal on Postgres, or drop it in SQLite.",
                warns=True,
            )
    return Found(table, keyed, tuple(findings))


def _unkept(table: Table, source: SqliteTable, target: PostgresTable) -> Iterator[Unkept]:
    """What SQLite demands of each row, and Postgres does not."""
    both = Counterparts(table, target)
    for check in both.lacking_checks(source):
        yield Unkept(f"CHECK ({check})", tuple(sorted(both.about(check, source))))
    for column in table.columns:
        found = target.column(column.target)
        if column.not_null and column.name not in table.key and found is not None and not both.demands(found):
            yield Unkept(f"NOT NULL of {column.name}", (column.name,))
    for made in source.columns:
        if made.generated and made.not_null and not both.demands_computed(made, source):
            yield Unkept(f"NOT NULL of {made.name}", tuple(sorted(both.about(made.generated, source))))


def _check_names(match: Match, table: str) -> None:
    for column, name in (("", table), *((each.name, each.target) for each in match.columns)):
        if wrong := unusable(name, of_column=bool(column)):
            match.blocks(wrong.code, wrong.message, wrong.todo, column=column)
    if len(match.columns) > _MOST_COLUMNS:
        message = f"The table has {len(match.columns):,} columns, and Postgres takes {_MOST_COLUMNS:,}."
        match.blocks("too_many_columns", message, "Leave some out with ignore = true, or split the table in SQLite.")
    folded = Counter(column.target for column in match.columns)
    for name in (name for name, count in folded.items() if count > 1):
        match.blocks("target_twice", f"Two columns are mapped to {name}.", "Give one of them another `target`.")
