"""A transaction that was begun and has not needed Postgres yet: until then it takes neither a connection nor a turn.

As many connections in the hands of transactions that wait for their turn as there are in the pool would leave none to
the one that has it.
"""

from __future__ import annotations

from cutover.errors import StatementError


class Opening:
    """What BEGIN, SAVEPOINT, RELEASE and ROLLBACK TO have made of it."""

    def __init__(self, *, by_savepoint: bool) -> None:
        """`by_savepoint`: no BEGIN was said, so that the outermost savepoint is its end."""
        self.by_savepoint = by_savepoint
        self.savepoints: list[str] = []

    def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        self.savepoints.append(name)

    def release(self, name: str) -> bool:
        """RELEASE. Whether that ends the transaction. Raises `StatementError`."""
        at = place(self.savepoints, name)
        del self.savepoints[at:]
        return at == 0 and self.by_savepoint

    def rollback_to(self, name: str) -> None:
        """ROLLBACK TO. Raises `StatementError`."""
        del self.savepoints[place(self.savepoints, name) + 1 :]


def place(savepoints: list[str], name: str) -> int:
    """Where the innermost savepoint of that name is. Raises `StatementError`."""
    for at in range(len(savepoints) - 1, -1, -1):
        if savepoints[at].lower() == name.lower():
            return at
    raise StatementError(f"no such savepoint: {name}", "SQLITE_UNKNOWN")
