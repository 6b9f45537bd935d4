"""Reads what SQLite's pragmas do not tell out of CREATE TABLE and CREATE INDEX texts. Pure.

SQLite keeps these texts exact (ALTER TABLE edits them), and they have passed its own parser, so only the places of
keywords matter here, not whether the text is valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cutover.schema.sqltokens import Token, tokens


def keyword(token: Token) -> str:
    """Upper case of a bare word, else the empty string: quoted names are never keywords."""
    return token.text.upper() if token.type == "word" else ""


def unquote(text: str) -> str:
    """An identifier or string without its quotes, whichever of SQLite's four kinds they are."""
    if len(text) >= 2 and text[0] in "\"'`" and text[-1] == text[0]:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text[1:-1] if text[:1] == "[" else text


@dataclass(frozen=True, slots=True)
class OwnClause:
    """ON CONFLICT of one constraint."""

    kind: str
    """`key` for UNIQUE and PRIMARY KEY, `null` for NOT NULL; SQLite gives no heed to that of a CHECK."""
    columns: tuple[str, ...]
    """In lower case."""
    action: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What a REFERENCES clause says of the rows that it refers to."""

    parent: str
    """In lower case."""
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass
class ColumnText:
    """What CREATE TABLE says of one column beyond the pragmas."""

    name: str = ""
    collation: str = "BINARY"
    generated: str = ""
    """The expression of a generated column, without its parentheses."""


@dataclass
class TableText:
    """What CREATE TABLE says beyond the pragmas."""

    columns: dict[str, ColumnText] = field(default_factory=dict)
    """By lower-case name."""
    checks: list[str] = field(default_factory=list)
    """Expressions, without their parentheses."""
    check_names: list[str] = field(default_factory=list)
    """The name of each of them, empty for one without."""
    deferred: list[bool] = field(default_factory=list)
    """For each foreign key in the order of the text: whether it is DEFERRABLE INITIALLY DEFERRED."""
    references: list[Reference] = field(default_factory=list)
    """In the same order."""
    clauses: list[OwnClause] = field(default_factory=list)
    """ON CONFLICT clauses of constraints other than ABORT."""
    autoincrement: bool = False
    without_rowid: bool = False
    strict: bool = False


_KINDS = {"PRIMARY": "key", "UNIQUE": "key", "NOT": "null", "CHECK": "", "FOREIGN": ""}
_TABLE_CONSTRAINTS = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"})


def read_create_table(sql: str) -> TableText:
    """Read a CREATE TABLE text that SQLite accepted."""
    words = list(tokens(sql))
    opening = next((index for index, token in enumerate(words) if token.text == "("), len(words))
    closing = _closing(words, opening)
    table, called = TableText(), ""
    for segment in _segments(words[opening + 1 : closing]):
        if keyword(segment[0]) in _TABLE_CONSTRAINTS:
            _read_constraints(sql, segment, table, ColumnText(), called)
            called = ""
        else:
            name = unquote(segment[0].text).lower()
            column = table.columns[name] = ColumnText(name)
            called = _read_constraints(sql, segment[1:], table, column)
    options = [keyword(token) for token in words[closing + 1 :]]
    table.strict = "STRICT" in options
    table.without_rowid = "ROWID" in options
    return table


def read_create_index(sql: str) -> tuple[list[str], str | None]:
    """(SQL of each term without COLLATE and ASC or DESC, text after WHERE or None) of a CREATE INDEX text."""
    words = list(tokens(sql))
    opening = next((index for index, token in enumerate(words) if token.text == "("), len(words))
    closing = _closing(words, opening)
    terms = [_bare_term(sql, segment) for segment in _segments(words[opening + 1 : closing])]
    rest = words[closing + 1 :]
    where = _text(sql, rest[1], rest[-1]) if len(rest) > 1 and keyword(rest[0]) == "WHERE" else None
    return terms, where


def _text(sql: str, first: Token, last: Token) -> str:
    """What stands from one token to another, both included."""
    return sql[first.at : last.at + len(last.text)]


def _bare_term(sql: str, segment: Sequence[Token]) -> str:
    last = len(segment)
    if last > 1 and keyword(segment[last - 1]) in {"ASC", "DESC"}:
        last -= 1
    if last > 2 and keyword(segment[last - 2]) == "COLLATE":
        last -= 2
    return _text(sql, segment[0], segment[last - 1])


def _closing(words: Sequence[Token], opening: int) -> int:
    """Index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(words)):
        depth += {"(": 1, ")": -1}.get(words[index].text, 0)
        if depth == 0:
            return index
    return len(words)


