"""Values on their way into a column: SQLite's affinity, then exactly what the Postgres type can hold, or an error."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.catalog import column_kind
from cutover.dialect.comparing import dynamic, number_of, text, value
from cutover.dialect.computed import computed
from cutover.dialect.context import Context
from cutover.dialect.rigid import rigidly
from cutover.dialect.typed import (
    NUMERIC_AFFINITIES,
    Kind,
    Refused,
    Typed,
    affinity_of,
    cast,
    helper,
    literal,
    named,
    paren,
)
from cutover.dialect.whole import argument, constant
from cutover.dialect.widening import GIVE, Unheld, Whole, Worded, is_wide
from cutover.errors import Unrepresentable
from cutover.model.table import Column, Table
from cutover.schema.codecs import base_of
from cutover.schema.types import is_blob_by_name

_BARE = frozenset({"bigint", "text", "bytea", "double precision", "smallint", "integer"})

_GIVE_ONE = "Give the column a value in the INSERT."


class Assigning:
    """Converts values of one statement to columns."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.rigid: Table | None = None
        """The table that is written, if it is STRICT."""

    def assign(self, typed: Typed, column: Column) -> exp.Expr:
        """`typed` as a value of `column`. Raises `Refused` where no value of that kind fits."""
        if typed.kind is Kind.NULL:
            self.context.hint(typed.slot, _natural(column))
            return exp.Null()
        if typed.kind is not column_kind(column):
            self.context.filled[column.name] = column_kind(column)
        made = rigidly(value(typed), column, self.rigid) if self.rigid is not None else None
        if made is not None:
            return made
        if column.target_type.partition("(")[0] not in _BARE:
            special = self._by_codec(typed, column)
            if special is not None:
                return special
        plain = value(typed)
        if is_blob_by_name(column) and plain.kind is not Kind.BLOB:
            return self._into_blobs(plain, column)
        return self._convert(plain, column)

    def assign_key(self, typed: Typed, column: Column) -> exp.Expr:
        """The same for the INTEGER PRIMARY KEY: SQLite itself has nothing but integers there."""
        plain = value(typed)
        if column_kind(column) is not Kind.INT or plain.kind in (Kind.INT, Kind.NULL):
            return self.assign(typed, column)
        return helper("key_strict", plain.node)

    def _by_codec(self, typed: Typed, column: Column) -> exp.Expr | None:
        """Arguments and literals are checked and encoded here; other expressions are cast if that says the same."""
        whole = column_kind(column) is Kind.WHOLE
        if typed.slot is not None:
            if not whole and column.affinity == "TEXT" and typed.kind in (Kind.INT, Kind.REAL):
                return None
            return argument(self.context, typed.slot, column)
        if typed.is_constant:
            return constant(self.context, typed.constant, column)
        kind = column_kind(column)
        if kind is Kind.WHOLE and not (typed.kind is Kind.WHOLE and typed.column == column):
            made = computed(typed, column)
            if made is not None:
                return made
            raise Refused(
                f"A computed value for column {column.name} of type {column.target_type}", "Give it as an argument."
            )
        if kind is Kind.WHOLE or typed.kind is kind is Kind.JSON or typed.kind is kind is Kind.BOOL:
            return typed.node
        return None

    def _convert(self, typed: Typed, column: Column) -> exp.Expr:
        kind = column_kind(column)
        typed = _number_in(typed, kind, column)
        if typed.kind is kind is Kind.TEXT and column.affinity in NUMERIC_AFFINITIES:
            return self._no_number(typed, column)
        if typed.kind is kind:
            return self._without_sign(typed) if kind is Kind.REAL else typed.node
        if kind is Kind.DYNAMIC:
            return _any(typed, column)
        if typed.kind is Kind.DYNAMIC and (kind is Kind.BLOB or (kind is Kind.TEXT and column.affinity == "TEXT")):
            return helper("blob_strict" if kind is Kind.BLOB else "text_strict", typed.node)
        if Kind.BLOB in (typed.kind, kind):
            raise Refused(f"{named(typed.kind)} for column {column.name} of type {column.target_type}", GIVE)
        match kind:
            case Kind.INT:
                return helper("int_strict", self._whole(typed, column))
            case Kind.REAL:
                if typed.kind is Kind.INT and column.affinity in ("INTEGER", "NUMERIC"):
                    return helper("whole_strict", typed.node)
                direct = typed.kind is Kind.INT
                return cast(typed.node, "DOUBLE PRECISION") if direct else helper("real_strict", typed.node)
            case Kind.TEXT:
                return text(typed).node if column.affinity == "TEXT" else self._kept_text(typed, column)
            case Kind.BOOL:
                return helper("bool_strict", typed.node)
            case Kind.JSON:
                return _document(typed, column)
            case _:
                raise Refused(f"{named(typed.kind)} for column {column.name} of type {column.target_type}", GIVE)

    def _whole(self, typed: Typed, column: Column) -> exp.Expr:
        """A number or a text for a column of integers."""
        if typed.slot is None or not is_wide(column):
            self._note_unsure(column)
            return typed.node
        native = "TEXT" if typed.kind is Kind.TEXT else "DOUBLE PRECISION"
        return self.context.use(typed.slot, native, Whole(column))

    def _into_blobs(self, typed: Typed, column: Column) -> exp.Expr:
        """Whatever is no blob, for a column that is declared as one of them."""
        if typed.slot is not None or typed.is_constant:
            what = f"{named(typed.kind)} for column {column.name} of type {column.target_type}"
            raise Unheld(what, column, typed.constant, slot=typed.slot)
        self.context.unsure.append(column)
        return helper("blob_strict", dynamic(typed))

    def _without_sign(self, typed: Typed) -> exp.Expr:
        """Columns of SQLite know no negative zero: it becomes zero."""
        if typed.slot is not None:
            return self.context.use(typed.slot, "DOUBLE PRECISION", _unsigned)
        if typed.is_constant or typed.column is not None:
            return literal(0.0).node if typed.constant == 0 else typed.node
        return exp.Add(this=paren(typed.node), expression=literal(0.0).node)

    def _no_number(self, typed: Typed, column: Column) -> exp.Expr:
        """SQLite would make a number of a text that is spelled as one; a text column on Postgres cannot."""
        if typed.slot is not None:
            return self.context.use(typed.slot, "TEXT", Worded(column) if is_wide(column) else no_number)
        if isinstance(typed.constant, str) and number_of(typed.constant) is not None:
            return self._kept_text(typed, column)
        if typed.is_constant or (typed.column is not None and typed.affinity in NUMERIC_AFFINITIES):
            return typed.node
        self._note_unsure(column)
        return helper("text_strict", typed.node)

    def _note_unsure(self, column: Column) -> None:
        if is_wide(column):
            self.context.unsure.append(column)

    def left_out(self, column: Column) -> None:
        """A column that INSERT gives no value. Raises `Refused` if its default is a literal that it cannot hold."""
        written = column.default
        if written is None:
            return
        if column.default_lacks:
            raise Refused(f"The default of column {column.name}, which Postgres has not,", _GIVE_ONE)
        if is_misfit(column):
            what = f"The default of column {column.name}, which Postgres cannot hold,"
            raise Refused(what, _GIVE_ONE)

    def _kept_text(self, typed: Typed, column: Column) -> exp.Expr:
        """A text column without TEXT affinity would hold a number as a number, which Postgres cannot."""
        what = f"{named(typed.kind)} for column {column.name}, which holds text,"
        if is_wide(column):
            raise Unheld(what, column, typed.constant, slot=typed.slot, integer=typed.kind is Kind.INT)
        raise Refused(what, GIVE)


