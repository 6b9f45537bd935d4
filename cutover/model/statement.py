"""Statements of applications and what comes back, whichever store runs them. The shapes follow Hrana."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cutover.errors import Fenced, StatementError, StoreUnavailable
from cutover.model.values import Row, SqlValue

UNDONE = ("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_FULL")
"""Errors of a statement that had begun to write: SQLite's changes() is of it, then, as of any that came at a row."""


@dataclass(slots=True)
class Past:
    """What SQLite remembers for a connection, and here is a stream's own."""

    last_insert_rowid: int = 0
    changes: int = 0
    total_changes: int = 0

    def note(self, result: StatementResult) -> None:
        """A statement wrote."""
        self._count(result.affected, result.last_insert_rowid)

    def failed(self, error: StatementError) -> None:
        """A statement failed that would have written."""
        if error.code in UNDONE or error.at_a_row:
            self._count(error.changes, error.last_insert_rowid)

    def _count(self, changes: int, last_insert_rowid: int | None) -> None:
        self.changes = changes
        self.total_changes += changes
        if last_insert_rowid is not None:
            self.last_insert_rowid = last_insert_rowid


@dataclass(slots=True)
class Statement:
    """One SQL statement in SQLite's dialect with its arguments."""

    sql: str
    args: tuple[SqlValue, ...] = ()
    named: tuple[tuple[str, SqlValue], ...] = ()
    """(name with or without its prefix, value)."""
    want_rows: bool = True
    past: Past | None = None
    """Of the stream, where the first statement of a batch comes from one whose statements ask for it, or go by it."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result; `decltype` as written in CREATE TABLE, for plain table columns only."""

    name: str
    decltype: str | None = None


class Columns(list[ResultColumn]):
    """Columns that many results have. They do not change, so what was written of them can be kept beside them."""

    __slots__ = ("written",)

    def __init__(self, columns: Iterable[ResultColumn]) -> None:
        super().__init__(columns)
        self.written: bytes | None = None
        """As a door has written them."""


@dataclass(slots=True)
class StatementResult:
    """Rows are in SQLite's values. `affected` is the statement's own count, 0 for reads and DDL."""

    columns: list[ResultColumn] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    affected: int = 0
    last_insert_rowid: int | None = None
    size: int = 0
    """About how many bytes the rows take in an answer."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A result, and the seconds that the store took for it."""

    result: StatementResult
    seconds: float


@dataclass(frozen=True, slots=True)
class Description:
    """What a statement is, without running it."""

    params: tuple[str | None, ...]
    columns: tuple[ResultColumn, ...]
    is_explain: bool
    is_readonly: bool


@dataclass(frozen=True, slots=True)
class Ok:
    """True if that step ran and succeeded."""

    step: int


@dataclass(frozen=True, slots=True)
class Failed:
    """True if that step ran and failed (a skipped step did neither)."""

    step: int


@dataclass(frozen=True, slots=True)
class Not:
    """True if the inner condition is not."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class All:
    """`and`: true if every inner condition is, also if there is none."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """`or`: true if one inner condition is."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class IsAutocommit:
    """True outside a transaction."""


Condition = Ok | Failed | Not | All | Any | IsAutocommit


@dataclass(slots=True)
class Step:
    """One statement of a batch; it runs if its condition holds."""

    statement: Statement
    condition: Condition | None = None


@dataclass(slots=True)
class BatchResult:
    """One entry a step in each list; a skipped step has None in both."""

    results: list[StatementResult | None] = field(default_factory=list)
    errors: list[StatementError | None] = field(default_factory=list)


BatchOutcome = BatchResult | StatementError | Fenced | StoreUnavailable
"""What came of a batch: its result, or why nothing of it was executed (`StoreUnavailable`: may have been)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of what a batch comes to: a step begins, has rows, and ends or fails. A step that is skipped has none."""

    step: int
    begins: list[ResultColumn] | None = None
    rows: Sequence[Row] = ()
    ends: StatementResult | None = None
    """Without columns and rows."""
    error: StatementError | None = None


def pieces_of(result: BatchResult) -> Iterator[Piece]:
    """A whole result in pieces."""
    for step, (found, error) in enumerate(zip(result.results, result.errors, strict=True)):
        if error is not None:
            yield Piece(step, error=error)
        elif found is not None:
            yield Piece(step, begins=found.columns, rows=found.rows, ends=found)


def holds(condition: Condition | None, so_far: BatchResult, *, autocommit: bool) -> bool:
    """Whether a step with this condition runs, given the steps before it (Hrana 3, "Batch conditions")."""
    match condition:
        case None:
            return True
        case Ok(step):
            return so_far.results[step] is not None
        case Failed(step):
            return so_far.errors[step] is not None
        case Not(inner):
            return not holds(inner, so_far, autocommit=autocommit)
        case All(inner_all):
            return all(holds(inner, so_far, autocommit=autocommit) for inner in inner_all)
        case Any(inner_any):
            return any(holds(inner, so_far, autocommit=autocommit) for inner in inner_any)
        case IsAutocommit():
            return autocommit
