"""What a store can do, whichever database it is. Everything above `stores/` is written against this file.

Two implementations, one conformance suite (`tests/contract`). Either may be primary or shadow:

    as primary   session, snapshot, sync, trim, fence, highest_keys, release, mark_committing, settle
    as shadow    applier, prepare, receive, outcome, tombstone
    as either    control, digests and rows (through a snapshot), capture, wake

All methods raise `StoreUnavailable` when the store is away, and other `StoreError`s as each says. Rows and keys
are tuples of SQLite's values (`cutover.model.values`); the Postgres store converts at its own border.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from cutover.model.control import BackfillProgress, Control, Identity, Outcome, StoreName
from cutover.model.table import Table, Tables
from cutover.model.values import Applied, Key, Page, Pending, Quarantined, RangeDigest, Row, ScannedRange
from cutover.stores.executing import Executor


class Snapshot(Protocol):
    """One read snapshot: everything read through it is one committed state. Keep it short-lived.

    The state is fixed when the context of `Store.snapshot` is entered, not at the first read: the comparator opens
    one on each side while nothing is applied, and reads them after the mirror went on.
    On Postgres: REPEATABLE READ READ ONLY, opened after LOCK TABLE ... IN ACCESS SHARE MODE (hazard 10).
    """

    async def pending(self) -> Pending:
        """The change log as this snapshot sees it."""
        ...

    def changed(self, table: Table, fetch: int) -> AsyncIterator[list[tuple[Key, Row | None]]]:
        """Distinct keys logged for `table`, each with its current row (None: it is gone), up to `fetch` at a time.

        Rows are matched to keys by type and bytes, never by the column's collation (hazard 22).
        """
        ...

    async def pending_keys(self, table: Table, keys: Sequence[Key]) -> set[Key]:
        """Which of `keys` have an entry in the change log."""
        ...

    async def rows(self, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        """The rows with these keys; absent keys are absent."""
        ...

    async def range(self, table: Table, after: Key | None, limit: int) -> list[Row]:
        """The next `limit` rows in byte order of the key, after `after` (None: from the first)."""
        ...

    async def page(self, table: Table, after: Key | None, rows: int, size: int) -> Page:
        """As `range`, but no more rows than come to about `size` bytes; at least one, if there is one."""
        ...

    async def between(self, table: Table, after: Key | None, upto: Key | None) -> list[Row]:
        """All rows with after < key <= upto; None is open on that side."""
        ...

    async def scan(self, table: Table, after: Key | None, rows_per_range: int, ranges: int) -> list[ScannedRange]:
        """Cut up to `ranges` ranges of `rows_per_range` rows each (the last may be shorter), with digests, in one pass.

        Fewer ranges than asked, or a short last one, means that the end was reached.
        """
        ...

    async def digests(self, table: Table, after: Key | None, uppers: Sequence[Key], *, tail: bool) -> list[RangeDigest]:
        """Digests of (after, uppers[0]], (uppers[0], uppers[1]] ...; with `tail` one more, beyond the last upper."""
        ...

    async def count(self, table: Table) -> int:
        """Number of rows."""
        ...

    async def orphans(self, table: Table) -> dict[str, int]:
        """For each foreign key of `table.foreign_keys` ("posts.author_id -> users.id"): rows without a parent."""
        ...

    async def scalar(self, sql: str) -> str | None:
        """First column of the first row of a read-only query in this store's own SQL, as text (None: NULL)."""
        ...


class Applier(Protocol):
    """One write transaction on the shadow, with the fence lifted and the shadow's own machinery at rest.

    Leaving the context commits; an exception rolls back. Rows that the store cannot hold are put into quarantine in
    the same transaction, and their stale versions removed; a row that fits again leaves quarantine.
    """

    async def apply(self, table: Table, upserts: Sequence[Row], deletes: Sequence[Key]) -> Applied:
        """Make these rows so, and those keys absent. Unchanged rows are not rewritten."""
        ...

    async def replace_range(self, table: Table, after: Key | None, upto: Key | None, rows: Sequence[Row]) -> Applied:
        """Make after < key <= upto hold exactly `rows` (None is open). Used by backfill and re-copy."""
        ...

    async def begin_copy(self, table: Table) -> None:
        """The copy of this table begins: put aside what only slows a load, if nothing is there yet. Best effort."""
        ...

    async def end_copy(self, table: Table) -> bool:
        """All rows are there: put back one of the things that `begin_copy` put aside. False: there is none left."""
        ...

    async def save_progress(self, progress: BackfillProgress) -> None:
        """Record how far the copy of a table is, in this same transaction."""
        ...


