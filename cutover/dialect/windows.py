"""Windows: names spelled out, and the steps in which SQLite computes them.

SQLite sorts once for each different window of a SELECT: for the one that is written first last of all. Rows that are
equal by one window's ORDER BY therefore come in the order of the window behind it, and after those as they were read.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import Refused, call, cast, helper

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


def has_own(node: exp.Select) -> bool:
    """Whether a SELECT has windows that are not those of its subqueries."""
    parts = (*node.expressions, node.args.get("order"))
    return any(True for part in parts if part is not None for _ in own(part))


def steps(node: exp.Select, named: dict[str, exp.Window]) -> tuple[list[exp.Window], frozenset[int]]:
    """The different windows of a SELECT, the one computed last first, and which of them are computed once more.

    What ORDER BY refers to is computed for it anew, behind the first window, and shown as it is there.
    """
    order = node.args.get("order")
    sorted_by = [_projection(term, node) for term in order.expressions] if order else []
    again = [window for part in sorted_by for window in own(part)]
    written = [window for part in node.expressions for window in own(part)]
    found: list[exp.Window] = [spelled_out(one, named) for one in (written or again)[:1]]
    behind: dict[tuple[object, ...], exp.Window] = {}
    for window in written:
        made = spelled_out(window, named)
        if step(made) != step(found[0]):
            behind.setdefault(step(made), made)
    for window in again if written else ():
        made = spelled_out(window, named)
        behind.setdefault(step(made), made)
    return [*found, *behind.values()], frozenset(map(id, again))


def behind(
    window: exp.Window | None, steps: list[exp.Window], named: dict[str, exp.Window], *, again: bool
) -> list[exp.Window]:
    """The windows that are computed before this one."""
    if window is None:
        return []
    own = step(spelled_out(window, named))
    places = [at for at, one in enumerate(steps) if step(one) == own and (at > 0 or not again)]
    return steps[places[0] + 1 :] if places else []


def _projection(term: exp.Expr, node: exp.Select) -> exp.Expr:
    """What a term of ORDER BY stands for: a column of the result by its name or number, or itself."""
    inner: exp.Expr = term.this if isinstance(term, exp.Ordered) else term
    written = str(inner.this) if isinstance(inner, exp.Literal) and not inner.is_string else ""
    projections: list[exp.Expr] = node.expressions
    if written.isdigit() and 0 < int(written) <= len(projections):
        return projections[int(written) - 1]
    for projection in projections:
        named = isinstance(inner, exp.Column) and not inner.table and projection.alias.lower() == inner.name.lower()
        if named or (projection.this if isinstance(projection, exp.Alias) else projection) == inner:
            return projection
    return inner


def step(window: exp.Window) -> tuple[object, ...]:
    """What tells windows apart that SQLite computes in different steps."""
    call = window.this.this if isinstance(window.this, exp.Filter) else window.this
    name = str(call.this).removeprefix(FUNCTION_PREFIX) if call is not None else ""
    frame = _FRAMES.get(name) or window.args.get("spec")
    return (tuple(window.args.get("partition_by") or []), window.args.get("order"), frame)


def has_own_frame(name: str) -> bool:
    """Whether SQLite gives no heed to the frame that is written for a function."""
    return name in _FRAMES


def own(node: exp.Expr) -> Iterator[exp.Window]:
    """The windows of an expression that are not those of its subqueries."""
    for one in node.walk(bfs=False, prune=lambda inner: isinstance(inner, exp.Query)):
        if isinstance(one, exp.Window):
            yield one


def goes_by_peers(window: exp.Window) -> bool:
    """Whether rows that are equal by ORDER BY tell where the frame begins, if it has any, or what it leaves out."""
    spec = window.args.get("spec")
    if spec is None:
        return False
    left_out = str(spec.args.get("exclude") or "").upper()
    by_row = str(spec.args.get("kind")).upper() == "ROWS"
    begins = not by_row and (str(spec.args.get("start")).upper() != "UNBOUNDED" or bool(left_out))
    by_distance = not by_row and str(spec.args.get("end")).upper() not in ("UNBOUNDED", "CURRENT ROW", "NONE")
    return begins or by_distance or "TIES" in left_out or "GROUP" in left_out


def slides(window: exp.Window) -> bool:
    """Whether rows leave the frame again, and SQLite takes back what they gave."""
    spec = window.args.get("spec")
    return spec is not None and str(spec.args.get("start")).upper() != "UNBOUNDED" and not spec.args.get("exclude")


def demand_own_row(window: exp.Window, name: str) -> None:
    """Raises `Refused` where EXCLUDE TIES would have Postgres take the row for one of a frame that it is not in."""
    spec = window.args.get("spec")
    if spec is None or "TIES" not in str(spec.args.get("exclude") or "").upper():
        return
    bounds = [
        (str(spec.args.get(side)).upper(), str(spec.args.get(f"{side}_side")).upper()) for side in ("start", "end")
    ]
    (_, begins), (end, ends) = bounds
    if begins == "FOLLOWING" or (ends == "PRECEDING" and end != "UNBOUNDED"):
        raise Refused(f"{name}() with EXCLUDE TIES in a frame that the row itself may not be in")


def begins_anew(window: exp.Window) -> bool:
    """Whether a frame that slides has no row in common with the one before, or begins behind the row.

    Postgres then adds up its rows alone, and SQLite goes on with what the others have left behind. Of RANGE with a
    distance the rows tell.
    """
    spec = window.args["spec"]
    start, end = (str(spec.args.get(side)).upper() for side in ("start", "end"))
    if str(spec.args.get("start_side")).upper() == "FOLLOWING":
        return True
    by_row = str(spec.args.get("kind")).upper() == "ROWS"  # a row alone leaves nothing behind
    return not by_row and start == end and str(spec.args.get("end_side")).upper() != "FOLLOWING"


def real_once_real(found: exp.Expr, summed: exp.Expr, as_real: exp.Expr | None) -> exp.Expr:
    """A frame that slides: once it has met a real, SQLite's sum() stays one though the real has left it.

    `found`: the window, or one beside another that has its rows in order.
    """
    beside = found.args["ifs"][0] if isinstance(found, exp.Case) else None
    window = beside.args["true"] if beside is not None else found
    if not isinstance(window, exp.Window) or not slides(window):
        return found
    met = window.copy()
    seen: exp.Expr = call("bool_or", exp.GT(this=call("scale", summed.copy()), expression=exp.Literal.number(0)))
    if isinstance(window.this, exp.Filter):
        seen = exp.Filter(this=seen, expression=window.this.expression.copy())
    met.set("this", seen)
    met.args["spec"].set("start", "UNBOUNDED")
    met.args["spec"].set("start_side", "PRECEDING")
    real = helper("num", as_real if as_real is not None else cast(window, "DOUBLE PRECISION"))
    made = exp.Case(ifs=[exp.If(this=met, true=real)], default=window.copy())
    if beside is None:
        return made
    beside.set("true", made)
    return found
