"""What a rehearsal had found before the service was started again: kept in a file, without a value of an application.

statements seen ─▶ verdicts ─▶ file ─▶ (a restart) ─▶ counted as found, until the statement comes again
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cutover.logs import get_logger

_log = get_logger("rehearsal")

_FORM = 1
_STATUSES = ("unseen", "ready", "refused", "failing", "invalid")


@dataclass(frozen=True, slots=True)
class Kept:
    """One statement, whatever its literals."""

    id: str
    sql: str
    """With `?` in place of each literal."""
    writes: bool
    status: str
    reason: str | None
    count: int
    differs: str | None
    """What differed when it was replayed last."""


_LOST = Kept(
    id="lost",
    sql="(statements of before)",
    writes=False,
    status="failing",
    reason="rehearsal.json is damaged, so what it said is not known; `cutover rehearse --forget` lets it go",
    count=0,
    differs=None,
)
"""In place of what cannot be read: the gate is not to open because a file was lost."""


def name_of(shape: str) -> str:
    """Tells statements apart and nothing more: a shape may have a value in double quotes."""
    return sha256(shape.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def schema_of(ddl: Sequence[str]) -> str:
    """Tells schemas apart."""
    return name_of("\n".join(ddl))


class Remembered:
    """Statements of before that were not sent again yet. Without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._of: dict[str, Kept] = {}
        self._schema = ""
        self._written = ""
        if path is not None:
            self._read(path)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._of.values())

    def __len__(self) -> int:
        return len(self._of)

    def differing(self, *, writes: bool) -> int:
        """How many differed when they were replayed last."""
        return sum(one.differs is not None and one.writes is writes for one in self._of.values())

    def came_again(self, shape: str) -> None:
        """What was found before is found anew from now on."""
        if self._of:
            self._of.pop(name_of(shape), None)

    def settle(self, ddl: Sequence[str]) -> None:
        """Forget what was ready, where it was so with another schema. What was not is to be seen again."""
        schema = schema_of(ddl)
        if self._schema not in ("", schema):
            ready = [one.id for one in self._of.values() if one.status == "ready" and one.differs is None]
            for each in ready:
                del self._of[each]
        self._schema = schema

    def forget(self) -> int:
        """Let none of them count any more. How many there were."""
        forgotten = len(self._of)
        self._of.clear()
        return forgotten

    def text(self, seen: Iterable[Kept]) -> str | None:
        """What is to be written, with what was seen since; None if nothing is, or if that is there already."""
        if self._path is None:
            return None
        kept = [asdict(one) for one in (*self._of.values(), *seen)]
        made = json.dumps({"form": _FORM, "schema": self._schema, "statements": kept}, ensure_ascii=True)
        return None if made == self._written else made

    def write(self, text: str) -> None:
        """Replace the file: a crash leaves the one of before, or this. Blocks."""
        assert self._path is not None
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "w", encoding="utf-8", opener=_private) as file:
                file.write(text)
            draft.replace(self._path)
        except OSError as error:
            _log.warning(f"What was rehearsed cannot be kept over a restart: {error}")
        else:
            self._written = text

    def _read(self, path: Path) -> None:
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            if found["form"] != _FORM:
                raise ValueError("it is of another form")
            kept = [Kept(**one) for one in found["statements"]]
            if any(one.status not in _STATUSES for one in kept):
                raise ValueError("it has a status that is none")
            self._schema = str(found["schema"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning(f"What was rehearsed before the service was started is not known: {path} is damaged ({error})")
            kept = [_LOST]
        self._of = {one.id: one for one in kept}


def row_of(one: Kept) -> dict[str, Any]:
    """For `GET /v1/statements`, beside those that were seen since."""
    told = f"Found before the service was started again{f': {one.reason}' if one.reason else '.'}"
    differs: dict[str, Any] | None = None
    if one.differs is not None:
        differs = {"match": 0, "mismatch": 0, "inconclusive": 0, "latest": None, "reason": None, "differs": one.differs}
        differs |= {"sqlite_seconds": 0.0, "postgres_seconds": 0.0, "ratio": None}
    return {
        "sql": one.sql,
        "translation": None,
        "status": one.status,
        "reason": told,
        "count": one.count,
        "texts": 0,
        "unrehearsed": 0,
        "shadow_reads": None if one.writes else differs,
        "shadow_writes": differs if one.writes else None,
    }


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
