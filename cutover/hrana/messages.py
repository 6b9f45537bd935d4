"""What clients say: Hrana's JSON read into our vocabulary. Pure; all that is not as the protocol says is refused.

Unknown fields are ignored, as the protocol asks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cutover.hrana.fields import (
    Json,
    ProtocolError,
    bool_of,
    int32_of,
    list_of,
    object_of,
    read_json,
    read_value,
    text_of,
)
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

_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class StoredSql:
    """Stands for a text that the client stored under this id."""

    sql_id: int


@dataclass(slots=True)
class Execute:
    """`execute`. With `stored`, the statement's text is still to be looked up."""

    statement: Statement
    stored: StoredSql | None


@dataclass(slots=True)
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


@dataclass(slots=True)
class Pipeline:
    """Body of a pipeline request."""

    baton: str | None
    requests: tuple[Request, ...]


CLOSE = Close()


def lone(pipeline: Pipeline) -> Statement | None:
    """The statement of a pipeline that is nothing but one statement and the close of its stream; None if it is not."""
    match pipeline:
        case Pipeline(None, (Execute(statement, None), Close())):
            return statement
        case _:
            return None


def pipeline_of(statement: Statement) -> Pipeline:
    """The pipeline that is nothing but this statement and the close of its stream."""
    return Pipeline(None, (Execute(statement, None), CLOSE))


def read_pipeline(body: bytes, version: int, most: int = sys.maxsize) -> Pipeline:
    """Body of POST /v2/pipeline or /v3/pipeline. Raises `ProtocolError`, also for more than `most` requests."""
    found = read_json(body)
    requests = list_of(found.get("requests"), "requests")
    if len(requests) > most:
        text = f"The pipeline has more requests than front.max_requests ({most}); nothing was executed."
        raise ProtocolError(text, status=413, code="REQUEST_TOO_LARGE")
    return Pipeline(
        read_baton(found), tuple([read_request(object_of(item, "A request"), version) for item in requests])
    )


def read_baton(found: Json) -> str | None:
    """The baton; it may be absent."""
    baton = found.get("baton")
    return None if baton is None else text_of(baton, "baton")


def read_id(found: Json, field: str) -> int:
    """An id that the client gave. Raises `ProtocolError`."""
    return int32_of(found.get(field), field)


def read_part(found: Json, field: str) -> Json:
    """An object inside of another. Raises `ProtocolError`."""
    return object_of(found.get(field), field)


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
            return StoreSql(int32_of(found.get("sql_id"), "sql_id"), text_of(found.get("sql"), "sql"))
        case "close_sql":
            return CloseSql(int32_of(found.get("sql_id"), "sql_id"))
        case "get_autocommit" if version >= 3:
            return GetAutocommit()
        case kind:
            raise ProtocolError(f"A request has the type {str(kind)[:40]!r}, which is not in Hrana {version}.")


def read_statement(found: object) -> tuple[Statement, StoredSql | None]:
    """A Stmt; its text is empty if it is stored. Raises `ProtocolError`."""
    stmt = object_of(found, "stmt")
    sql = _sql(stmt)
    args, named, want_rows = stmt.get("args"), stmt.get("named_args"), stmt.get("want_rows")
    statement = Statement(
        sql if isinstance(sql, str) else "",
        tuple([read_value(value) for value in list_of(args, "args")]) if args else (),
        tuple([_named(item) for item in list_of(named, "named_args")]) if named else (),
        True if want_rows is None else bool_of(want_rows, "want_rows"),
    )
    return statement, sql if isinstance(sql, StoredSql) else None


def read_batch(found: object, version: int) -> Batch:
    """A Batch. Raises `ProtocolError`, also for a condition on the step itself or a later one."""
    steps: list[Step] = []
    stored: list[StoredSql | None] = []
    for number, item in enumerate(list_of(object_of(found, "batch").get("steps"), "steps")):
        step = object_of(item, "A step")
        condition = step.get("condition")
        statement, text = read_statement(step.get("stmt"))
        steps.append(Step(statement, None if condition is None else _condition(condition, number, version, _DEEPEST)))
        stored.append(text)
    return Batch(tuple(steps), tuple(stored) if any(stored) else None)


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


def _sql(found: Json) -> str | StoredSql:
    sql, sql_id = found.get("sql"), found.get("sql_id")
    if (sql is None) == (sql_id is None):
        raise ProtocolError("Give either sql or sql_id.")
    return StoredSql(int32_of(sql_id, "sql_id")) if sql is None else text_of(sql, "sql")


def _named(found: object) -> tuple[str, SqlValue]:
    item = object_of(found, "A named argument")
    return text_of(item.get("name"), "name"), read_value(item.get("value"))


def _condition(found: object, step: int, version: int, deep: int) -> Condition:
    if deep == 0:
        raise ProtocolError(f"A condition is nested more than {_DEEPEST} deep.")
    item = object_of(found, "A condition")
    match item.get("type"):
        case "ok":
            return Ok(_earlier(item.get("step"), step))
        case "error":
            return Failed(_earlier(item.get("step"), step))
        case "not":
            return Not(_condition(item.get("cond"), step, version, deep - 1))
        case "and" | "or" as kind:
            inner = tuple([_condition(cond, step, version, deep - 1) for cond in list_of(item.get("conds"), "conds")])
            return All(inner) if kind == "and" else AnyOf(inner)
        case "is_autocommit" if version >= 3:
            return IsAutocommit()
        case kind:
            raise ProtocolError(f"A condition has the type {str(kind)[:40]!r}, which is not in Hrana {version}.")


def _earlier(found: object, step: int) -> int:
    number = int32_of(found, "step")
    if not 0 <= number < step:
        raise ProtocolError(f"The condition of step {step} refers to step {number}; only earlier ones are known.")
    return number
