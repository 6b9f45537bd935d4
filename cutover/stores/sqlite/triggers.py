"""Text of the capture and fence triggers (pure). What should stand in `sqlite_master` can always be derived again.

The application's own SQLite library parses these texts, with its own settings. So: single quotes for strings only, no
JSON, no function younger than `julianday`, no syntax younger than SQLite 3.8, and no conflict clause, because an outer
INSERT OR REPLACE would override it.

    INSERT, key known before   BEFORE: log the key unless the same row stands there; log the rows REPLACE would evict
    INSERT, automatic key      BEFORE: log the rows REPLACE would evict; AFTER: log the key
    UPDATE                     BEFORE: log the rows REPLACE would evict; AFTER: if changed log the old key, and the new
    DELETE                     AFTER: log the key
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cutover.model.control import Control, SwitchState, other
from cutover.model.table import Column, Table, UniqueIndex
from cutover.schema.sqlite_schema import ROWID, free_rowid_name, quoted, read_sqlite_schema

CAPTURE = "_cutover_capture_"
FENCE = "_cutover_fence_"
LOG = "_cutover_log"
WITNESS = "_cutover_witness"
WITNESS_SQL = f"CREATE TRIGGER {WITNESS} AFTER DELETE ON _cutover_control WHEN 0 BEGIN SELECT 1; END"
"""Does nothing, and is made after all the others: a trigger that is younger was put back by somebody else."""
NOW = "(julianday('now') - 2440587.5) * 86400.0"
"""Seconds since 1970, to the millisecond, in functions that every SQLite has."""


@dataclass(frozen=True)
class Facts:
    """What the triggers must know of a table besides its mapping: columns that are left out count as well."""

    columns: tuple[str, ...]
    alias: str | None
    """The column that may be the rowid under another name."""
    generated: Mapping[str, str] = field(default_factory=dict)
    """Expressions of generated columns, by name in lower case."""


def read_facts(connection: sqlite3.Connection, table: Table) -> Facts:
    """Facts of the live table."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table.name)})").fetchall()
    key = [row for row in rows if row[5]]
    alias = None
    if len(key) == 1 and key[0][2].upper() == "INTEGER" and not table.without_rowid:
        alias = key[0][1]
    generated: dict[str, str] = {}
    if any(row[6] in (2, 3) for row in rows):
        live = read_sqlite_schema(connection).table(table.name)
        generated = {c.name.lower(): c.generated for c in live.columns if c.generated} if live else {}
    names = tuple(row[1] for row in rows)
    if any(column.hidden for column in table.columns) and ROWID not in names:
        names, alias = (*names, ROWID), None if table.is_numbered else ROWID
    return Facts(names, alias, generated)


def capture_triggers(table: Table, facts: Facts) -> dict[str, str]:
    """Trigger name → CREATE TRIGGER text, exactly as `sqlite_master` will show it."""
    automatic = (facts.alias is not None and facts.alias in table.key) or any(map(_computed, table.key_columns))
    before_insert = _evictions(table, facts, updating=False)
    if not automatic:
        before_insert.insert(0, _log_new_unless_same(table))
    moved = f"NOT ({_same_key(table, 'OLD.', lambda c: f'NEW.{quoted(c.name)}')})"
    changed = f"NOT ({_same_columns(table.columns, 'OLD.', lambda c: f'NEW.{quoted(c.name)}')})"
    bodies: dict[str, tuple[str, list[str]]] = {
        "before_insert": ("BEFORE INSERT", before_insert),
        "after_insert": ("AFTER INSERT", [_log(table, "NEW.")] if automatic else []),
        "before_update": ("BEFORE UPDATE", _evictions(table, facts, updating=True)),
        "after_update": ("AFTER UPDATE", [_log(table, "OLD.", changed), _log(table, "NEW.", moved)]),
        "after_delete": ("AFTER DELETE", [_log(table, "OLD.")]),
    }
    triggers = {}
    for suffix, (event, statements) in bodies.items():
        if statements:
            name = f"{CAPTURE}{table.id}_{suffix}"
            body = "".join(f"  {statement};\n" for statement in statements)
            triggers[name] = f"CREATE TRIGGER {name} {event} ON {quoted(table.name)} BEGIN\n{body}END"
    return triggers


def fence_triggers(table: Table, control: Control) -> dict[str, str]:
    """Trigger name → text of the fence, which lets only the applier through.

    ROLLBACK and not ABORT, so that the refused writer lets go of the write lock.
    """
    message = fence_message(control).replace("'", "''")
    return {
        f"{FENCE}{table.id}_{event}": (
            f"CREATE TRIGGER {FENCE}{table.id}_{event} BEFORE {event.upper()} ON {quoted(table.name)} "
            f"WHEN (SELECT applying FROM _cutover_control) IS NOT 1 BEGIN\n  SELECT RAISE(ROLLBACK, '{message}');\nEND"
        )
        for event in ("insert", "update", "delete")
    }


