"""The audit chain: whole, torn, edited, cut."""

import json
import resource
from hashlib import sha256
from pathlib import Path

import pytest

from cutover.audit import GENESIS, AuditLog, read_records, verify_chain
from cutover.errors import AuditBroken


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.open()
    for number in range(3):
        log.append("repair", "anna", {"rows": number, "share": 0.5, "whole": 2.0, "wörd": "ü"})
    return log


def test_hash_is_that_of_the_compact_record_without_it(log: AuditLog) -> None:
    previous = GENESIS
    for number, line in enumerate(log.path.read_text().splitlines(), start=1):
        record = json.loads(line)
        assert list(record) == [
            "sequence", "recordId", "previousHash", "actorId", "action", "metadata", "createdAt", "hash",
        ]  # fmt: skip
        claimed = record.pop("hash")
        assert record["sequence"] == number
        assert record["previousHash"] == previous
        assert sha256(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest() == claimed
        previous = claimed
    assert verify_chain(log.path).ok


def test_an_edit_a_removal_and_a_reordering_are_found(log: AuditLog) -> None:
    lines = log.path.read_text().splitlines(keepends=True)
    for broken in (
        [lines[0], lines[1].replace("anna", "otto"), lines[2]],
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        lines[1:],
    ):
        log.path.write_text("".join(broken))
        check = verify_chain(log.path)
        assert not check.ok
        assert check.problem
        with pytest.raises(AuditBroken):
            AuditLog(log.path).open()


def test_a_cut_tail_is_found_by_the_anchor(log: AuditLog) -> None:
    anchor = (log.sequence, log.hash)
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join(lines[:-1]))
    assert verify_chain(log.path).ok
    check = verify_chain(log.path, [anchor])
    assert not check.ok
    assert "tail is missing" in check.problem


def test_a_replaced_record_is_found_by_the_anchor(log: AuditLog, tmp_path: Path) -> None:
    other = AuditLog(tmp_path / "other.jsonl")
    other.open()
    for _ in range(3):
        other.append("repair", "mallory", {})
    assert not verify_chain(other.path, [(log.sequence, log.hash)]).ok


def test_a_torn_last_line_is_cut_and_recorded(log: AuditLog) -> None:
    with log.path.open("ab") as file:
        file.write(b'{"sequence":4,"recordId":"x')
    assert not verify_chain(log.path).ok
    again = AuditLog(log.path)
    again.open([(log.sequence, log.hash)])
    assert verify_chain(log.path).ok
    last = read_records(log.path, 1)[0]
    assert (last["action"], last["sequence"], last["metadata"]["bytesCut"]) == ("audit.repaired", 4, 27)


def test_a_torn_record_that_was_anchored_is_not_forgiven(log: AuditLog) -> None:
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-10])
    with pytest.raises(AuditBroken, match="tail is missing"):
        AuditLog(log.path).open([(log.sequence, log.hash)])


def test_a_record_that_did_not_fit_leaves_nothing_behind(log: AuditLog) -> None:
    """The disk is full for a while: the service lives on, and so must the chain."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            log.append("repair", "anna", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.append("repair", "anna", {})
    check = verify_chain(log.path)
    assert (check.ok, check.records) == (True, 4), check.problem
