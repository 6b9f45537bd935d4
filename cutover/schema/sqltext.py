"""What can be told from SQL text alone, as SQLite's own tokenizer would cut it. Pure, and cached by text.

Only the kind of a statement, its parameters and its borders are found here; whether it is *right* is for the
database to say. A text that SQLite would refuse gets some kind, and is then refused by SQLite in its own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from cutover.errors import StatementError
from cutover.schema import pragmas
from cutover.schema.hiding import OWN, is_list
from cutover.schema.longtexts import LongTexts
from cutover.schema.memories import is_memory
from cutover.schema.plain import plain_select
from cutover.schema.sqltokens import Token, statements, tokens
from cutover.schema.temporary import names_temporary, why_not


class StatementKind(StrEnum):
    """What a statement does to data and to its connection."""

    READ = "read"
    """SELECT, VALUES, EXPLAIN, reading PRAGMAs."""
    WRITE = "write"
    """INSERT, UPDATE, DELETE, REPLACE, and the PRAGMAs that write into the file transactionally."""
    DDL = "ddl"
    BEGIN = "begin"
    BEGIN_WRITE = "begin_write"
    """BEGIN IMMEDIATE and BEGIN EXCLUSIVE."""
    BEGIN_READ = "begin_read"
    """libSQL's BEGIN READONLY."""
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback_to"
    STATE = "state"
    """PRAGMAs that set something of the connection, such as foreign_keys = OFF."""
    REFUSED = "refused"
    """Not for applications; `Shape.reason` says why."""
    EMPTY = "empty"
    MANY = "many"
    """More than one statement where there must be one."""

    __hash__ = str.__hash__  # an enumeration's own is a Python function, and kinds are looked up for each statement


@dataclass(frozen=True, slots=True)
class Shape:
    """What one text is. Parameters are numbered as SQLite does: index 0 here is parameter 1."""

    kind: StatementKind
    verb: str = ""
    """First word in capitals; for WITH the word that decides; empty if there is none."""
    params: tuple[str | None, ...] = ()
    reason: str = ""
    returning: bool = False
    explain: bool = False
    remembers: bool = False
    """Uses last_insert_rowid(), changes() or total_changes(): things of the stream's own past."""
    pragma: str = ""
    bad_param: bool = False
    """Has a parameter number outside of SQLite's range."""
    on: bool = False
    """What a PRAGMA of the stream sets to ON."""
    default: bool = False
    """A PRAGMA that only confirms what holds for every stream anyway (foreign_keys = ON)."""
    tables: bool = False
    """A query that reads from something."""
    plain: tuple[str, tuple[str, ...]] | None = None
    """(table, columns or "*") of a query whose result columns are nothing but columns of one table."""
    upserts: bool = False
    """An INSERT that may change a row in place of inserting one."""
    into: str = ""
    """The table of an INSERT, in small letters."""
    simple: bool = False
    """Only changes rows, and gives none: what most writes are."""
    temporary: bool = False
    """Makes a temporary table, or changes one that it calls so."""
    sets: bool = False
    """A PRAGMA that is given a value which changes nothing for any statement."""
    lists: bool = False
    """Names something in which SQLite lists its schema, cutover's own tables among the application's."""


MAX_PARAM = 32766
_ONLY_TOLD = f"pragma_{pragmas.ONLY_TOLD}"

LONG = 8192
"""Characters. Cutting a longer text into tokens takes milliseconds and more, which is no work for an event loop."""

