"""Defaults of a SQLite schema for the columns that cutover creates on Postgres."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import codec_for, scalars
from cutover.schema.codecs.names import TypeName
from cutover.schema.createsql import keyword, unquote
from cutover.schema.parts import Untranslatable, kind_of
from cutover.schema.patterns import literal
from cutover.schema.sqltokens import Token, tokens
from cutover.schema.translate import translate_call

_MOMENT = "statement_timestamp()"
_NOW = f"timezone('UTC', {_MOMENT})"
_TEXTS = {
    "current_timestamp": "YYYY-MM-DD HH24:MI:SS",
    "datetime('now')": "YYYY-MM-DD HH24:MI:SS",
    "strftime('%Y-%m-%d %H:%M:%S','now')": "YYYY-MM-DD HH24:MI:SS",
    "current_date": "YYYY-MM-DD",
    "date('now')": "YYYY-MM-DD",
    "current_time": "HH24:MI:SS",
    "time('now')": "HH24:MI:SS",
    "strftime('%Y-%m-%dT%H:%M:%SZ','now')": 'YYYY-MM-DD"T"HH24:MI:SS"Z"',
    "strftime('%Y-%m-%dT%H:%M:%fZ','now')": 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"',
    "strftime('%Y-%m-%d %H:%M:%fZ','now')": 'YYYY-MM-DD HH24:MI:SS.MS"Z"',
    "strftime('%Y-%m-%d %H:%M:%f','now')": "YYYY-MM-DD HH24:MI:SS.MS",
}
"""The moment as text: what SQLite is told, and the same for `to_char`."""
_SECONDS = (
    "unixepoch()",
    "unixepoch('now')",
    "strftime('%s','now')",
    "strftime('%s')",
    "cast(strftime('%s','now')asint)",
    "cast(strftime('%s','now')asinteger)",
)
_MILLISECONDS = (
    "cast((julianday('now')-2440587.5)*86400000asinteger)",
    "cast((julianday('now')-2440587.5)*86400000asint)",
    "cast(unixepoch('subsecond')*1000asinteger)",
    "cast(unixepoch('subsec')*1000asinteger)",
)
_WHOLE_MILLISECONDS = ("unixepoch()*1000", "(unixepoch()*1000)", "strftime('%s','now')*1000")
_EPOCHS = {
    **dict.fromkeys(_SECONDS, f"floor(extract(epoch FROM {_MOMENT}))::bigint"),
    **dict.fromkeys(_MILLISECONDS, f"floor(extract(epoch FROM {_MOMENT}) * 1000)::bigint"),
    **dict.fromkeys(_WHOLE_MILLISECONDS, f"floor(extract(epoch FROM {_MOMENT}))::bigint * 1000"),
}
_WORDS = (
    "abs cast char coalesce format hex ifnull iif instr json json_array json_object length lower ltrim max min nullif"
    " printf quote replace round rtrim substr substring trim typeof unicode upper zeroblob"
    " and between case else glob in is isnull like not notnull null or then when"
)
_SURE = frozenset(_WORDS.split())
"""Functions that give the same each time, and words that a parenthesis may follow."""
_TIMES = ("date", "timestamp without time zone", "timestamp with time zone", "time without time zone")


def translate_default(sql: str, column: Column) -> str:
    """The column's default, as SQLite would store it there. Raises `Untranslatable`."""
    words = list(tokens(sql))
    while len(words) > 2 and words[0].text == "(" and words[-1].text == ")":
        words = words[1:-1]
    called = _called(words)
    kind, name = kind_of(column), TypeName.of(column.target_type).name
    if name in _TIMES and (moment := _moment(called, name, column)):
        return moment
    if kind == "text" and called in _TEXTS:
        return f"to_char({_NOW}, {literal(_TEXTS[called])})"
    if column.target_type == scalars.NAME and called in _TEXTS:
        return f"to_jsonb(to_char({_NOW}, {literal(_TEXTS[called])}))::{scalars.NAME}"
    if kind == "int" and called in _EPOCHS:
        return _EPOCHS[called]
    with suppress(Untranslatable):
        if kind in ("int", "real", "text", "blob") and (constant := _constant(words, kind)) is not None:
            return constant
    if _is_constant(words):
        return _by_codec(sql, column)
    made, result = translate_call(sql)
    if result == kind or (name == "uuid" and result == "text"):
        return f"({made})" + ("::uuid" if name == "uuid" else "")
    raise Untranslatable(sql)


def _called(words: list[Token]) -> str:
    return "".join(word.text if word.type == "string" else word.text.lower() for word in words)


