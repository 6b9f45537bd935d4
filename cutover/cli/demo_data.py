"""Data in the shape of the HumanOnly application: its two schemas, rows of every kind, its audit log.

The same seed makes the same rows, so that a run can be repeated and two runs compared.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from cutover.model.values import Row

TABLES: dict[str, tuple[str, ...]] = {
    "users": (
        "id",
        "handle",
        "display_name",
        "role",
        "governance_accepted_at",
        "human_verified_at",
        "assurance_level",
        "assurance_signals_json",
        "assurance_evaluated_at",
        "created_at",
        "updated_at",
    ),
    "posts": ("id", "author_id", "body", "created_at"),
    "reports": ("id", "post_id", "reporter_id", "reason", "status", "created_at"),
    "appeals": (
        "id",
        "report_id",
        "appellant_id",
        "reason",
        "status",
        "appealed_audit_record_id",
        "created_at",
        "updated_at",
        "decided_at",
        "decided_by_id",
        "decision_rationale",
    ),
}
"""Columns of each table as SQLite names them; parents before children."""

POSTGRES_NAMES = {
    "assurance_level": "identity_assurance_level",
    "assurance_signals_json": "identity_assurance_signals",
    "assurance_evaluated_at": "identity_assurance_evaluated_at",
}
"""The columns that the application's Postgres schema names differently."""

_BODIES = (
    "Shipped the first version today. Small, and it works.",
    "Grüße aus Zürich, schönes Wetter, überraschend wenig Lärm.",
    "今日は雨ですが、図書館はとても静かでした。",
    "Сегодня читал старые письма; почерк деда почти не разобрать.",
    "اليوم قرأت كتابًا عن البحر.",
    "שלום לכולם, מה שלומכם היום?",
    "Two lines,\nthe second with a tab:\tthere.",
    "It's \"quoted\", it's 'single', and \\ is a backslash; DROP TABLE posts; -- not today",
    "Joined: \U0001f469\U0001f3fd\u200d\U0001f680 \U0001f3f3\ufe0f\u200d\U0001f308 and \U0001f1ea\U0001f1fa.",
    "Combining: \u00e9 is not e\u0301, and \U0001d518\U0001d52b is not Un.",
    "한국어로 짧게 한 줄.",
    "नमस्ते, आज का दिन अच्छा रहा।",
)
_NAMES = (
    "Ada",
    "Björn",
    "Chiara",
    "Đặng",
    "Eszter",
    "Fatima",
    "Giorgos",
    "Ḥasan",
    "Íris",
    "Jürgen",
    "Kateřina",
    "李娜",
)
_SIGNALS = ("passkey", "video_check", "document", "vouched", "phone", "long_standing")
_REASONS = ("Spam", "Looks automated", "Impersonation", "Abusive — see the second paragraph", "Off topic", "繰り返し")
_EPOCH = datetime(2025, 1, 1, 8, 0, tzinfo=UTC)
_SHARES = {"users": 0.10, "posts": 0.60, "reports": 0.22}


def sqlite_schema() -> str:
    """The application's SQLite schema, as one script."""
    return files("cutover.cli").joinpath("demo_sqlite.sql").read_text(encoding="utf-8")


def postgres_schema() -> str:
    """The application's Postgres schema, as one script."""
    return files("cutover.cli").joinpath("demo_postgres.sql").read_text(encoding="utf-8")


def configuration() -> str:
    """The example `cutover.toml`: renamed columns and the application's invariants."""
    return files("cutover.cli").joinpath("demo_cutover.toml").read_text(encoding="utf-8")


class Maker:
    """Makes rows, each different, the same ones for the same seed and tag.

    Ids are `tag-` and 16 hexadecimal digits: writers with tags of their own never touch each other's rows.
    """

    def __init__(self, seed: int, tag: str = "seed") -> None:
        self.random = random.Random(f"{seed}/{tag}")  # noqa: S311  # repeatable, not secret
        self.tag = tag
        self._at = _EPOCH
        self._handles = 0

    def id(self) -> str:
        """A fresh key."""
        return f"{self.tag}-{self.random.getrandbits(64):016x}"

    def now(self) -> str:
        """A moment a little after the last: ISO 8601 with milliseconds and Z."""
        self._at += timedelta(milliseconds=self.random.randint(1, 90_000))
        return self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def body(self) -> str:
        """Text of a post."""
        text = " ".join(self.random.choice(_BODIES) for _ in range(self.random.randint(1, 4)))
        return f"{text} #{self.random.randint(1, 9999)}"

    def user(self) -> Row:
        """A person; a third was never evaluated, and an empty list of signals is not the same as none."""
        at, rng = self.now(), self.random
        self._handles += 1
        assured = rng.random() < 2 / 3
        signals = rng.sample(_SIGNALS, rng.randint(0, 4))
        name = rng.choice(_NAMES)
        return (
            self.id(),
            f"{self.tag}_{name.lower()}_{self._handles}",
            f"{name} {rng.choice(_NAMES)}",
            rng.choices(("member", "moderator", "admin"), (96, 3, 1))[0],
            at,
            at,
            rng.choice(("basic", "enhanced", "high")) if assured else None,
            json.dumps(signals, separators=(",", ":")) if assured and rng.random() < 0.9 else None,
            at if assured else None,
            at,
            at,
        )

    def post(self, author_id: str) -> Row:
        """A post by this person."""
        return (self.id(), author_id, self.body(), self.now())

    def report(self, post_id: str, reporter_id: str) -> Row:
        """A complaint about this post."""
        status = self.random.choices(("open", "upheld", "dismissed"), (5, 3, 2))[0]
        return (self.id(), post_id, reporter_id, self.random.choice(_REASONS), status, self.now())

    def appeal(self, report_id: str, appellant_id: str, moderator_id: str) -> Row:
        """An appeal against the decision on this report; half of them are decided."""
        opened, decided = self.now(), self.random.random() < 0.5
        at = self.now() if decided else None
        return (
            self.id(),
            report_id,
            appellant_id,
            self.random.choice(_REASONS),
            self.random.choice(("granted", "rejected")) if decided else "open",
            f"audit-{self.random.getrandbits(48):012x}" if decided else None,
            opened,
            at or opened,
            at,
            moderator_id if decided else None,
            "Weighed again by a person." if decided else None,
        )


