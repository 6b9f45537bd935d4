"""Tables without any key: SQLite's hidden rowid tells their rows apart, on both sides."""

from __future__ import annotations

from tests.flow.dialect_world import world

SCHEMA = """
CREATE TABLE notes (a TEXT, b INTEGER);
CREATE TABLE loose (a TEXT UNIQUE, b INTEGER);
CREATE TABLE odd (rowid TEXT, b INTEGER);
"""


async def test_statements_see_it_by_its_names_only(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same("INSERT INTO notes VALUES ('x', 1), ('y', 2), ('x', 1)")
        await both.same("INSERT INTO notes SELECT a, b + 10 FROM notes")
        await both.same("SELECT * FROM notes ORDER BY rowid")
        await both.same("SELECT rowid, _rowid_, oid, a, n.* FROM notes AS n WHERE rowid > 2 ORDER BY rowid DESC")
        await both.same("SELECT count(*), max(rowid) FROM notes")
        await both.same(
            "SELECT x.*, y.rowid FROM (SELECT * FROM notes) AS x JOIN notes AS y ON x.b = y.b ORDER BY 1, 2, 3"
        )
        await both.same("INSERT INTO notes (rowid, a) VALUES (100, 'z')")
        inserted = await both.same("INSERT INTO notes VALUES ('after', 0)")
        assert inserted.last_insert_rowid == 101
        await both.same("UPDATE notes SET rowid = 7 WHERE rowid = 100")
        await both.same("DELETE FROM notes WHERE rowid = 1")
        await both.same("SELECT rowid, * FROM notes ORDER BY rowid")
        await both.same("SELECT rowid, b FROM odd")
        error = await both.same_error("INSERT INTO notes (rowid, a) VALUES (2, 'taken')")
        assert error.message == "UNIQUE constraint failed: notes.rowid"


async def test_conflicts_in_other_keys(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same("INSERT INTO loose VALUES ('x', 1), (NULL, 2), (NULL, 3)")
        await both.same("INSERT OR IGNORE INTO loose VALUES ('x', 4)")
        await both.same("INSERT INTO loose VALUES ('x', 5) ON CONFLICT (a) DO UPDATE SET b = excluded.b")
        await both.same("INSERT OR REPLACE INTO loose VALUES ('x', 6)")
        await both.same("SELECT * FROM loose ORDER BY b")
