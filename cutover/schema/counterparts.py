"""Which of Postgres's unique indexes stands for which of SQLite's. Pure.

Both sides may call one index by two names, so it is known by what it is over, as Postgres prints it, and by its name
where that says nothing: whoever made an equal by hand gave it the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cutover.model.table import Table
from cutover.schema.createsql import read_create_table, unquote
from cutover.schema.ddl import Ddl
from cutover.schema.implied import asks_for_class, implied
from cutover.schema.naming import placed
from cutover.schema.postgres_schema import PostgresCheck, PostgresColumn, PostgresIndex, PostgresTable
from cutover.schema.sqlite_schema import SqliteColumn, SqliteIndex, SqliteTable, quoted
from cutover.schema.sqltokens import tokens

_WIDE = ("bigint", "text", "double precision", "numeric", "bytea", "cutover.value")
"""Types that take all of an affinity's values."""
_NOWHERE: Mapping[str, str] = {}
_LITERAL = re.compile(r"('(?:[^']|'')*')")
_NEGATIVE = re.compile(r"'(-[\d.]+)'::(?:integer|bigint|numeric|double precision)")
_IDLE = re.compile(r'COLLATE "C"|::[a-z]+(?: [a-z]+)*|[\s()"]')
_NO_NAME = re.compile(r"""'(?:[^']|'')*'|COLLATE "C"|::[a-z]+(?: [a-z]+)*""")
"""What names no column, though one may be called so: texts, and what Postgres adds of its own."""
_ANY = re.compile(r"=ANYARRAY\[((?:'(?:[^']|'')*'|[^\]'])*)\]")
"""How Postgres prints IN."""


@dataclass
class Counterparts:
    """One table on both sides."""

    table: Table
    """As it is mapped to `there`."""
    there: PostgresTable
    _texts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _targets(self) -> dict[str, str]:
        return {column.name.lower(): column.target for column in self.table.columns}

    def target(self, column: str) -> str:
        """What it is called on Postgres."""
        return self._targets.get(column.lower()) or column

    def alike(
        self, found: PostgresIndex, index: SqliteIndex, moved: Mapping[str, str] = _NOWHERE, *, adopted: bool = False
    ) -> bool:
        """Whether it is over the same; `moved`: columns of `index` that have other names by now. Of an `adopted` table
        the column there may have the collation that the index has here."""
        if found.unique != index.unique:
            return False
        columns = [self.target(moved.get(name, name)) for name in index.columns if name is not None]
        plain = len(columns) == len(index.columns) and index.partial is None and (adopted or is_bytewise(index))
        if plain and found.partial is None and None not in found.columns:
            same = set(found.columns) == set(columns) if index.unique else list(found.columns) == columns
            if same:
                return True
        text = "" if moved else self._written(index)
        return bool(text) and text == _over(found.definition)

    def named(self, index: SqliteIndex) -> str:
        """What its like is called where cutover made it, as long as the table has its name."""
        made = "_".join([self.there.name, *filter(None, index.columns), "key"])
        return placed(index.name if index.origin == "c" else made)

    def _written(self, index: SqliteIndex) -> str:
        """What cutover would write for it; reading an expression takes long."""
        if index.name not in self._texts:
            text = Ddl().added_index(self.table, index)
            self._texts[index.name] = _over(text) if text else ""
        return self._texts[index.name]

    def lacking(self, source: SqliteTable) -> frozenset[str]:
        """Names of the unique indexes of SQLite that nothing on Postgres may stand for.

        What is there may be in words that nobody here understands. So one that keeps no more apart than columns which
        the index is about is believed, unless it is there for another one.
        """
        unique = [index for index in source.indexes if index.unique and self._is_mapped(index, source)]
        return frozenset(index.name for index in unique if not self._kept(index, unique, source))

    def lacking_checks(self, source: SqliteTable) -> list[str]:
        """The CHECKs of SQLite that nothing on Postgres may stand for.

        Their words are others there. So those about the same columns are believed to be the same, as many as there are;
        and where Postgres's are about some of the columns each, all of them together are believed.
        """
        if not source.checks:
            return []
        there = [self.about_there(each, source) for each in self.there.checks]
        lacking, told = [], list(there)
        for check in source.checks:
            about = self.about_here(check, source)
            if about in told:
                told.remove(about)
            elif about and about != frozenset().union(*(each for each in there if each < about)):
                lacking.append(check)
        return [check for check in lacking if not self._by_type(check, source)]

    def about(self, check: str, source: SqliteTable) -> set[str]:
        """The columns that a CHECK of SQLite's is about."""
        return _about_text(check, source)

    def about_here(self, check: str, source: SqliteTable) -> frozenset[str]:
        """The columns on Postgres that stand for them; generated ones are not sure to be there."""
        return frozenset(self.target(name) for name in _about_text(check, source) - _computed(source))

    def about_there(self, check: PostgresCheck, source: SqliteTable) -> frozenset[str]:
        """The columns that one of Postgres's is about."""
        sources = {self.target(column.name): column.name for column in source.columns}
        named = [quoted(sources.get(name, name)) for name in check.columns]
        return self.about_here(" ".join(named), source) or frozenset(check.columns)

    def called(self, source: SqliteTable) -> Iterator[tuple[str, str]]:
        """The names of Postgres's CHECKs, each with what SQLite calls the one that it stands for: one of its name or of
        its words, else the first that is about the same columns, since those were made in the order of SQLite's."""
        told = read_create_table(source.sql)
        here = list(zip(told.check_names, told.checks, strict=True))
        there = list(self.there.checks)
        for same in (self._has_name, self._has_words, self._is_about):
            for check in list(there):
                one = next((each for each in here if same(check, *each, source)), None)
                if one is not None:
                    here.remove(one)
                    there.remove(check)
                    yield check.name, one[0] or named_by(one[1])

    def _has_name(self, check: PostgresCheck, name: str, _text: str, _source: SqliteTable) -> bool:
        return check.name == name

    def _has_words(self, check: PostgresCheck, _name: str, text: str, _source: SqliteTable) -> bool:
        return bare(check.definition) == bare(f"CHECK ({text})")

    def _is_about(self, check: PostgresCheck, _name: str, text: str, source: SqliteTable) -> bool:
        return self.about_there(check, source) == self.about_here(text, source)

    def demands(self, column: PostgresColumn) -> bool:
        """Whether Postgres demands a value there, in whatever way."""
        told = re.compile(rf'\(?"?{re.escape(column.name)}"? IS NOT NULL\)?', re.IGNORECASE)
        of_domain = bool(column.base_type) and column.base_type != "enum"
        return column.not_null or of_domain or any(told.search(check.definition) for check in self.there.checks)

    def demands_computed(self, column: SqliteColumn, source: SqliteTable) -> bool:
        """The same of a generated column, which may be there or not."""
        found = self.there.column(column.name)
        if found is not None and found.generated:
            return self.demands(found)
        about = self.about_here(column.generated, source)
        asking = (check for check in self.there.checks if "IS NOT NULL" in check.definition)
        return any(self.about_there(check, source) == about for check in asking)

    def _by_type(self, check: str, source: SqliteTable) -> bool:
        """Whether it is about a column alone whose type on Postgres takes no more than the CHECK lets pass. Of what
        takes as much as an affinity does, that is asked about storage classes alone."""
        names = _about_text(check, source)
        column = next((each for each in self.table.columns if names == {each.name}), None)
        found = self.there.column(column.target) if column is not None else None
        if column is None or found is None or (found.type in _WIDE and not asks_for_class(check, column.name)):
            return False
        of_domain = bool(found.base_type) and found.base_type != "enum"
        nullable = not column.not_null and column.name not in self.table.key and not self.demands(found)
        return of_domain or implied(check, column, nullable=nullable)

    def _kept(self, index: SqliteIndex, unique: list[SqliteIndex], source: SqliteTable) -> bool:
        if is_bytewise(index) and set(index.columns) == set(self.table.key):
            return True
        standing = [found for found in self.there.indexes if found.unique and found.valid]
        names = {index.name, self.named(index)}
        if any(found.name in names for found in standing):
            return True
        if any(self.alike(found, index, adopted=True) for found in standing):
            return True
        about = {self.target(name) for name in _about(index, source)}
        return any(
            (found.partial is None or index.partial is not None)
            and (mine := self._about(found))
            and mine <= about
            and not any(self.alike(found, other) for other in unique if other is not index)
            for found in standing
        )

    def _is_mapped(self, index: SqliteIndex, source: SqliteTable) -> bool:
        names = _about(index, source)
        computed = {column.name.lower() for column in source.columns if column.generated}
        return all(name.lower() in self._targets or name.lower() in computed for name in names)

    def _about(self, found: PostgresIndex) -> set[str]:
        text = " ".join([*(name for name in found.columns if name), *found.terms, found.partial or ""])
        return {column.name for column in self.there.columns if _names(text, column.name)}


