"""Which of the constraints that a row breaks an error names: the one that SQLite looks at first.

Postgres looks at its CHECKs by their names and at its indexes in the order in which they were made; SQLite at its
CHECKs as they are declared, at the rowid, and then at the newest index. So what failed is asked for once more, behind
the failure, and for one row alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.conflicts import Conflicts
from cutover.dialect.context import Context
from cutover.dialect.generated import add_generated
from cutover.dialect.replacing import Replacing, parsed
from cutover.dialect.scope import Scope, Source, table_source
from cutover.dialect.translation import Order, Translation, parse, rewrite, translation_of
from cutover.dialect.typed import Kind, Refused, RowByRow, Typed, identifier
from cutover.dialect.writes import Writes, Written
from cutover.errors import StatementError
from cutover.model.table import Column, Table, UniqueIndex
from cutover.schema.counterparts import named_by
from cutover.schema.createsql import read_create_table

_GIVEN, _PLACE = "cutover: given", "cutover: place"


def breaches(sql: str, catalog: Catalog, kinds: Sequence[Kind]) -> Translation | None:
    """A query that tells for each CHECK of the table whether the only row that is written breaks it, and for each
    unique key whether it meets it; None if that has no translation."""
    parsed, conflict = parse(sql, catalog.views)
    return breaches_of(parsed, conflict, Context(catalog, kinds))


def breaches_of(single: exp.Expr, conflict: str | None, context: Context) -> Translation | None:
    """The same of a tree. Where conflicts are resolved, of the CHECKs alone: they are looked at before."""
    try:
        if conflict == "IGNORE":
            return None
        passes = conflict == "REPLACE" or single.args.get("conflict") is not None
        conflict = None if passes else conflict
        for clause in ("conflict", "clauses"):
            single.set(clause, None)
        written, _, _ = rewrite(single, conflict, context)
        if written is None or not _is_one_row(written.node):
            return None
        return _asked(written, Writes(context).conflicts, context, _checks(written.table), keys=not passes)
    except (Refused, RowByRow):
        return None


def is_met(written: Written, conflicts: Conflicts, context: Context) -> Translation:
    """A query that tells for each unique key of the table whether the only row that is written meets it."""
    return _asked(written, conflicts, context, ())


def _is_one_row(node: exp.Expr) -> bool:
    """Whether that is sure, or the statement is one of those that are run for each row."""
    if isinstance(node, exp.Update):
        return node.args.get("from_") is None
    rows = node.expression if isinstance(node, exp.Insert) else None
    return isinstance(rows, exp.Values) and len(rows.expressions) == 1


def _asked(
    written: Written, conflicts: Conflicts, context: Context, checks: Sequence[str], *, keys: bool = True
) -> Translation:
    """`keys`: the unique ones are asked about as well; else none is told to be met."""
    table, replacing = written.table, Replacing(conflicts)
    there, new = table_source(table, table.target), Source(_GIVEN, table_source(table, _GIVEN).columns, table)
    for source in (there, new):
        add_generated(source, conflicts.queries.expressions.typed)
    scope = Scope(sources=[new])
    of_checks = [conflicts.queries.expressions.condition(parsed(check), scope) for check in checks]
    wanted, given = _row(written, replacing)
    of_keys = [replacing.test(index, there, new, wanted) if keys else None for index in table.unique]
    answers = [
        *(exp.Is(this=exp.Paren(this=check), expression=exp.false()) for check in of_checks),
        *(exp.false() if test is None else _is_there(table, test, written.node) for test in of_keys),
    ]
    alias = exp.TableAlias(this=identifier(_GIVEN))
    query = exp.Select(expressions=answers, from_=exp.From(this=exp.Subquery(this=given, alias=alias)))
    return translation_of(None, [Typed(answer, Kind.BOOL) for answer in answers], query, context)


def _row(written: Written, replacing: Replacing) -> tuple[list[Column], exp.Select]:
    """The row as it would be stored, and the columns of it that are known: not an automatic key."""
    table, node = written.table, written.node
    if isinstance(node, exp.Insert):
        named = {column.target: column for column in table.columns}
        columns = [named[name.name] for name in node.this.expressions] if isinstance(node.this, exp.Schema) else []
        wanted, values = replacing.values(written, columns, list(table.columns))
        kept = exp.Select()
    else:
        alias = node.this.alias_or_name
        becomes = {setting.this.name: setting.expression for setting in node.expressions}
        wanted = list(table.columns)
        values = [
            replacing.value(
                becomes.get(column.target) or exp.Column(this=identifier(column.target), table=identifier(alias)),
                column,
            )
            for column in wanted
        ]
        place = exp.Column(this=exp.to_identifier("ctid"), table=identifier(alias))
        kept = exp.Select(expressions=[_called(place, _PLACE)], from_=exp.From(this=node.this.copy()))
        kept.set("with_", node.args.get("with_"))
        kept.set("where", node.args.get("where"))
    left_out = [column for column in table.columns if column not in wanted]
    nothing = [replacing.cast(exp.Null(), column) for column in left_out]
    row = zip([*wanted, *left_out], [*values, *nothing], strict=True)
    kept.set("expressions", [*kept.expressions, *(_called(value, column.target) for column, value in row)])
    return wanted, kept


def _called(value: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=value, alias=identifier(name))


def _is_there(table: Table, test: exp.Expr, node: exp.Expr) -> exp.Expr:
    """Whether another row is so."""
    if isinstance(node, exp.Update):
        own = exp.Column(this=exp.to_identifier("ctid"), table=identifier(table.target))
        itself = exp.EQ(this=own, expression=exp.Column(this=identifier(_PLACE), table=identifier(_GIVEN)))
        test = exp.and_(exp.Paren(this=test), exp.Not(this=exp.Paren(this=itself)))
    target = exp.Table(this=identifier(table.target), db=identifier(table.target_schema))
    found = exp.Select(expressions=[exp.Literal.number(1)], from_=exp.From(this=target), where=exp.Where(this=test))
    return exp.Exists(this=found)


def _checks(table: Table) -> list[str]:
    return read_create_table(table.sql).checks


def first_breach(table: Table, found: Sequence[object], order: Order) -> StatementError | None:
    """What SQLite says of a row of which this is the answer: the first CHECK as they are declared, else the first key
    that it looks at. None if nothing is broken."""
    told = read_create_table(table.sql)
    for name, text, broken in zip(told.check_names, told.checks, found, strict=False):
        if broken:
            return StatementError(f"CHECK constraint failed: {name or named_by(text)}", "SQLITE_CONSTRAINT")
    met = in_order(table, found[len(told.checks) :], order)
    return first_met(table, met[0]) if met else None


def in_order(table: Table, met: Sequence[object], order: Order) -> list[UniqueIndex]:
    """The keys that are met, as SQLite goes. `order`: of its indexes."""
    found = [index for index, there in zip(table.unique, met, strict=True) if there]
    names = list(order()) if found else []

    def place(index: UniqueIndex) -> int:
        if table.rowid_alias is not None and index.columns == (table.rowid_alias,):
            return -1
        return names.index(index.name) if index.name in names else len(names)

    return sorted(found, key=place)


def first_met(table: Table, first: UniqueIndex) -> StatementError:
    """The error that SQLite tells of a row that meets this key."""
    hidden = {column.name for column in table.columns if column.hidden}
    told = ", ".join(f"{table.name}.{'rowid' if column in hidden else column}" for column in first.columns)
    if None in first.columns:
        told = f"index '{first.name}'"
    return StatementError(f"UNIQUE constraint failed: {told}", "SQLITE_CONSTRAINT")
