"""Random SELECTs over a small schema: columns of all kinds, joins, subqueries, groups, compounds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

SCHEMA = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, c TEXT COLLATE NOCASE, b BOOLEAN NOT NULL, k BLOB, d DATETIME);
CREATE TABLE u (id INTEGER PRIMARY KEY, t_id INTEGER, i INTEGER NOT NULL, s TEXT NOT NULL, w TEXT);
CREATE INDEX u_t ON u (t_id);
CREATE VIEW v AS SELECT i, s, r * 2 AS rr FROM t WHERE b;
"""
DATA = (
    "INSERT INTO t (i, r, s, c, b, k, d) VALUES (1, 1.0, 'a', 'A', 1, x'62', '2024-01-01'), "
    "(2, 2.5, 'B', 'b', 0, x'61', '2024-02-30 10:00:00'), (NULL, NULL, NULL, NULL, 1, NULL, NULL), "
    "(10, -1.5, '10', '10', 0, x'', '2023-01-01'), (-7, 1e10, '', 'é', 1, x'7a', ''), "
    "(0, 0.0, '2', 'a', 0, NULL, 'x'), (2, 2.0, 'a%', 'B', 1, x'6161', '2024-01-01')",
    "INSERT INTO u (t_id, i, s, w) VALUES (1, 1, 'a', 'a '), (1, 2, 'b', 'a'), (2, 3, '10', NULL), "
    "(NULL, 4, 'B', 'B  '), (5, 5, '', ''), (6, -7, '1.0', '1')",
)

_COLUMNS = {
    "t": ["id", "i", "r", "s", "c", "b", "k", "d"],
    "u": ["id", "t_id", "i", "s", "w"],
    "v": ["i", "s", "rr"],
}
_NUMBERS = frozenset({"id", "i", "r", "b", "t_id", "rr"})
_LITERALS = ("0", "1", "2", "-7", "2.5", "1.0", "'a'", "'B'", "'10'", "'x'", "''", "NULL", "x'61'", "' 2 '", "'1.0'")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "==")

Named = tuple[str, list[str]]
"""An alias in FROM, and its columns."""


