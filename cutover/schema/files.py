"""The two files of `cutover plan --write`: a configuration that can be served as it stands, and the DDL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, SecretStr

from cutover.schema.plan import Plan
from cutover.schema.types import is_soft
from cutover.settings import FLAT_SECTIONS, Settings

_WIDTH = 44


def schema_sql(plan: Plan) -> str:
    """The DDL as a script that runs whole or not at all."""
    if not plan.mapping.create:
        return "-- Every mapped table exists on Postgres already: there is nothing to create.\n"
    body = ";\n\n".join(plan.mapping.create)
    return (
        "-- Tables that cutover creates on Postgres. `cutover serve` runs this by itself;\n"
        "-- to look after the schema yourself, run it with psql before, changed as you like.\n\n"
        f"BEGIN;\n\n{body};\n\nCOMMIT;\n"
    )


def config_toml(plan: Plan, settings: Settings) -> str:
    """A `cutover.toml` holding every setting: those that differ from their default set, the others as comments.

    Secrets are never written; a comment says which environment variable takes each.
    """
    lines = [
        "# cutover, made by `cutover plan`. Lines that are commented out show the defaults.",
        "# Each setting can be given as CUTOVER_<SECTION>_<KEY> in the environment as well.",
        "",
    ]
    for section in FLAT_SECTIONS:
        lines.append(f"[{section}]")
        lines += _section(section, getattr(settings, section))
        lines.append("")
    lines += _tables(plan, settings)
    for invariant in settings.invariants:
        lines.append("[[invariants]]")
        lines += [f"{key} = {_toml(value)}" for key, value in invariant.model_dump(exclude_defaults=True).items()]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def without_password(url: str) -> str:
    """A connection URL without the password, wherever in it that stands."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    secret = {"password", "sslpassword", "passfile"}
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in secret])
    safe = f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"
    return f"{safe}?{query}" if query else safe


def _section(section: str, model: BaseModel) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        key = field.alias or name
        value = getattr(model, name)
        given, secret = value != field.default, _is_secret(value)
        written = "" if secret else _toml(value)
        if (section, key) == ("postgres", "url") and value.get_secret_value():
            url = value.get_secret_value()
            safe = without_password(url)
            given, secret = safe == url, safe != url
            written = _toml(safe)
        if secret:
            written = '""' if not isinstance(value, tuple) else "[]"
            given = False
        note = field.description or ""
        if secret:
            variable = f"CUTOVER_{section}_{key}".upper()
            note += f" (a secret: give it as {variable})"
        yield f"{'' if given else '# '}{key} = {written}".ljust(_WIDTH) + f"  # {note}"


def _is_secret(value: object) -> bool:
    """Whether it is declared secret. An empty list of tokens is, too: it has no other type to tell."""
    return isinstance(value, SecretStr) or value == () or (isinstance(value, tuple) and _is_secret(value[0]))


def _toml(value: Any) -> str:  # noqa: ANN401  # any setting
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e15 else repr(value)
    # A JSON string is a TOML string, but for the one control character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _tables(plan: Plan, settings: Settings) -> list[str]:
    """[tables]: as configured, with the types that the data decided, and a hint where something blocks."""
    lines = list[str]()
    given = {name.lower(): (name, each) for name, each in settings.tables.items()}
    for table in plan.mapping.tables:
        _, chosen = given.pop(table.name.lower(), (table.name, None))
        values = chosen.model_dump(exclude_defaults=True) if chosen else {}
        columns: dict[str, dict[str, Any]] = values.pop("columns", {})
        if table.name not in plan.adopted:
            for column in table.columns:
                spelled = next((name for name in columns if name.lower() == column.name.lower()), column.name)
                if is_soft(column.affinity) and column.name != table.rowid_alias:
                    columns.setdefault(spelled, {}).setdefault("type", column.target_type)
        lines += _table(table.name, values, columns)
    for name, chosen in given.values():
        values = chosen.model_dump(exclude_defaults=True)
        lines += _table(name, values, values.pop("columns", {}))
    mapped = {table.name for table in plan.mapping.tables} | set(settings.tables)
    for name in sorted({finding.table for finding in plan.mapping.blocking if finding.table} - mapped):
        lines += [f"# [tables.{_name(name)}]", "# ignore = true  # to leave it out; see the findings of the plan", ""]
    return lines


def _table(name: str, values: dict[str, Any], columns: dict[str, dict[str, Any]]) -> list[str]:
    lines = list[str]()
    if values:
        lines += [f"[tables.{_name(name)}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
    if columns:
        lines.append(f"[tables.{_name(name)}.columns]")
        for column, chosen in columns.items():
            inner = ", ".join(f"{key} = {_toml(value)}" for key, value in chosen.items())
            lines.append(f"{_name(column)} = {{ {inner} }}")
        lines.append("")
    return lines
