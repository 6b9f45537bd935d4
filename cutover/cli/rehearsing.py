"""`cutover rehearse`: whether statements work on Postgres, and answer the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cutover.cli.client import LONG, AdminClient
from cutover.cli.exits import BLOCKED
from cutover.cli.options import AdminUrl, AsJson, ConfigFile, Token, reach
from cutover.cli.show import clean, console, grid, number, print_json
from cutover.errors import ConfigurationError
from cutover.model.requests import RESULTS, STATUSES
from cutover.schema.sqltext import StatementKind, inspect, split

Json = dict[str, Any]

_AT_ONCE = 100
_SIZE = 1024 * 1024
"""Bytes of the statements of one request; the admin door reads four times as much, with what comes before them."""
_PAGE = 1000
"""Statements that are asked for at once."""
_SUMS = ("statements", "ready", "failing", "invalid", "skipped", "differing")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def rehearse(
    file: Annotated[
        Path | None, typer.Option("--file", help="Rehearse the statements of this SQL file, not those that were seen.")
    ] = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Let statements of before the last start, and what differed with rows that are gone, count no longer.",
        ),
    ] = False,
    status: Annotated[str, typer.Option("--status", help=f"Only those that are {_or(STATUSES)}.")] = "",
    result: Annotated[str, typer.Option("--result", help=f"Only those whose replays ended so: {_or(RESULTS)}.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="No more than so many, the worst first.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Whether statements of applications work on Postgres, and answer the same. Exit code 3 if one does not.

    \b
    Example:
      cutover rehearse
      cutover rehearse --file app.sql
      cutover rehearse --result mismatch
      cutover rehearse --json | jq '.rows[] | select(.status != "ready")'
    """
    texts = _statements(file) if file is not None else None
    client = reach(config, admin_url, token)
    if forget:
        gone = client.post("/v1/statements/forget", {})
        if not as_json:
            console().print(f"{number(gone['forgotten'])} statements of before the last start are forgotten.")
            if gone.get("matching"):
                console().print(f"{number(gone['matching'])} that differed with other rows count as they match now.")
    found = _seen(client, status, result, limit) if texts is None else _asked(client, texts)
    if as_json:
        print_json(found)
    elif texts is None:
        _show_seen(found)
    else:
        _show_asked(found)
    replayed = (found.get("shadow_reads", {}), found.get("shadow_writes", {}))
    if found["failing"] or found.get("differing") or any(one.get("differing") for one in replayed):
        raise typer.Exit(BLOCKED)