_VERBS = {
    "SELECT": StatementKind.READ,
    "VALUES": StatementKind.READ,
    "EXPLAIN": StatementKind.READ,
    "INSERT": StatementKind.WRITE,
    "REPLACE": StatementKind.WRITE,
    "UPDATE": StatementKind.WRITE,
    "DELETE": StatementKind.WRITE,
    "CREATE": StatementKind.DDL,
    "DROP": StatementKind.DDL,
    "ALTER": StatementKind.DDL,
    "REINDEX": StatementKind.DDL,
    "ANALYZE": StatementKind.DDL,
    "COMMIT": StatementKind.COMMIT,
    "END": StatementKind.COMMIT,
    "SAVEPOINT": StatementKind.SAVEPOINT,
    "RELEASE": StatementKind.RELEASE,
    "ROLLBACK": StatementKind.ROLLBACK_TO,
}
_NAMING = frozenset(_VERBS.values()) - {StatementKind.READ, StatementKind.COMMIT}
"""Kinds of statements that may not name what is cutover's."""
INSERTS = frozenset(("INSERT", "REPLACE"))
COUNTED = frozenset(("INSERT", "REPLACE", "UPDATE", "DELETE"))
"""Verbs of statements that change a number of rows."""
_CHANGES = ("CREATE", "DROP", "ALTER")
_DECIDES = ("SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE")


def split(sql: str) -> list[str]:
    """The statements of a script, without their semicolons; empty ones are left out. Knows CREATE TRIGGER."""
    return [text for text, _ in statements(sql)]


def only_statement(sql: str) -> str:
    """The one statement of a text, without what is around it."""
    found = split(sql)
    return found[0] if len(found) == 1 else sql


def with_semicolon(sql: str) -> str:
    """The one statement of a text with the semicolon behind it: it is what SQLite names if it comes too early."""
    found = statements(sql)
    if len(found) != 1:
        return sql
    ends = any(token.type == "semi" and token.at > found[0][1][-1].at for token in tokens(sql))
    return f"{found[0][0]};" if ends else found[0][0]


def with_comments(sql: str) -> str:
    """The one statement of a text with the comments before its semicolon: SQLite names an expression that comes last
    by all that stands there."""
    found = statements(sql)
    if len(found) != 1:
        return sql
    first, last = found[0][1][0], found[0][1][-1]
    end = next((token.at for token in tokens(sql) if token.type == "semi" and token.at > last.at), len(sql))
    return sql[first.at : end].rstrip()


def classify(sql: str) -> StatementKind:
    """The kind of a text that should hold exactly one statement."""
    return inspect(sql).kind


def inspect(sql: str) -> Shape:
    """All that is known of a text. What was found is remembered for a while."""
    return _cached(sql) if len(sql) <= LONG else _long(sql)


@lru_cache(maxsize=4096)
def _cached(sql: str) -> Shape:
    return _long(sql)  # batches have more texts than this keeps, and are asked about many times


def _inspect(sql: str) -> Shape:
    found = statements(sql)
    if not found:
        return Shape(StatementKind.EMPTY)
    if len(found) > 1:
        return Shape(StatementKind.MANY)
    run = found[0][1]
    numbered = parameters(run)
    shape = _shape(run)
    returning = shape.kind is StatementKind.WRITE and any(_is(token, "RETURNING") for token in run)
    return Shape(
        kind=shape.kind,
        verb=shape.verb,
        params=numbered or (),
        reason=shape.reason,
        returning=returning,
        explain=shape.verb == "EXPLAIN",
        remembers=_remembers(run, shape.kind),
        pragma=shape.pragma,
        bad_param=numbered is None,
        on=shape.on,
        default=shape.default,
        sets=shape.sets,
        tables=shape.kind is StatementKind.READ and any(_is(token, "FROM") for token in run),
        plain=plain_select(run) if shape.verb == "SELECT" else None,
        upserts=shape.verb in INSERTS and _changes_rows(run),
        into=_target(run) if shape.verb in INSERTS else "",
        temporary=shape.kind is StatementKind.DDL and shape.verb in _CHANGES and names_temporary(run),
        lists=_lists(run, shape),
        simple=shape.verb in COUNTED and shape.kind is StatementKind.WRITE and not returning and numbered is not None,
    )


