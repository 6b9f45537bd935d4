"""The forty hazards: each one told, each one shown, and no proof named that does not exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"

NUMBERS = range(1, 41)
BY_EXPERIMENT = {1, *range(5, 14), 15, *range(18, 25), *range(27, 35)}
"""Hazards that were seen on a real engine; for these the plain form that loses has to be in the tests as well."""
ARGUED = "*argued*"


def functions(folder: Path) -> set[str]:
    """Names of the test functions in a folder."""
    found = set[str]()
    for path in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.add(node.name)
    return found


def rows() -> dict[int, list[str]]:
    """Number → the other cells."""
    lines = (DOCS / "hazards.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if re.match(r"\| \d+ \|", line)]
    assert len({row[0] for row in cells}) == len(cells), "a number stands twice"
    return {int(number): rest for number, *rest in cells}


SHOWN = functions(TESTS / "hazards")


def test_all_numbers_are_told_in_order() -> None:
    assert list(rows()) == list(NUMBERS)
    assert all(len(cells) == 3 and all(cells) for cells in rows().values())


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_said_to_show_it_exists(number: int) -> None:
    told = rows()[number][2]
    names = re.findall(r"`([^`]+)`", told)
    assert names, f"{number} has no test"
    assert set(names) <= SHOWN
    assert all(name.startswith(f"test_hazard_{number:02}_") for name in names)
    left = re.sub(r"`[^`]+`|[,\s]", "", told).replace(ARGUED, "")
    assert not left, f"{number} says {left!r}, which is no test"


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_argued_has_an_argument(number: int) -> None:
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    arguments = text.partition("\n## Hazards argued, not run\n")[2].partition("\n## ")[0]
    assert (ARGUED in rows()[number][2]) == (f"- **{number}.** " in arguments)


@pytest.mark.parametrize("number", sorted(BY_EXPERIMENT))
def test_the_plain_form_is_seen_to_lose_and_ours_is_not(number: int) -> None:
    mine = {name for name in SHOWN if name.startswith(f"test_hazard_{number:02}_")}
    naive = {name for name in mine if name.startswith(f"test_hazard_{number:02}_naive_")}
    assert naive, f"nothing shows that {number} is real"
    assert mine - naive, f"nothing shows that {number} is closed"


def test_every_hazard_test_has_a_number() -> None:
    strange = {name for name in SHOWN if not re.match(r"test_hazard_(0[1-9]|[1-3]\d|40)_", name)}
    assert not strange


def test_the_code_names_no_other_number() -> None:
    package = TESTS.parent / "cutover"
    named = {
        int(number)
        for path in [*package.rglob("*.py"), *package.rglob("*.md"), *package.rglob("*.sql")]
        for number in re.findall(r"[Hh]azards? (\d+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= set(NUMBERS)
