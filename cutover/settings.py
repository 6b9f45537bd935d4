"""Every setting: declared once with its default and help. Read from a TOML file, then from the environment."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from cutover.errors import ConfigurationError
from cutover.urls import split_postgres

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    """ "250ms", "5s", "1h", or a number of seconds."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?\s*", value)
    if not found:
        raise ValueError(f'{value!r} is not a duration; write seconds, or a string such as "250ms", "5s" or "1h"')
    return float(found[1]) * _UNITS[found[2] or "s"]


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _no_nul(cls, value: Any) -> Any:  # noqa: ANN401  # whatever a setting holds
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(plain, str) and "\0" in plain:
            raise ValueError("no path, name or address holds a NUL")
        return value


class SqliteSettings(_Section):
    """`[sqlite]`"""

    path: str = Field("", description="The application's SQLite file")
    busy_timeout: Duration = Field(5.0, description="How long a write waits for a direct writer's lock")
    statement_timeout: Duration = Field(30.0, description="How long an application's statement may take; 0: no limit")
    readers: int = Field(4, ge=1, description="Connections for reading")


class PostgresSettings(_Section):
    """`[postgres]`"""

    url: SecretStr = Field(SecretStr(""), description="Connection URL; empty: an embedded server, kept in state_dir")
    schema_: str = Field("public", alias="schema", min_length=1, description="Schema of the application's tables")
    pool_size: int = Field(40, ge=2, description="Connections for applications' statements")
    connect_timeout: Duration = Field(5.0, description="How long a connection attempt may take")
    statement_timeout: Duration = Field(30.0, description="How long an application's statement may take; 0: no limit")
    rowid: Literal["keep", "drop"] = Field(
        "keep", description="Whether tables made there carry SQLite's hidden rowid beside a key that is no integer"
    )
    ssl_mode: SslMode = Field("prefer", description="disable, allow, prefer, require, verify-ca or verify-full")

    @field_validator("url", mode="after")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            split_postgres(value.get_secret_value())
        return value


class ServiceSettings(_Section):
    """`[service]`"""

    state_dir: str = Field(".cutover", description="Audit log, high-water mark, verdicts, backups, embedded server")
    role: Literal["owner", "gateway"] = Field("owner", description="owner: has the SQLite file")
    owner_url: str = Field("", description="The owner's front door, for a gateway")
    expect_primary: Literal["", "sqlite", "postgres"] = Field(
        "", description="Checked against the recorded primary at start; it never switches anything"
    )
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity logged")
    shutdown_timeout: Duration = Field(5.0, description="How long what runs may go on after SIGTERM; then it is ended")
    application_audit_log: str = Field("", description="The application's own audit log; copied by backup")


class FrontSettings(_Section):
    """`[front]`"""

    listen: str = Field("127.0.0.1:8080", description="host:port of the front door; empty: off")
    tokens: tuple[SecretStr, ...] = Field((), description="Bearer tokens accepted; none: no authentication")
    token_file: str = Field("", description="File with one token per line, plain or as NAME ro|rw TOKEN")
    jwt_key_file: str = Field("", description="Public key or secret that JSON web tokens are checked with")
    jwt_algorithm: Literal["EdDSA", "HS256"] = Field("EdDSA", description="EdDSA: a public key; HS256: a secret")
    tls_cert_file: str = Field("", description="Certificate and its chain, PEM; with tls_key_file: TLS")
    tls_key_file: str = Field("", description="Private key of the certificate, PEM")
    max_request_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest request body")
    max_statement_bytes: int = Field(1_000_000, ge=32 * 1024, description="Longest SQL text of one statement")
    max_response_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest answer, about")
    transaction_timeout: Duration = Field(5.0, description="How long an interactive write transaction may stay open")
    stream_idle_timeout: Duration = Field(10.0, description="An idle stream is closed, its transaction rolled back")
    hold_timeout: Duration = Field(15.0, description="How long a write waits for a switch before SQLITE_BUSY")
    limit_ties: Literal["refuse", "any"] = Field(
        "refuse", description="On Postgres, LIMIT between rows that only SQLite can sort: an error, or any of them"
    )
    slow_statement: Duration = Field(1.0, description="A statement that takes longer is logged with its plan; 0: none")
    log_statements: bool = Field(False, description="Log the text of each statement; never its arguments")
    max_requests: int = Field(10_000, ge=1, description="Requests in one pipeline")
    max_batch_steps: int = Field(20_000, ge=1, description="Statements in one batch")
    max_waiting_bytes: int = Field(256 * 1024 * 1024, ge=1024, description="Of all requests that wait for an answer")
    max_connections: int = Field(4096, ge=1, description="Connections open at one time")
    request_timeout: Duration = Field(30.0, description="For a request to come, and for its answer to be taken")
    max_streams: int = Field(1000, ge=1, description="Streams open at one time")
    max_streams_per_client: int = Field(1000, ge=1, description="Of them, by one token's clients, or one address's")


