"""Hrana 3 in Protocol Buffers, translated to its JSON and back, for clients that prefer it. Pure.

Everything behind this speaks JSON, so that there is one reading, one set of checks, and one writing of each message.
Price: twice the work for these clients. None of those in use asks for Protobuf unless told to.
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from cutover.hrana.fields import Json, ProtocolError, read_json
from cutover.hrana.wire import BYTES, FIXED64, VARINT, field, read_fields, signed, unzigzag, varint, zigzag

_DEEPEST = 120
_ON_STREAM = "stream_id int32, "

# `name?` may be absent, `name*` comes any number of times, of the `|name`s one is set. Fields are numbered from 1.
_SCHEMA = {
    "Empty": "",
    "Error": "message string, code? string",
    "Stmt": "sql? string, sql_id? int32, args* Value, named_args* NamedArg, want_rows? bool",
    "NamedArg": "name string, value Value",
    "StmtResult": "cols* Col, rows* Row, affected_row_count uint64, last_insert_rowid? sint64",
    "Col": "name? string, decltype? string",
    "Row": "values* Value",
    "Batch": "steps* BatchStep",
    "BatchStep": "condition? BatchCond, stmt Stmt",
    "BatchCond": "|ok uint32, |error uint32, |not BatchCond, |and CondList, |or CondList, |is_autocommit Empty",
    "CondList": "conds* BatchCond",
    "BatchResult": "step_results* ResultEntry, step_errors* ErrorEntry",
    "ResultEntry": "key uint32, value StmtResult",
    "ErrorEntry": "key uint32, value Error",
    "CursorEntry": "|step_begin StepBegin, |step_end StepEnd, |step_error StepError, |row Row, |error Error",
    "StepBegin": "step uint32, cols* Col",
    "StepEnd": "affected_row_count uint64, last_insert_rowid? sint64",
    "StepError": "step uint32, error Error",
    "DescribeResult": "params* DescribeParam, cols* DescribeCol, is_explain bool, is_readonly bool",
    "DescribeParam": "name? string",
    "DescribeCol": "name string, decltype? string",
    "Value": "|null Empty, |integer sint64, |float double, |text string, |blob bytes",
    # over HTTP
    "PipelineReqBody": "baton? string, requests* StreamRequest",
    "PipelineRespBody": "baton? string, base_url? string, results* StreamResult",
    "StreamResult": "|ok StreamResponse, |error Error",
    "CursorReqBody": "baton? string, batch Batch",
    "CursorRespBody": "baton? string, base_url? string",
    "StreamRequest": "|close Empty, |execute Execute, |batch BatchOf, |sequence Sql, |describe Sql, "
    "|store_sql StoreSql, |close_sql SqlId, |get_autocommit Empty",
    "StreamResponse": "|close Empty, |execute Executed, |batch Batched, |sequence Empty, |describe Described, "
    "|store_sql Empty, |close_sql Empty, |get_autocommit Autocommit",
    "Execute": "stmt Stmt",
    "Executed": "result StmtResult",
    "BatchOf": "batch Batch",
    "Batched": "result BatchResult",
    "Sql": "sql? string, sql_id? int32",
    "SqlId": "sql_id int32",
    "StoreSql": "sql_id int32, sql string",
    "Described": "result DescribeResult",
    "Autocommit": "is_autocommit bool",
    # on a WebSocket
    "ClientMsg": "|hello Hello, |request RequestMsg",
    "Hello": "jwt? string",
    "RequestMsg": "request_id int32, |open_stream Stream, |close_stream Stream, |execute ExecuteOn, |batch BatchOn, "
    "|open_cursor OpenCursor, |close_cursor Cursor, |fetch_cursor FetchCursor, |sequence SqlOn, |describe SqlOn, "
    "|store_sql StoreSql, |close_sql SqlId, |get_autocommit Stream",
    "ServerMsg": "|hello_ok Empty, |hello_error ErrorOf, |response_ok ResponseOk, |response_error ResponseError",
    "ErrorOf": "error Error",
    "ResponseOk": "request_id int32, |open_stream Empty, |close_stream Empty, |execute Executed, |batch Batched, "
    "|open_cursor Empty, |close_cursor Empty, |fetch_cursor Fetched, |sequence Empty, |describe Described, "
    "|store_sql Empty, |close_sql Empty, |get_autocommit Autocommit",
    "ResponseError": "request_id int32, error Error",
    "Stream": "stream_id int32",
    "Cursor": "cursor_id int32",
    "ExecuteOn": _ON_STREAM + "stmt Stmt",
    "BatchOn": _ON_STREAM + "batch Batch",
    "SqlOn": _ON_STREAM + "sql? string, sql_id? int32",
    "OpenCursor": _ON_STREAM + "cursor_id int32, batch Batch",
    "FetchCursor": "cursor_id int32, max_count uint32",
    "Fetched": "entries* CursorEntry, done bool",
}


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    name: str
    type: str
    mark: str
    """One of ?, *, | or empty."""


def _fields(text: str) -> tuple[_Field, ...]:
    found = []
    for number, part in enumerate(filter(None, text.split(", ")), 1):
        name, kind = part.split()
        mark = name[0] if name[0] == "|" else name[-1] if name[-1] in "?*" else ""
        found.append(_Field(number, name.strip("|?*"), kind, mark))
    return tuple(found)


_MESSAGES = {name: _fields(text) for name, text in _SCHEMA.items()}
_NUMBERED = {name: {each.number: each for each in found} for name, found in _MESSAGES.items()}
_KINDS = {"string": BYTES, "bytes": BYTES, "double": FIXED64}
_DEFAULTS: dict[str, object] = {"string": "", "bool": False, "int32": 0, "uint32": 0, "uint64": 0}


def to_json(message: str, data: bytes) -> bytes:
    """A client's message in JSON. Raises `ProtocolError`."""
    return orjson.dumps(_read(message, data, 0))


