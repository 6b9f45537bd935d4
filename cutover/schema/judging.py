"""The codec of a column as the judge of its data: what it refuses is counted by reason, with examples."""

from __future__ import annotations

import itertools
import re
import sqlite3

from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import codec_for

_VALUES = re.compile(r"-?\d[\d.,:+TZ-]*")


_numbers = itertools.count()


class Judge:
    """An SQL function that says whether a value is refused. SQLite calls it once a row of a pass."""

    def __init__(self, connection: sqlite3.Connection, column: Column) -> None:
        """Raises `SchemaError` where the type has no codec."""
        self.name = f"cutover_refused_{next(_numbers)}"
        self.reasons: dict[str, int] = {}
        """Rows refused, by reason; values in reasons are left out."""
        self._codec = codec_for(column)
        self.counting = True
        connection.create_function(self.name, 2, self._refused)

    def condition(self, value: str) -> str:
        """SQL of 1 for a refused value, 0 for any other. Text crosses as a blob, so that any bytes arrive."""
        raw = f"CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) ELSE {value} END"
        return f"CASE WHEN {value} IS NULL THEN 0 ELSE {self.name}({raw}, typeof({value}) = 'text') END"

    def _refused(self, raw: SqlValue, is_text: int) -> int:
        value = raw.decode("utf-8", "surrogateescape") if is_text and isinstance(raw, bytes) else raw
        if self._codec.quick is not None and self._codec.quick(value) is not None:
            return 0
        try:
            self._codec.to_target(value)
        except Unrepresentable as refusal:
            if self.counting:
                reason = _VALUES.sub("…", refusal.message)
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
            return 1
        return 0