class AdminSettings(_Section):
    """`[admin]`"""

    listen: str = Field("127.0.0.1:8081", description="host:port of the operators' door")
    viewer_token: SecretStr = Field(SecretStr(""), description="May read")
    operator_token: SecretStr = Field(SecretStr(""), description="May verify, repair, promote and demote")
    admin_token: SecretStr = Field(SecretStr(""), description="May override gates and force")
    viewer_token_file: str = Field("", description="File with the viewer's token")
    operator_token_file: str = Field("", description="File with the operator's token")
    admin_token_file: str = Field("", description="File with the admin's token")
    tls_cert_file: str = Field("", description="Certificate and its chain, PEM; with tls_key_file: TLS")
    tls_key_file: str = Field("", description="Private key of the certificate, PEM")


class MirrorSettings(_Section):
    """`[mirror]`"""

    batch_rows: int = Field(5000, ge=1, description="Rows fetched and applied at one time; a batch is not cut by it")
    poll_interval: Duration = Field(0.05, description="How often to look for writes of other processes")
    min_interval: Duration = Field(
        0.075, description="Least time between two turns; many small ones slow a busy primary"
    )
    trim_after: Duration = Field(
        5.0,
        description="How long nothing must have changed before mirrored entries leave SQLite's change log; 0: at once",
    )
    retry_initial: Duration = Field(0.1, description="First pause when the shadow is away")
    retry_max: Duration = Field(5.0, description="Longest pause when the shadow is away")
    backfill_rows: int = Field(25_000, ge=1, description="Rows copied in one transaction by the backfill, at most")
    max_rows_per_second: int = Field(0, ge=0, description="Speed limit of the backfill; 0: none")
    schema_changes: Literal["follow", "stop"] = Field(
        "follow", description="follow: change the shadow too; stop: the table stops until somebody did"
    )


class CompareSettings(_Section):
    """`[compare]`"""

    scan_interval: Duration = Field(300.0, description="Time between scheduled full verifications; 0: none")
    max_rows_per_second: int = Field(200_000, ge=1, description="Speed limit of scheduled verifications")
    range_rows: int = Field(2000, ge=10, description="Rows in one compared range")
    read_back: bool = Field(True, description="Compare the rows just mirrored")
    settle_timeout: Duration = Field(5.0, description="A row that does not come to rest within this is suspended")
    shadow_read_sample: float = Field(
        0.01, ge=0, le=1, description="Share of reads replayed on both stores, besides the first of each text; 0: none"
    )
    shadow_write_sample: float = Field(
        0.001, ge=0, le=1, description="Share of writes tried on both stores and undone, as with reads; 0: none"
    )


class PromotionSettings(_Section):
    """`[promotion]`"""

    max_lag_seconds: Duration = Field(1.0, description="Gate mirror_caught_up")
    verify_max_age: Duration = Field(3600.0, description="Gate verified: age of the last full verification")
    rehearsal_min_statements: int = Field(0, ge=0, description="Gate statements_ready: statements that must be seen")
    smoke_command: str = Field("", description="Run after a promotion; its failure is reported, it switches nothing")
    smoke_timeout: Duration = Field(120.0, description="The smoke command is killed, and has failed, after this")
    pause_timeout: Duration = Field(10.0, description="A switch that cannot be done within this is taken back")
    grace: Duration = Field(1.0, description="Open interactive write transactions may still commit within this")


class ColumnSettings(_Section):
    """`[tables.NAME.columns.COL]`"""

    target: str = Field("", description="Its name on Postgres, if another")
    type: str = Field("", description="Its type on Postgres, if cutover creates it")
    format: str = Field("", description="How its values are written on SQLite, for the way back")
    ignore: bool = Field(False, description="Leave this column out")


class TableSettings(_Section):
    """`[tables.NAME]`"""

    target: str = Field("", description="Its name on Postgres, if another")
    key: tuple[str, ...] = Field((), description="Key columns, if the table declares none")
    keys: Literal["sequence", "sqlite"] = Field(
        "sequence",
        description="Who gives automatic keys on Postgres: its sequence, or the highest key there is, as on SQLite",
    )
    rowid: Literal["", "keep", "drop"] = Field("", description="The same as postgres.rowid, for this table")
    ignore: bool = Field(False, description="Leave this table out")
    columns: dict[str, ColumnSettings] = Field(default_factory=dict)


class Invariant(_Section):
    """`[[invariants]]`: with `expect` each store must answer it; without, both the same."""

    name: str
    sql: str = ""
    sql_sqlite: str = ""
    sql_postgres: str = ""
    expect: str | None = None


class Settings(_Section):
    """All of it."""

    sqlite: SqliteSettings = SqliteSettings()
    postgres: PostgresSettings = PostgresSettings()
    service: ServiceSettings = ServiceSettings()
    front: FrontSettings = FrontSettings()
    admin: AdminSettings = AdminSettings()
    mirror: MirrorSettings = MirrorSettings()
    compare: CompareSettings = CompareSettings()
    promotion: PromotionSettings = PromotionSettings()
    tables: dict[str, TableSettings] = Field(default_factory=dict)
    invariants: tuple[Invariant, ...] = ()

    @property
    def state_dir(self) -> Path:
        """Absolute path of `service.state_dir`."""
        return Path(self.service.state_dir).absolute()


