"""What the translator knows of the application's tables, by name as SQLite finds them (without regard to case)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cutover.dialect.reading import Reader
from cutover.dialect.typed import KIND_OF_TARGET, Kind, Refused
from cutover.model.table import Column, Table, Tables
from cutover.schema.codecs import codec_for
from cutover.schema.createsql import unquote
from cutover.schema.objects_wanted import STATISTICS
from cutover.schema.sqltokens import tokens

DATABASES = frozenset({"main", "temp"})
"""Whose tables are found here by name. No two have the same, and the schema copy has said that it is there."""
ROWID_NAMES = frozenset({"rowid", "_rowid_", "oid"})


def meant_by(name: str, table: Table) -> str:
    """The column that a name means, in lower case: the rowid has three more, unless a column has that name itself."""
    lower = name.lower()
    if lower not in ROWID_NAMES or table.rowid_alias is None:
        return lower
    return lower if any(column.name.lower() == lower for column in table.columns) else table.rowid_alias.lower()


@dataclass(frozen=True)
class Catalog:
    """Mapped tables and views. Immutable: a new one is made when the schema changes."""

    tables: Mapping[str, Table]
    views: Mapping[str, str] = field(default_factory=dict)
    """Lower-case name → the SELECT it stands for, in SQLite's SQL."""
    view_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Lower-case name → what SQLite calls the view's columns."""
    sequences: Mapping[str, str | None] = field(default_factory=dict)
    """Table name → the sequence of its automatic key on Postgres, None where it has none."""
    reading: Reader = field(default=lambda _: None, compare=False)
    """How SQLite would read for a statement."""
    learned: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict, compare=False)
    """What values say of formats that are not known (`spelling.Learned`)."""
    any_of_ties: bool = False
    """Whether LIMIT may take any of rows that only SQLite can sort, where it would be an error."""

    @classmethod
    def of(
        cls,
        tables: Tables,
        ddl: Iterable[str] = (),
        sequences: Mapping[str, str | None] | None = None,
        reading: Reader = lambda _: None,
        learned: dict[tuple[str, str], tuple[str, str]] | None = None,
        *,
        view_columns: Mapping[str, Sequence[str]] | None = None,
        any_of_ties: bool = False,
    ) -> Catalog:
        """A catalog of mapped tables, with the views found among the CREATE statements of `ddl`."""
        views = dict(filter(None, map(_view, ddl)))
        return cls(
            {table.name.lower(): table for table in tables},
            views,
            view_columns or {},
            sequences or {},
            reading,
            {} if learned is None else learned,
            any_of_ties,
        )

    def counts(self, table: Table) -> bool:
        """Whether the statement itself gives automatic keys: one more than the highest."""
        return table.keys == "sqlite" or self.sequences.get(table.name, "") is None

    def table(self, name: str) -> Table:
        """The table of that name. Raises `Refused` for one that is not mapped."""
        try:
            return self.tables[name.lower()]
        except KeyError:
            if name.lower() == STATISTICS:
                raise Refused(
                    f"{STATISTICS}, which SQLite's ANALYZE fills,",
                    "Ask PostgreSQL for what its own ANALYZE counts: pg_stats, pg_class.",
                ) from None
            raise Refused(f"Table {name}, which is not mirrored,", "`cutover plan` tells why.") from None


def _view(statement: str) -> tuple[str, str] | None:
    head = statement.split(None, 2)[:2]
    if [word.upper() for word in head] != ["CREATE", "VIEW"]:
        return None
    return _view_name(statement).lower(), statement


def _view_name(statement: str) -> str:
    """What CREATE VIEW names, whether or not the parser knows all that follows."""
    words = [token.text for token in tokens(statement)][2:]
    if [word.upper() for word in words[:3]] == ["IF", "NOT", "EXISTS"]:
        words = words[3:]
    return unquote(words[2] if words[1] == "." else words[0])


def column_kind(column: Column) -> Kind:
    """The kind of a mapped column."""
    kind = KIND_OF_TARGET.get(column.target_type.partition("(")[0], Kind.WHOLE)
    words = kind is Kind.BOOL and codec_for(column).shown is not None  # true and false that are words on SQLite
    return Kind.WHOLE if words else kind