def from_json(message: str, text: bytes) -> bytes:
    """A message of ours in Protobuf."""
    return _write(message, read_json(text, "An answer"))


def delimited(data: bytes) -> bytes:
    """A message with its length before it."""
    return varint(len(data)) + data


# -- in --------------------------------------------------------------------------------------------------------------


def _read(message: str, data: bytes, depth: int) -> Any:  # noqa: ANN401  # JSON
    if depth > _DEEPEST:
        raise ProtocolError(f"A message is nested more than {_DEEPEST} deep.")
    found: Json = {
        each.name: [] if each.mark == "*" else _DEFAULTS[each.type]
        for each in _MESSAGES[message]
        if each.mark == "*" or (not each.mark and each.type in _DEFAULTS)
    }
    chosen = ""
    for number, kind, raw in read_fields(data):
        known = _NUMBERED[message].get(number)
        if known is None:
            continue
        value = _read_value(known, kind, raw, depth)
        if known.mark == "*":
            found[known.name].append(value)
        elif known.mark == "|":
            found.pop(chosen, None)
            chosen = known.name
            found[chosen] = value
        else:
            found[known.name] = value
    shape = _SHAPES.get(message)
    return shape(found, chosen) if shape is not None else found


def _read_value(known: _Field, kind: int, raw: int | bytes, depth: int) -> object:
    wanted = _KINDS.get(known.type, BYTES if known.type in _MESSAGES else VARINT)
    if kind != wanted:
        raise ProtocolError(f"The Protobuf field {known.name} has the kind {kind}; it should have {wanted}.")
    if isinstance(raw, int):
        if known.type == "bool":
            return bool(raw)
        return unzigzag(raw) if known.type == "sint64" else signed(raw) if known.type == "int32" else raw
    match known.type:
        case "string":
            try:
                return raw.decode()
            except UnicodeDecodeError:
                raise ProtocolError(f"The Protobuf field {known.name} is not valid UTF-8.") from None
        case "double":
            return struct.unpack("<d", raw)[0]
        case "bytes":
            return raw
        case message:
            return _read(message, raw, depth + 1)


