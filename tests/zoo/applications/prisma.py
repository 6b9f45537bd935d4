"""Prisma's shapes: the SQL that its migrations hold for each store, and values as its client writes them.

Prisma's own engines are downloaded by its command line, which a test must not rely on; so this is done by hand.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from tests.frameworks.obeying import DATABASE, Reading, by_key, obey, plain
from tests.zoo.applications.connecting import libpq

SQLITE = """
CREATE TABLE "User" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "email" TEXT NOT NULL, "name" TEXT,
  "role" TEXT NOT NULL DEFAULT 'USER', "active" BOOLEAN NOT NULL DEFAULT true,
  "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL, "balance" DECIMAL,
  "score" REAL, "visits" BIGINT NOT NULL DEFAULT 0, "avatar" BLOB, "settings" JSONB);
CREATE TABLE "Post" ("id" TEXT NOT NULL PRIMARY KEY, "title" TEXT NOT NULL, "authorId" INTEGER NOT NULL,
  "publishedAt" DATETIME,
  CONSTRAINT "Post_authorId_fkey" FOREIGN KEY ("authorId") REFERENCES "User" ("id")
  ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "Account" ("userId" INTEGER NOT NULL, "provider" TEXT NOT NULL, "expiresAt" BIGINT,
  PRIMARY KEY ("userId", "provider"),
  CONSTRAINT "Account_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id")
  ON DELETE RESTRICT ON UPDATE CASCADE);
