"""Recursions that SQLite goes through in an order of their own: ORDER BY within, and several repeated parts."""

from __future__ import annotations

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import world

SCHEMA = """
CREATE TABLE part (id INTEGER PRIMARY KEY, whole INTEGER, name TEXT, weight REAL);
CREATE INDEX part_whole ON part (whole);
CREATE TABLE way (a INTEGER, b INTEGER);
"""

DATA = (
    "INSERT INTO part VALUES (1, NULL, 'car', 1.5), (2, 1, 'Door', 2), (3, 1, 'axle', NULL), (4, 3, 'wheel', 3.25), "
    "(5, 3, 'Wheel', 3.25), (6, 4, 'tyre', 1), (7, NULL, 'van', 9), (8, 7, 'axle', 2)",
    "INSERT INTO way VALUES (1, 2), (1, 3), (2, 4), (3, 4), (4, 1), (4, 5), (6, 5)",
)

TREE = (
    "WITH RECURSIVE tree(id, name, depth) AS (SELECT id, name, 0 FROM part WHERE whole IS NULL UNION ALL "
    "SELECT part.id, part.name, depth + 1 FROM part JOIN tree ON part.whole = tree.id ORDER BY {0}) "
)

STATEMENTS = [
    *(
        f"{TREE.format(order)} SELECT * FROM tree"
        for order in ("3 DESC", "depth + 1 DESC, name", "2 COLLATE NOCASE", "1")
    ),
    f"{TREE.format('2 DESC LIMIT 4 OFFSET 1')} SELECT substr('....', 1, depth * 2) || name FROM tree",
    f"{TREE.format('3 DESC')} SELECT id, row_number() OVER () FROM tree",
    f"{TREE.format('3 DESC')} SELECT group_concat(name), max(depth) FROM tree",
    f"{TREE.format('3 DESC')} SELECT name, count(*) FROM tree GROUP BY name",
    # Here SQLite leaves that ORDER BY out.
    f"{TREE.format('3 DESC')} SELECT tree.id, depth FROM tree JOIN way ON tree.id = way.a",
    f"{TREE.format('3 DESC')} SELECT id FROM tree ORDER BY depth % 2",
    f"{TREE.format('3 DESC')} SELECT group_concat(id) FROM tree, (SELECT 1)",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c ORDER BY 1) SELECT x FROM c LIMIT 4",
    "WITH RECURSIVE c(x, y) AS (SELECT 1, NULL UNION ALL SELECT x + 1, x * 0.5 FROM c WHERE x < 5 ORDER BY 1) "
    "SELECT * FROM c",
    "WITH RECURSIVE c(x, y) AS (SELECT 1, x'0a' UNION ALL SELECT x + 1, x'00' FROM c WHERE x < 3 ORDER BY 2) "
    "SELECT * FROM c",
    "WITH RECURSIVE c(x, y) AS (SELECT 1, 'a' UNION ALL SELECT x + 1, x FROM c WHERE x < 5 ORDER BY 2) SELECT * FROM c",
    "WITH RECURSIVE met(x) AS (SELECT 1 UNION SELECT b FROM met JOIN way ON a = x ORDER BY 1 DESC) SELECT x FROM met",
    "WITH RECURSIVE met(x) AS (SELECT 1 UNION SELECT b FROM met JOIN way ON a = x LIMIT 3) SELECT x FROM met",
    "WITH RECURSIVE met(x) AS (SELECT 4 UNION SELECT b FROM way, met WHERE a = x) SELECT x FROM met LIMIT 4",
    "WITH RECURSIVE met(x) AS (SELECT 2 UNION SELECT b FROM met JOIN way ON a = x "
    "UNION SELECT a FROM met JOIN way ON b = x) SELECT x FROM met",
    "WITH RECURSIVE met(x, d) AS (SELECT 1, 0 UNION ALL SELECT 6, 0 UNION ALL SELECT b, d + 1 FROM met, way "
    "WHERE a = x AND d < 3 UNION ALL SELECT x + 10, 9 FROM met WHERE x = 5) SELECT * FROM met",
]


async def test_a_recursion_with_an_order_of_its_own(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        await both.all_same(STATEMENTS, ordered=True)
        first = (
            "WITH RECURSIVE c(x) AS (SELECT id FROM part WHERE id = ? UNION ALL SELECT x + ? FROM c ORDER BY 1 LIMIT ?)"
        )
        await both.same(f"{first} SELECT x FROM c", 1, 2, 3)
        await both.same(f"INSERT INTO way {TREE.format('3 DESC')} SELECT id, depth FROM tree")
        await both.same("SELECT rowid, * FROM way", ordered=True)
        with pytest.raises(StatementError, match="equal without being the same"):
            await both.on_postgres(
                "WITH RECURSIVE c(x) AS (SELECT 'a' COLLATE NOCASE UNION SELECT upper(x) FROM c ORDER BY 1) "
                "SELECT * FROM c"
            )


async def test_what_a_recursion_begins_with_becomes_what_it_gives(postgres_url: str) -> None:
    tree = (
        "WITH RECURSIVE t(id, x) AS (SELECT id, {first} FROM part WHERE whole IS NULL UNION ALL SELECT part.id, "
        "{again} FROM part JOIN t ON part.whole = t.id) SELECT id, x, typeof(x) FROM t ORDER BY id"
    )
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        for first, again in (
            ("NULL", "coalesce(t.x || '/', '') || part.name"),
            ("NULL", "part.name"),
            ("CAST(id AS TEXT)", "t.x || '/' || part.name"),  # a text of its own has no collation, a column has
            ("'root'", "part.name"),
            ("typeof(whole)", "t.x || part.id"),
            ("NULL", "t.x"),
            ("NULL", "ifnull(t.x, 0) + 1"),
            ("NULL", "ifnull(t.x, 0.5) + part.id"),
            ("NULL", "CASE WHEN t.x IS NULL THEN 7 ELSE t.x * 2 END"),
            ("1", "t.x / 2.0"),
            ("1", "t.x || 'a'"),
        ):
            await both.same(tree.format(first=first, again=again))
