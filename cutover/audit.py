"""The audit log: one JSON line an operator action, chained by SHA-256, in `state_dir/audit.jsonl`.

A record's `hash` is the SHA-256, in hex, of its own compact JSON without `hash`, keys in written order; its
`previousHash` is the hash of the record before it. So an edit, a removal or a reordering breaks the chain. A chain
alone does not show a cut tail: the head is also anchored in both stores (hazard 38), and `verify_chain` takes those
anchors. A last line torn by a crash is cut off when the log is opened, and that is itself recorded; a record that was
anchored is never cut.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cutover.clock import iso
from cutover.errors import AuditBroken

REPAIR_LOG = (
    "Look at it with `cutover audit verify`; to go on, move the damaged file away and keep it, and put back the last "
    "good copy."
)
"""What to do about a log that does not hold."""
GENESIS = "0" * 64
"""`previousHash` of the first record."""


@dataclass(frozen=True)
class AuditCheck:
    """Result of checking a log. `problem` is one sentence, empty if the chain is whole."""

    ok: bool
    records: int
    problem: str
    head_sequence: int
    head_hash: str


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:  # noqa: ANN401  # JSON of any shape
    """Floats that are whole become integers, so that every JSON library writes the record the same way again."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 6)
    return value


def _check_line(line: bytes, sequence: int, previous: str) -> tuple[str, str]:
    """(hash, problem) of one line that should be record `sequence`."""
    try:
        record = json.loads(line)
        claimed = record.pop("hash")
    except (ValueError, KeyError, AttributeError):
        return "", f"record {sequence} is not a JSON record with a hash"
    if record.get("sequence") != sequence:
        return "", f"record {sequence} is missing: the log has sequence {record.get('sequence')} in its place"
    if record.get("previousHash") != previous:
        return "", f"record {sequence} does not follow the record before it"
    if sha256(_compact(record).encode()).hexdigest() != claimed:
        return "", f"record {sequence} was edited: its content does not give its hash"
    return str(claimed), ""


def verify_chain(path: Path, anchors: Iterable[tuple[int, str]] = ()) -> AuditCheck:
    """Check the whole log, and that each anchor (sequence, hash) is in it. A missing file is an empty log."""
    return _verify(path.read_bytes() if path.exists() else b"", anchors)


def _verify(content: bytes, anchors: Iterable[tuple[int, str]]) -> AuditCheck:
    head, sequence = GENESIS, 0
    wanted = {number: digest for number, digest in anchors if number > 0}
    for line in content.splitlines(keepends=True):
        digest, problem = _check_line(line, sequence + 1, head)
        if not problem and not line.endswith(b"\n"):
            problem = f"record {sequence + 1} is torn: its line does not end"
        if not problem and wanted.pop(sequence + 1, digest) != digest:
            problem = f"record {sequence + 1} is not the one that the stores remember"
        if problem:
            return AuditCheck(False, sequence, problem, sequence, head)
        head, sequence = digest, sequence + 1
    if wanted:
        problem = f"the tail is missing: the stores remember record {max(wanted)}, the log ends with {sequence}"
        return AuditCheck(False, sequence, problem, sequence, head)
    return AuditCheck(True, sequence, "", sequence, head)


def read_records(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The last `limit` records (None: all), oldest first. Lines that are no JSON are left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    found = []
    for line in lines if limit is None else lines[-limit:] if limit else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class AuditLog:
    """The log as its one writer sees it. Appends are durable when they return; safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sequence = 0
        self.hash = GENESIS
        self._lock = threading.Lock()

    def open(self, anchors: Iterable[tuple[int, str]] = ()) -> None:
        """Find the head; cut a torn last line and record that.

        Raises `AuditBroken` if the chain does not hold or an anchored record is not in it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        check = _verify(whole, anchors)
        if not check.ok:
            raise AuditBroken(
                f"The audit log {self.path} does not hold: {check.problem}.",
                hint=REPAIR_LOG,
            )
        self.sequence, self.hash = check.head_sequence, check.head_hash
        if len(whole) < len(content):
            self._cut(len(whole))
            self.append("audit.repaired", "cutover", {"bytesCut": len(content) - len(whole)})

    def _cut(self, length: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def _write(self, line: bytes) -> None:
        """All of the line, synced, or nothing of it: on a full disk half a record would break the chain for ever."""
        with self.path.open("ab", buffering=0) as file:
            whole = os.fstat(file.fileno()).st_size
            try:
                left = memoryview(line)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), whole)
                raise

    def append(self, action: str, actor: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Write one record and sync it to disk. Returns it. Raises `OSError`, and the log is as before then."""
        with self._lock:
            record: dict[str, Any] = {
                "sequence": self.sequence + 1,
                "recordId": str(uuid.uuid4()),
                "previousHash": self.hash,
                "actorId": actor,
                "action": action,
                "metadata": _plain(metadata),
                "createdAt": iso(),
            }
            record["hash"] = sha256(_compact(record).encode()).hexdigest()
            created = not self.path.exists()
            self._write(_compact(record).encode() + b"\n")
            if created:
                _sync_directory(self.path.parent)
            self.sequence, self.hash = record["sequence"], record["hash"]
            return record


def _sync_directory(directory: Path) -> None:
    """A new file's name is durable only when its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
