"""sqlite_sequence, where SQLite keeps the highest key that each AUTOINCREMENT table ever had: on Postgres, sequences.

It is read as a query over the sequences, and what is written to it (`marking`) sets them. One that gives keys by
itself never stands below the highest key there is; a lower mark is kept in memory (`settling`) until those rows go, and
so is one that an UPDATE of keys has left below them.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.drawing import Drawing, drawing_one
from cutover.dialect.scope import Source, SourceColumn
from cutover.dialect.typed import UNDECLARED, Kind, identifier
from cutover.model.table import Table

NAME = "sqlite_sequence"


def is_meant(node: exp.Expr) -> bool:
    """Whether a statement writes it."""
    if not isinstance(node, (exp.Insert, exp.Update, exp.Delete)):
        return False
    into = node.this.this if isinstance(node.this, exp.Schema) else node.this
    return isinstance(into, exp.Table) and into.name.lower() == NAME


def counted(catalog: Catalog) -> list[tuple[Table, str]]:
    """The AUTOINCREMENT tables, with their sequences."""
    named = ((table, catalog.sequences.get(table.name)) for table in catalog.tables.values() if table.autoincrement)
    return [(table, sequence) for table, sequence in named if sequence]


def source(catalog: Catalog, alias: str) -> tuple[exp.Expr, Source]:
    """What stands for it in FROM. `sequence` and `highest` (where it may not go below) are not the application's."""
    selects = [
        f"SELECT {_text(table.name)} AS name, "
        f"cutover.mark({_text(sequence)}, EXISTS (SELECT 1 FROM {_relation(table)})) AS seq, "
        f"{_text(sequence)} AS sequence, {_highest(catalog, table)} AS highest"
        for table, sequence in counted(catalog)
    ] or ["SELECT NULL::text AS name, NULL::bigint AS seq, NULL::text AS sequence, NULL::bigint AS highest"]
    query = sqlglot.parse_one(" UNION ALL ".join(selects), dialect="postgres")
    node = exp.Subquery(this=query, alias=exp.TableAlias(this=identifier(alias)))
    some = len(selects) > 1  # which SQLite lists in the order in which each got its first row
    kinds = {"name": Kind.TEXT, "seq": Kind.INT}
    return node, Source(alias, [SourceColumn(name, name, kind, UNDECLARED, loose=some) for name, kind in kinds.items()])


def present(catalog: Catalog, alias: str) -> tuple[exp.Expr, Source]:
    """The same as a table of the rows that there are."""
    node, found = source(catalog, alias)
    rows = exp.Select(
        expressions=[exp.Column(this=identifier(name)) for name in ("name", "seq")],
        from_=exp.From(this=node),
        where=exp.Where(this=exp.Not(this=exp.Is(this=exp.Column(this=identifier("seq")), expression=exp.Null()))),
    )
    return exp.Subquery(this=rows, alias=exp.TableAlias(this=identifier(alias))), found


def settled(catalog: Catalog) -> tuple[Drawing, ...]:
    """What draws from those sequences that have to be settled before they are read or set."""
    return tuple(drawing_one(*each) for each in counted(catalog) if not catalog.counts(each[0]))


def _highest(catalog: Catalog, table: Table) -> str:
    """The highest key there is, which a sequence has to be above; where statements count, they see it themselves."""
    if catalog.counts(table):
        return "NULL::bigint"
    key = next(column.target for column in table.columns if column.name == table.rowid_alias)
    return f"(SELECT max({_quoted(key)}) FROM {_relation(table)})"


def _relation(table: Table) -> str:
    return f"{_quoted(table.target_schema)}.{_quoted(table.target)}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