def _lists(run: list[Token], shape: Shape) -> bool:
    if shape.verb == "PRAGMA":
        return shape.pragma == "table_list"
    asks = shape.kind is StatementKind.WRITE or (shape.kind is StatementKind.READ and shape.verb != "EXPLAIN")
    return asks and any(map(is_list, run))


_long = LongTexts(_inspect, 32 * 1024 * 1024)


def parameters(run: list[Token]) -> tuple[str | None, ...] | None:
    """Names of the parameters by number (None: `?`, or a number that is not referred to); None if one is too high."""
    names: dict[int, str | None] = {}
    numbers: dict[str, int] = {}
    highest = 0
    for token in run:
        if token.type != "param":
            continue
        if token.text == "?":
            highest += 1
            names[highest] = None
        elif token.text[0] == "?":
            number = int(token.text[1:7])
            if not 1 <= number <= MAX_PARAM or len(token.text) > 6:
                return None
            highest = max(highest, number)
            names[number] = names.get(number) or token.text
        elif token.text not in numbers:
            highest += 1
            numbers[token.text] = highest
            names[highest] = token.text
        if highest > MAX_PARAM:
            return None
    return tuple(names.get(number) for number in range(1, highest + 1))


def _remembers(run: list[Token], kind: StatementKind) -> bool:
    """Whether the statement asks for its stream's past when it runs. What it defines may ask for it later."""
    if kind is StatementKind.DDL and _queried(run) is None:
        return False
    return any(is_memory(run, at) for at in range(len(run) - 2))


def query_of_table(sql: str) -> str:
    """The query of CREATE TABLE ... AS, of a temporary one, too; empty where there is none."""
    found = _queried(list(tokens(sql)))
    return sql[found.at + 2 :].rstrip().rstrip(";") if found is not None else ""


def _queried(run: list[Token]) -> Token | None:
    """The AS of CREATE TABLE ... AS SELECT."""
    if not (run and _is(run[0], "CREATE") and any(_is(token, "TABLE") for token in run[1:3])):
        return None
    depth = 0
    for token in run:
        depth += (token.type == "open") - (token.type == "close")
        if depth == 0 and _is(token, "AS"):
            return token
    return None


def _changes_rows(run: list[Token]) -> bool:
    return any(_is(one, "DO") and _is(two, "UPDATE") for one, two in pairwise(run))


def _target(run: list[Token]) -> str:
    """The name behind INTO, without its database's."""
    at = next((at for at, token in enumerate(run) if _is(token, "INTO")), len(run)) + 1
    if at + 2 < len(run) and run[at + 1].type == "dot":
        at += 2
    if at >= len(run):
        return ""
    name = run[at].text
    quote = name[:1]
    if quote in ('"', "`", "'"):
        return name[1:-1].replace(quote * 2, quote).lower()
    return name[1:-1].lower() if quote == "[" else name.lower()


def _words(run: list[Token]) -> str:
    return "".join(token.text for token in run).lower().strip("='\"()[]`+")


def _is(token: Token, word: str) -> bool:
    return token.type == "word" and token.text.upper() == word


def _shape(run: list[Token]) -> Shape:
    if any(token.text.lower().strip('"`[]') == _ONLY_TOLD for token in run):
        return Shape(StatementKind.REFUSED, reason=f"{_ONLY_TOLD} cannot be read; PRAGMA {pragmas.ONLY_TOLD} answers.")
    verb = run[0].text.upper() if run[0].type == "word" else ""
    words = [token.text.upper() if token.type == "word" else "" for token in run[:4]] + [""] * 4
    if verb == "BEGIN":
        return Shape(_begin(words[1:4]), verb)
    if verb == "ROLLBACK" and "TO" not in words[1:3]:
        return Shape(StatementKind.ROLLBACK, verb)
    if verb == "PRAGMA":
        return _pragma(run)
    if verb in ("ATTACH", "DETACH", "VACUUM"):
        return Shape(StatementKind.REFUSED, verb, reason=f"{verb} is not available through cutover.")
    if verb == "WITH":
        verb = _deciding(run)
    kind = _VERBS.get(verb, StatementKind.READ)
    if kind in _NAMING:
        reason = _forbidden(run, verb)
        if reason:
            return Shape(StatementKind.REFUSED, verb, reason=reason)
    return Shape(kind, verb)


