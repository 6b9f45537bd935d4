"""Questions of cutover's own beside an application's statement, which alone an interrupt is meant for."""

from __future__ import annotations

import sqlite3
from typing import Any


def asked(db: sqlite3.Connection, sql: str) -> Any:  # noqa: ANN401  # a row as the driver has it
    """The first row, or None. Asked again where an interrupt comes a moment late: the COMMIT before it is made."""
    while True:
        try:
            return db.execute(sql).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
