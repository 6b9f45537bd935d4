"""The documentation against the code: what can be set, measured, asked, typed or matched on is named, and exists."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

import cutover
from cutover.admin.app import make_app
from cutover.cli.exits import BLOCKED, DONE, DRIFT, FAILED, UNREACHABLE, USAGE
from cutover.cli.main import COMMANDS, app
from cutover.metrics import Metrics
from cutover.promote.gates import NAMES
from cutover.promote.phases import table_text
from cutover.settings import (
    _HUMANONLY,
    FLAT_SECTIONS,
    AdminSettings,
    ColumnSettings,
    Invariant,
    Settings,
    TableSettings,
)
from tests.support.operations import ScriptedOperations

PACKAGE = Path(cutover.__file__).parent
DOCS = PACKAGE.parent / "docs"

SECTIONS: dict[str, type[BaseModel]] = {
    **{f"[{name}]": Settings.model_fields[name].annotation for name in FLAT_SECTIONS},  # type: ignore[dict-item]
    "[tables.NAME]": TableSettings,
    "[tables.NAME.columns.COL]": ColumnSettings,
    "[[invariants]]": Invariant,
}


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Cells of every table row in `text` but headers and rules."""
    lines = text.splitlines()
    found = []
    for index, line in enumerate(lines):
        header = index + 1 < len(lines) and lines[index + 1].startswith("| ---")
        if line.startswith("|") and not line.startswith("| ---") and not header:
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def section(text: str, heading: str) -> str:
    """What stands under `## heading`."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return next(part for part in parts if part.splitlines()[0] == heading)


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_is_told_with_its_default(heading: str) -> None:
    model = SECTIONS[heading]
    fields = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
    told = {codes(row[0])[0]: row[1] for row in rows(section(read("configuration.md"), f"`{heading}`"))}
    assert set(told) == set(fields)
    for key, cell in told.items():
        name, field = fields[key]
        if field.is_required() or field.get_default(call_default_factory=True) is None:
            assert cell == ""
            continue
        value = tomllib.loads(f"x = {codes(cell)[0]}")["x"]
        extra = {"name": "x"} if model is Invariant else {}
        default = getattr(model.model_validate(extra), name)
        assert getattr(model.model_validate({key: value, **extra}), name) == default


def test_every_section_is_told() -> None:
    known = {heading.strip("[]").split(".")[0] for heading in SECTIONS}
    assert known == set(Settings.model_fields)


def test_humanonlys_environment_is_told() -> None:
    told = {
        codes(row[0])[0]: codes(row[1])[0] for row in rows(section(read("configuration.md"), "HumanOnly's environment"))
    }
    assert told == {name: f"{part}.{key}" for name, (part, key, _) in _HUMANONLY.items()}


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_every_metric_is_told_with_its_labels() -> None:
    told = {codes(row[0])[0]: (row[1], codes(row[2])) for row in rows(read("metrics.md"))}
    metrics = Metrics("0")
    found = {}
    for metric in metrics.registry.collect():
        if metric.name.startswith("cutover_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            owner = metrics.registry._names_to_collectors.get(metric.name, metric)  # a tally tells it with the figures
            found[name] = (metric.type, list(owner._labelnames))  # type: ignore[union-attr]
    assert told == found


# -- routes ----------------------------------------------------------------------------------------------------------


def test_every_admin_route_is_told() -> None:
    metrics = Metrics("0")
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in make_app(ScriptedOperations(metrics), AdminSettings(), metrics).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    door = read("api.md").split("# The applications' door")[0]
    told = {codes(row[0])[0] for row in rows(door) if re.match(r"`(GET|POST) /", row[0])}
    assert told == served


def test_every_front_route_is_told() -> None:
    """Every path that stands in the front door's code, but the pattern that catches preflights."""
    source = PACKAGE / "hrana" / "http.py"
    if not source.exists():
        pytest.skip("there is no front door yet")
    strings = (node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant))
    paths = {text for text in strings if isinstance(text, str) and re.fullmatch(r"/[a-z0-9/]*", text)}
    assert paths
    door = read("api.md").split("# The applications' door")[1]
    told = {code.partition(" ")[2] for row in rows(door) for code in codes(row[0])}
    assert paths <= told


