"""What clients say: Hrana's JSON read into our vocabulary. Pure; all that is not as the protocol says is refused.

`orjson` reads it: it refuses NaN, lone surrogates, invalid UTF-8, nesting beyond 1024 and trailing text, and
keeps 64-bit integers. Unknown fields are ignored, as the protocol asks.
"""

from __future__ import annotations

import binascii
import json
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from cutover.errors import CutoverError
from cutover.model.statement import (
    All,
    Condition,
    Failed,
    IsAutocommit,
    Not,
    Ok,
    Statement,
    Step,
)
from cutover.model.statement import Any as AnyOf
from cutover.model.values import SqlValue

Json = dict[str, Any]

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT64 = 1 << 63
_DEEPEST = 100


class ProtocolError(CutoverError):
    """The client broke the protocol; its stream ends. HTTP `status`, and a `code` or an empty string."""

    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotJson(ProtocolError):
    """What came is no JSON at all."""


@dataclass(frozen=True, slots=True)
class StoredSql:
    """Stands for a text that the client stored under this id."""

    sql_id: int


@dataclass(frozen=True, slots=True)
class Execute:
    """`execute`. With `stored`, the statement's text is still to be looked up."""

    statement: Statement
    stored: StoredSql | None


@dataclass(frozen=True, slots=True)
class Batch:
    """`batch`. `stored` has an entry a step."""

    steps: tuple[Step, ...]
    stored: tuple[StoredSql | None, ...] | None


@dataclass(frozen=True, slots=True)
class SequenceOf:
    """`sequence`."""

    sql: str | StoredSql


@dataclass(frozen=True, slots=True)
class Describe:
    """`describe`."""

    sql: str | StoredSql


@dataclass(frozen=True, slots=True)
class StoreSql:
    """`store_sql`."""

    sql_id: int
    sql: str


@dataclass(frozen=True, slots=True)
class CloseSql:
    """`close_sql`."""

    sql_id: int


@dataclass(frozen=True, slots=True)
class GetAutocommit:
    """`get_autocommit` (Hrana 3)."""


@dataclass(frozen=True, slots=True)
class Close:
    """`close`."""


