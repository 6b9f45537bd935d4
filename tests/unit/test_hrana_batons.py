"""Batons and tokens cannot be made up."""

import base64

import pytest

from cutover.hrana.batons import Batons


def test_a_baton_is_read_by_who_wrote_it_only() -> None:
    batons = Batons()
    baton = batons.write(2**48, 3)
    assert batons.read(baton) == (2**48, 3)
    assert Batons().read(baton) is None


def test_no_baton_can_be_forged() -> None:
    batons = Batons()
    raw = base64.urlsafe_b64decode(batons.write(1, 1) + "==")
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert batons.read(base64.urlsafe_b64encode(changed).decode()) is None


@pytest.mark.parametrize("text", ["", "x", "é", "====", "A" * 10_000, "\x00"])
def test_nonsense_is_no_baton(text: str) -> None:
    assert Batons().read(text) is None