def test_every_gate_is_told() -> None:
    assert [codes(row[0])[0] for row in rows(section(read("api.md"), "Gates"))] == list(NAMES)


# -- commands --------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be typed, with those of groups."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {sub}", made) for sub, made in inner.items()) if inner else [(name, command)]


def test_every_command_is_told() -> None:
    told = {match for row in rows(read("cli.md")) for match in re.findall(r"`cutover ([a-z ]+[a-z])", row[0])}
    found = {name for name, _ in commands()}
    not_yet = {name for name in COMMANDS if name not in {typed.split()[0] for typed in found}}
    assert told == found | not_yet


def test_every_option_is_told() -> None:
    """In the command's row, among those of all commands, or, for a switch, among those of switches."""
    text = read("cli.md")
    shared = text.split("| command |")[0]
    for name, command in commands():
        row = next("".join(row) for row in rows(text) if f"`cutover {name}" in row[0])
        told = shared + row + (section(text, "Switching") if name in ("promote", "demote", "finish") else "")
        for option in (text for param in command.params for text in param.opts if text.startswith("--")):
            assert re.search(rf"`[^`]*{option}\b", told) or option == "--help", f"{name} {option} is not in cli.md"


def test_every_command_has_an_example_and_json() -> None:
    for name, command in commands():
        assert "Example:" in command.help, name
        assert f"cutover {name}" in command.help, name
        assert any("--json" in param.opts for param in command.params), name
        assert any("--config" in param.opts for param in command.params), name


def test_every_exit_code_is_told() -> None:
    told = [int(row[0]) for row in rows(section(read("cli.md"), "Exit codes"))]
    assert told == sorted((DONE, FAILED, USAGE, BLOCKED, DRIFT, UNREACHABLE))


# -- errors ----------------------------------------------------------------------------------------------------------

RAISED = {"SwitchRefused", "RequestRefused", "StatementError", "ProtocolError"}
"""Errors whose code is given where they are raised: second, or as `code`."""


def literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def raised_codes(tree: ast.AST) -> Iterator[str | None]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
            yield literal(node.args[1]) if len(node.args) > 1 else None
            yield from (literal(keyword.value) for keyword in node.keywords if keyword.arg == "code")
        elif isinstance(node, ast.Constant) and re.fullmatch(
            r"(SQL|ARGS|STREAM|TRANSACTION|OUTCOME)_[A-Z_]+", str(node.value)
        ):
            yield str(node.value)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and any(getattr(to, "id", "") == "code" for to in line.targets):
                    yield literal(line.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
            yield from (text for text in map(literal, node.args) if text and re.fullmatch(r"[a-z]+_[a-z_]+", text))


def test_every_error_code_is_told() -> None:
    """SQLite's own primary codes aside, which are told as a family."""
    told = {code for row in rows(read("errors.md")) for code in codes(row[0])}
    assert "SQLITE_..." in told
    found: dict[str, str] = {}
    for file in set(PACKAGE.rglob("*.py")) - set((PACKAGE / "cli").glob("demo*.py")):
        for code in raised_codes(ast.parse(file.read_text(encoding="utf-8"))):
            if code and not code.startswith("SQLITE_"):
                found[code] = str(file.relative_to(PACKAGE))
    assert {"gates_failed", "approval_required", "store_unavailable", "no_such_table"} <= set(found)
    missing = {code: file for code, file in found.items() if code not in told}
    assert not missing, f"not in docs/errors.md: {missing}"


def test_no_service_code_is_told_that_is_gone() -> None:
    text = read("errors.md").split("## Of statements")[0]
    told = {code for row in rows(text) for code in codes(row[0])}
    code = "\n".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    assert [name for name in told if f'"{name}"' not in code] == []


def test_the_phases_in_the_docs_are_the_codes() -> None:
    assert table_text() in (DOCS / "reliability.md").read_text()
