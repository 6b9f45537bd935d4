"""What is run on Postgres for one statement, with how to send arguments and read results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cutover.dialect import functions
from cutover.dialect.conflicts import caveat
from cutover.dialect.context import Context, Use, number_parameters
from cutover.dialect.decoding import Decoder, decoder_of
from cutover.dialect.drawing import Drawing
from cutover.dialect.high_marks import is_meant
from cutover.dialect.lifting import lift_limits
from cutover.dialect.marking import HighMarks
from cutover.dialect.numbering import with_checks
from cutover.dialect.queries import Queries
from cutover.dialect.scope import Scope
from cutover.dialect.tokens import prepare
from cutover.dialect.trees import calls_alike, plain_numbers, plain_settings
from cutover.dialect.typed import Hidden, Kind, Refused, Typed
from cutover.dialect.unclear import is_stored, unclear
from cutover.dialect.whole import show_as_text
from cutover.dialect.writes import Writes, Written
from cutover.errors import StatementError
from cutover.model.table import Column, Table
from cutover.model.values import Row, SqlValue

KINDS: dict[type, Kind] = {int: Kind.INT, float: Kind.REAL, str: Kind.TEXT, bytes: Kind.BLOB, type(None): Kind.NULL}
"""Of arguments."""


@dataclass(frozen=True)
class Command:
    """One statement for Postgres."""

    sql: str
    uses: tuple[Use, ...]
    tagged: str | None = None
    """The same with one more argument, an int4, which each row has as its last column; None where that cannot be."""

    def arguments(self, bound: Sequence[SqlValue], memory: Callable[[int], int]) -> list[Any]:
        """Arguments as asyncpg takes them. Raises `Unrepresentable`."""
        given = []
        for use in self.uses:
            value: Any = bound[use.slot] if use.slot >= 0 else memory(use.slot)
            given.append(value if use.encode is None or value is None else use.encode(value))
        return given


@dataclass(frozen=True)
class ByRow:
    """A statement for each row of a query. The values of the row are arguments of it, behind those that there are."""

    rows: Translation
    accept: Callable[[list[Row]], list[Row]]
    """The arguments that each row gives. Raises `Refused` where something depends on an order that is not known."""
    translate: Callable[[tuple[Kind, ...]], Translation]
    """The statement, by the kinds of the row's values."""


Order = Callable[[], Sequence[str]]
"""The names of a table's indexes, as SQLite asks them."""


@dataclass(frozen=True)
class Choosing:
    """One of several statements for a row, by the unique keys that it meets."""

    asked: Translation
    """The query for them: a column for each key of the table."""
    choose: Callable[[Row, Order], tuple[Translation, StatementError | None]]
    """The statement for its answer, and the error where that may only fail."""
    ways: tuple[Translation, ...]
    """All there are."""