def fence_message(control: Control) -> str:
    """What a refused writer reads."""
    if control.state in (SwitchState.PROMOTING, SwitchState.COMMITTING) and control.primary == "sqlite":
        return (
            f"cutover: a switch from sqlite to {other('sqlite')} is under way (primary is sqlite, epoch "
            f"{control.epoch}); nothing was written, try again in a moment"
        )
    return (
        f"cutover: this SQLite database is not the primary (primary is {control.primary}, epoch {control.epoch}); "
        f"nothing was written, write to {control.primary} or through the front door"
    )


# -- parts of statements -------------------------------------------------------------------------------------------


def _into(table: Table) -> str:
    keys = ", ".join(f"k{number}" for number in range(1, len(table.key) + 1))
    return f"INSERT INTO {LOG} (table_id, at, {keys})"


def _log(table: Table, prefix: str, condition: str = "") -> str:
    keys = ", ".join(prefix + quoted(name) for name in table.key)
    where = f" WHERE {condition}" if condition else ""
    return f"{_into(table)} SELECT {table.id}, {NOW}, {keys}{where}"


def _log_new_unless_same(table: Table) -> str:
    """Applications that rewrite all their rows at each save log only those that differ."""
    keys = ", ".join(_new(table, column) for column in table.key_columns)
    found = " AND ".join(f"o.{quoted(column.name)} = {_new(table, column)}" for column in table.key_columns)
    same = _same_columns(table.columns, "o.", lambda column: _new(table, column))
    return (
        f"{_into(table)} SELECT {table.id}, {NOW}, {keys} "
        f"WHERE NOT EXISTS (SELECT 1 FROM {quoted(table.name)} AS o WHERE {found} AND {same})"
    )


def _evictions(table: Table, facts: Facts, *, updating: bool) -> list[str]:
    """One statement for each way in which REPLACE may remove another row, which fires no delete trigger by itself."""
    # A key that SQLite is to find is -1 in NEW until the row is there.
    key = f"NEW.{quoted(facts.alias)}" if facts.alias in table.key and facts.alias and not updating else ""
    given = f" AND {key} IS NOT -1" if key else ""
    statements = []
    for index in table.unique:
        if _is_the_key(table, index, facts) or (table.is_numbered and index.columns == (table.rowid_alias,)):
            continue  # by its rowid a row is found below
        conflict, guard = _index_conflict(table, index, facts, updating=updating)
        statements.append(_log_conflicting(table, conflict, guard, given))
        if key and key in conflict and facts.alias not in index.columns:  # an expression over the key
            found = conflict.replace(key, _next_key(table))
            statements.append(_log_conflicting(table, found, f"{key} IS -1", given))
    rowid = table.rowid_alias if table.is_numbered else free_rowid_name(facts.columns)
    if not table.without_rowid and rowid is not None and facts.alias is None:
        guard = f"NEW.{rowid} IS NOT OLD.{rowid}" if updating else ""
        statements.append(_log_conflicting(table, f"o.{rowid} = NEW.{rowid}", guard, given))
    return statements


def _is_the_key(table: Table, index: UniqueIndex, facts: Facts) -> bool:
    """Whether two rows that conflict in this index have the same key by type and bytes, so that it is logged anyway."""
    if index.columns == table.key == (facts.alias,):
        return True
    bytewise = all(column.affinity == "TEXT" for column in table.key_columns)
    return bytewise and index.columns == table.key and all(collation == "BINARY" for _, collation in index.terms)


def _next_key(table: Table) -> str:
    """The key that SQLite gives to the next row, unless the last one is taken."""
    highest = f"coalesce((SELECT max({quoted(table.key[0])}) FROM {quoted(table.name)}), 0)"
    if table.autoincrement:
        name = table.name.replace("'", "''")
        highest = f"max({highest}, coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{name}'), 0))"
    return f"({highest} + 1)"


def _log_conflicting(table: Table, conflict: str, guard: str, given: str) -> str:
    keys = ", ".join(f"o.{quoted(name)}" for name in table.key)
    guard = f"({guard}) AND " if guard else ""
    # The row with exactly the new key is logged in any case if it changes.
    itself = _same_key(table, "o.", lambda column: _new(table, column))
    return (
        f"{_into(table)} SELECT {table.id}, {NOW}, {keys} FROM {quoted(table.name)} AS o "
        f"WHERE {guard}{conflict} AND NOT ({itself}{given})"
    )


