"""UPDATE and DELETE with LIMIT, which some builds of SQLite have: of the rows whose keys a query with LIMIT gives."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.catalog import ROWID_NAMES, Catalog
from cutover.dialect.typed import Refused
from cutover.model.table import Table
from cutover.schema.sqltokens import Token, tokens

_CLAUSES = ("WHERE", "RETURNING", "ORDER", "LIMIT")


def without_limit(node: exp.Expr, catalog: Catalog, sql: str) -> exp.Expr:
    """Such a statement with `key IN (SELECT key ... LIMIT)`, as SQLite itself goes about it. Raises `Refused`."""
    if not isinstance(node, (exp.Update, exp.Delete)) or not (node.args.get("limit") or node.args.get("order")):
        return node
    if node.args.get("from_") is not None:
        raise Refused("UPDATE ... FROM with LIMIT", "Choose the rows in WHERE: key IN (SELECT ... LIMIT ...).")
    table = catalog.table(node.this.name)
    names = key_names(table)
    keys: list[exp.Expr] = [exp.Column(this=exp.to_identifier(name, quoted=True)) for name in names]
    query = exp.Select(expressions=keys, from_=exp.From(this=node.this.copy()))
    query.set("where", node.args.get("where") and node.args["where"].copy())
    order = [term.copy() for term in node.args["order"].expressions] if node.args.get("order") else []
    order += _read_by(table, names, catalog, _as_query(sql, node, names), needed=not order)
    query.set("order", exp.Order(expressions=order) if order else None)
    query.set("limit", node.args.get("limit") and node.args["limit"].copy())
    one: exp.Expr = keys[0].copy() if len(keys) == 1 else exp.Tuple(expressions=[key.copy() for key in keys])
    chosen = node.copy()
    chosen.set("order", None)
    chosen.set("limit", None)
    chosen.set("where", exp.Where(this=exp.In(this=one, query=exp.Subquery(this=query))))
    return chosen


def key_names(table: Table) -> list[str]:
    """Names by which SQLite knows the columns that tell a row."""
    if table.rowid_alias is None:
        return list(table.key)
    column = next(each for each in table.columns if each.name == table.rowid_alias)
    if not column.hidden:
        return [column.name]
    taken = {each.name.lower() for each in table.columns if not each.hidden}
    return [next(name for name in sorted(ROWID_NAMES) if name not in taken)]


def _read_by(table: Table, names: list[str], catalog: Catalog, query: str, *, needed: bool) -> list[exp.Expr]:
    """The order in which SQLite reads the rows. Raises `Refused` if it is `needed` and not known."""
    reading = catalog.reading(query)
    known = reading is not None and reading.scans is not None and len(reading.scans) == 1
    if not known or (table.rowid_alias is None and not table.without_rowid):
        if needed:
            raise Refused("LIMIT without ORDER BY, where only SQLite knows the order of the rows,", "Add ORDER BY.")
        return []
    assert reading is not None
    assert reading.scans is not None
    own = {column.name.lower(): column.collation for column in table.columns}
    terms: list[exp.Expr] = []
    for term in reading.scans[0].index:
        if own.get(term.column.lower(), "BINARY").upper() != term.collation.upper():
            raise Refused("LIMIT of rows that are read by an index with a collation of its own", "Add ORDER BY.")
        terms.append(_ordered(term.column, descending=term.descending))
    return terms + [_ordered(name, descending=name in table.downwards) for name in names]


def _ordered(name: str, *, descending: bool) -> exp.Expr:
    column = exp.Column(this=exp.to_identifier(name, quoted=True))
    return exp.Ordered(this=column, desc=descending, nulls_first=not descending)


def _as_query(sql: str, node: exp.Expr, names: list[str]) -> str:
    """The SELECT of which SQLite tells how it reads."""
    run = list(tokens(sql))
    verb = "UPDATE" if isinstance(node, exp.Update) else "DELETE"
    begins = next(token.at for token in run if token.text.upper() == verb and _depth_at(run, token) == 0)
    places = [
        (token.at, token.text.upper())
        for token in run
        if token.at > begins and token.text.upper() in _CLAUSES and _depth_at(run, token) == 0
    ]
    kept = []
    for at, (start, word) in enumerate(places):
        end = places[at + 1][0] if at + 1 < len(places) else len(sql)
        if word != "RETURNING":
            kept.append(sql[start:end])
    name, alias = node.this.name.replace('"', '""'), node.this.alias_or_name.replace('"', '""')
    keys = ", ".join('"' + one.replace('"', '""') + '"' for one in names)
    return f'{sql[:begins]} SELECT {keys} FROM "{name}" AS "{alias}" {" ".join(kept)}'.rstrip("; \n")


def _depth_at(run: list[Token], token: Token) -> int:
    before = [one.type for one in run if one.at < token.at]
    return before.count("open") - before.count("close")
