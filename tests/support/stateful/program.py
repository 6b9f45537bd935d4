"""What a generated program consists of. All of it is plain data: printed, it can be played again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.support.stateful.schema import Schema
from tests.support.stateful.statements import Portable, Statement

Way = Literal["front", "session", "script", "direct", "unchecked", "native", "beside"]
"""How statements reach a store:

front       the front door, each by itself
session     the front door, BEGIN to COMMIT (or ROLLBACK) one after the other
script      the front door, a transaction in one batch, as libSQL's clients send it
direct      the SQLite file itself, from another process
unchecked   the same, without foreign keys
native      Postgres itself
beside      direct or native, whichever is primary
"""


@dataclass(frozen=True)
class Write:
    """Statements, together in a transaction but for `front`."""

    way: Way
    statements: tuple[Statement, ...]
    commit: bool = True


@dataclass(frozen=True)
class Rewrite:
    """All rows saved anew in one transaction, as applications do that keep everything in memory; `v` may change."""

    way: Way
    v: str | None = None


@dataclass(frozen=True)
class Fill:
    """So many rows in one statement, enough for several ranges of a comparison."""

    way: Way
    table: str
    count: int


@dataclass(frozen=True)
class Verify:
    """Everything is mirrored, and both stores are equal to each other and to the model."""


@dataclass(frozen=True)
class Settle:
    """Everything is mirrored."""


@dataclass(frozen=True)
class Switch:
    """The other store becomes primary, while these are written and this transaction is open."""

    during: tuple[Write, ...] = ()
    at: str = ""
    """A crash point at which the service stands still until they are written; else they come as it goes on."""
    caught: tuple[Portable, ...] = ()
    """Of a transaction at the front door that is open when the switch begins and does not end in time."""


@dataclass(frozen=True)
class Mend:
    """Rows that Postgres cannot hold, and orphans, are deleted."""


@dataclass(frozen=True)
class Pause:
    """The mirror pauses."""


@dataclass(frozen=True)
class Resume:
    """And goes on."""


@dataclass(frozen=True)
class CopyAgain:
    """A table is copied from its start."""

    table: str


@dataclass(frozen=True)
class Tamper:
    """A row of the shadow is changed past its fence; it is reported, keeps a switch from happening, and is repaired."""

    table: str
    how: Literal["missing", "extra", "different"]
    row: int = 0
    switch: bool = False


@dataclass(frozen=True)
class Reopen:
    """The service ends in order and is started again."""


@dataclass(frozen=True)
class Kill:
    """The service dies: at once, or at a crash point while it does a step; then it is started again."""

    point: str = ""
    doing: Write | Settle | Switch | CopyAgain | Reopen = Settle()
    again: str = ""
    """A crash point of that start."""


Step = Write | Rewrite | Fill | Verify | Settle | Switch | Mend | Pause | Resume | CopyAgain | Tamper | Reopen | Kill


@dataclass(frozen=True)
class Program:
    """A schema, what the tables hold when cutover is started on them, and what happens then."""

    schema: Schema
    beginning: tuple[Portable, ...]
    steps: tuple[Step, ...]
