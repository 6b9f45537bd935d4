"""The text made ready for the parser: parameters named by number, and what it would misread taken out or renamed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from cutover.dialect.arrows import named_arrows
from cutover.dialect.commas import joined_commas
from cutover.dialect.typed import Refused, affinity_of
from cutover.schema.sqltokens import Token, tokens

FUNCTION_PREFIX = "fn_"
"""Functions reach the parser under names it does not know, because it would reshape the ones it knows."""

_NAMES_FOLLOW = frozenset({"INTO", "TABLE", "WITH", "RECURSIVE", "FROM", "JOIN", "UPDATE", "EXISTS", "INDEX", "."})
_OPERANDS_FOLLOW = frozenset(
    {"SELECT", "DISTINCT", "ALL", "FROM", "WHERE", "HAVING", "ON", "BY", "LIMIT", "OFFSET", "SET", "RETURNING", "CASE",
     "WHEN", "THEN", "ELSE", "AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "GLOB", "ESCAPE", "IS"}
)  # fmt: skip
_OF_SCHEMA = ("sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema")
_DEEPEST = 200
"""Parentheses within each other. SQLite's parser ends at some 90, and a compiled parser knows no limit of its own."""

_AS_IT_STANDS = frozenset({"other", "open", "close", "dot"})
_SPELLED = {"ISNULL": "IS NULL", "NOTNULL": "IS NOT NULL"}


@dataclass(frozen=True)
class Prepared:
    """One statement, read but not parsed."""

    text: str
    """For the parser: parameters are `:p0`, `:p1` ... by SQLite's number less one; comments are gone."""
    conflict: str | None = None
    """The word after OR in INSERT OR x. ABORT is the default where no constraint says otherwise."""
    tables_of_schema: bool = False
    """Names sqlite_master or a pragma function: a question about the schema, not about data."""
    clauses: tuple[str, ...] = ()
    """The ON CONFLICT clauses of an INSERT behind the first, which the parser does not know."""


def prepare(sql: str, functions: frozenset[str]) -> Prepared:
    """Read one statement. `functions` are the (lower-case) names that are hidden from the parser.

    Raises `Refused` for conflict clauses without translation.
    """
    run = [token for token in tokens(sql) if token.type != "semi"]
    if _depth(run) > _DEEPEST:
        raise Refused("An expression nested this deeply", "Split it, or give a list as one IN.")
    conflict, run = _take_conflict(run)
    run = joined_commas(_compound_values(_named_plus(named_arrows(_plain_casts(run)))))
    numbering = _Numbering()
    parts = [_rewritten(run, at, numbering, functions) for at in range(len(run))]
    lower = sql.lower()
    of_schema = ("sqlite_" in lower or "pragma_" in lower) and any(_asks_schema(token) for token in run)
    clauses = _upserts(run)[1:]
    if not clauses:
        return Prepared(_spaced(parts, run), conflict, of_schema)
    end = _returning(run, clauses[-1])
    spans = [slice(*pair) for pair in pairwise([*clauses, end])]
    text = _spaced([*parts[: clauses[0]], *parts[end:]], [*run[: clauses[0]], *run[end:]])
    return Prepared(text, conflict, of_schema, tuple(_spaced(parts[span], run[span]) for span in spans))


def _spaced(parts: list[str], run: list[Token]) -> str:
    return " ".join(part for part in _joined(parts, run) if part)


def _depth(run: list[Token]) -> int:
    depth = deepest = 0
    for token in run:
        depth += (token.type == "open") - (token.type == "close")
        deepest = max(deepest, depth)
    return deepest


def _upserts(run: list[Token]) -> list[int]:
    """Where ON CONFLICT clauses of an INSERT begin: `ON conflict = 1` is the condition of a join."""
    conflicts = [at for at, token in enumerate(run) if token.type == "word" and token.text.upper() == "CONFLICT"]
    return [at - 1 for at in conflicts if _word(run, at - 1) == "ON" and _word(run, at + 1) in ("(", "DO")]


def _returning(run: list[Token], since: int) -> int:
    """Where RETURNING stands, else the end."""
    return next((at for at in range(since, len(run)) if _word(run, at) == "RETURNING"), len(run))


