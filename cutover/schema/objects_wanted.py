"""The tables, indexes and views of a SQLite schema by their own texts, and the way from one schema to another. Pure.

Schema changes that applications send while Postgres is primary are kept as the texts that SQLite itself would have
kept. What SQLite lacks of them is told by comparing texts, so doing it twice is harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from cutover.schema.sqlite_schema import SqliteSchema, quoted, read_sqlite_schema
from cutover.schema.temporary import is_kept, kept, lasting

_TEMPORARY = r"""
SELECT type, name, tbl_name, sql FROM sqlite_temp_master
WHERE type IN ('table', 'index') AND sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid"""
STATISTICS = "sqlite_stat1"
"""The table that SQLite's first ANALYZE makes: listed and named like others, but what stands in it is SQLite's own."""
SCHEMA = f"""
SELECT iif(name = '{STATISTICS}', 'statistics', type), name, tbl_name,
    iif(name = '{STATISTICS}', 'ANALYZE sqlite_schema', sql)
FROM sqlite_master WHERE type IN ('table', 'index', 'view') AND sql IS NOT NULL
AND (name = '{STATISTICS}' OR name NOT LIKE 'sqlite!_%' ESCAPE '!')
AND name NOT LIKE '!_cutover!_%' ESCAPE '!' ORDER BY rowid"""
"""Query of the objects that SQL of applications can name, in the order in which they were made."""
_PRAGMAS = ("user_version", "application_id")
_MOST_IMAGES = 4
_images: dict[tuple[str, ...], bytes] = {}
"""Databases in memory as bytes, by the statements that made them."""
_schemas: dict[tuple[str, ...], SqliteSchema] = {}
"""What was read of such databases: what holds behind one change holds before the next."""


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One object, or a number that SQLite keeps in the file's header."""

    kind: str
    """table, index, view, pragma or statistics."""
    name: str
    table: str
    """What an index is on."""
    sql: str
    """Its text; empty if it is gone."""
    temporary: bool = False
    """Of one transaction, or an index on such a table."""
    place: int = 0
    """Of one that is noted for SQLite: tells this noting from a later one of the same text."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by."""
        return self.kind, self.name.lower()


Objects = Mapping[tuple[str, str], SchemaObject]


def read_objects(db: sqlite3.Connection) -> Objects:
    """All objects of the main database, in the order in which they were made."""
    found = [SchemaObject(*row) for row in db.execute(SCHEMA)]
    for name in _PRAGMAS:
        number = db.execute(f"PRAGMA {name}").fetchone()[0]
        if number:
            found.append(SchemaObject("pragma", name, "", f"PRAGMA {name} = {number}"))
    return {each.key: each for each in found}


def temporary_objects(db: sqlite3.Connection) -> Objects:
    """Those of the temporary database."""
    rows = db.execute(_TEMPORARY)
    found = (
        SchemaObject(kind, name, table, kept(sql) if kind == "table" else sql, temporary=True)
        for kind, name, table, sql in rows
    )
    return {each.key: each for each in found}


def memory(statements: Iterable[str], *, check_same_thread: bool = True) -> sqlite3.Connection:
    """An empty database in memory with this schema. Statements that fail are left out."""
    given = tuple(statements)
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=check_same_thread)
    image = _images.get(given)
    if image is not None:
        db.deserialize(image)
        return db
    for statement in given:
        try:
            db.execute(statement)
        except sqlite3.Error:  # a module that is not here, or parts of a virtual table, which exist already
            continue
    keep(db, given)
    return db


