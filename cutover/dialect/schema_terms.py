"""Expressions of a table's schema (CHECK, indexes, defaults) by the rules that statements are translated by.

`schema.translate` knows the forms that need nothing but Postgres. A table that is made through the front door is on a
Postgres that has the functions of schema `cutover`, so what else the translator knows can be a rule there, too.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from cutover.dialect import functions
from cutover.dialect.assigning import Assigning
from cutover.dialect.catalog import Catalog
from cutover.dialect.comparing import told_apart
from cutover.dialect.conflicts import Conflicts
from cutover.dialect.context import Context
from cutover.dialect.generated import add_generated
from cutover.dialect.queries import Queries
from cutover.dialect.scope import Scope, table_source
from cutover.dialect.tokens import prepare
from cutover.dialect.typed import Refused
from cutover.model.table import Column, Table
from cutover.schema.parts import Untranslatable


class SchemaTerms:
    """A `schema.ddl.Terms`."""

    def condition(self, table: Table, sql: str) -> str:
        """A CHECK, or what an index is restricted by."""
        queries = _queries()
        try:
            return _printed(queries.expressions.condition(_parsed(sql), _scope(queries, table)), sql)
        except Refused:
            raise Untranslatable(sql) from None

    def term(self, table: Table, sql: str, collation: str) -> str:
        """What an index is over, so that rows are equal there which SQLite takes for equal."""
        queries = _queries()
        try:
            typed = queries.expressions.typed(_parsed(sql), _scope(queries, table))
            return _printed(told_apart(typed, collation), sql)
        except Refused:
            raise Untranslatable(sql) from None

    def default(self, column: Column, sql: str) -> str:
        """What a column holds that is given no value."""
        queries = _queries()
        try:
            given = Conflicts(queries, Assigning(queries.context)).default(column)
        except Refused:
            raise Untranslatable(sql) from None
        return f"({_printed(given, sql)})"

    def demand_readable(self, table: Table, name: str = "") -> None:
        """Raise `Refused` for a generated column, or that of this name, which no statement could read."""
        for column in _scope(_queries(), table).sources[0].columns:
            if column.computed is not None and name.lower() in ("", column.name.lower()):
                column.computed()


def _queries() -> Queries:
    return Queries(Context(Catalog.of(()), ()))


def _scope(queries: Queries, table: Table) -> Scope:
    source = table_source(table, table.name.lower())
    add_generated(source, queries.expressions.typed)
    return Scope(sources=[source])


def _parsed(sql: str) -> exp.Expr:
    parsed: exp.Expr = sqlglot.parse_one(prepare(f"SELECT {sql}", functions.NAMES).text, dialect="sqlite").expressions[
        0
    ]
    return parsed


def _printed(node: exp.Expr, sql: str) -> str:
    """Raises `Untranslatable` for what Postgres takes in no schema."""
    if node.find(exp.Query, exp.Placeholder) is not None:
        raise Untranslatable(sql)
    for column in node.find_all(exp.Column):
        column.set("table", None)
    return node.sql(dialect="postgres", normalize_functions=False, comments=False)
