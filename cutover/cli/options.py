"""Options that the commands share, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cutover.cli.client import AdminClient
from cutover.errors import ConfigurationError

if TYPE_CHECKING:
    from cutover.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", envvar="CUTOVER_CONFIG", help="Configuration file; cutover.toml if there is one."
    ),
]
AdminUrl = Annotated[
    str | None,
    typer.Option(
        "--admin-url", metavar="URL", envvar="CUTOVER_ADMIN_URL", help="The service; else admin.listen of --config."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="CUTOVER_ADMIN_TOKEN",
        help="Viewer's, operator's or admin's token. The environment keeps it out of the process list.",
    ),
]
OneTable = Annotated[str | None, typer.Option("--table", metavar="TABLE", help="Only this table.")]
SomeTables = Annotated[
    list[str] | None, typer.Option("--table", metavar="TABLE", help="Only this table; may be given again.")
]

DEFAULT_CONFIG = Path("cutover.toml")


def settings_of(config: Path | None) -> Settings:
    """The settings of `config`, or of cutover.toml where there is one. Raises `ConfigurationError`."""
    from cutover.settings import load_settings

    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return load_settings(config)


def reach(config: Path | None, admin_url: str | None, token: str | None) -> AdminClient:
    """A client of the service. The configuration is read only when no URL is given."""
    return AdminClient(admin_url or _url_of(settings_of(config).admin.listen), token)


def _url_of(listen: str) -> str:
    from cutover.admin.access import split_listen

    host, port = split_listen(listen, "admin.listen")
    if port == 0:
        raise ConfigurationError(
            "admin.listen leaves the port to the system, so it cannot be known here.",
            hint="Give it with --admin-url; the service's log says what it is.",
        )
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # named, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
