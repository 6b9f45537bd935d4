"""Every error that cutover raises on purpose.

    CutoverError
    ├── ConfigurationError      settings are wrong; nothing was started          (exit code 2)
    ├── OwnedElsewhere          another owner holds this SQLite file             (exit code 2)
    ├── SchemaError             a table or column cannot be served as it is
    ├── NoSuchTable             a name that is no mapped table                   (HTTP 404)
    ├── Unrepresentable         the other store cannot hold this value           (row is quarantined)
    ├── StoreError              a store answered with an error
    │   ├── StoreUnavailable    ... because it is away; retry helps
    │   ├── Fenced              ... because it is not the primary
    │   ├── RolesChanging       ... because the primary is being changed; retry helps
    │   ├── FenceTimeout        ... a writer would not let go within the deadline
    │   ├── StaleApplier        ... because a newer owner or epoch exists
    │   ├── ControlDamaged      ... its control row is missing, or was edited    (exit code 2)
    │   └── CaptureBroken       ... its triggers or schema are not what they should be
    │       └── SchemaChanged   ... the schema is not the one that the tables were mapped from; retry helps
    ├── StatementError          an application's SQL failed; has a SQLite code
    ├── SwitchRefused           the state forbids it                             (HTTP 409)
    │   └── GatesFailed         a gate is not passed and was not overridden
    ├── SwitchAborted           a switch began and was taken back; nothing lost  (HTTP 409)
    └── AuditBroken             the audit chain does not hold

Each error says what was wrong and what to do (`hint`), and whether the same call may succeed later (`retry`).
"""

from __future__ import annotations


class CutoverError(Exception):
    """Base of all errors above. `code` is stable and safe to match on; `hint` says what to do."""

    code = "error"
    retry = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class ConfigurationError(CutoverError):
    """A setting is unknown, malformed, or contradicts what is recorded."""

    code = "configuration"


class OwnedElsewhere(CutoverError):
    """Another process owns the SQLite file; it is named in the message."""

    code = "owned_elsewhere"


class SchemaError(CutoverError):
    """A table, column or mapping that cannot be served as it is."""

    code = "schema"


class NoSuchTable(CutoverError):
    """An operator named a table that is not mapped. The message names those that are."""

    code = "no_such_table"


class Unrepresentable(CutoverError):
    """A value that the other store cannot hold. Raised by codecs; ends in quarantine, never in a changed value."""

    code = "unrepresentable"


class StoreError(CutoverError):
    """A store refused or failed an operation of cutover's own (not an application's statement)."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store cannot be reached, or the connection broke. The outcome of a write is unknown unless said."""

    code = "store_unavailable"
    retry = True


class Fenced(StoreError):
    """The store is not the primary. The message names the primary and the epoch."""

    code = "fenced"
    retry = True


class RolesChanging(StoreError):
    """The primary changed, or is changing, while both stores were looked at. The same call succeeds after that."""

    code = "roles_changing"
    retry = True


class FenceTimeout(StoreError):
    """The fence (or the commit of a switch) could not get its locks in time; the message says who holds what."""

    code = "fence_timeout"
    retry = True


class StaleApplier(StoreError):
    """This process is no longer the one that may apply: a newer generation, epoch or direction is recorded."""

    code = "stale_applier"


class ControlDamaged(StoreError):
    """A control row is missing, or was edited by hand. Nothing is guessed from what is left of it."""

    code = "control_damaged"


class CaptureBroken(StoreError):
    """Capture or fence triggers are missing or altered, or the schema changed under them."""

    code = "capture_broken"


class SchemaChanged(CaptureBroken):
    """A mapped table was altered since it was mapped. Nothing is read or written before it is mapped anew."""

    code = "schema_changed"
    retry = True


class StatementError(CutoverError):
    """An application's statement failed. `code` is what Hrana clients see, such as SQLITE_CONSTRAINT."""

    def __init__(self, message: str, code: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retry = retry
        self.at_a_row = False
        """It came from a value that the statement met: SQLite's changes() is of it, as with some codes."""
        self.changes = 0
        """Rows that it changed all the same, before the one that failed (OR FAIL)."""
        self.last_insert_rowid: int | None = None
        """The last that it gave, also to a row that SQLite took back; None if it gave none, or that is not known."""

    def alone(self) -> StatementError:
        """This error without what it was raised from, to be kept in a result.

        Its traceback would hold every local on the way: the rows that were fetched, and the result that holds it. Such
        a ring is only let go when the garbage collector comes by.
        """
        self.__context__ = None
        return self.with_traceback(None)


class Defect(StatementError):
    """Something of ours is wrong in looking at one statement: it was not run, and its stream goes on."""


class SwitchRefused(CutoverError):
    """A promotion, demotion or finish was refused before it began. Nothing changed."""

    def __init__(self, message: str, code: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class SwitchAborted(CutoverError):
    """A switch began and was taken back. Primary and epoch are as before; held writes went on."""

    code = "aborted"
    retry = True


class AuditBroken(CutoverError):
    """The audit log's hash chain is broken, or its anchored head is missing."""

    code = "audit_broken"


class GatesFailed(SwitchRefused):
    """Gates are not passed. `gates` holds all of them."""

    def __init__(self, message: str, gates: list[object]) -> None:
        super().__init__(message, "gates_failed")
        self.gates = gates
