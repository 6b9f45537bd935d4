"""TLS at the front door: both ways in, files that cannot be used, and a certificate that is replaced."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession

from cutover.errors import ConfigurationError
from cutover.hrana.door import FrontDoor
from cutover.metrics import Metrics
from cutover.serve.tls import certificate
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough
from tests.flow.test_front_door import CLOSE, execute, metrics, way
from tests.support.certificates import write_certificate

__all__ = ["metrics", "way"]


def files(folder: Path) -> tuple[str, str]:
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_both_ways_in_and_a_new_certificate(way: WriteThrough, tmp_path: Path) -> None:
    trusting = write_certificate(tmp_path, "first")
    found = certificate("front", *files(tmp_path))
    assert found is not None
    assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2
    door = FrontDoor(way, FrontSettings(), Metrics("test"))
    port = await door.listen("127.0.0.1", 0, shutdown_timeout=30, tls=found.context)
    url = f"https://127.0.0.1:{port}"

    async def works(context: ssl.SSLContext) -> bool:
        body = {"requests": [execute("INSERT INTO t(a) VALUES (hex(randomblob(8)))"), CLOSE]}
        try:
            async with ClientSession(url) as client:
                for path in ("/v2/pipeline", "/v3/pipeline"):
                    async with client.post(path, json=body, ssl=context) as response:
                        assert (await response.json())["results"][0]["type"] == "ok"
                async with client.get("/version", ssl=context) as response:
                    return response.status == 200
        except ClientConnectorError:
            return False

    try:
        assert await works(trusting)
        newer = write_certificate(tmp_path, "second")
        assert await works(trusting)
        found.reload()
        assert not await works(trusting)
        assert await works(newer)
        (tmp_path / "key.pem").write_text("nothing")
        with pytest.raises(ConfigurationError):
            found.reload()
        assert await works(newer), "what was read before stays"
    finally:
        await door.close()


def no_files(folder: Path) -> None:
    (folder / "cert.pem").unlink()


def other_key(folder: Path) -> None:
    kept = (folder / "cert.pem").read_bytes()
    write_certificate(folder, "other")
    (folder / "cert.pem").write_bytes(kept)


def nonsense(folder: Path) -> None:
    (folder / "cert.pem").write_text("SECRET")


def locked(folder: Path) -> None:
    write_certificate(folder, "locked", password="SECRET")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_files, "admin.tls_cert_file .* cannot be read: No such file"),
        (other_key, "no certificate and its key: KEY_VALUES_MISMATCH"),
        (nonsense, "no certificate and its key: "),
        (locked, "no certificate and its key: .*key has no password"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    write_certificate(tmp_path, "first")
    spoil(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        certificate("admin", *files(tmp_path))
    assert "SECRET" not in str(caught.value)


def test_both_files_or_neither() -> None:
    assert certificate("front", "", "") is None
    with pytest.raises(ConfigurationError, match=r"front\.tls_cert_file is set, but front.tls_key_file is not"):
        certificate("front", "x", "")
    with pytest.raises(ConfigurationError, match=r"front\.tls_key_file is set, but front.tls_cert_file is not"):
        certificate("front", "", "x")
