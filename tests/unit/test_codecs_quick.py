"""What is passed on to Postgres unread is what the codec would have passed."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.schema.codecs import codec_for

_DIGITS = st.from_regex(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|\+00:00|\+01)?)?", fullmatch=True
)
_REAL = st.datetimes().map(str) | st.datetimes().map(datetime.isoformat).map(lambda text: f"{text}Z")


@pytest.mark.parametrize("kind", ["timestamp with time zone", "timestamp without time zone", "date"])
@given(text=_DIGITS | _REAL)
@example(text="2024-01-01 24:00:00")
@example(text="2024-12-31 23:59:60")
@example(text="0000-01-01 00:00:00")
@example(text="2023-02-29")
@example(text="2024-01-01T10:00:00.123456Z")
def test_a_quick_way_passes_nothing_that_is_refused(kind: str, text: str) -> None:
    codec = codec_for(Column("at", "DATETIME", "NUMERIC", "at", kind))
    assert codec.quick is not None
    passed = codec.quick(text)
    if passed is None:
        return
    printed = codec.to_target(text)
    assert datetime.fromisoformat(passed).replace(tzinfo=None) == datetime.fromisoformat(printed).replace(tzinfo=None)


def test_what_is_refused_is_not_passed() -> None:
    codec = codec_for(Column("at", "DATETIME", "NUMERIC", "at", "timestamp with time zone"))
    assert codec.quick is not None
    for text in ("2024-01-01 24:00:00", "2023-02-29 00:00:00", "2024-13-01 00:00:00"):
        assert codec.quick(text) is None
        with pytest.raises(Unrepresentable):
            codec.to_target(text)


def test_keys_and_coarse_columns_have_no_quick_way() -> None:
    assert codec_for(Column("at", "TEXT", "TEXT", "at", "timestamp(3) without time zone")).quick is None
    assert codec_for(Column("at", "INTEGER", "INTEGER", "at", "timestamp with time zone")).quick is None
    assert codec_for(Column("at", "TEXT", "TEXT", "at", "date", exact=True)).quick is None
