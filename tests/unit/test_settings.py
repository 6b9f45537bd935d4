"""Settings: where they come from, what wins, and what an operator is told when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from cutover.errors import ConfigurationError
from cutover.settings import FLAT_SECTIONS, Settings, load_settings


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cutover.toml"
    path.write_text(text)
    return path


def _keys() -> list[tuple[str, str, object]]:
    found = []
    for section in FLAT_SECTIONS:
        model = getattr(Settings(), section)
        assert isinstance(model, BaseModel)
        found += [(section, field.alias or name, field.default) for name, field in type(model).model_fields.items()]
    return found


_ACCEPTED = {
    ("service", "role"): "gateway",
    ("service", "expect_primary"): "postgres",
    ("service", "log_format"): "json",
    ("service", "log_level"): "debug",
    ("postgres", "ssl_mode"): "require",
    ("postgres", "rowid"): "drop",
    ("postgres", "url"): "postgres://somebody@one:5432,[::1]:5433/app",
    ("front", "jwt_algorithm"): "HS256",
    ("front", "limit_ties"): "any",
    ("front", "max_statement_bytes"): "43210",
    ("mirror", "schema_changes"): "stop",
    ("compare", "shadow_read_sample"): "0.5",
    ("compare", "shadow_write_sample"): "0.5",
}


@pytest.mark.parametrize(("section", "key", "default"), _keys(), ids=lambda value: str(value)[:24])
def test_every_key_can_be_given_in_the_environment(section: str, key: str, default: object) -> None:
    if (section, key) in _ACCEPTED:
        value = _ACCEPTED[section, key]
    elif isinstance(default, bool):
        value = "false" if default else "true"
    else:
        value = "4321"
    settings = load_settings(None, {f"CUTOVER_{section}_{key}".upper(): value})
    given = getattr(settings, section).model_dump(by_alias=True)[key]
    assert given != default
    if not isinstance(default, bool):
        shown = given[0] if isinstance(given, tuple) else given
        plain = shown.get_secret_value() if hasattr(shown, "get_secret_value") else shown
        assert str(plain).removesuffix(".0") == value


def test_the_environment_wins_over_the_file_and_the_file_over_the_application(tmp_path: Path) -> None:
    file = _file(tmp_path, '[sqlite]\npath = "file.db"\n[postgres]\npool_size = 7\n')
    environ = {
        "HUMANONLY_DB_FILE": "application.db",
        "HUMANONLY_POSTGRES_POOL_SIZE": "9",
        "CUTOVER_POSTGRES_POOL_SIZE": "11",
    }
    settings = load_settings(file, environ)
    assert (settings.sqlite.path, settings.postgres.pool_size) == ("file.db", 11)
    assert load_settings(None, environ).sqlite.path == "application.db"


def test_the_contract_with_humanonly() -> None:
    settings = load_settings(
        None,
        {
            "HUMANONLY_DB_FILE": "h.db",
            "HUMANONLY_POSTGRES_URL": "postgresql://h@localhost/h",
            "HUMANONLY_AUDIT_LOG_FILE": "audit.jsonl",
            "HUMANONLY_POSTGRES_POOL_SIZE": "5",
            "HUMANONLY_POSTGRES_CONNECTION_TIMEOUT_MS": "2500",
            "HUMANONLY_POSTGRES_STATEMENT_TIMEOUT_MS": "15000",
            "HUMANONLY_POSTGRES_SSL_MODE": "require",
            "HUMANONLY_STORAGE_BACKEND": "sqlite",
        },
    )
    assert settings.sqlite.path == "h.db"
    assert settings.postgres.url.get_secret_value() == "postgresql://h@localhost/h"
    assert settings.service.application_audit_log == "audit.jsonl"
    assert settings.postgres.pool_size == 5
    assert settings.postgres.connect_timeout == 2.5
    assert settings.postgres.statement_timeout == 15
    assert settings.postgres.ssl_mode == "require"
    assert settings.service.expect_primary == "sqlite"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:secret-word@[::1:5432/app",
        "postgres://u:secret-word@host:port/app",
        "postgres://u:secret-word@host:99999/app",
        "mysql://u:secret-word@host/app",
        "host=there password=secret-word",
        "postgres://u:secret-word@host/a\0b",
    ],
)
def test_a_url_that_is_none_is_told_where_it_is_given_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None, {"CUTOVER_POSTGRES_URL": url})
    told = f"{caught.value} {caught.value!r}"
    assert "postgres.url: " in told
    assert "secret-word" not in told
    assert caught.value.__cause__ is None


def test_no_path_holds_a_nul(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite\.path: no path"):
        load_settings(_file(tmp_path, '[sqlite]\npath = "a\\u0000b"\n'), {})


def test_no_expectation_is_the_default() -> None:
    assert load_settings(None, {}).service.expect_primary == ""
    with pytest.raises(ConfigurationError, match=r"expect_primary.*'sqlite' or 'postgres'"):
        load_settings(None, {"HUMANONLY_STORAGE_BACKEND": "file"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[sqlite]\npaht = "x"', "sqlite.paht is no setting. The nearest known is path."),
        ("[sqlite]\npoolsize = 3", "sqlite.poolsize is no setting. The nearest known is postgres.pool_size."),
        ("[postgres]\npoolsize = 3", "postgres.poolsize is no setting. The nearest known is pool_size."),
        ("[sqlite]\nzzz = 3", "sqlite.zzz is no setting. Known here: path, busy_timeout, statement_timeout, readers."),
        ("[mirorr]\nbatch_rows = 1", "mirorr is no setting. The nearest known is mirror."),
        ('[tables.users]\ntraget = "x"', "tables.users.traget is no setting. The nearest known is target."),
        ('[tables.users.columns.a]\ntyp = "x"', "tables.users.columns.a.typ is no setting. The nearest known is type."),
        (
            '[[invariants]]\nname = "x"\nexpects = "1"',
            "invariants.0.expects is no setting. The nearest known is expect.",
        ),
        ("[mirror]\nbatch_rows = 0", "mirror.batch_rows: Input should be greater than or equal to 1."),
        ('[front]\nhold_timeout = "soon"', '"250ms", "5s" or "1h"'),
        ("[front]\nhold_timeout = -1", "front.hold_timeout"),
        ("[front]\nhold_timeout = inf", "front.hold_timeout"),
        ('[postgres]\nschema = ""', "postgres.schema: String should have at least 1 character."),
        ('[postgres]\nssl_mode = "no-verify"', "postgres.ssl_mode: Input should be 'disable'"),
        ("[sqlite\n", "cutover.toml"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings(_file(tmp_path, text), {})
    assert told in str(error.value)


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings(_file(tmp_path, "[mirror]\nbatch_rows = 0\nbackfill_rows = 0"), {})
    assert "batch_rows" in str(error.value)
    assert "backfill_rows" in str(error.value)


def test_a_section_that_is_a_value_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[sqlite\]"):
        load_settings(_file(tmp_path, 'sqlite = "app.db"'), {"CUTOVER_SQLITE_PATH": "x.db"})


def test_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="nearest known is CUTOVER_SQLITE_PATH"):
        load_settings(None, {"CUTOVER_SQLITE_PAHT": "x"})


def test_variables_of_the_command_line_and_of_kubernetes_are_no_settings() -> None:
    environ = {
        "CUTOVER_ADMIN_TOKEN": "t",
        "CUTOVER_ADMIN_URL": "http://localhost",
        "CUTOVER_CONFIG": "x",
        "CUTOVER_PORT": "tcp://10.0.0.1:8080",
        "CUTOVER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "CUTOVER_SERVICE_HOST": "10.0.0.1",
        "CUTOVER_ADMIN_SERVICE_PORT_HTTP": "8081",
        "CUTOVER_ADMIN_PORT": "tcp://10.0.0.1:8081",
    }
    assert load_settings(None, environ) == Settings()
    with pytest.raises(ConfigurationError):
        load_settings(None, {"CUTOVER_ADMIN_PORT": "8081"})


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cutover plan"):
        load_settings(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [('"250ms"', 0.25), ('"5s"', 5), ('"2m"', 120), ('"2min"', 120), ('"1h"', 3600), ('"1d"', 86400), ("1.5", 1.5)],
)
def test_durations(tmp_path: Path, written: str, seconds: float) -> None:
    assert load_settings(_file(tmp_path, f"[front]\nhold_timeout = {written}"), {}).front.hold_timeout == seconds


def test_secrets_are_masked_and_never_in_an_error(tmp_path: Path) -> None:
    secret = "hunter2"
    environ = {
        "CUTOVER_POSTGRES_URL": f"postgresql://u:{secret}@h/d",
        "CUTOVER_FRONT_TOKENS": f"{secret},other",
        "CUTOVER_ADMIN_ADMIN_TOKEN": secret,
    }
    settings = load_settings(None, environ)
    assert secret not in repr(settings)
    assert secret not in str(settings.model_dump())
    assert [token.get_secret_value() for token in settings.front.tokens] == [secret, "other"]
    with pytest.raises(ConfigurationError) as error:
        load_settings(_file(tmp_path, f'[front]\ntokens = "{secret}"\n[admin]\nadmin_token = ["{secret}"]'), {})
    assert secret not in str(error.value)


@pytest.mark.parametrize("value", ["", ",", " , "])
def test_a_blank_is_no_token(value: str) -> None:
    assert load_settings(None, {"CUTOVER_FRONT_TOKENS": value}).front.tokens == ()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().mirror.batch_rows = 1  # type: ignore[misc]  # that is the point
