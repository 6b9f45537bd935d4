"""The application's own audit log beside a backup: copied, and its hash chain checked (HumanOnly's format)."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any


def copy_application_log(log: str, backup: Path) -> dict[str, Any]:
    """Copy `log` to `<backup>.audit.jsonl` and check it. Returns `{"path", "records", "ok", "problem"}`."""
    source = Path(log)
    if not source.exists():
        return {"path": None, "records": 0, "ok": False, "problem": f"there is no file {log}"}
    content = source.read_bytes()
    target = backup.with_suffix(".audit.jsonl")
    target.write_bytes(content)
    records, problem = _check(content)
    return {"path": str(target), "records": records, "ok": not problem, "problem": problem}


def _check(content: bytes) -> tuple[int, str]:
    previous: Any = None
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
            claimed = record.pop("hash")
        except (ValueError, KeyError, AttributeError):
            return number - 1, f"line {number} is not a JSON record with a hash"
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        if record.get("sequence") != number:
            return number - 1, f"line {number} has sequence {record.get('sequence')}"
        if number > 1 and record.get("previousHash") != previous:
            return number - 1, f"record {number} does not follow the record before it"
        if sha256(text.encode()).hexdigest() != claimed:
            return number - 1, f"record {number} does not have the hash of its content"
        previous = claimed
    return len(content.splitlines()), ""