def _joined(parts: list[str], run: list[Token]) -> list[str]:
    """Operators of several characters (`||`, `<=`, `->>`) stay together, as they stood."""
    joined: list[str] = []
    end = -1
    for part, token in zip(parts, run, strict=True):
        glued = token.at == end and token.type == "other" and joined and joined[-1] and joined[-1][-1] in "|<>=!-"
        blob = token.type == "string" and token.at == end and joined and joined[-1].lower() == "x"
        if blob or (glued and part in "|<>="):
            joined[-1] += part
        else:
            joined.append(part)
        end = token.at + len(token.text)
    return joined


def _asks_schema(token: Token) -> bool:
    if token.type not in ("word", "quoted"):
        return False
    name = token.text.lower().strip('"`[]')
    return name in _OF_SCHEMA or name.startswith("pragma_")


def _word(run: list[Token], at: int) -> str:
    return run[at].text.upper() if 0 <= at < len(run) and run[at].type in ("word", "open", "dot") else ""


def _rewritten(run: list[Token], at: int, numbering: _Numbering, functions: frozenset[str]) -> str:
    token = run[at]
    if token.type in _AS_IT_STANDS:
        return token.text
    if token.type == "param":
        return f":p{numbering.number(token.text)}"
    if token.type == "quoted":
        mark = "]" if token.text[0] == "[" else token.text[0]
        name = token.text[1:-1] if mark == "]" else token.text[1:-1].replace(mark * 2, mark)
        return '"' + name.replace('"', '""') + '"'
    if token.type == "number":
        return _number(token.text)
    if token.type == "string" and _is_alias(run, at):
        return 'AS "' + token.text[1:-1].replace("''", "'").replace('"', '""') + '"'
    if token.type != "word":
        return token.text
    word = token.text.upper()
    if _is_index_hint(run, at, word):
        return ""
    called = at + 1 < len(run) and run[at + 1].type == "open"
    if word in _SPELLED and not called:
        return _SPELLED[word]
    named = _word(run, at - 1) in _NAMES_FOLLOW and _word(run, at - 2) != "DISTINCT"  # x IS DISTINCT FROM f(y)
    if called and word.lower() in functions and not named and not _is_operator(run, at):
        return FUNCTION_PREFIX + word.lower()
    return token.text


def _number(text: str) -> str:
    if not text.lower().startswith("0x"):
        return text
    value = int(text, 16)
    return str(value - (1 << 64) if value >= 1 << 63 else value)


def _is_index_hint(run: list[Token], at: int, word: str) -> bool:
    """INDEXED BY name, and NOT INDEXED, which Postgres has no use for."""
    if word == "INDEXED":
        return True
    if word == "NOT":
        return _word(run, at + 1) == "INDEXED"
    before = _word(run, at - 1)
    return (word == "BY" and before == "INDEXED") or (before == "BY" and _word(run, at - 2) == "INDEXED")


def _is_alias(run: list[Token], at: int) -> bool:
    """`SELECT 'a' 'b'` is a named 'b', which the parser would join. x'00' is one value."""
    before = run[at - 1] if at else None
    return before is not None and before.type in ("string", "number") and _word(run, at - 1) == ""


def _plain_casts(run: list[Token]) -> list[Token]:
    """The type in each CAST, which may be any words, becomes one that the parser knows and that has its affinity."""
    opened: list[int] = []
    named: dict[int, int] = {}
    for at in range(len(run)):
        word = _word(run, at)
        if word == "(":
            opened.append(at)
        elif word == "AS" and opened and _word(run, opened[-1] - 1) == "CAST":
            named.setdefault(opened[-1], at)
        elif run[at].type == "close" and opened:
            start = opened.pop()
            if start in named:
                first = named[start] + 1
                declared = " ".join(token.text for token in run[first:at])
                for inner in range(first, at):
                    run[inner] = run[inner]._replace(text="" if inner > first else affinity_of(declared), type="word")
    return run


def _named_plus(run: list[Token]) -> list[Token]:
    """`+x`, which the parser drops, becomes a call: SQLite's way to take the affinity off a column."""
    at = 0 if any(token.text == "+" for token in run) else len(run)
    while at < len(run):
        if run[at].text == "+" and run[at].type == "other" and not _ends_operand(run, at - 1):
            end = _primary_end(run, at + 1)
            opened = [run[at]._replace(type="word", text="fn_plus"), run[at]._replace(type="open", text="(")]
            closed = run[at]._replace(type="close", text=")")
            run = [*run[:at], *opened, *run[at + 1 : end], closed, *run[end:]]
        at += 1
    return run


