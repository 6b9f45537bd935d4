"""Whether the disks are large enough, told from sizes."""

from __future__ import annotations

from pathlib import Path

from cutover.schema.findings import Finding
from cutover.schema.space import of_space
from cutover.settings import Settings


def _findings(tmp_path: Path, free: int, url: str = "") -> list[Finding]:
    path = tmp_path / "app.db"
    path.write_bytes(b"x" * 9_000)
    (tmp_path / "app.db-wal").write_bytes(b"x" * 1_000)
    settings = Settings.model_validate(
        {"service": {"state_dir": str(tmp_path / "not" / "there")}, "postgres": {"url": url}}
    )
    return list(of_space(str(path), settings, lambda _: free))


def test_enough_room_is_not_worth_a_word(tmp_path: Path) -> None:
    assert _findings(tmp_path, 47_000) == []


def test_too_little_room_is_told_with_what_it_is_for(tmp_path: Path) -> None:
    (finding,) = _findings(tmp_path, 46_999)
    assert (finding.severity, finding.code) == ("warns", "disk")
    assert finding.message == (
        f"47 kB are free on the disk of {tmp_path}, and about 47 kB are needed: 5 kB for the change log and the"
        " write-ahead log beside SQLite's file, 12 kB for a copy of SQLite's file before a switch,"
        " 30 kB for the embedded Postgres."
    )


def test_a_server_elsewhere_needs_no_room_here(tmp_path: Path) -> None:
    assert _findings(tmp_path, 17_000, "postgresql://db.internal/app") == []
    assert len(_findings(tmp_path, 16_999, "postgresql://db.internal/app")) == 1
