"""What a column of a Postgres type of its own holds, as the value that SQLite has in its place."""

from __future__ import annotations

from functools import cache

import sqlglot
from sqlglot import exp

from cutover.dialect.typed import Kind, Refused, Typed, cast, helper, paren
from cutover.model.table import Column
from cutover.schema.codecs import base_of, codec_for
from cutover.schema.codecs.documents import SPACED

_OF_DOMAINS = {
    "text": ("text", "{0}::text"),
    "character varying": ("text", "{0}::text"),
    "smallint": ("integer", "{0}::bigint"),
    "integer": ("integer", "{0}::bigint"),
    "bigint": ("integer", "{0}::bigint"),
    "boolean": ("integer", "{0}::integer::bigint"),
    "json": ("text", "{0}::text"),
    "jsonb": ("text", "cutover.json_text({0}::text)"),
}
"""Domains are known by their base alone: as `Codec.shown`."""
_KINDS = {"text": Kind.TEXT, "integer": Kind.INT, "real": Kind.REAL, "number": Kind.NUM, "blob": Kind.BLOB}


def shown(typed: Typed, column: Column) -> Typed:
    """A value of this column as its codec shows it. Raises `Refused` where it cannot be said in SQL."""
    told = codec_for(column).shown or _OF_DOMAINS.get(base_of(column))
    if told is None:
        raise Refused(f"An expression over column {column.name} of type {column.target_type}")
    kind, sql = told
    return typed.but(node=_spelled(sql, typed.node), kind=_KINDS[kind], column=None)


def document(typed: Typed) -> exp.Expr:
    """JSON as the text that it is on SQLite: the type json keeps it, that of jsonb has blanks where its format has."""
    written = cast(typed.node, "TEXT")
    printed = typed.column is not None and (base_of(typed.column) == "json" or codec_for(typed.column).format == SPACED)
    return written if printed else helper("json_text", written)


def _spelled(sql: str, node: exp.Expr) -> exp.Expr:
    """A codec's SQL of a value, over `node`."""
    made = exp.Paren(this=_codec_sql(sql).copy())
    for place in list(made.find_all(exp.Column)):
        place.replace(paren(node.copy()))
    return made


@cache
def _codec_sql(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql.format("held"), dialect="postgres")