def is_misfit(column: Column) -> bool:
    """Whether the default is a literal that SQLite would keep otherwise than the column on Postgres can."""
    written = column.default
    if written is None:
        return False
    kind, number = column_kind(column), number_of(written)
    whole, quoted_is_text = isinstance(number, int), _as_it_is(column)
    text_of = written[1:-1] if written[:1] == written[-1:] == "'" and len(written) > 1 else None
    if kind is Kind.INT:
        fraction = number is not None and not whole
        return fraction or (text_of is not None and (quoted_is_text or _not_whole(text_of)))
    if kind is Kind.REAL:
        worded = text_of is not None and (quoted_is_text or number_of(text_of) is None)
        return worded or (quoted_is_text and whole)
    if kind is Kind.TEXT and column.affinity != "TEXT":
        return number is not None or is_truth(written) or (text_of is not None and number_of(text_of) is not None)
    return False


def is_truth(written: str) -> bool:
    """Whether that is TRUE or FALSE, which are numbers."""
    return written.upper() in ("TRUE", "FALSE")


def _document(typed: Typed, column: Column) -> exp.Expr:
    """A computed value for a column of JSON, where it is a text, or a number that the column's affinity keeps."""
    if column.affinity in NUMERIC_AFFINITIES:
        typed = Typed(helper("kept", dynamic(typed)), Kind.DYNAMIC)
    node = helper("text_strict", typed.node) if typed.kind is Kind.DYNAMIC else text(typed).node
    return cast(helper(f"{base_of(column)}_strict", node), column.target_type)


def _any(typed: Typed, column: Column) -> exp.Expr:
    held = dynamic(typed)
    return helper("kept", held) if column.affinity in NUMERIC_AFFINITIES else held


def _as_it_is(column: Column) -> bool:
    """Whether SQLite keeps values in the column as they come."""
    return column.affinity not in ("TEXT", *NUMERIC_AFFINITIES)


def _number_in(typed: Typed, kind: Kind, column: Column) -> Typed:
    """What a column of numbers makes of it: of a literal text the number. Raises `Refused` for any other, and `Unheld`
    for what a column of integers could hold if it were widened."""
    if kind not in (Kind.INT, Kind.REAL) or typed.kind is kind:
        return typed
    if _as_it_is(column):
        what = f"{named(typed.kind)} for column {column.name}, which has no declared type and holds {kind} alone,"
        raise Refused(what, GIVE)
    if kind is Kind.INT and typed.is_constant and is_wide(column):
        Whole(column)(typed.constant)
    if not isinstance(typed.constant, str):
        return typed
    number = number_of(typed.constant)
    if number is None:
        raise Refused(f"The text for column {column.name} of type {column.target_type}", GIVE)
    return literal(number)


def no_number(value: str) -> str:
    """The text, if it is not spelled as a number. Raises `Unrepresentable`."""
    if number_of(value) is not None:
        raise Unrepresentable("a number in a column of text")
    return value


def _not_whole(text_of: str) -> bool:
    return not isinstance(number_of(text_of), int)


def _unsigned(value: float) -> float:
    return value + 0.0


def _natural(column: Column) -> Kind:
    """The kind of argument that NULL may be taken for beside this column."""
    kind = column_kind(column)
    if kind in (Kind.JSON, Kind.WHOLE):
        return Kind.TEXT if affinity_of(column.declared) in ("TEXT", "NUMERIC") else Kind.INT
    return Kind.INT if kind is Kind.BOOL else kind