def _value_of(found: Json, chosen: str) -> Json:
    value = found.get(chosen)
    match chosen:
        case "null":
            return {"type": "null"}
        case "integer":
            return {"type": "integer", "value": str(value)}
        case "float" if isinstance(value, float) and math.isfinite(value):
            return {"type": "float", "value": value}
        case "float" if value in (math.inf, -math.inf):
            return {"type": "float", "value": orjson.Fragment(b"1e999" if value == math.inf else b"-1e999")}
        case "text":
            return {"type": "text", "value": value}
        case "blob" if isinstance(value, bytes):
            return {"type": "blob", "base64": b64encode(value).decode()}
    raise ProtocolError("A value has none of the types that SQLite has.")


def _condition_of(found: Json, chosen: str) -> Json:
    value = found.get(chosen)
    match chosen:
        case "ok" | "error":
            return {"type": chosen, "step": value}
        case "not":
            return {"type": "not", "cond": value}
        case "and" | "or" if isinstance(value, dict):
            return {"type": chosen, **value}
    return {"type": chosen}


def _tagged(found: Json, chosen: str) -> Json:
    return {"type": chosen, **found.get(chosen, {})}


_SHAPES: dict[str, Callable[[Json, str], Json]] = {
    "Value": _value_of,
    "BatchCond": _condition_of,
    "StreamRequest": _tagged,
    "ClientMsg": _tagged,
    "RequestMsg": lambda found, chosen: {"request_id": found["request_id"], "request": _tagged(found, chosen)},
}


# -- out -------------------------------------------------------------------------------------------------------------


def _write(message: str, found: Json) -> bytes:
    shape = _FLATTENED.get(message)
    fields = shape(found) if shape is not None else found
    written = bytearray()
    for known in _MESSAGES[message]:
        value = fields.get(known.name)
        if value is None:
            continue
        for each in value if known.mark == "*" else (value,):
            written += _write_field(known, each)
    return bytes(written)


def _write_field(known: _Field, value: Any) -> bytes:  # noqa: ANN401  # JSON
    match known.type:
        case "string":
            return field(known.number, BYTES, value.encode())
        case "bytes":
            return field(known.number, BYTES, value)
        case "double":
            return field(known.number, FIXED64, struct.pack("<d", value))
        case "sint64":
            return field(known.number, VARINT, zigzag(int(value)))
        case message if message in _MESSAGES:
            return field(known.number, BYTES, _write(message, value))
    return field(known.number, VARINT, int(value))


def _flat_value(found: Json) -> Json:
    match found["type"]:
        case "null":
            return {"null": {}}
        case "blob":
            text = found["base64"]
            return {"blob": b64decode(text + "=" * (-len(text) % 4))}
        case kind:
            return {kind: found["value"]}


def _rows(rows: list[list[Json]]) -> list[Json]:
    return [{"values": row} for row in rows]


def _entries(found: list[Json | None]) -> list[Json]:
    return [{"key": at, "value": each} for at, each in enumerate(found) if each is not None]


def _chosen(found: Json) -> Json:
    return {found["type"]: found}


_FLATTENED: dict[str, Callable[[Json], Json]] = {
    "Value": _flat_value,
    "StmtResult": lambda found: {**found, "rows": _rows(found["rows"])},
    "BatchResult": lambda found: {name: _entries(steps) for name, steps in found.items()},
    "CursorEntry": lambda found: {
        found["type"]: {"row": {"values": found.get("row")}, "error": found.get("error")}.get(found["type"], found)
    },
    "StreamResult": lambda found: {"ok": found.get("response"), "error": found.get("error")},
    "StreamResponse": _chosen,
    "ServerMsg": _chosen,
    "ResponseOk": lambda found: {"request_id": found["request_id"], **_chosen(found["response"])},
}