def _ends_operand(run: list[Token], at: int) -> bool:
    """Whether an operand ends there, so that a binary operator may follow."""
    if at < 0 or run[at].type in ("other", "open"):
        return False
    return run[at].type != "word" or _word(run, at) not in _OPERANDS_FOLLOW


def _is_operator(run: list[Token], at: int) -> bool:
    """x LIKE (y) is no call of like()."""
    return _word(run, at) in ("LIKE", "GLOB") and _ends_operand(run, at - 2 if _word(run, at - 1) == "NOT" else at - 1)


def _compound_values(run: list[Token]) -> list[Token]:
    """VALUES at the head of a compound within something else, which the parser knows as a SELECT alone."""
    at = 1
    while at < len(run):
        listed = _word(run, at) == "VALUES" and _word(run, at + 1) == "("
        end = _rows_end(run, at + 1) if listed else at
        if end > at + 1 and _word(run, end) in ("UNION", "INTERSECT", "EXCEPT"):
            ahead = [*_made(run[at], "SELECT", "*", "FROM"), run[at]._replace(type="open", text="(")]
            behind = [run[at]._replace(type="close", text=")"), *_made(run[at], "AS", "_values")]
            run = [*run[:at], *ahead, *run[at:end], *behind, *run[end:]]
            end += len(ahead) + len(behind)
        at = max(end, at + 1)
    return run


def _made(like: Token, *words: str) -> list[Token]:
    return [like._replace(type="other" if word == "*" else "word", text=word) for word in words]


def _rows_end(run: list[Token], at: int) -> int:
    """Where the rows of VALUES end."""
    depth = 0
    while at < len(run):
        depth += (run[at].type == "open") - (run[at].type == "close")
        at += 1
        if depth == 0 and not (run[at - 1].text == "," or (at < len(run) and run[at].text == ",")):
            break
    return at


def _primary_end(run: list[Token], at: int) -> int:
    """Where an operand of a unary operator ends: a name, a literal, a call, something in parentheses, or CASE."""
    while at < len(run) and run[at].text in ("+", "-", "~"):
        at += 1
    depth = 0
    while at < len(run):
        word = _word(run, at)
        if run[at].type == "open" or word == "CASE":
            depth += 1
        elif run[at].type == "close" or (word == "END" and depth):
            depth -= 1
        at += 1
        following = run[at] if at < len(run) else None
        after_name = run[at - 1].type in ("word", "quoted", "dot")
        joined = following is not None and after_name and following.type in ("dot", "open", "string")
        # FILTER (...) and OVER (...) or OVER name belong to the call before them.
        behind = run[at - 1].type == "close" and _word(run, at) in ("FILTER", "OVER")
        behind = behind or (_word(run, at - 1) == "OVER" and at > 1 and run[at - 2].type == "close")
        if depth <= 0 and not joined and not behind and run[at - 1].type != "dot":
            break
    return at


def _take_conflict(run: list[Token]) -> tuple[str | None, list[Token]]:
    """Split INSERT OR x, UPDATE OR x and REPLACE into the plain verb and x. Queries of WITH stand before it."""
    depth = 0
    for at in range(len(run)):
        depth += (run[at].text == "(") - (run[at].text == ")")
        if depth:
            continue
        word, following = _word(run, at), _word(run, at + 1)
        if word == "REPLACE" and following == "INTO":
            return "REPLACE", [*run[:at], run[at]._replace(text="INSERT"), *run[at + 1 :]]
        if word in ("INSERT", "UPDATE") and following == "OR":
            return _word(run, at + 2), [*run[: at + 1], *run[at + 3 :]]
        if word in ("SELECT", "DELETE", "UPDATE", "INSERT"):
            break
    return None, run


@dataclass
class _Numbering:
    """`?` is one more than the highest so far, `?NNN` is NNN, and a name keeps the number it got first."""

    highest: int = 0
    names: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        if text[0] == "?" and len(text) > 1:
            number = int(text[1:])
            self.highest = max(self.highest, number)
            return number - 1
        if text != "?" and text in self.names:
            return self.names[text]
        self.highest += 1
        if text != "?":
            self.names[text] = self.highest - 1
        return self.highest - 1
