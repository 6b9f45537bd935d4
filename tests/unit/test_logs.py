"""What a line of the log tells of an error: where it came from, and nothing that an application sent."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILING = """
from cutover.logs import configure_logs, get_logger

configure_logs({style!r})

def run(argument):
    try:
        raise ValueError("it failed")
    except ValueError:
        get_logger("tests").exception("A statement failed.")

run("a customer's name")
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_local_variables(style: str) -> None:
    program = [sys.executable, "-c", FAILING.format(style=style)]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stderr
    assert "ValueError: it failed" in told
    assert "in run" in told
    assert "customer's name" not in told.replace('run("a customer\'s name")', "")
