"""What requests carry, read strictly: a misspelt field of a promotion must not be ignored."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cutover.admin.operations import StatementsRequest, SwitchRequest
from cutover.admin.refusals import RequestRefused
from cutover.model.requests import RESULTS, STATUSES
from cutover.promote.gates import NAMES

if TYPE_CHECKING:
    from multidict import MultiMapping

_WORDS = {str: "a string", bool: "true or false", list: "a list of strings"}

SWITCH_FIELDS: Mapping[str, type] = {
    "approval": str,
    "reason": str,
    "override": list,
    "dry_run": bool,
    "force": bool,
    "accept_data_loss": bool,
}

PAGES = ("limit", "after", "status", "result")
"""Parameters of a page of statements."""
_LONGEST_TEXT = 2000
_MOST = 64 * 1024
MOST_STATEMENTS = 4 * 1024 * 1024
"""Bytes of a body that holds statements; of any other much less will do."""


def read_body(data: bytes, fields: Mapping[str, type], *, prose: bool = True, most: int = _MOST) -> dict[str, Any]:
    """The body's fields; an empty body is an empty object, and a null field is an absent one.

    `prose`: texts go to logs and records, so they are short and plain. `most`: bytes; beyond it is 413.

    Raises `RequestRefused` (400) for what is not a JSON object, an unknown field (naming the nearest known one),
    a field given twice, or one of the wrong type.
    """
    if len(data) > most:
        raise RequestRefused(413, "too_large", "The body is larger than any request here needs to be.")
    if not data.strip():
        return {}
    try:
        body = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"The body is not JSON: {error}. Send an object, such as {{}}.") from None
    if not isinstance(body, dict):
        raise bad_request("The body is JSON, but not an object. Send an object, such as {}.")
    check_names("field", body, fields)
    found = {name: value for name, value in body.items() if value is not None}
    for name, value in found.items():
        _check_type(name, value, fields[name], prose=prose)
    return found


def switch_request(body: Mapping[str, Any]) -> SwitchRequest:
    """The request for a switch. Raises `RequestRefused` (400).

    Everything but a dry run needs an approval, force needs its confirmation, and overrides name gates that exist.
    """
    approval, dry_run = str(body.get("approval", "")).strip(), bool(body.get("dry_run", False))
    if not approval and not dry_run:
        raise RequestRefused(
            400,
            "approval_required",
            'There is no approval. Name the change that was approved: "approval": "CHANGE-123".',
        )
    force, accept = bool(body.get("force", False)), bool(body.get("accept_data_loss", False))
    if force and not accept:
        raise RequestRefused(
            400,
            "data_loss_not_accepted",
            "A forced demotion may lose acknowledged writes. Send accept_data_loss with force if that is accepted.",
        )
    check_names("gate", body.get("override", ()), NAMES, code="unknown_gate")
    return SwitchRequest(
        approval=approval,
        reason=str(body.get("reason", "")).strip(),
        override=tuple(dict.fromkeys(body.get("override", ()))),
        dry_run=dry_run,
        force=force,
        accept_data_loss=accept,
    )


def check_parameters(method: str, query: MultiMapping[str], known: Mapping[str, bool]) -> None:
    """Refuse (400) what would be passed over: a parameter that is not known, or comes twice and may not.

    `known`: whether it may be there several times.
    """
    if method == "POST" and query:
        raise bad_request(f"There is no parameter {next(iter(query))[:80]!r} here. Send it in the body.")
    check_names("parameter", query, known)
    for name, several in known.items():
        if not several and len(query.getall(name, [])) > 1:
            raise bad_request(f"{name} is given twice.")


def read_limit(query: Mapping[str, str], default: int, most: int) -> int:
    """`?limit=`, from 1 to `most`."""
    text = query.get("limit", str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:12]) <= most:
        raise bad_request(f"limit must be a whole number from 1 to {most}, and is {text[:40]!r}.")
    return int(text)


def statements_request(query: Mapping[str, str]) -> StatementsRequest:
    """Which of the statements that were seen. Raises `RequestRefused` (400)."""
    for name, known in (("status", STATUSES), ("result", RESULTS)):
        if query.get(name):
            check_names(name, (query[name],), known)
    limit = read_limit(query, 1000, 10_000) if "limit" in query else None
    wanted = StatementsRequest(limit, query.get("after", ""), query.get("status", ""), query.get("result", ""))
    if not wanted.is_placed:
        raise bad_request("after must be what `next` of the page before says.")
    return wanted


def check_names(what: str, given: Iterable[str], known: Iterable[str], *, code: str = "bad_request") -> None:
    """Refuse (400) a name that is not known, with the nearest one that is."""
    names = list(known)
    for name in given:
        if name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1)
        known_text = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names) or 'none'}."
        raise RequestRefused(400, code, f"There is no {what} {name[:80]!r} here. {known_text}")


def bad_request(message: str) -> RequestRefused:
    """400."""
    return RequestRefused(400, "bad_request", message)


def _check_type(name: str, value: object, kind: type, *, prose: bool) -> None:
    right = isinstance(value, kind) and (kind is not list or all(isinstance(item, str) for item in value))  # type: ignore[attr-defined]  # it is a list
    if not right:
        raise bad_request(f"{name} must be {_WORDS[kind]}.")
    for text in value if isinstance(value, list) else [value]:
        if not prose:
            if isinstance(text, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in text):
                raise bad_request(f"{name} must be text that is valid Unicode.")
        elif isinstance(text, str) and (len(text) > _LONGEST_TEXT or not _storable(text)):
            raise bad_request(f"{name} must be plain text of at most {_LONGEST_TEXT} characters.")


def _storable(text: str) -> bool:
    """No control characters but line breaks and tabs, no lone surrogates: it goes to logs and audit records."""
    return not any((ord(c) < 32 and c not in "\n\t") or c == "\x7f" or 0xD800 <= ord(c) <= 0xDFFF for c in text)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twin!r} is given twice")
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