def _moment(called: str, kind: str, column: Column) -> str | None:
    """The moment in a column of a type of time, as exact as the text (or number) that SQLite stores."""
    numbers = column.affinity in ("INTEGER", "REAL")
    if numbers and called in _SECONDS and column.format in ("", "epoch_seconds"):
        step = "second"
    elif numbers and called in _MILLISECONDS and column.format == "epoch_milliseconds":
        step = "milliseconds"
    elif numbers and called in _WHOLE_MILLISECONDS and column.format == "epoch_milliseconds":
        step = "second"
    elif not numbers and (text := _TEXTS.get(called)) is not None:
        step = "milliseconds" if ".MS" in text else "second" if "SS" in text else "day"
        if ("YYYY" not in text) != kind.startswith("time without"):
            return None
    else:
        return None
    if kind == "date" and step != "day":
        return None
    if kind == "timestamp with time zone" and step != "day":
        return f"date_trunc('{step}', {_MOMENT})"
    truncated = f"date_trunc('{step}', {_NOW})"
    if kind == "timestamp with time zone":
        return f"timezone('UTC', {truncated})"
    return truncated if kind.startswith("timestamp") else f"({truncated})::{kind.split(maxsplit=1)[0]}"


def _is_constant(words: list[Token]) -> bool:
    """Whether it is the same each time: no function but some, and none of the words for the moment."""
    for at, word in enumerate(words):
        called = at + 1 < len(words) and words[at + 1].text == "("
        name = word.text.lower()
        if word.type == "word" and (name.startswith("current_") or (called and name not in _SURE)):
            return False
    return bool(words)


def _by_codec(sql: str, column: Column) -> str:
    """A constant that SQLite's own affinity and then the column's codec have made a value of its type."""
    try:
        stored = codec_for(column).to_target(_stored(sql, column.affinity))
    except (sqlite3.Error, Unrepresentable):
        raise Untranslatable(sql) from None
    if stored is None:
        return "NULL"
    if isinstance(stored, bytes):
        return f"'\\x{stored.hex()}'::bytea"
    if isinstance(stored, bool):
        return "true" if stored else "false"
    return f"{literal(str(stored))}::{column.target_type}"


def gives_text(sql: str, affinity: str) -> bool:
    """Whether a column of this affinity holds a text where it is given no value, as INTEGER DEFAULT CURRENT_TIMESTAMP
    does. SQLite is asked, which makes a number of some texts (`strftime('%s')`)."""
    try:
        return isinstance(_stored(sql, affinity), str)
    except sqlite3.Error:
        return False


def _stored(sql: str, affinity: str) -> SqlValue:
    """What SQLite stores for the default. Raises `sqlite3.Error`."""
    word = keyword(next(tokens(sql)))  # that is a text to SQLite, unless it stands in parentheses
    text = sql if word and word not in ("NOT", "CASE", "CAST") and len(list(tokens(sql))) == 1 else f"({sql})"
    with closing(sqlite3.connect(":memory:")) as with_default:
        with_default.execute(f"CREATE TABLE t (k, c {affinity.replace('BLOB', '')} DEFAULT {text})")
        with_default.execute("INSERT INTO t (k) VALUES (1)")
        value: SqlValue = with_default.execute("SELECT c FROM t").fetchone()[0]
    return value


def _constant(words: list[Token], kind: str) -> str | None:
    """Of a kind that both databases have; None for what is no constant. Raises `Untranslatable`."""
    sign, text = "", " ".join(word.text for word in words)
    if len(words) == 2 and words[0].text in "+-":
        sign, words = words[0].text.replace("+", ""), words[1:]
    if kind == "blob" and len(words) == 2 and words[0].text in "xX" and words[1].type == "string":
        return f"'\\x{unquote(words[1].text)}'::bytea"
    if len(words) != 1:
        return None
    word = words[0]
    if keyword(word) == "NULL":
        return "NULL"
    if word.type == "number":
        return _number(sign + word.text, kind, text)
    if keyword(word) in {"TRUE", "FALSE"}:
        return _number("1" if keyword(word) == "TRUE" else "0", kind, text)
    if word.type in {"string", "quoted"} or (word.type == "word" and not sign):
        value = unquote(word.text)
        return literal(value) if kind == "text" else _number(value.strip(), kind, text)
    return None


def _number(text: str, kind: str, sql: str) -> str:
    """`text` as a constant of `kind`, if that is exactly what SQLite would make of it."""
    try:
        if kind == "int":
            return str(int(text))
        if kind == "real":
            return repr(float(text))
        if kind == "text":
            # TEXT affinity: an integer is stored by its digits; of a real only a plain spelling is sure.
            return literal(str(int(text)) if text.lstrip("-").isdigit() else _plain_real(text))
    except ValueError:
        pass
    raise Untranslatable(sql)


def _plain_real(text: str) -> str:
    if repr(float(text)) != text:
        raise ValueError(text)
    return text