class Selects:
    """Makes one statement from a source of chance."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.pick = chance.choice
        self.aliases = 0

    def statement(self) -> str:
        """A SELECT, perhaps a compound one, perhaps ordered by all its columns."""
        sql, names = self.query(2)
        if self.chance.random() < 0.5:
            order = self.chance.sample(names, len(names))
            sql += " ORDER BY " + ", ".join(name + self.pick(["", " DESC", " NULLS LAST"]) for name in order)
        return sql

    def query(self, depth: int) -> tuple[str, list[str]]:
        """A query and the names of its columns."""
        if depth == 0 or self.chance.random() > 0.15:
            return self.select(depth, self.pick([1, 2, 3]))
        width = self.pick([1, 2])
        arms = [self.select(depth - 1, width) for _ in range(self.pick([2, 3]))]
        sql = arms[0][0]
        for arm, _ in arms[1:]:
            sql += f" {self.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'])} {arm}"
        return sql, arms[0][1]

    def select(self, depth: int, width: int) -> tuple[str, list[str]]:
        """One SELECT, plain or grouped."""
        source, named = self.source(depth)
        names = [f"c{at + 1}" for at in range(width)]
        where = f" WHERE {self.condition(named, 2)}" if self.chance.random() < 0.6 else ""
        if self.chance.random() < 0.2:
            key = self.column(named)
            rest = [f"{self.aggregate(named)} AS {name}" for name in names[1:]]
            having = (
                f" HAVING {self.aggregate(named)} {self.pick(_COMPARISONS)} 1" if self.chance.random() < 0.3 else ""
            )
            return f"SELECT {', '.join([f'{key} AS c1', *rest])} FROM {source}{where} GROUP BY {key}{having}", names
        columns = ", ".join(f"{self.expression(named, 2)} AS {name}" for name in names)
        return f"SELECT {self.pick(['', '', '', 'DISTINCT '])}{columns} FROM {source}{where}", names

    def source(self, depth: int) -> tuple[str, list[Named]]:
        """FROM."""
        sql, first = self.one_source(depth)
        named = [first]
        while self.chance.random() < 0.3 and len(named) < 3:
            target, other = self.one_source(depth)
            join = self.pick(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ","])
            if join in ("CROSS JOIN", ","):
                sql += f"{'' if join == ',' else ' '}{join} {target}"
            else:
                test = "=" if join == "FULL JOIN" else self.pick(["=", "=", "<", "IS"])
                sql += f" {join} {target} ON {self.column(named)} {test} {self.column([other])}"
            named.append(other)
        return sql, named

    def one_source(self, depth: int) -> tuple[str, Named]:
        """A table, the view or a subquery."""
        alias = self.alias()
        if depth > 0 and self.chance.random() < 0.2:
            sql, names = self.query(depth - 1)
            return f"({sql}) AS {alias}", (alias, names)
        name = self.pick(["t", "t", "u", "u", "v"])
        return f"{name} AS {alias}", (alias, _COLUMNS[name])

    def alias(self) -> str:
        self.aliases += 1
        return f"q{self.aliases}"

    def column(self, named: list[Named]) -> str:
        alias, columns = self.pick(named)
        return f"{alias}.{self.pick(columns)}"

    def aggregate(self, named: list[Named]) -> str:
        """An aggregate call; sums are of numbers."""
        name = self.pick(["count", "min", "max", "avg", "total", "count(DISTINCT"])
        numbers = [f"{alias}.{column}" for alias, columns in named for column in columns if column in _NUMBERS]
        if numbers and self.chance.random() < 0.2:
            return f"sum({self.pick(numbers)})"
        return f"{name}{' ' if '(' in name else '('}{self.expression(named, 1)})"

    def expression(self, named: list[Named], depth: int) -> str:
        """Any value."""
        if depth <= 0 or self.chance.random() < 0.3:
            return self.column(named) if self.chance.random() < 0.75 else self.pick(_LITERALS)

        def e() -> str:
            return self.expression(named, depth - 1)

        def c() -> str:
            return self.condition(named, depth - 1)

        forms: list[Callable[[], str]] = [
            lambda: f"({e()} {self.pick('+-*/%')} {e()})",
            lambda: f"({e()} || {e()})",
            lambda: f"CASE WHEN {c()} THEN {e()} ELSE {e()} END",
            lambda: f"CASE {e()} WHEN {e()} THEN {e()} WHEN {e()} THEN {e()} END",
            lambda: f"{self.pick(['coalesce', 'nullif', 'ifnull', 'min', 'max'])}({e()}, {e()})",
            lambda: f"CAST({e()} AS {self.pick(['INTEGER', 'TEXT', 'REAL', 'NUMERIC', 'BLOB'])})",
            lambda: f"({c()})",
            lambda: f"{self.pick(['lower', 'upper', 'length', 'typeof', '-', '+'])}({e()})",
            lambda: f"{e()} COLLATE {self.pick(['NOCASE', 'BINARY', 'RTRIM'])}",
            lambda: f"iif({c()}, {e()}, {e()})",
            lambda: self.scalar(named),
        ]
        return self.pick(forms)()

    def scalar(self, named: list[Named]) -> str:
        """A subquery as a value."""
        inner: Named = (self.alias(), _COLUMNS["u"])
        where = self.condition([inner, *named], 1)
        if self.chance.random() < 0.5:
            name = self.pick(["min", "max", "count", "total"])
            return f"(SELECT {name}({self.column([inner])}) FROM u AS {inner[0]} WHERE {where})"
        value = self.expression([inner, *named], 1)
        return f"(SELECT {value} FROM u AS {inner[0]} WHERE {where} ORDER BY {inner[0]}.id LIMIT 1)"

    def condition(self, named: list[Named], depth: int) -> str:
        """Something to be true or false."""

        def e() -> str:
            return self.expression(named, depth - 1)

        negated = self.pick(["", "NOT "])
        inner = self.alias()
        forms: list[Callable[[], str]] = [
            lambda: f"{e()} {self.pick(_COMPARISONS)} {e()}",
            lambda: f"{e()} {self.pick(_COMPARISONS)} {e()}",
            lambda: f"{e()} {negated}IN ({e()}, {self.pick(_LITERALS)})",
            lambda: f"{e()} {negated}BETWEEN {e()} AND {e()}",
            lambda: f"{e()} {self.pick(['IS NULL', 'IS NOT NULL', 'NOTNULL'])}",
            lambda: f"{self.column(named)} || '' {negated}LIKE {self.pick(['%r', 'a%', '_', '%B', '%'])!r}",
            e,
        ]
        if depth > 0:
            forms += [
                lambda: f"({self.condition(named, depth - 1)} {self.pick(['AND', 'OR'])} {e()})",
                lambda: f"NOT ({self.condition(named, depth - 1)})",
                lambda: f"{negated}EXISTS (SELECT 1 FROM u AS {inner} WHERE {inner}.i = {e()})",
                lambda: f"{e()} {negated}IN (SELECT {self.expression([(inner, _COLUMNS['u'])], 1)} FROM u AS {inner})",
                lambda: f"({e()}, {e()}) {self.pick(['=', '<>', '<', '>=', 'IS'])} ({e()}, {e()})",
            ]
        return self.pick(forms)()
