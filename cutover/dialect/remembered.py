"""What a rehearsal had found before the service was started again: kept in a file, without a value of an application.

statements seen ─▶ verdicts ─▶ file ─▶ (a restart) ─▶ counted as found, until the statement comes again
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cutover.dialect.schema_copy import SchemaCopy
from cutover.errors import StatementError
from cutover.logs import get_logger

_log = get_logger("rehearsal")

_FORM = 1
_MORE = re.compile(r", \.\.\.")
"""What a list of values goes on with."""
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
    match: int = 0
    mismatch: int = 0
    inconclusive: int = 0
    """Its replays, by what came of them."""
    differs_by: str = ""
    """What its translation was by when it differed, as a digest; empty: not known."""


@dataclass(frozen=True, slots=True)
class KeptChange:
    """One schema change."""

    id: str
    sql: str
    """With `?` in place of each literal."""
    status: str
    reason: str | None
    count: int
    again: bool
    """Whether it may come again."""


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
        self._changes: dict[str, KeptChange] = {}
        self._schema = ""
        self._written = ""
        if path is not None:
            self._read(path)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._of.values())

    def __len__(self) -> int:
        return len(self._of)

    @property
    def changes(self) -> tuple[KeptChange, ...]:
        """Schema changes that did not come again yet."""
        return tuple(self._changes.values())

    def replays(self, *, writes: bool) -> Counter[str]:
        """What came of the replays of those that were not sent again yet."""
        found: Counter[str] = Counter()
        for one in self._of.values():
            if one.writes is writes:
                found.update(match=one.match, mismatch=one.mismatch, inconclusive=one.inconclusive)
        return found

    def differing(self, *, writes: bool) -> int:
        """How many differed when they were replayed last."""
        return sum(one.differs is not None and one.writes is writes for one in self._of.values())

    def came_again(self, shape: str) -> Kept | None:
        """What was found before is found anew from now on. What that was, if the statement was sent before."""
        return self._of.pop(name_of(shape), None) if self._of else None

    def change_came_again(self, sql: str) -> None:
        """The same of a schema change."""
        self._changes.pop(name_of(sql), None)

    def settle(self, ddl: Sequence[str]) -> None:
        """Forget what was ready, where it was so with another schema, and what is about tables that are no more. What
        else was not ready is to be seen again."""
        schema = schema_of(ddl)
        if self._of and self._schema not in ("", schema):
            copy = SchemaCopy(ddl)
            for one in tuple(self._of.values()):
                if (one.status == "ready" and one.differs is None) or _lacks_table(copy, one.sql):
                    del self._of[one.id]
            copy.close()
        self._schema = schema

    def forget(self) -> int:
        """Let none of them count any more. How many there were."""
        forgotten = len(self._of) + len(self._changes)
        self._of.clear()
        self._changes.clear()
        return forgotten

    def text(self, seen: Iterable[Kept], changes: Iterable[KeptChange] = ()) -> str | None:
        """What is to be written, with what was seen since; None if nothing is, or if that is there already."""
        if self._path is None:
            return None
        kept = [asdict(one) for one in (*self._of.values(), *seen)]
        changed = [asdict(one) for one in (*self._changes.values(), *changes)]
        made = json.dumps(
            {"form": _FORM, "schema": self._schema, "statements": kept, "changes": changed}, ensure_ascii=True
        )
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
            changes = [KeptChange(**one) for one in found.get("changes", ())]
            if not {one.status for one in kept} | {one.status for one in changes} <= set(_STATUSES):
                raise ValueError("it has a status that is none")
            self._schema = str(found["schema"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning(f"What was rehearsed before the service was started is not known: {path} is damaged ({error})")
            kept, changes = [_LOST], []
        self._of = {one.id: one for one in kept}
        self._changes = {one.id: one for one in changes}


def _lacks_table(copy: SchemaCopy, sql: str) -> bool:
    """Whether SQLite would say so of the statement. Lists of values are told by their beginning, which is enough."""
    try:
        copy.describe(_MORE.sub("", sql))
    except StatementError as error:
        return error.message.startswith("no such table")
    return False


def row_of(one: Kept) -> dict[str, Any]:
    """For `GET /v1/statements`, beside those that were seen since."""
    replayed: dict[str, Any] | None = None
    if one.differs is not None or one.match + one.mismatch + one.inconclusive:
        replayed = {"match": one.match, "mismatch": one.mismatch, "inconclusive": one.inconclusive}
        replayed |= {"latest": None, "reason": None, "differs": one.differs}
        replayed |= {"sqlite_seconds": 0.0, "postgres_seconds": 0.0, "ratio": None}
    return {
        "id": one.id,
        "sql": one.sql,
        "translation": None,
        "status": one.status,
        "reason": _told(one.reason),
        "count": one.count,
        "texts": 0,
        "unrehearsed": 0,
        "shadow_reads": None if one.writes else replayed,
        "shadow_writes": replayed if one.writes else None,
    }


def change_row_of(one: KeptChange) -> dict[str, Any]:
    """For the schema changes of `GET /v1/statements`."""
    found = {"status": one.status, "translation": None, "reason": _told(one.reason)}
    return {"sql": one.sql, "count": one.count} | found


def _told(reason: str | None) -> str:
    return f"Found before the service was started again{f': {reason}' if reason else '.'}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
