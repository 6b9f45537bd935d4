"""The memory of translations keeps what is used, whatever else comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutover.dialect.recent import Recent


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 4))
def test_the_last_ones_used_are_known_and_no_more_than_twice_as_many(used: list[int], size: int) -> None:
    recent: Recent[int, int] = Recent(size)
    order: list[int] = []
    for key in used:
        found = recent.get(key)
        assert found in (None, key + 1)
        if key in order[-size:]:
            assert found == key + 1
        if found is None:
            recent.put(key, key + 1)
        order = [other for other in order if other != key] + [key]
        assert len(recent) <= 2 * size