def _statements(file: Path) -> list[str]:
    try:
        texts = split(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8 text.", hint="Write it as UTF-8.") from None
    if not texts:
        raise ConfigurationError(f"{file} holds no statement.")
    return texts


def _seen(client: AdminClient, status: str, result: str, limit: int | None) -> Json:
    """What the service says of those that it has seen, page by page."""
    chosen = {name: value for name, value in (("status", status), ("result", result)) if value}
    found: Json = {}
    while not found or (found.get("next") and (limit is None or len(found["rows"]) < limit)):
        page = _PAGE if limit is None else min(_PAGE, limit - len(found.get("rows", ())))
        more = {"limit": str(page)} | ({"after": found["next"]} if found else {})
        answer = client.get("/v1/statements", chosen | more)
        found = found | {"rows": found["rows"] + answer["rows"], "next": answer.get("next")} if found else answer
    return found


def _asked(client: AdminClient, texts: Sequence[str]) -> Json:
    """The service's answers to all of them, put together."""
    found: Json = dict.fromkeys(_SUMS, 0) | {"rows": []}
    behind: list[str] = []
    for some in list(_portions(texts)):  # before the first is sent, so that nothing is rehearsed in vain
        answer = client.post("/v1/statements", {"statements": some, "behind": behind}, timeout=LONG)
        behind += [text for text in some if inspect(text).kind is StatementKind.DDL]
        for name in _SUMS:
            found[name] += answer[name]
        found["rows"] += answer["rows"]
    return found


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    held = 0
    for at, text in enumerate(texts, 1):
        size = len(json.dumps(text))
        if size > _SIZE:
            raise ConfigurationError(
                f"Statement {at:,} of the file is too long to be rehearsed: {text[:60]!r}...",
                hint=f"Leave it out; the limit is {_SIZE:,} bytes.",
            )
        if portion and (len(portion) == _AT_ONCE or held + size > _SIZE):
            yield portion
            portion, held = [], 0
        portion.append(text)
        held += size
    yield portion


def _show_asked(found: Json) -> None:
    lines = []
    for row in found["rows"]:
        read = row["shadow_read"] or row.get("shadow_write") or {}
        differs = read.get("result") == "mismatch"
        told = read.get("reason") if differs else row["reason"] or row["translation"]
        lines.append(("differs" if differs else row["status"], read.get("result") or "", row["sql"], told or ""))
    console().print(grid(("status", "both stores", "statement", "on Postgres"), lines))
    ready, failing, differing = (number(found[name]) for name in ("ready", "failing", "differing"))
    console().print(f"{number(found['statements'])} statements, {ready} ready, {failing} failing, {differing} differ.")
    if found["invalid"]:
        console().print(f"{number(found['invalid'])} that SQLite refuses as well.")
    if found["skipped"]:
        console().print(f"{number(found['skipped'])} not rehearsed.")


def _show_seen(found: Json) -> None:
    lines = [
        (
            "differs" if _differs(row) else row["status"],
            number(row["count"]),
            _ratio(row),
            row["sql"],
            _differs(row) or row.get("reason") or _noted(row) or row.get("translation") or "",
        )
        for row in found["rows"]
    ]
    if lines:
        console().print(grid(("status", "seen", "time", "statement", "on Postgres"), lines, numbers=(1, 2)))
    seen, ready, failing = (number(found[name]) for name in ("statements", "ready", "failing"))
    console().print(f"{seen} distinct statements seen, {ready} ready, {failing} failing.")
    if found.get("next"):
        console().print("There are more: give a higher --limit, or leave it out.")
    if found.get("unseen"):
        console().print(f"{number(found['unseen'])} not rehearsed yet.")
    if found.get("partly"):
        console().print(f"{number(found['partly'])} sent with more combinations of arguments than are rehearsed.")
    if found.get("beyond_limit"):
        console().print(f"{number(found['beyond_limit'])} executions of further statements, not rehearsed.")
    if found.get("changes_refused"):
        refused = number(found["changes_refused"])
        console().print(f"{refused} schema changes that Postgres would refuse may come again; they keep the gate shut.")
    for change in found.get("schema_changes", []):
        if change["status"] in ("refused", "failing"):
            told = f"Postgres would refuse a schema change: {clean(change['sql'])} ({clean(change['reason'])})"
            console().print(told)
    for name, what in (("shadow_reads", "Reads replayed"), ("shadow_writes", "Writes made and undone")):
        if one := found.get(name):
            told = ", ".join(f"{number(one[verdict])} {verdict}" for verdict in ("match", "mismatch", "inconclusive"))
            console().print(f"{what} on both stores: {told}; {number(one['differing'])} statements differ.")


def _ratio(row: Json) -> str:
    """How long it takes on Postgres, as a multiple of SQLite's time."""
    ratio = (row.get("shadow_reads") or {}).get("ratio")
    return f"{ratio:g}x" if ratio else ""


def _noted(row: Json) -> str | None:
    """What is to be known of a read that matches: that its order is another, for example."""
    read = row.get("shadow_reads") or {}
    return read.get("reason") if read.get("latest") == "match" else None


def _differs(row: Json) -> str:
    """What the statement answers differently on Postgres."""
    replayed = row.get("shadow_reads") or row.get("shadow_writes") or {}
    return str(replayed.get("differs") or "")
