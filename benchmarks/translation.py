"""What it costs to translate a statement, the first time and once it is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import sqlglot

from benchmarks.harness import Stage
from benchmarks.report import Line, Report, median, our_versions
from cutover.dialect.catalog import Catalog
from cutover.dialect.translator import Translator
from cutover.model.table import Column, Table, UniqueIndex
from cutover.model.values import SqlValue

_ITEMS = Table(
    name="items",
    target_schema="public",
    target="items",
    columns=(
        Column("id", "INTEGER", "INTEGER", "id", "bigint", not_null=True),
        Column("author", "TEXT", "TEXT", "author", "text", not_null=True),
        Column("body", "TEXT", "TEXT", "body", "text"),
        Column("likes", "INTEGER", "INTEGER", "likes", "bigint"),
    ),
    key=("id",),
    unique=(UniqueIndex("key", (('"id"', "BINARY"),), ("id",), primary_key=True),),
    rowid_alias="id",
)
_TEXTS: tuple[tuple[str, tuple[SqlValue, ...]], ...] = (
    ("SELECT body FROM items WHERE id = ?", (1,)),
    ("SELECT id, body AS b{0} FROM items WHERE author = ? ORDER BY likes DESC LIMIT ?", ("a", 10)),
    ("SELECT author, count(*), avg(likes) FROM items WHERE likes > {0} GROUP BY author HAVING count(*) > ?", (1,)),
    ("INSERT INTO items (author, body, likes) VALUES (?, ?, {0})", ("a", "b")),
    ("INSERT INTO items (id, author) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET author = excluded.author", (1, "a")),
    ("UPDATE items SET likes = likes + {0}, body = upper(body) WHERE id IN (?, ?)", (1, 2)),
    ("DELETE FROM items WHERE author LIKE ? AND likes BETWEEN {0} AND 90", ("a%",)),
    ("SELECT a.id, b.body FROM items a LEFT JOIN items b ON b.id = a.likes WHERE a.author = ? OR b.id IS NULL", ("a",)),
)
_MICRO, _MILLI = 1e6, 1e3


async def run(stage: Stage) -> Report:
    """Eight shapes of statements, each text new to the translator; the peer parses and prints the same texts."""
    report = Report("translation", "translating a statement of SQLite for Postgres")
    report.versions = {**our_versions(), "sqlglot": sqlglot.__version__}
    texts = list(_texts(5 if stage.quick else 40))
    report.settings = {"statements": f"{len(texts)} texts of {len(_TEXTS)} shapes", "clock": "of the process"}
    translator = Translator(Catalog.of((_ITEMS,), (), {"items": "public.items_id_seq"}), len(texts))
    ours, theirs = [], []
    for sql, arguments in _TEXTS:  # tables that are built on first use
        translator.translate(sql.replace("{0}", "0"), arguments)
    for sql, arguments in texts:
        theirs.append(_took(partial(_peer, sql)))
        ours.append(_took(partial(translator.translate, sql, arguments)))
    again = median([_took(partial(_all, translator, texts)) / len(texts) for _ in range(stage.rounds)])
    mean, peer = sum(ours) / len(ours), sum(theirs) / len(theirs)
    shown = f"{mean * _MILLI:.2f} ms", f"{peer * _MILLI:.2f} ms"
    report.lines += [
        Line("a new text, mean, against sqlglot's parse and print", *shown, mean / peer, 4.0, at_least=False),
        _own("a new text, mean", mean * _MILLI, 1.0, "ms"),
        _own("a new text, p99", sorted(ours)[int(len(ours) * 0.99)] * _MILLI, 4.0, "ms"),
        _own("a text that is remembered, mean", again * _MICRO, 1.0, "us"),
    ]
    return report


def _peer(sql: str) -> str:
    return sqlglot.parse_one(sql, dialect="sqlite").sql(dialect="postgres")


def _all(translator: Translator, texts: Sequence[tuple[str, tuple[SqlValue, ...]]]) -> None:
    for sql, arguments in texts:
        translator.translate(sql, arguments)


def _own(what: str, value: float, target: float, unit: str) -> Line:
    return Line(what, f"{value:.2f} {unit}", "", value, target, at_least=False, unit=f" {unit}")


def _texts(rounds: int) -> Iterator[tuple[str, tuple[SqlValue, ...]]]:
    for number in range(rounds):
        for sql, arguments in _TEXTS:
            yield f"{sql.replace('{0}', str(number))} -- {number}", arguments


def _took(work: Callable[[], object]) -> float:
    """Seconds of this process: others on the machine do not count."""
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / 1e9