def _index_conflict(table: Table, index: UniqueIndex, facts: Facts, *, updating: bool) -> tuple[str, str]:
    """(condition on `o` for conflicting with NEW in this index, condition for the index's terms having changed)."""
    conflict, changed = [], []
    for (sql, collation), name in zip(index.terms, index.columns, strict=True):
        if name is not None:
            here, old = f"o.{quoted(name)}", f"OLD.{quoted(name)}"
            new = _new_named(table, name, facts)
        else:
            here = _rewrite(sql, facts.columns, lambda column: f"o.{quoted(column)}")
            old = _rewrite(sql, facts.columns, lambda column: f"OLD.{quoted(column)}")
            new = _rewrite(sql, facts.columns, lambda column: _new_named(table, column, facts))
            here, old, new = f"({here})", f"({old})", f"({new})"
        conflict.append(f"{here} COLLATE {quoted(collation)} = {new}")
        changed.append(f"{old} COLLATE {quoted(collation)} IS NOT {new}")
    if index.partial is not None:
        # Also what lets SQLite use the partial index for the lookup.
        conflict.append(f"({_rewrite(index.partial, facts.columns, lambda column: f'o.{quoted(column)}')})")
        return " AND ".join(conflict), ""  # a row may enter the index without a change of its terms
    return " AND ".join(conflict), " OR ".join(changed) if updating else ""


def _same_key(table: Table, prefix: str, new: Callable[[Column], str]) -> str:
    return _same_columns(table.key_columns, prefix, new)


def _same_columns(columns: Sequence[Column], prefix: str, new: Callable[[Column], str]) -> str:
    """Equal by type and bytes; IS alone takes 1 for 1.0, and 'a' for 'A' in a NOCASE column."""
    return " AND ".join(_same(column, prefix + quoted(column.name), new(column)) for column in columns)


def _same(column: Column, left: str, right: str) -> str:
    same = f"typeof({left}) = typeof({right}) AND {left} COLLATE BINARY IS {right}"
    if column.affinity == "BLOB":
        # 0.0 and -0.0 differ in a bit that SQL cannot see, and only such a column can hold both.
        same += f" AND NOT (typeof({left}) = 'real' AND {left} = 0)"
    return same


def _new(table: Table, column: Column) -> str:
    """The value that will be stored: REPLACE puts the default where NULL is given to a NOT NULL column."""
    new = f"NEW.{quoted(column.name)}"
    strict = column.not_null or (table.without_rowid and column.name in table.key)
    if column.default is None or not strict or _computed(column):
        return new
    return f"coalesce({new}, ({default_sql(column.default)}))"


def _computed(column: Column) -> bool:
    """Whether the default calls a function: it may answer anew each time, or be known to the application alone, whose
    writes would then fail on a trigger that names it elsewhere."""
    return bool(column.default and _CALL.search(_TEXT.sub("''", column.default)))


def _new_named(table: Table, name: str, facts: Facts) -> str:
    """The same by name. A generated column in NEW does not know of defaults yet, so it is computed here."""
    if name.lower() in facts.generated:
        return f"({_rewrite(facts.generated[name.lower()], facts.columns, lambda c: _new_named(table, c, facts))})"
    column = next((column for column in table.columns if column.name.lower() == name.lower()), None)
    return _new(table, column) if column else f"NEW.{quoted(name)}"


def default_sql(text: str) -> str:
    """A default as any SQLite reads it inside a trigger: SQLite takes a bare or double-quoted word for a string."""
    word = text.strip()
    if len(word) > 1 and word[0] == word[-1] == '"':
        return "'" + word[1:-1].replace('""', '"').replace("'", "''") + "'"
    if re.fullmatch(r"[A-Za-z_]\w*", word):
        upper = word.upper()
        if upper in ("TRUE", "FALSE"):
            return "1" if upper == "TRUE" else "0"
        if upper != "NULL" and not upper.startswith("CURRENT_"):
            return f"'{word}'"
    return word


_CALL = re.compile(r"[\w\"`\]]\s*\(")
_TEXT = re.compile(r"'(?:[^']|'')*'")
_TOKEN = re.compile(
    r"(?P<string>'(?:[^']|'')*')"
    r"|(?P<quoted>\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\])"
    r"|(?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)"
    r"|(?P<other>.)",
    re.DOTALL,
)


def _rewrite(sql: str, columns: Sequence[str], replace: Callable[[str], str]) -> str:
    """An index expression with each column put through `replace`, and double-quoted strings in single quotes."""
    known = {column.lower(): column for column in columns}
    result: list[str] = []
    previous = ""
    for found in _TOKEN.finditer(sql):
        text = found[0]
        if found["quoted"] is not None:
            close = text[-1]
            name = text[1:-1].replace(close * 2, close)
            if name.lower() in known and previous not in ("COLLATE", "AS"):
                text = replace(known[name.lower()])
            elif close == '"' and previous not in ("COLLATE", "AS"):
                text = "'" + name.replace("'", "''") + "'"
        elif found["word"] is not None:
            called = sql[found.end() :].lstrip().startswith("(")
            if text.lower() in known and not called and previous not in ("COLLATE", "AS"):
                text = replace(known[text.lower()])
        if not text.isspace():
            previous = text.upper()
        result.append(text)
    return "".join(result)