FLAT_SECTIONS = ("sqlite", "postgres", "service", "front", "admin", "mirror", "compare", "promotion")

_NOT_SETTINGS = re.compile(r"CUTOVER_(ADMIN_TOKEN|ADMIN_URL|CONFIG|CRASH_POINT|TEST_.*)")
"""Environment of the command line and of tests, not of the service. CUTOVER_ADMIN_TOKEN is what the command line
sends; the service's own is CUTOVER_ADMIN_ADMIN_TOKEN."""

_SERVICE_LINKS = re.compile(r"CUTOVER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")
"""What Kubernetes adds to the environment for a Service whose name begins with cutover."""

_HUMANONLY = {
    "HUMANONLY_DB_FILE": ("sqlite", "path", ""),
    "HUMANONLY_POSTGRES_URL": ("postgres", "url", ""),
    "HUMANONLY_POSTGRES_POOL_SIZE": ("postgres", "pool_size", ""),
    "HUMANONLY_POSTGRES_CONNECTION_TIMEOUT_MS": ("postgres", "connect_timeout", "ms"),
    "HUMANONLY_POSTGRES_STATEMENT_TIMEOUT_MS": ("postgres", "statement_timeout", "ms"),
    "HUMANONLY_POSTGRES_SSL_MODE": ("postgres", "ssl_mode", ""),
    "HUMANONLY_STORAGE_BACKEND": ("service", "expect_primary", ""),
    "HUMANONLY_AUDIT_LOG_FILE": ("service", "application_audit_log", ""),
}


def load_settings(file: str | Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read settings: defaults, then HumanOnly's environment, then the file, then `CUTOVER_<SECTION>_<KEY>`.

    Raises `ConfigurationError` naming the key, what is wrong with it and, for an unknown one, the nearest known.
    A `file` of None means no file.
    """
    data: dict[str, Any] = {}
    if file is not None:
        try:
            data = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(
                f"There is no configuration file {str(file)!r}.",
                hint="Make one with `cutover plan --sqlite FILE --write .`, or name another with --config.",
            ) from None
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: {error}.") from None
    for name, (section, key, unit) in _HUMANONLY.items():
        if environ.get(name):
            _section(data, section).setdefault(key, environ[name] + unit)
    _merge_environment(data, environ)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(problem) for problem in error.errors())) from None


def _keys(section: str) -> list[str]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return [field.alias or name for name, field in model.model_fields.items()]


def _section(data: dict[str, Any], name: str) -> dict[str, Any]:
    section = data.setdefault(name, {})
    if not isinstance(section, dict):
        raise ConfigurationError(f"{name} is a section: write [{name}] on a line of its own, and its keys below.")
    return section


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINKS.fullmatch(name)) or (name.endswith("_PORT") and value.startswith(("tcp://", "udp://")))


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, value in environ.items():
        if not name.startswith("CUTOVER_") or _NOT_SETTINGS.fullmatch(name) or _is_service_link(name, value):
            continue
        section, _, key = name.removeprefix("CUTOVER_").lower().partition("_")
        if section not in FLAT_SECTIONS or key not in _keys(section):
            known = [f"CUTOVER_{s}_{k}".upper() for s in FLAT_SECTIONS for k in _keys(s)]
            raise ConfigurationError(f"The environment has {name}, which is no setting.{_nearest(name, known)}")
        tokens = [token.strip() for token in value.split(",") if token.strip()]
        _section(data, section)[key] = tokens if (section, key) == ("front", "tokens") else value


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" The nearest known is {near[0]}." if near else ""


def _explain(problem: Any) -> str:  # noqa: ANN401  # pydantic's error dict
    place = [part for part in problem["loc"] if isinstance(part, str)]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is no setting.{_nearest_to(place)}"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {text}."


def _nearest_to(place: list[str]) -> str:
    """A key of the same section that is spelled alike, else one of another section, else what the section has."""
    siblings = _siblings(place)
    if near := _nearest(place[-1], siblings):
        return near
    if place[0] in FLAT_SECTIONS:
        keys = {key: f"{section}.{key}" for section in FLAT_SECTIONS for key in _keys(section)}
        if alike := difflib.get_close_matches(place[-1], keys, n=1, cutoff=0.6):
            return f" The nearest known is {keys[alike[0]]}."
    return f" Known here: {', '.join(siblings)}."


def _siblings(place: list[str]) -> list[str]:
    if len(place) == 1:
        return list(Settings.model_fields)
    if place[0] == "tables":
        model: type[BaseModel] = ColumnSettings if "columns" in place else TableSettings
        return list(model.model_fields)
    if place[0] == "invariants":
        return list(Invariant.model_fields)
    return _keys(place[0])