CREATE TABLE "Old" ("id" TEXT NOT NULL PRIMARY KEY, "at" DATETIME NOT NULL);
CREATE TABLE "_PostToTag" ("A" TEXT NOT NULL, "B" INTEGER NOT NULL,
  CONSTRAINT "_PostToTag_A_fkey" FOREIGN KEY ("A") REFERENCES "Post" ("id") ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT "_PostToTag_B_fkey" FOREIGN KEY ("B") REFERENCES "Tag" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "Tag" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" TEXT NOT NULL);
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE UNIQUE INDEX "_PostToTag_AB_unique" ON "_PostToTag"("A", "B");
CREATE INDEX "_PostToTag_B_index" ON "_PostToTag"("B");
CREATE TABLE "_prisma_migrations" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL, "finished_at" DATETIME,
  "migration_name" TEXT NOT NULL, "logs" TEXT, "rolled_back_at" DATETIME,
  "started_at" DATETIME NOT NULL DEFAULT current_timestamp, "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0);
INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('a', 'of the SQL for SQLite', '1_init');
"""
POSTGRES = """
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TYPE "Provider" AS ENUM ('zeta', 'alpha');
CREATE TABLE "User" ("id" SERIAL NOT NULL, "email" TEXT NOT NULL, "name" TEXT, "role" "Role" NOT NULL DEFAULT 'USER',
  "active" BOOLEAN NOT NULL DEFAULT true, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP(3) NOT NULL, "balance" DECIMAL(65,30), "score" DOUBLE PRECISION,
  "visits" BIGINT NOT NULL DEFAULT 0, "avatar" BYTEA, "settings" JSONB, CONSTRAINT "User_pkey" PRIMARY KEY ("id"));
CREATE TABLE "Post" ("id" TEXT NOT NULL, "title" VARCHAR(60) NOT NULL, "authorId" INTEGER NOT NULL,
  "publishedAt" TIMESTAMPTZ(3), CONSTRAINT "Post_pkey" PRIMARY KEY ("id"));
CREATE TABLE "Account" ("userId" INTEGER NOT NULL, "provider" "Provider" NOT NULL, "expiresAt" BIGINT,
  CONSTRAINT "Account_pkey" PRIMARY KEY ("userId", "provider"));
CREATE TABLE "Old" ("id" UUID NOT NULL, "at" TIMESTAMP(3) NOT NULL, CONSTRAINT "Old_pkey" PRIMARY KEY ("id"));
CREATE TABLE "_PostToTag" ("A" TEXT NOT NULL, "B" INTEGER NOT NULL,
  CONSTRAINT "_PostToTag_AB_pkey" PRIMARY KEY ("A", "B"));
CREATE TABLE "Tag" ("id" SERIAL NOT NULL, "name" TEXT NOT NULL, CONSTRAINT "Tag_pkey" PRIMARY KEY ("id"));
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE INDEX "_PostToTag_B_index" ON "_PostToTag"("B");
ALTER TABLE "Post" ADD CONSTRAINT "Post_authorId_fkey" FOREIGN KEY ("authorId") REFERENCES "User"("id")
  ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Account" ADD CONSTRAINT "Account_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id")
  ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "_PostToTag" ADD CONSTRAINT "_PostToTag_A_fkey" FOREIGN KEY ("A") REFERENCES "Post"("id")
  ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "_PostToTag" ADD CONSTRAINT "_PostToTag_B_fkey" FOREIGN KEY ("B") REFERENCES "Tag"("id")
  ON DELETE CASCADE ON UPDATE CASCADE;
CREATE TABLE "_prisma_migrations" ("id" VARCHAR(36) PRIMARY KEY NOT NULL, "checksum" VARCHAR(64) NOT NULL,
  "finished_at" TIMESTAMPTZ, "migration_name" VARCHAR(255) NOT NULL, "logs" TEXT, "rolled_back_at" TIMESTAMPTZ,
  "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(), "applied_steps_count" INTEGER NOT NULL DEFAULT 0);
INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('b', 'of the SQL for Postgres', '1_init');
"""
_ON_SQLITE = DATABASE.startswith("sqlite:")
_MOMENT = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)


class Prisma:
    """Prisma's statements on one database."""

    def __init__(self) -> None:
        if _ON_SQLITE:
            self.connection: Any = sqlite3.connect(DATABASE.removeprefix("sqlite:///"), timeout=30)
            self.connection.execute("PRAGMA foreign_keys = ON")
        else:
            self.connection = psycopg2.connect(**libpq(DATABASE))

    def migrate(self) -> None:
        """What `prisma migrate deploy` runs."""
        if _ON_SQLITE:
            self.connection.executescript(SQLITE)
        else:
            self._run(POSTGRES)
        self.connection.commit()

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Rows are added, changed and removed."""
        for number in range(turn * 100, turn * 100 + 12):
            self._add(turn, number)
        self._run('UPDATE "User" SET "active" = ?, "updatedAt" = ? WHERE "role" = ?', False, _moment(turn), "ADMIN")
        self._run('UPDATE "User" SET "visits" = "visits" + 1 WHERE "id" % 3 = 0')
        self._run('DELETE FROM "Post" WHERE "title" = ?', f"Post {turn * 100 + 3}")
        self.connection.commit()

    def read(self) -> Reading:
        """Every row, in the client's types."""
        found: Reading = {}
        for table, key in (("User", 1), ("Post", 1), ("Account", 2), ("Old", 1), ("_PostToTag", 2), ("Tag", 1)):
            cursor = self.connection.cursor()
            cursor.execute(f'SELECT * FROM "{table}"')
            kinds = [column[0] for column in cursor.description]
            rows = [tuple(map(_told, kinds, row)) for row in cursor.fetchall()]
            found[table] = by_key(sorted(rows, key=repr), key)
        self.connection.rollback()
        return found

    def _add(self, turn: int, number: int) -> None:
        user = self._run(
            'INSERT INTO "User" ("email", "name", "role", "active", "createdAt", "updatedAt", "balance", "score", '
            '"visits", "avatar", "settings") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING "id"',
            f"ü{number}@example.org", ("Zoë 🐘", "", None)[number % 3], ("USER", "ADMIN")[number % 2],
            number % 4 == 0, _moment(number), _moment(number + 1), (19.9, 0.01, 12, None, -3.25)[number % 5],
            (0.1, 1e-300, None, 3.0)[number % 4], 2**53 + number, (None, b"\0\xff")[number % 2],
            json.dumps(({"b": 1, "a": [None]}, [1, 2.5], "text", 5, None)[number % 5], separators=(",", ":")),
        )[0][0]  # fmt: skip
        post = f"cuid{number:05}"
        self._run('INSERT INTO "Post" VALUES (?, ?, ?, ?)', post, f"Post {number}", user, _moment(number))
        (tag,) = self._run('INSERT INTO "Tag" ("name") VALUES (?) RETURNING "id"', f"tag {number}")[0]
        self._run('INSERT INTO "_PostToTag" ("A", "B") VALUES (?, ?)', post, tag)
        for provider in ("zeta", "alpha")[: 1 + number % 2]:
            self._run('INSERT INTO "Account" VALUES (?, ?, ?)', user, provider, 1_700_000_000_000 + number)
        at = _MOMENT + timedelta(hours=number, milliseconds=number)
        old = int(at.timestamp() * 1000) if _ON_SQLITE else at.replace(tzinfo=None)
        self._run('INSERT INTO "Old" VALUES (?, ?)', str(uuid.UUID(int=number + 1)), old)

    def _run(self, sql: str, *values: Any) -> list[Any]:
        cursor = self.connection.cursor()
        cursor.execute(sql if _ON_SQLITE else sql.replace("?", "%s"), values or (() if _ON_SQLITE else None))
        return list(cursor.fetchall()) if cursor.description else []


def _moment(number: int) -> Any:
    at = _MOMENT + timedelta(hours=number, milliseconds=number * 7 % 1000)
    return at.isoformat(timespec="milliseconds") if _ON_SQLITE else at


def _told(name: str, value: Any) -> Any:
    if name == "balance" and value is not None:
        return float(value)
    if name == "active":
        return bool(value)
    if name == "settings" and value is not None:
        return plain(value if isinstance(value, dict | list) or not _ON_SQLITE else json.loads(str(value)))
    if name.endswith(("At", "at")) and name != "expiresAt" and value is not None:
        if isinstance(value, int):
            value = datetime.fromtimestamp(value / 1000, UTC)
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return plain(value)


obey(Prisma())