def named_by(text: str) -> str:
    """What SQLite calls a CHECK without a name: its text, or the name in quotes that this begins with."""
    first = next(iter(tokens(text)), None)
    return unquote(first.text) if first is not None and first.type in ("quoted", "string") else text


def is_bytewise(index: SqliteIndex) -> bool:
    """Whether it tells all texts apart."""
    return all(collation == "BINARY" for _, collation, _ in index.terms)


def bare(definition: str) -> str:
    """An expression as Postgres prints it and as it was written, made alike. Texts stay as they are."""
    pieces = _LITERAL.split(_NEGATIVE.sub(r"\1", definition))
    told = "".join(piece if at % 2 else _IDLE.sub("", piece) for at, piece in enumerate(pieces))
    return _ANY.sub(r"IN\1", told).replace("~~like_escape", "LIKE").replace("ESCAPE'", ",'")


def _over(definition: str) -> str:
    """What an index is over, and of which rows."""
    return bare(re.sub(r'^.*? ON (?:"(?:[^"]|"")*"|[^"(\s]|\.)+ (?:USING btree )?', "", definition, count=1))


def _about(index: SqliteIndex, source: SqliteTable) -> set[str]:
    """The columns that it names, and those that others of them are computed from."""
    return _about_text(" ".join([*(term for term, _, _ in index.terms), index.partial or ""]), source)


def _about_text(written: str, source: SqliteTable) -> set[str]:
    found: set[str] = set()
    while more := {column.name for column in source.columns if column.name.lower() in _mentioned(written)} - found:
        found |= more
        written = " ".join(column.generated or "" for column in source.columns if column.name in more)
    return found


def _computed(source: SqliteTable) -> set[str]:
    return {column.name for column in source.columns if column.generated}


def _mentioned(written: str) -> set[str]:
    """What may be columns in an expression of SQLite's, in small letters: no function, no type of CAST, no text."""
    told = [(token.type, token.text) for token in tokens(written)]
    around = zip([("", ""), *told], told, [*told[1:], ("", "")], strict=False)
    return {
        unquote(text).lower()
        for before, (kind, text), behind in around
        if kind == "quoted" or (kind == "word" and behind[1] != "(" and before[1].upper() != "AS")
    }


def _names(written: str, name: str) -> bool:
    spelled = "|".join(map(re.escape, {name, name.replace('"', '""')}))
    told = _NO_NAME.sub(" ", written)
    return re.search(rf"(?<![\w$])(?:{spelled})(?![\w$]|\()", told, re.IGNORECASE) is not None
