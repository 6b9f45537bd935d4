"""Batons and tokens cannot be made up."""

import base64

import pytest
from pydantic import SecretStr

from cutover.errors import ConfigurationError
from cutover.hrana.access import Tokens
from cutover.hrana.batons import Batons
from cutover.settings import FrontSettings


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


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        ("Bearer one", True),
        ("bearer two", True),
        ("Bearer three", False),
        ("Bearer on", False),
        ("Bearer", False),
        ("Basic one", False),
        ("one", False),
        ("Bearer \udcff", False),
        (None, False),
    ],
)
def test_tokens(header: str | None, admitted: bool) -> None:
    tokens = Tokens(FrontSettings(tokens=(SecretStr("one"), SecretStr("two"))))
    assert tokens.admit(header) is admitted


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer None", "nonsense"])
def test_without_tokens_whatever_comes_is_ignored(header: str | None) -> None:
    assert Tokens(FrontSettings()).admit(header)


def test_a_token_file(tmp_path) -> None:
    path = tmp_path / "tokens"
    path.write_text("alpha\n\n  beta \n")
    tokens = Tokens(FrontSettings(token_file=str(path)))
    assert tokens.admit("Bearer beta")
    assert not tokens.admit("Bearer ")
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="holds no token"):
        Tokens(FrontSettings(token_file=str(path)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Tokens(FrontSettings(token_file=str(tmp_path / "absent")))


def test_empty_tokens_do_not_open_the_door() -> None:
    with pytest.raises(ConfigurationError):
        Tokens(FrontSettings(tokens=(SecretStr(" "),)))