Request = Execute | Batch | SequenceOf | Describe | StoreSql | CloseSql | GetAutocommit | Close


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Body of a pipeline request."""

    baton: str | None
    requests: tuple[Request, ...]


def read_json(body: bytes, what: str = "The body") -> Json:
    """What must hold one JSON object. Raises `NotJson`, `ProtocolError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "infinity" not in str(error):
            raise NotJson(f"{what} is not valid JSON: {error}.") from None
        found = _read_infinite(body, what)
    return _object(found, what)


def _read_infinite(body: bytes, what: str) -> object:
    """JSON with a number beyond every double, such as `answers.py` writes for an infinity."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not in JSON")

    try:
        found = json.loads(body, parse_constant=refuse)
        orjson.dumps(found)  # as strict as the other reader: no lone surrogates, and not too deep
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise NotJson(f"{what} is not valid JSON: {error}.") from None
    return found


def read_pipeline(body: bytes, version: int, most: int = sys.maxsize) -> Pipeline:
    """Body of POST /v2/pipeline or /v3/pipeline. Raises `ProtocolError`, also for more than `most` requests."""
    found = read_json(body)
    requests = _list(found.get("requests"), "requests")
    if len(requests) > most:
        text = f"The pipeline has more requests than front.max_requests ({most}); nothing was executed."
        raise ProtocolError(text, status=413, code="REQUEST_TOO_LARGE")
    return Pipeline(read_baton(found), tuple([read_request(_object(item, "A request"), version) for item in requests]))


def read_baton(found: Json) -> str | None:
    """The baton; it may be absent."""
    baton = found.get("baton")
    return None if baton is None else _text(baton, "baton")


def read_id(found: Json, field: str) -> int:
    """An id that the client gave. Raises `ProtocolError`."""
    return _int32(found.get(field), field)


def read_part(found: Json, field: str) -> Json:
    """An object inside of another. Raises `ProtocolError`."""
    return _object(found.get(field), field)


def read_request(found: Json, version: int) -> Request:
    """One stream request. Raises `ProtocolError`."""
    match found.get("type"):
        case "execute":
            statement, stored = read_statement(found.get("stmt"))
            return Execute(statement, stored)
        case "close":
            return Close()
        case "batch":
            return read_batch(found.get("batch"), version)
        case "sequence":
            return SequenceOf(_sql(found))
        case "describe":
            return Describe(_sql(found))
        case "store_sql":
            return StoreSql(_int32(found.get("sql_id"), "sql_id"), _text(found.get("sql"), "sql"))
        case "close_sql":
            return CloseSql(_int32(found.get("sql_id"), "sql_id"))
        case "get_autocommit" if version >= 3:
            return GetAutocommit()
        case kind:
            raise ProtocolError(f"A request has the type {str(kind)[:40]!r}, which is not in Hrana {version}.")


def read_statement(found: object) -> tuple[Statement, StoredSql | None]:
    """A Stmt; its text is empty if it is stored. Raises `ProtocolError`."""
    stmt = _object(found, "stmt")
    sql = _sql(stmt)
    args, named, want_rows = stmt.get("args"), stmt.get("named_args"), stmt.get("want_rows")
    statement = Statement(
        sql if isinstance(sql, str) else "",
        tuple([read_value(value) for value in _list(args, "args")]) if args else (),
        tuple([_named(item) for item in _list(named, "named_args")]) if named else (),
        True if want_rows is None else _bool(want_rows, "want_rows"),
    )
    return statement, sql if isinstance(sql, StoredSql) else None


def read_batch(found: object, version: int) -> Batch:
    """A Batch. Raises `ProtocolError`, also for a condition on the step itself or a later one."""
    steps: list[Step] = []
    stored: list[StoredSql | None] = []
    for number, item in enumerate(_list(_object(found, "batch").get("steps"), "steps")):
        step = _object(item, "A step")
        condition = step.get("condition")
        statement, text = read_statement(step.get("stmt"))
        steps.append(Step(statement, None if condition is None else _condition(condition, number, version, _DEEPEST)))
        stored.append(text)
    return Batch(tuple(steps), tuple(stored) if any(stored) else None)


def read_value(found: object) -> SqlValue:
    """A Value. Raises `ProtocolError`."""
    value = found if isinstance(found, dict) else _object(found, "A value")
    kind = value.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ProtocolError(f"A value has the unknown type {str(kind)[:40]!r}.")
    return reader(value)


def resolved(statement: Statement, stored: StoredSql | None, texts: Mapping[int, str]) -> Statement:
    """The statement with its text. Raises `ProtocolError` for an id that nothing is stored under."""
    return statement if stored is None else replace(statement, sql=look_up(stored, texts))


def look_up(sql: str | StoredSql, texts: Mapping[int, str]) -> str:
    """The text itself. Raises `ProtocolError` for an id that nothing is stored under."""
    if isinstance(sql, str):
        return sql
    if sql.sql_id not in texts:
        raise ProtocolError(f"No SQL text is stored under the id {sql.sql_id}.")
    return texts[sql.sql_id]


def _object(found: object, what: str) -> Json:
    if not isinstance(found, dict):
        raise ProtocolError(f"{what} must be a JSON object.")
    return found


def _list(found: object, what: str) -> Sequence[object]:
    if not isinstance(found, list):
        raise ProtocolError(f"{what} must be a JSON array.")
    return found


def _text(found: object, what: str) -> str:
    if not isinstance(found, str):
        raise ProtocolError(f"{what} must be a JSON string.")
    return found


def _bool(found: object, what: str) -> bool:
    if not isinstance(found, bool):
        raise ProtocolError(f"{what} must be true or false.")
    return found


def _text_value(value: Json) -> str:
    text = value.get("value")
    return text if isinstance(text, str) else _text(text, "A text value")


def _float_value(value: Json) -> float:
    number = value.get("value")
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return float(number)
    raise ProtocolError("A float value must be a JSON number.")


def _int32(found: object, what: str) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not -(1 << 31) <= found < 1 << 31:
        raise ProtocolError(f"{what} must be a 32-bit integer.")
    return found


def _integer_value(value: Json) -> int:
    found = value.get("value")
    if isinstance(found, str) and _INTEGER.fullmatch(found):
        number = int(found)
        if -_INT64 <= number < _INT64:
            return number
    raise ProtocolError("An integer value must be a string of decimal digits within 64 bits.")


def _blob_value(value: Json) -> bytes:
    text = _text(value.get("base64"), "A blob value").rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("A blob value must be base64 in the standard alphabet.") from None


_READERS: dict[str, Callable[[Json], SqlValue]] = {
    "text": _text_value,
    "integer": _integer_value,
    "null": lambda _: None,
    "float": _float_value,
    "blob": _blob_value,
}


def _sql(found: Json) -> str | StoredSql:
    sql, sql_id = found.get("sql"), found.get("sql_id")
    if (sql is None) == (sql_id is None):
        raise ProtocolError("Give either sql or sql_id.")
    return StoredSql(_int32(sql_id, "sql_id")) if sql is None else _text(sql, "sql")


def _named(found: object) -> tuple[str, SqlValue]:
    item = _object(found, "A named argument")
    return _text(item.get("name"), "name"), read_value(item.get("value"))


def _condition(found: object, step: int, version: int, deep: int) -> Condition:
    if deep == 0:
        raise ProtocolError(f"A condition is nested more than {_DEEPEST} deep.")
    item = _object(found, "A condition")
    match item.get("type"):
        case "ok":
            return Ok(_earlier(item.get("step"), step))
        case "error":
            return Failed(_earlier(item.get("step"), step))
        case "not":
            return Not(_condition(item.get("cond"), step, version, deep - 1))
        case "and" | "or" as kind:
            inner = tuple([_condition(cond, step, version, deep - 1) for cond in _list(item.get("conds"), "conds")])
            return All(inner) if kind == "and" else AnyOf(inner)
        case "is_autocommit" if version >= 3:
            return IsAutocommit()
        case kind:
            raise ProtocolError(f"A condition has the type {str(kind)[:40]!r}, which is not in Hrana {version}.")


def _earlier(found: object, step: int) -> int:
    number = _int32(found, "step")
    if not 0 <= number < step:
        raise ProtocolError(f"The condition of step {step} refers to step {number}; only earlier ones are known.")
    return number
