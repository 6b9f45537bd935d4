"""UPDATE of several rows, where SQLite lets later rows see what became of earlier ones, and Postgres does not.

SQLite changes one row after the other, in the order of the table. A subquery that reads what is being changed, and a
unique key that moves from row to row, mean something else on Postgres, which looks at the state from before.
"""

from __future__ import annotations

import re
from functools import partial

from sqlglot import exp

from cutover.dialect.catalog import Catalog, meant_by
from cutover.dialect.referring import deleting_returns
from cutover.dialect.trees import conjuncts, unparen
from cutover.dialect.typed import Refused, RowByRow
from cutover.model.table import Table, UniqueIndex
from cutover.schema.createsql import read_create_table


def refuse_halfway(node: exp.Update, table: Table, alias: str) -> None:
    """Raise `Refused` where the answer depends on the order in which SQLite changes the rows."""
    assigned = {
        meant_by(target.name, table): setting.expression
        for setting in node.expressions
        for target in (setting.this.expressions if isinstance(setting.this, exp.Tuple) else [setting.this])
    }
    if not node.args.get("from_") and is_one_row(node, table, alias):
        return
    refused = Refused if node.args.get("from_") else RowByRow
    for value in assigned.values():
        if _reads(value, table, alias, set(assigned)):
            raise refused("UPDATE with a subquery that reads what is being changed, row by row,")
    for index in table.unique:
        moved = [name for name in assigned if is_in(index, name, table)]
        if any(assigned[name].find(exp.Column) is not None for name in moved):
            raise refused(f"UPDATE that computes the unique key {', '.join(moved)} of several rows")


def refuse_conflicts(node: exp.Update, table: Table, alias: str, clause: str) -> None:
    """Raise `Refused` for UPDATE OR IGNORE, OR REPLACE or OR FAIL that may meet a conflict."""
    if clause == "FAIL" and not node.args.get("from_") and is_one_row(node, table, alias):
        return
    refused = Refused if node.args.get("from_") else RowByRow
    columns = {column.name.lower(): column for column in table.columns}
    for setting in node.expressions:
        name = meant_by(setting.this.name, table)
        column = columns.get(name)
        given = isinstance(setting.expression, exp.Literal)
        if (
            column is None
            or (column.not_null and not given)
            or column.name in table.key
            or any(is_in(index, name, table) for index in table.unique)
        ):
            raise refused(f"UPDATE OR {clause} of a column that may meet a conflict")
    told = read_create_table(table.sql)
    if told.checks or any(column.generated for column in told.columns.values()):
        raise refused(f"UPDATE OR {clause} of a table with a CHECK or a generated column")


def refuse_own_keys(node: exp.Delete, table: Table, catalog: Catalog) -> None:
    """Raise `RowByRow` for DELETE where rows that go may take others that WHERE finds, and that shows."""
    showing = ("CASCADE", "RESTRICT", *(("SET NULL", "SET DEFAULT") if node.args.get("returning") else ()))
    if deleting_returns(table, catalog, showing) and not is_one_row(node, table, node.this.alias_or_name.lower()):
        raise RowByRow("DELETE of rows that refer to each other")


def is_in(index: UniqueIndex, name: str, table: Table) -> bool:
    """Whether an index has to do with the column."""
    written = " ".join([*(term for term, _ in index.terms), index.partial or ""])
    computed = {each: made.generated for each, made in read_create_table(table.sql).columns.items() if made.generated}
    found = list(filter(partial(_names, written), computed))
    while found:
        written += " " + computed.pop(found[0])
        found = list(filter(partial(_names, written), computed))
    return _names(written, name)


def _names(written: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", written, re.IGNORECASE) is not None


def is_plain(index: UniqueIndex, table: Table) -> bool:
    """Whether an index is over columns that are stored, and over all rows."""
    return index.partial is None and is_of_columns(index, table)


def is_of_columns(index: UniqueIndex, table: Table) -> bool:
    """Whether an index is over columns that are stored, perhaps of some of the rows."""
    stored = {column.name for column in table.columns}
    return all(name in stored for name in index.columns)


def is_one_row(node: exp.Update | exp.Delete, table: Table, alias: str) -> bool:
    """Whether WHERE names one row by a unique key."""
    where = node.args.get("where")
    if where is None:
        return False
    pinned = set()
    for test in conjuncts(where.this):
        if isinstance(test, exp.EQ):
            for one, other in ((test.this, test.expression), (test.expression, test.this)):
                column = unparen(one)
                if isinstance(column, exp.Column) and other.find(exp.Column) is None:
                    pinned.add(meant_by(column.name, table) if column.table.lower() in ("", alias) else "")
    if table.rowid_alias is not None and table.rowid_alias.lower() in pinned:
        return True
    return any(
        index.partial is None and all(name is not None and name.lower() in pinned for name in index.columns)
        for index in table.unique
    )


def reads_once(node: exp.Expr, table: Table, alias: str) -> bool:
    """Whether `node` has a query of the table that SQLite may answer once for all rows: at the first one, that is."""
    for query in node.find_all(exp.Query):
        if not any(inner.name.lower() == table.name.lower() for inner in query.find_all(exp.Table)):
            continue
        inside = {inner.alias_or_name.lower() for inner in query.find_all(exp.Table)}
        outer = {"excluded", alias.lower()} - inside
        if not any(column.table.lower() in outer for column in query.find_all(exp.Column) if column.table):
            return True
    return False


def _reads(value: exp.Expr, table: Table, alias: str, assigned: set[str]) -> bool:
    """Whether a subquery in `value` is evaluated for each row, and reads columns of the table that are assigned."""
    for query in value.find_all(exp.Select):
        names = {inner.alias_or_name.lower() for inner in query.find_all(exp.Table)}
        if not any(inner.name.lower() == table.name.lower() for inner in query.find_all(exp.Table)):
            continue
        columns = list(query.find_all(exp.Column))
        outer = any(column.table and column.table.lower() not in names for column in columns)
        own = [column for column in columns if not (column.table.lower() == alias and alias not in names)]
        if outer and any(
            isinstance(column.this, exp.Star) or meant_by(column.name, table) in assigned for column in own
        ):
            return True
    return False