def _begin(words: list[str]) -> StatementKind:
    if "READONLY" in words:
        return StatementKind.BEGIN_READ
    if "IMMEDIATE" in words or "EXCLUSIVE" in words:
        return StatementKind.BEGIN_WRITE
    return StatementKind.BEGIN


def _deciding(run: list[Token]) -> str:
    depth = 0
    for token in run:
        depth += (token.type == "open") - (token.type == "close")
        if depth == 0 and token.type == "word" and token.text.upper() in _DECIDES:
            return token.text.upper()
    return "SELECT"


def _forbidden(run: list[Token], verb: str) -> str:
    """Why a statement that writes or makes something may not run; empty if it may."""
    if verb in _CHANGES and names_temporary(run) and (reason := why_not(run)):
        return reason
    for at, token in enumerate(run):
        if token.type == "word" or token.type == "quoted":
            own = token.text.lower().lstrip('"`[').startswith(OWN)
        else:
            after_word = at > 0 and (run[at - 1].type in ("word", "dot"))
            own = token.type == "string" and after_word and token.text.lower().startswith("'" + OWN)
        if own:
            return f"Names that begin with {OWN} belong to cutover and cannot be written by applications."
    return ""


def _pragma(run: list[Token]) -> Shape:
    names = [token for token in run[1:4] if token.type in ("word", "quoted")]
    dotted = len(run) > 2 and run[2].type == "dot"
    name = (names[-1] if dotted and len(names) > 1 else names[0]).text.lower().strip('"`[]') if names else ""
    rest = run[4:] if dotted else run[2:]
    schema = names[0].text.lower().strip('"`[]') if dotted else "main"
    # ORMs look for a table among the temporary ones too; that there is none is an answer.
    if schema != "main" and not (schema == "temp" and name in pragmas.WITH_ARGUMENT):
        return Shape(StatementKind.REFUSED, "PRAGMA", reason="Only the main database has PRAGMAs here.", pragma=name)
    argument = _words(rest)
    on = pragmas.true(argument)
    sets = bool(rest) and pragmas.confirms(name, argument)
    if sets or pragmas.reads(name, bool(rest)):
        return Shape(StatementKind.READ, "PRAGMA", pragma=name, on=on, sets=sets)
    if name in pragmas.OF_STREAM:
        return Shape(StatementKind.STATE, "PRAGMA", pragma=name, on=on, default=on and name == "foreign_keys")
    if name in pragmas.OF_FILE:
        return Shape(StatementKind.WRITE, "PRAGMA", pragma=name)
    return Shape(
        StatementKind.REFUSED,
        "PRAGMA",
        reason=f"PRAGMA {name} cannot be set through cutover.".replace("  ", " "),
        pragma=name,
    )


_MALFORMED = {
    StatementKind.EMPTY: ("The SQL text contains no statement.", "SQL_NO_STATEMENT"),
    StatementKind.MANY: ("The SQL text contains more than one statement; nothing was run.", "SQL_MANY_STATEMENTS"),
}


def refusal(shape: Shape) -> StatementError | None:
    """Why this text is not run at all, whatever the store; None if it may run."""
    if shape.kind in _MALFORMED:
        return StatementError(*_MALFORMED[shape.kind])
    if shape.bad_param:
        return StatementError(f"A variable number must be between ?1 and ?{MAX_PARAM}.", "SQL_PARSE_ERROR")
    return StatementError(shape.reason, "SQLITE_AUTH") if shape.kind is StatementKind.REFUSED else None