def rows_of(rows: int, seed: int, tag: str = "seed") -> Iterator[tuple[str, Row]]:
    """About `rows` rows as (table, row), parents first; every reference has its parent."""
    maker = Maker(seed, tag)
    counts = {table: max(1, round(rows * share)) for table, share in _SHARES.items()}
    users = [maker.user() for _ in range(counts["users"])]
    yield from (("users", user) for user in users)
    people = [str(user[0]) for user in users]
    posts = []
    for _ in range(counts["posts"]):
        post = maker.post(maker.random.choice(people))
        posts.append((str(post[0]), str(post[1])))
        yield "posts", post
    reports = []
    for _ in range(counts["reports"]):
        post_id, author_id = maker.random.choice(posts)
        report = maker.report(post_id, maker.random.choice(people))
        reports.append((str(report[0]), author_id))
        yield "reports", report
    for _ in range(max(0, rows - sum(counts.values()))):
        report_id, author_id = maker.random.choice(reports)
        yield "appeals", maker.appeal(report_id, author_id, maker.random.choice(people))


def traps(count: int, seed: int) -> list[tuple[str, Row]]:
    """`count` posts that occur in practice and must block a promotion: no author, and by turns a NUL in the body."""
    maker = Maker(seed, "trap")
    made: list[tuple[str, Row]] = []
    for n in range(count):
        key, author, body, at = maker.post("nobody")
        made.append(("posts", (key, author, str(body) + "\x00" * (n % 2 == 0), at)))
    return made


def insert_sql(table: str, verb: str = "INSERT") -> str:
    """`INSERT INTO table (columns) VALUES (?, ...)` in SQLite's words."""
    columns = TABLES[table]
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def postgres_columns(table: str) -> list[str]:
    """Columns of a table as Postgres names them, in SQLite's order."""
    return [POSTGRES_NAMES.get(column, column) for column in TABLES[table]]


def generate(path: str | Path, rows: int = 20_000, seed: int = 1, trap_rows: int = 0) -> dict[str, int]:
    """Create the application's SQLite file at `path` and fill it; returns the number of rows per table.

    Raises `sqlite3.Error` when the file cannot be written or holds these rows already.
    """
    counts = dict.fromkeys(TABLES, 0)
    batches: dict[str, list[Row]] = {table: [] for table in TABLES}
    for table, row in [*rows_of(rows, seed), *traps(trap_rows, seed)]:
        batches[table].append(row)
        counts[table] += 1
    connection = sqlite3.connect(path)
    try:
        connection.executescript(sqlite_schema())
        with connection:
            for table, batch in batches.items():
                connection.executemany(insert_sql(table), batch)
    finally:
        connection.close()
    return counts


def audit_records(actors: Sequence[str], records: int, seed: int) -> Iterator[dict[str, Any]]:
    """The application's audit log: each record carries the hash of the one before it."""
    maker = Maker(seed, "audit")
    previous = ""
    for sequence in range(1, records + 1):
        record: dict[str, Any] = {
            "schemaVersion": 1,
            "recordId": maker.id(),
            "sequence": sequence,
            "previousHash": previous,
            "actorId": maker.random.choice(actors),
            "action": maker.random.choice(("post.created", "report.created", "report.decided", "admin.override")),
            "targetType": "post",
        }
        if sequence % 3:
            record["targetId"] = maker.id()
        if sequence % 4 == 0:
            record["metadata"] = {"rationale": maker.body()}
        record["createdAt"] = maker.now()
        plain = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        record["hash"] = previous = hashlib.sha256(plain.encode()).hexdigest()
        yield record


def write_audit_log(path: str | Path, records: int = 200, seed: int = 1) -> str:
    """Write the application's audit log as JSON lines; returns the hash of its last record."""
    head = ""
    with Path(path).open("w", encoding="utf-8") as file:
        for record in audit_records(("admin-1", "moderator-1", "moderator-2"), records, seed):
            file.write(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")
            head = record["hash"]
    return head
