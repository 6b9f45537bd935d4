"""One SQLite statement → the Postgres statement that means the same, remembered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

from sqlglot import exp

from cutover.dialect.by_row import by_row
from cutover.dialect.calls import adds_up, gathers_in_order, shows_a_row, takes_equals
from cutover.dialect.catalog import Catalog
from cutover.dialect.context import Context
from cutover.dialect.limiting import without_limit
from cutover.dialect.moving import with_rowids
from cutover.dialect.naming import breaches
from cutover.dialect.recent import Recent
from cutover.dialect.scalars import number_lists, number_scalars, split
from cutover.dialect.translation import KINDS, Translation, parse, rewrite, translation_of
from cutover.dialect.trees import with_of
from cutover.dialect.typed import Kind, Refused, RowByRow, Typed
from cutover.dialect.writes import Written
from cutover.errors import StatementError
from cutover.model.values import SqlValue
from cutover.stores.defects import defect

_DEPTH = 6000
"""Of Python's calls: enough for what SQLite's parser accepts, which are some 90 parentheses within each other."""

_TYPES: dict[Kind, object] = {kind: of for of, kind in KINDS.items()}
_Known = tuple[object, ...]
"""A text and the types of its arguments: their hashes are made in C, those of the kinds are not."""


class Translator:
    """Translates with one catalog, and remembers. Raises `StatementError` for what it cannot translate."""

    def __init__(self, catalog: Catalog, size: int = 4096) -> None:
        self.catalog = catalog
        self._known: Recent[_Known, Translation] = Recent(size)
        self._hints: Recent[str, dict[int, Kind]] = Recent(size)

    def translate(self, sql: str, arguments: Sequence[SqlValue]) -> Translation:
        """The translation for these arguments; their values count only by kind. Raises `Refused`."""
        key = (sql, *map(type, arguments))
        known = self._known.young.get(key) or self._known.get(key)
        if known is None:
            known = self._settle(sql, tuple([KINDS[type(value)] for value in arguments]))
            self._known.put(key, known)
        return known

    def knows(self, sql: str, arguments: Sequence[SqlValue]) -> bool:
        """Whether the translation is remembered."""
        return self._known.get((sql, *map(type, arguments))) is not None

    def learn(self, sql: str, arguments: Sequence[SqlValue], translation: Translation) -> None:
        """Remember what another translator made with the same catalog."""
        self._known.put((sql, *map(type, arguments)), translation)

    def _settle(self, sql: str, kinds: tuple[Kind, ...]) -> Translation:
        """NULL arguments in typed places share the translation of arguments that are not NULL."""
        hints = self._hints.get(sql)
        if hints is None and Kind.NULL in kinds:
            hints = self._suggested(sql, len(kinds))
            self._hints.put(sql, hints)
        if hints:
            kinds = tuple(hints.get(slot, kind) if kind is Kind.NULL else kind for slot, kind in enumerate(kinds))
            shared = self._known.get((sql, *[_TYPES.get(kind, kind) for kind in kinds]))
            if shared is not None:
                return shared
        return translate(sql, self.catalog, kinds)

    def typical(self, sql: str, parameters: int) -> Translation:
        """The translation for arguments of likely kinds: those of the columns beside them, otherwise integers."""
        hints = self._suggested(sql, parameters)
        return translate(sql, self.catalog, [hints.get(slot, Kind.INT) for slot in range(parameters)])

    def _suggested(self, sql: str, parameters: int) -> dict[int, Kind]:
        """The kinds that the places of the parameters suggest, where they do."""
        context = Context(self.catalog, [Kind.NULL] * parameters)
        try:
            _rewrite(sql, context)
        except Refused:  # with NULL arguments; others may do
            return {}
        except Exception:  # noqa: BLE001  # translating tells it
            return {}
        return context.hints


def translate(sql: str, catalog: Catalog, kinds: Sequence[Kind]) -> Translation:
    """Translate, without memory. Raises `Refused`."""
    if sys.getrecursionlimit() < _DEPTH:
        sys.setrecursionlimit(_DEPTH)
    try:
        return _translated(sql, catalog, kinds)
    except RecursionError:
        raise Refused("An expression nested this deeply", "Split it, or give a list as one IN.") from None
    except StatementError:
        raise
    except Exception as error:  # noqa: BLE001  # a defect of ours
        raise defect(error) from None


def _translated(sql: str, catalog: Catalog, kinds: Sequence[Kind], *, wide: bool = False) -> Translation:
    sql = with_rowids(sql, catalog)
    context = Context(catalog, kinds, wide=wide)

    def apart() -> Translation:
        return by_row(sql, catalog, kinds)

    @cache
    def wider() -> Translation:
        return _translated(sql, catalog, kinds, wide=True)

    @cache
    def keyed() -> Translation:
        told = Context(catalog, [*kinds, Kind.TEXT], keys_slot=len(kinds), wide=wide)
        return translation_of(*_rewrite(sql, told), told)

    @cache
    def naming() -> Translation | None:
        return breaches(sql, catalog, kinds)

    @cache
    def telling() -> Translation:
        return by_row(sql, catalog, kinds, telling=True)

    try:
        written, columns, tree = _rewrite(sql, context)
    except RowByRow:
        return apart()
    return translation_of(written, columns, tree, context, apart, wider, keyed, naming, telling)


def _rewrite(sql: str, context: Context) -> tuple[Written | None, list[Typed], exp.Expr]:
    try:
        parsed, conflict = parse(sql, context.catalog.views)
        parsed = without_limit(parsed, context.catalog, sql)
        context.gathers = _gathers(sql, parsed, context.catalog)
        context.collates = parsed.find(exp.Collate) is not None
        gives = _gives_rows(parsed)
        nested = sql.lower().count("select") > gives
        count = number_scalars(parsed) if nested else 0
        listed = number_lists(parsed) if nested and "limit" in sql.lower() else 0
        cut = "limit" in sql.lower() and (nested or bool(context.catalog.views))
        changing = isinstance(parsed, exp.Update) and parsed.args.get("from_") is not None
        read = context.catalog.reading(sql) if count or gives or listed or cut or changing else None
        context.changing = read if changing else None
        context.named = read.named if read is not None and cut else ()
        context.reading = read if gives else None
        own = read.scalars if read is not None else ()
        if len(own) > count and read is not None and _names_one_view(parsed, context.catalog):
            own, context.of_view = split(read, len(list(parsed.find_all(exp.Select))))
        context.scalars = own if len(own) == count else ()
        context.lists = read.lists if read is not None and len(read.lists) == listed else ()
        return rewrite(parsed, conflict, context)
    except RecursionError:
        raise Refused("An expression nested this deeply", "Split it, or give a list as one IN.") from None


def _gathers(sql: str, parsed: exp.Expr, catalog: Catalog) -> bool:
    """Whether the order in which rows come matters to functions, in the statement or in a view; or may matter."""
    if _may_gather(sql) and any(map(gathers_in_order, parsed.find_all(exp.Select))):
        return True
    if _may_add_up(sql) and any(adds_up(node) and _only_query(node, catalog) for node in parsed.find_all(exp.Select)):
        return True
    nested = bool(catalog.views) or sql.lower().count("select") > 1
    if nested and any(_only_query(node, catalog) and shows_a_row(node) for node in parsed.find_all(exp.Select)):
        return True
    alike = nested and any(_only_query(node, catalog) and takes_equals(node) for node in parsed.find_all(exp.Select))
    if alike and _may_fold(parsed, catalog):
        return True
    if not catalog.views or all(table.name.lower() not in catalog.views for table in parsed.find_all(exp.Table)):
        return False
    return any(_may_gather(view) or _may_add_up(view, 2) for view in catalog.views.values())


def _may_fold(parsed: exp.Expr, catalog: Catalog) -> bool:
    """Whether texts may be equal without being the same."""
    return (
        parsed.find(exp.Collate) is not None
        or any("collate" in view.lower() for view in catalog.views.values())
        or any(column.collation != "BINARY" for table in catalog.tables.values() for column in table.columns)
    )


def _may_gather(text: str) -> bool:
    lower = text.lower()
    return "group_" in lower or "over" in lower  # group_concat(), json_group_array(), OVER


def _may_add_up(text: str, queries: int = 1) -> bool:
    lower = text.lower()
    return ("sum" in lower or "avg" in lower or "total" in lower) and lower.count("select") >= queries


def _only_query(node: exp.Select, catalog: Catalog) -> bool:
    """Whether all that stands in FROM is a query, a view or a CTE."""
    clause = node.args.get("from_")
    if clause is None or node.args.get("joins"):
        return False
    source = clause.this
    named = isinstance(source, exp.Table)
    return not named or source.name.lower() in catalog.views or with_of(source) is not None


def _names_one_view(parsed: exp.Expr, catalog: Catalog) -> bool:
    """Whether a statement of nothing but SELECTs names a view, and once."""
    named = [table for table in parsed.find_all(exp.Table) if table.name.lower() in catalog.views]
    return len(named) == 1 and parsed.find(exp.Values, exp.With) is None


def _gives_rows(parsed: exp.Expr) -> bool:
    """Whether there are rows that have an order: the answer's, or those that INSERT ... SELECT gives keys to."""
    return isinstance(parsed, exp.Query) or isinstance(parsed.expression, exp.Query)