def keep(db: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    """Have `memory` make its next copies of this schema from this database, which has no rows, instead of compiling
    each statement again."""
    if any(map(is_kept, statements)):  # an image is that of the main database alone
        return
    if statements and hasattr(db, "serialize"):  # a library may be built without it
        try:
            _images[statements] = db.serialize()
        except sqlite3.OperationalError:  # none of them made anything: of nothing there is no image
            return
        while len(_images) > _MOST_IMAGES:
            _images.pop(next(iter(_images)), None)  # another thread may have done it


def objects_of(statements: Iterable[str]) -> Objects:
    """All objects that these statements make."""
    db = memory(statements)
    try:
        return read_objects(db)
    finally:
        db.close()


def schema_of(statements: Iterable[str]) -> SqliteSchema:
    """What SQLite makes of these CREATE statements; temporary tables are like all others in it."""
    given = tuple(lasting(statements))
    if (known := _schemas.get(given)) is not None:
        return known
    db = memory(given)
    try:
        return schema_in(db, given)
    finally:
        db.close()


def schema_in(db: sqlite3.Connection, statements: tuple[str, ...]) -> SqliteSchema:
    """The same of a database that has them; no temporary tables."""
    known = _schemas.get(statements)
    if known is None:
        known = _schemas[statements] = read_sqlite_schema(db)
        while len(_schemas) > _MOST_IMAGES:
            _schemas.pop(next(iter(_schemas)), None)  # another thread may have done it
    return known


def in_order(schema: SqliteSchema, found: Objects) -> tuple[str, ...]:
    """The statements that make everything in `schema` that SQL of applications can name, in the order in which it was
    `found` in the database."""
    made = [SchemaObject("table", each.name, each.name, each.sql) for each in schema.tables]
    made += [
        SchemaObject("index", index.name, each.name, index.sql)
        for each in schema.tables
        for index in each.indexes
        if index.sql
    ]
    made += [SchemaObject("view", each.name, each.name, each.sql) for each in schema.views]
    made += [each for each in found.values() if each.kind == "statistics"]
    places = {key: place for place, key in enumerate(found)}
    made.sort(key=lambda each: places.get(each.key, len(places)))
    numbers = (each for each in found.values() if each.kind == "pragma")
    return texts({each.key: each for each in (*made, *numbers)})


def changes_between(before: Objects, after: Objects) -> list[SchemaObject]:
    """What is new or has another text, and what is gone."""
    changed = [each for key, each in after.items() if key not in before or before[key].sql != each.sql]
    return changed + [_gone(each) for key, each in before.items() if key not in after]


def changed_by(objects: Objects, changes: Iterable[SchemaObject]) -> Objects:
    """The schema with these changes. An index that is made again is looked at among the new ones."""
    found = dict(objects)
    for each in changes:
        if each.kind == "index":
            found.pop(each.key, None)
        found[each.key] = each
    return {key: each for key, each in found.items() if each.sql and not _says_zero(each)}


def texts(objects: Objects) -> tuple[str, ...]:
    """The statements that make the schema: in the order of the objects, which SQLite lists them in, an index behind
    its table."""
    places = {key: place for place, key in enumerate(objects)}

    def turn(each: SchemaObject) -> tuple[int, bool]:
        return max(places[each.key], places.get(("table", each.table.lower()), 0)), each.kind == "index"

    return tuple(each.sql for each in sorted(objects.values(), key=turn))


def missing(now: Objects, changes: Iterable[SchemaObject]) -> list[SchemaObject]:
    """Those changes that a schema has not had yet.

    So is an index that was made again as it was, on a table that is to be made anew: it goes with the old one, and has
    its turn among those that are new, by which queries look at them.
    """
    given = list(changes)
    new = {each.key for each in given if _text(now, each) != each.sql}
    return [
        each
        for each in given
        if each.key in new or (each.kind == "index" and each.sql and ("table", each.table.lower()) in new)
    ]


def in_turn(todo: Iterable[SchemaObject]) -> list[list[SchemaObject]]:
    """Indexes of tables that keep their rows each for itself, as rows may be in their way; before them all the rest."""
    given = list(todo)
    anew = {each.name.lower() for each in given if each.kind == "table"}
    late = [each for each in given if each.kind == "index" and each.sql and each.table.lower() not in anew]
    rest = [each for each in given if each not in late]
    return [some for some in (rest, *([each] for each in late)) if some]


def told(one: SchemaObject) -> str:
    """What was done on SQLite, in one sentence."""
    if one.kind == "pragma":
        return f"{one.sql} holds on SQLite."
    if one.kind == "statistics":
        return f"SQLite's {one.name} is {'made' if one.sql else 'dropped'} as an application did."
    return f"The {one.kind} {one.name} is {'made' if one.sql else 'dropped'} on SQLite as an application did."


def steps_to(now: Objects, changes: Iterable[SchemaObject]) -> Iterator[str]:
    """SQLite's statements for the changes. A table with another text is made anew, empty, with all of its indexes.
    What is new comes in the order in which it was made, which is that of sqlite_master."""
    todo = missing(now, changes)
    wanted = changed_by(now, todo)
    for kind in ("view", "index", "table", "statistics"):
        for each in todo:
            if each.kind == kind and each.key in now:
                what = "TABLE" if kind == "statistics" else kind.upper()
                yield f"DROP {what} {quoted(now[each.key].name)}"
    made: dict[tuple[str, str], SchemaObject] = {}
    for each in (one for one in todo if wanted.get(one.key) is one):
        made[each.key] = each
        if each.kind == "table":
            with_it = (one for one in wanted.values() if one.kind == "index" and one.table.lower() == each.name.lower())
            made |= {one.key: one for one in with_it if one not in todo}
    yield from texts(made)
    yield from (each.sql for each in todo if _says_zero(each))


def _gone(one: SchemaObject) -> SchemaObject:
    sql = f"PRAGMA {one.name} = 0" if one.kind == "pragma" else ""
    return replace(one, sql=sql)


def _says_zero(one: SchemaObject) -> bool:
    return one.kind == "pragma" and one.sql.endswith("= 0")


def _text(now: Objects, one: SchemaObject) -> str:
    found = now.get(one.key)
    if found is not None:
        return found.sql
    return one.sql if _says_zero(one) else ""