def _segments(words: Sequence[Token]) -> Iterator[list[Token]]:
    """Split at commas outside parentheses."""
    depth, segment = 0, list[Token]()
    for token in words:
        if token.text == "," and depth == 0:
            yield segment
            segment = []
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        segment.append(token)
    if segment:
        yield segment


def _read_constraints(sql: str, words: Sequence[Token], table: TableText, column: ColumnText, called: str = "") -> str:
    """Walk constraints of a column or table. Commas between table constraints are optional in SQLite.

    A name given by CONSTRAINT is that of all CHECKs of the column behind it, and of the first one behind the last
    column. Returns the name that holds at the end.
    """
    table.clauses += _clauses(words, column.name)
    index = 0
    while index < len(words):
        token = words[index]
        following = words[index + 1] if index + 1 < len(words) else None
        if token.text == "(":
            index = _closing(words, index) + 1
            continue
        if following is not None and following.text == "(":
            inner = words[index + 2 : _closing(words, index + 1)]
            text = _text(sql, inner[0], inner[-1]) if inner else ""
            if keyword(token) == "CHECK":
                table.checks.append(text)
                table.check_names.append(called)
            elif keyword(token) == "AS":
                column.generated = text
            elif keyword(token) == "KEY" and any(keyword(word) == "AUTOINCREMENT" for word in inner):
                table.autoincrement = True
        if keyword(token) in {"CONSTRAINT", "DEFAULT", "COLLATE", "REFERENCES"} and following is not None:
            if keyword(token) == "CONSTRAINT":
                called = unquote(following.text)
            elif keyword(token) == "COLLATE":
                column.collation = unquote(following.text).upper()
            elif keyword(token) == "REFERENCES":
                table.deferred.append(_deferred(words[index + 1 :]))
                table.references.append(_reference(words[index + 1 :]))
            # The word after these is a name or a value, even if it reads like a keyword.
            index += 1 if following.text == "(" else 2
            continue
        if keyword(token) == "AUTOINCREMENT":
            table.autoincrement = True
        index += 1
    return called


def _clauses(words: Sequence[Token], column: str) -> Iterator[OwnClause]:
    """ON CONFLICT clauses among the constraints of a column, or of the table if that is empty."""
    kind, index = "", 0
    columns: tuple[str, ...] = (column,)
    while index < len(words):
        word = keyword(words[index])
        if words[index].text == "(":
            inner, index = words[index + 1 : _closing(words, index)], _closing(words, index)
            if kind and not column:
                columns = tuple(unquote(segment[0].text).lower() for segment in _segments(inner))
        elif word in ("CONSTRAINT", "DEFAULT", "COLLATE", "REFERENCES"):  # a name or a value follows
            index += int(index + 1 < len(words) and words[index + 1].text != "(")
        elif word in _KINDS:
            kind = _KINDS[word]
        elif word == "CONFLICT" and kind and index + 1 < len(words) and keyword(words[index + 1]) != "ABORT":
            yield OwnClause(kind, columns, keyword(words[index + 1]))
        index += 1


def _reference(after: Sequence[Token]) -> Reference:
    """The REFERENCES clause that these tokens follow."""
    index = _closing(after, 1) + 1 if len(after) > 1 and after[1].text == "(" else 1
    actions = {"DELETE": "NO ACTION", "UPDATE": "NO ACTION"}
    while index + 2 < len(after) and keyword(after[index]) in ("ON", "MATCH"):
        two = keyword(after[index + 2]) in ("SET", "NO")
        action = " ".join(keyword(token) for token in after[index + 2 : index + 3 + two])
        if keyword(after[index]) == "ON":
            actions[keyword(after[index + 1])] = action
            index += 3 + two
        else:
            index += 2
    return Reference(unquote(after[0].text).lower(), actions["DELETE"], actions["UPDATE"])


def _deferred(after: Sequence[Token]) -> bool:
    """Whether the REFERENCES clause that these tokens follow ends DEFERRABLE INITIALLY DEFERRED."""
    keywords = list[str]()
    for token in after[1:]:
        if keyword(token) in {"REFERENCES", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "CONSTRAINT", "COLLATE"}:
            break
        keywords.append(keyword(token))
    text = " ".join(filter(None, keywords))
    return "DEFERRABLE INITIALLY DEFERRED" in text and "NOT DEFERRABLE" not in text