class Store(Protocol):
    """One database of the pair."""

    name: StoreName

    async def open(self) -> None:
        """Connect. Raises `StoreUnavailable`, or `OwnedElsewhere` for a SQLite file with another owner."""
        ...

    async def close(self) -> None:
        """Let go of every connection; idempotent."""
        ...

    def serve_tables(self, tables: Tables, held: Tables = ()) -> None:
        """Tell the store what is mapped. Called after `open`, and again when the mapping changed.

        `held` tables are not mirrored for now; as the shadow the store keeps them fenced all the same.
        """
        ...

    # -- control ---------------------------------------------------------------------------------------------------

    async def control(self) -> Control | None:
        """The control row, None where cutover was never installed."""
        ...

    async def demand_room(self) -> None:
        """For a primary. Raises `StoreError` if it does not answer, or if its disk is too full for a write."""
        ...

    async def initialise(self, control: Control) -> None:
        """Create cutover's own tables (and, on Postgres, missing target tables) and write a first control row.

        Idempotent as to tables; refuses (`StoreError`) where a control row with another pair_id exists.
        """
        ...

    async def write_control(self, control: Control, *, expect: Control) -> None:
        """Replace the control row durably if it still is `expect` (anchor and batches aside); else `StaleApplier`."""
        ...

    async def anchor(self, sequence: int, digest: str) -> None:
        """Record the head of the audit log in the control row."""
        ...

    async def identity(self) -> Identity | None:
        """What server this is; None for SQLite."""
        ...

    # -- capture ---------------------------------------------------------------------------------------------------

    async def install_capture(self) -> None:
        """Install or repair capture on all mapped tables, in one transaction. Idempotent."""
        ...

    async def check_capture(self) -> list[str]:
        """What is wrong with capture or the mapped schema, one sentence each; empty if intact."""
        ...

    async def schema_fingerprint(self) -> str:
        """Changes when the schema of a mapped table, or the set of application tables, changes."""
        ...

    async def wait_for_change(self, timeout: float) -> bool:
        """Return True soon (100 ms) after any commit that may have logged a change, False after `timeout` seconds."""
        ...

    def wake(self) -> None:
        """Tell `wait_for_change` that this process committed something."""
        ...

    # -- as primary ------------------------------------------------------------------------------------------------

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open a read snapshot."""
        ...

    async def lag(self) -> tuple[int, float | None]:
        """Entries in the change log and when the oldest was written (seconds since 1970), computed now."""
        ...

    async def sync(self) -> None:
        """Return when everything visible so far would survive a power cut (WAL fsync; synchronous barrier commit)."""
        ...

    def pass_over(self, pending: Pending) -> bool:
        """Show the entries of `pending` no more, though they stay in the log until a later trim.

        False where a trim is in nobody's way, or too many have gathered: then it is to be done at once.
        """
        ...

    async def trim(self, pending: Pending, batch: int) -> None:
        """Remove exactly the log entries of `pending`, once: repeated with the same `batch` it removes nothing."""
        ...

    # -- as shadow -------------------------------------------------------------------------------------------------

    def applier(self, generation: int, epoch: int, batch: int | None) -> AbstractAsyncContextManager[Applier]:
        """Begin an apply transaction. With `batch`, its number is recorded as applied.

        Raises `StaleApplier` if the control row has another generation, epoch or primary than this applier believes.
        """
        ...

    async def take_over(self, generation: int) -> None:
        """Record a new owner's generation and end appliers of older ones."""
        ...

    async def quarantined(self) -> list[Quarantined]:
        """Rows in quarantine on this store."""
        ...

    async def progress(self) -> dict[str, BackfillProgress]:
        """Backfill progress by table name; tables never begun are absent."""
        ...

    async def forget_quarantine(self, tables: Sequence[str]) -> None:
        """Take everything of tables that are gone out of quarantine."""

    async def forget_progress(self, tables: Sequence[str]) -> None:
        """Have these tables copied again from the start."""
        ...

    # -- the switch ------------------------------------------------------------------------------------------------

    async def make_way(self) -> None:
        """Either side, just before the pause: have maintenance let go of what a switch will lock.

        Best effort, for a few seconds; readers and writers do not wait.
        """
        ...

    async def fence(self, control: Control, timeout: float) -> None:
        """Giver: in one transaction verify capture, install or enable the fence, write `control`.

        Raises `CaptureBroken`, or `FenceTimeout` naming the writers that would not let go; then nothing changed.
        """
        ...

    async def highest_keys(self) -> dict[str, int]:
        """Giver: by table name, the highest automatic key known to be given, also if its row is gone. Only reads.

        Final once the fence stands. Zero: none was given; absent: keys need no such memory, or nobody knows. SQLite
        tells of tables without an integer key the highest rowid that a row has.
        """
        ...

    async def release(self, control: Control) -> None:
        """Giver, abort: lift the fence and write `control`, in one transaction. Idempotent.

        A fence that does not stand needs no lock, so nobody is waited for.
        """
        ...

    async def prepare(self, switch_id: str) -> None:
        """Receiver: durably record the switch as prepared."""
        ...

    async def receive(
        self, control: Control, switch_id: str, timeout: float, *, floors: Mapping[str, int] | None = None
    ) -> None:
        """Receiver: THE commit point. In one transaction, sent as one call: locks, foreign keys and user triggers
        restored, sequences set, capture on, fence off, switch outcome committed, `control` written.

        Automatic keys go on above the rows there are and above `floors`, which are the giver's `highest_keys`; so do
        the numbers of rows without one. AUTOINCREMENT remembers exactly these: what was counted here before, or while
        rows were applied, is none of the giver's.

        Raises `FenceTimeout` if locks were not had in time (nothing changed); `StoreUnavailable` if the answer was
        lost, in which case only `outcome` knows.
        """
        ...

    async def settle(self, control: Control) -> None:
        """Giver, after the commit: become shadow. Still fenced; capture off; user triggers suspended. Idempotent."""
        ...

    async def outcome(self, switch_id: str) -> Outcome | None:
        """Receiver: what is recorded of this switch; None if it was never prepared here."""
        ...

    async def tombstone(self, switch_id: str) -> Outcome:
        """Receiver: make a prepared switch impossible to commit, ending sessions that may still be committing it.

        Returns the outcome that stands then: aborted, or committed if the commit won.
        """
        ...

    async def validate(self) -> list[str]:
        """Prove the foreign keys that were restored unproved; what does not hold, one sentence each."""
        ...

    async def dismantle(self, control: Control, *, helpers: bool) -> list[str]:
        """`finish` on the primary: remove triggers, logs and applier state; keep the control row, written last.

        With `helpers`, functions that translated statements call stay. Returns what stays beside the control row, and
        why. Idempotent.
        """
        ...

    async def probe(self) -> list[tuple[str, bool, str]]:
        """Readiness of this store to be primary: (check, ok, detail) for version, privileges, durability, sequences."""
        ...

    # -- for people ------------------------------------------------------------------------------------------------

    async def backup(self, path: str) -> str:
        """Write a consistent, checked copy to `path`; returns its SHA-256. SQLite only; else `StoreError`."""
        ...

    def describe(self) -> str:
        """Where and what version, without secrets."""
        ...

    def holders(self) -> list[tuple[int, str]]:
        """(process id, name) of other processes on this machine that have the file open; empty for a server."""
        ...


@dataclass(frozen=True)
class Member:
    """One side of the pair: the store and what runs applications' SQL on it."""

    store: Store
    executor: Executor