@dataclass(frozen=True)
class Translation:
    """What to run for one statement with one combination of argument kinds."""

    command: Command
    writes: bool
    before: Command | None = None
    """Runs first, in the same transaction."""
    clears: bool = False
    """REPLACE: rows with the same keys are deleted before."""
    width: int = 0
    """Columns of the result that are the application's."""
    decoders: tuple[tuple[int, Decoder], ...] = ()
    """For the columns that are not read as they come."""
    declared: tuple[str | None, ...] = ()
    table: Table | None = None
    """The table that is written."""
    key_returned: bool = False
    """The automatic key stands after the application's columns."""
    automatic: str | None = None
    """The sequence that gives the keys, where the statement gives none."""
    drawing: Drawing | None = None
    """What it does to the sequence that gives keys."""
    recounts: tuple[str, ...] = ()
    """The names under which rows are counted that have other keys after it."""
    marked: tuple[Drawing, ...] = ()
    """What would draw from those that have to be where SQLite's counters are before it."""
    lowered: tuple[str, ...] = ()
    """Sequences of tables whose highest row may be gone after it."""
    raised: tuple[str, ...] = ()
    """Sequences that may stand below the keys which it gives to rows that are there."""
    parts: tuple[Translation, ...] = ()
    """Run one after the other in place of `command`, in one transaction: a statement for each row of VALUES."""
    apart: Callable[[], Translation] | None = None
    """The same a row at a time, for what Postgres refuses in one command: a row that is met twice, or a CHECK."""
    wider: Callable[[], Translation] | None = None
    """The same with numbers that go on where 64 bits or a double end, as SQLite's do."""
    keyed: Callable[[], Translation] | None = None
    """The same with the automatic keys given by one more argument, a JSON array."""
    naming: Callable[[], Translation | None] | None = None
    """A query that tells which constraints its only row breaks, where there are several."""
    unclear: tuple[type[Exception], ...] = ()
    """Errors behind which it is asked how far it had come, and what the first row that failed breaks first."""
    stored: bool = False
    """Its rows are there before any foreign key of theirs is looked at."""
    admits: bool = False
    """SQLite stores rows without a parent in the same table, which Postgres does not."""
    telling: Callable[[], Translation] | None = None
    """The same a row at a time, to be asked so."""
    sparing: str = ""
    """IGNORE or FAIL: of rows that are run one at a time, one that fails is passed over, or keeps those before it."""
    by_row: ByRow | None = None
    """Run for each row of a query in place of `command`, in one transaction."""
    upserts: bool = False
    """It is what a row that meets a key becomes: OR IGNORE is not for what goes wrong then."""
    choosing: Choosing | None = None
    """What runs in place of `command` is chosen for the row."""
    refusing: bool = False
    """OR IGNORE: a CHECK that fails would be passed over by SQLite, and is an error on Postgres."""
    caveat: str = ""
    """What depends on rows, and may be refused."""
    filled: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that get a value of which only the rows tell whether they hold it, with what they hold."""
    unsure: tuple[Column, ...] = ()
    """Columns that may have to be widened for what is computed."""
    never_null: tuple[tuple[int, str], ...] = ()
    """Slots whose arguments are refused if they are NULL, and what they are for."""
    compared: bool = True
    """Whether the answer depends on data alone: not on the clock, on chance or on the session."""


logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
"""The parser warns of what it does not know with the text of the statement, whose literals nobody may see."""


def parse(sql: str, views: Mapping[str, str]) -> tuple[exp.Expr, str | None]:
    """The tree of a statement, and its word after OR. Raises `Refused`."""
    prepared = prepare(sql, functions.NAMES)
    try:
        parsed = sqlglot.parse(prepared.text, dialect="sqlite")
    except SqlglotError:
        raise Refused(
            "The syntax of the statement",
            "SQLite takes it, and the parser of the translation does not: write it in another way, and tell of it.",
        ) from None
    if len(parsed) != 1 or parsed[0] is None:
        raise Refused("The statement")
    if prepared.clauses:
        parsed[0].set("clauses", [_clause(text) for text in prepared.clauses])
    plain_numbers(parsed[0])
    plain_settings(parsed[0])
    lift_limits(parsed[0], views)
    return parsed[0], prepared.conflict


def _clause(text: str) -> exp.Expr:
    parsed: exp.Expr = sqlglot.parse_one(f"INSERT INTO t VALUES (1) {text}", dialect="sqlite").args["conflict"]
    return parsed


Rewritten = tuple[Written | None, list[Typed], exp.Expr]


def rewrite(node: exp.Expr, conflict: str | None, context: Context) -> Rewritten:
    """The tree in Postgres's terms: what it writes, the answer's columns, and itself. Raises `Refused`."""
    spare = node.copy() if calls_alike(node) else None
    try:
        return _rewrite(node, conflict, context)
    except Hidden:
        if spare is None:
            raise
        context.distinct = True
        return _rewrite(spare, conflict, context)


def _rewrite(node: exp.Expr, conflict: str | None, context: Context) -> Rewritten:
    if isinstance(node, (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)):
        query = Queries(context).query(node, Scope(reading=context.reading))
        columns = [typed for _, typed in query.columns]
        show_as_text(query.node, columns)
        return None, columns, query.node
    writes = Writes(context)
    match node:
        case _ if is_meant(node):
            written = HighMarks(context).write(node, conflict)
        case exp.Insert():
            written = writes.insert(node, conflict)
        case exp.Update():
            written = writes.update(node, conflict)
        case exp.Delete():
            written = writes.delete(node)
        case _:
            raise Refused(f"The statement {type(node).__name__.upper()}")
    columns = [typed for _, typed in written.returning]
    show_as_text(written.node, columns)
    return written, columns, written.node


def translation_of(
    written: Written | None,
    columns: list[Typed],
    tree: exp.Expr,
    context: Context,
    in_parts: Callable[[], Translation] | None = None,
    wider: Callable[[], Translation] | None = None,
    keyed: Callable[[], Translation] | None = None,
    naming: Callable[[], Translation | None] | None = None,
    telling: Callable[[], Translation] | None = None,
) -> Translation:
    """The tree printed. `in_parts`: the same with a statement for each row of VALUES; `wider`: with wide arithmetic;
    `keyed`: with the keys given."""
    if written is not None and written.apart and in_parts is not None:
        return in_parts()
    lookups = [_command(lookup, context) for lookup in written.lookups] if written is not None else []
    command = _command(tree, context)
    drawing = written.drawing if written is not None else None
    if drawing is not None and lookups:
        drawing = with_checks(drawing, lookups, command.uses)
    chance, clock = "cutover.random" in command.sql, "'now'" in command.sql.lower()
    before = None
    if written is not None and written.before is not None:
        before = _command(written.before, context)
    memory = any(use.slot < 0 for use in command.uses)
    return Translation(
        command=command,
        writes=written is not None,
        before=before,
        clears=written is not None and written.clears,
        width=len(columns),
        decoders=tuple((at, decoder) for at, typed in enumerate(columns) if (decoder := decoder_of(typed)) is not None),
        declared=tuple(typed.column.declared if typed.column is not None else None for typed in columns),
        table=written.table if written is not None else None,
        key_returned=written is not None and written.key_returned,
        automatic=written.automatic if written is not None else None,
        drawing=drawing,
        recounts=written.recounts if written is not None else (),
        marked=written.marked if written is not None and written.marked else context.marked,
        lowered=written.lowered if written is not None else (),
        raised=written.raised if written is not None else (),
        apart=in_parts if written is not None and _may_be_apart(written) else None,
        wider=wider if context.may_widen and not context.wide else None,
        keyed=keyed if written is not None and _may_be_keyed(written) else None,
        naming=naming if written is not None and _may_be_named(written, context) else None,
        unclear=unclear(written, by_row=context.by_row) if written is not None else (),
        stored=written is not None and is_stored(written),
        admits=written is not None and written.admits,
        telling=telling,
        refusing=written is not None and written.refusing,
        caveat=" ".join([caveat(written), *context.caveats]).strip() if written is not None else "",
        never_null=tuple(context.never_null.items()),
        filled=context.filled,
        unsure=tuple(context.unsure),
        compared=not (chance or memory or clock),
    )


def _may_be_apart(written: Written) -> bool:
    return written.twice or written.refusing or (written.drawing is not None and written.drawing.by_rows)


def _may_be_named(written: Written, context: Context) -> bool:
    """Whether the constraint that it breaks may be another one than Postgres tells."""
    if not (isinstance(written.node, exp.Insert) or context.by_row):
        return False
    return len(written.table.unique) > 1 or len(written.table.checks) > 1


def _may_be_keyed(written: Written) -> bool:
    return written.drawing is not None and written.drawing.by_rows and written.drawing.rows is None


def _command(tree: exp.Expr, context: Context) -> Command:
    """The tree is used up: the generator may change it while it prints."""
    numbered, uses = number_parameters(tree, context.uses)
    tag = f"${len(uses) + 1}::int4"
    if type(numbered) is exp.Select:
        numbered.expressions.append(exp.Var(this=tag))
    printed = numbered.sql(dialect="postgres", normalize_functions=False, comments=False, copy=False)
    if type(numbered) is exp.Select:
        return _untagged(numbered, printed, tag, uses)
    if not isinstance(numbered, (exp.Insert, exp.Update, exp.Delete)):
        return Command(printed, uses)
    return Command(printed, uses, printed + (", " if numbered.args.get("returning") else " RETURNING ") + tag)


def _untagged(select: exp.Select, printed: str, tag: str, uses: tuple[Use, ...]) -> Command:
    """The tag is the last of the columns: to print once, and cut it out, is quicker than to print twice."""
    if printed.count(tag) == 1:
        return Command(printed.replace(f", {tag}", "", 1), uses, printed)
    select.expressions.pop()  # a literal has these very signs
    return Command(select.sql(dialect="postgres", normalize_functions=False, comments=False), uses)
