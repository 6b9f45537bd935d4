"""Windows: names spelled out, and the steps in which SQLite computes them.

SQLite sorts once for each different window of a SELECT: for the one that is written first last of all. Rows that are
equal by one window's ORDER BY therefore come in the order of the window behind it, and after those as they were read.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import Refused

_FRAMES = {
    "row_number": "rows", "rank": "ranks", "dense_rank": "ranks", "percent_rank": "percent_rank",
    "cume_dist": "cume_dist", "ntile": "ntile", "lead": "lead", "lag": "rows",
}  # fmt: skip
"""Functions for which SQLite sets the frame itself; those of one word share it."""


def spelled_out(window: exp.Window, named: dict[str, exp.Window]) -> exp.Window:
    """The window without a name: OVER name has all of its definition, OVER (name ...) adds to it."""
    alias = window.args.get("alias")
    if alias is None:
        return window
    base = named.get(alias.name.lower())
    if base is None:
        raise Refused(f"The window {alias.name}")
    base = spelled_out(base, named)
    made = window.copy()
    made.set("alias", None)
    made.set("partition_by", [part.copy() for part in base.args.get("partition_by") or []])
    for part in ("order", "spec"):
        if made.args.get(part) is None and base.args.get(part) is not None:
            made.set(part, base.args[part].copy())
    return made


def definitions(node: exp.Select) -> dict[str, exp.Window]:
    """The windows that WINDOW names."""
    return {window.name.lower(): window for window in node.args.get("windows") or []}


def steps(node: exp.Select, named: dict[str, exp.Window]) -> list[exp.Window]:
    """The different windows of a SELECT, as they are written; the first is computed last."""
    found: dict[tuple[object, ...], exp.Window] = {}
    for part in (*node.expressions, node.args.get("order")):
        for window in _own(part) if part is not None else ():
            found.setdefault(step(spelled_out(window, named)), spelled_out(window, named))
    return list(found.values())


def step(window: exp.Window) -> tuple[object, ...]:
    """What tells windows apart that SQLite computes in different steps."""
    call = window.this.this if isinstance(window.this, exp.Filter) else window.this
    name = str(call.this).removeprefix(FUNCTION_PREFIX) if call is not None else ""
    frame = _FRAMES.get(name) or window.args.get("spec")
    return (tuple(window.args.get("partition_by") or []), window.args.get("order"), frame)


def _own(node: exp.Expr) -> Iterator[exp.Window]:
    for one in node.walk(bfs=False, prune=lambda inner: isinstance(inner, exp.Query)):
        if isinstance(one, exp.Window):
            yield one
