"""Tokens, token files, and where a door without a lock may stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from cutover.admin.access import allows, check_exposure, is_loopback, load_keyring, split_listen
from cutover.admin.app import make_app
from cutover.errors import ConfigurationError
from cutover.metrics import Metrics
from cutover.settings import AdminSettings
from tests.support.operations import ScriptedOperations


def test_tokens_from_settings_and_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    keys = load_keyring(AdminSettings(viewer_token=SecretStr("v"), admin_token_file=str(file)))
    assert (keys.role_of("v"), keys.role_of("from-file"), keys.role_of("other")) == ("viewer", "admin", None)
    assert keys.has("viewer")
    assert not keys.has("operator")
    assert "from-file" not in repr(keys)


@pytest.mark.parametrize("content", ["", "  \n", "two tokens\n", "one\ntwo\n"])
def test_a_token_file_holds_one_token(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"admin\.operator_token_file"):
        load_keyring(AdminSettings(operator_token_file=str(file)))


def test_a_missing_token_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_keyring(AdminSettings(viewer_token_file=str(tmp_path / "absent")))


def test_a_token_has_one_source_and_one_role(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both set"):
        load_keyring(AdminSettings(viewer_token=SecretStr("a"), viewer_token_file=str(tmp_path / "t")))
    with pytest.raises(ConfigurationError, match="are the same") as caught:
        load_keyring(AdminSettings(viewer_token=SecretStr("twin"), admin_token=SecretStr("twin")))
    assert "twin" not in str(caught.value)


def test_roles_include_the_lesser_ones() -> None:
    assert allows("admin", "viewer")
    assert allows("operator", "operator")
    assert not allows("viewer", "operator")
    assert not allows("operator", "admin")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_addresses() -> None:
    assert split_listen("127.0.0.1:8081", "admin.listen") == ("127.0.0.1", 8081)
    assert split_listen("[::1]:0", "admin.listen") == ("::1", 0)
    assert split_listen(":80", "admin.listen") == ("", 80)
    for wrong in ("8081", "host", "host:", "host:x", "host:70000", "::1:80", ""):
        with pytest.raises(ConfigurationError, match=r"admin\.listen"):
            split_listen(wrong, "admin.listen")


@pytest.mark.parametrize("listen", ["0.0.0.0:8081", "[::]:8081", ":8081", "10.1.2.3:8081"])
def test_a_door_without_a_lock_stays_on_this_machine(listen: str) -> None:
    settings, metrics = AdminSettings(listen=listen), Metrics("0")
    with pytest.raises(ConfigurationError, match="no token is set"):
        make_app(ScriptedOperations(metrics), settings, metrics)
    locked = AdminSettings(listen=listen, viewer_token=SecretStr("v"))
    check_exposure(locked, load_keyring(locked))
