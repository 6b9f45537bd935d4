"""Tokens of the front door: by name and scope, from files that change, and as JSON web tokens."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cutover.errors import ConfigurationError
from cutover.hrana.access import Access
from cutover.hrana.grants import AccessRefused, Grant
from cutover.settings import FrontSettings

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
RAW = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
SECRET = "a secret that is shared and long enough"


def refused(access: Access, token: str | None) -> str:
    with pytest.raises(AccessRefused) as caught:
        access.admit(token)
    return caught.value.code


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "EdDSA") -> str:
    return jwt.encode(claims, key, algorithm)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Bearer one", None),
        ("bearer two", None),
        ("Bearer three", "AUTH_INVALID"),
        ("Bearer on", "AUTH_INVALID"),
        ("Bearer", "AUTH_JWT_MISSING"),
        ("Bearer ", "AUTH_JWT_MISSING"),
        ("Basic one", "AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME"),
        ("one", "AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME"),
        ("Bearer \udcff", "AUTH_INVALID"),
        ("Bearer a\ud800", "AUTH_INVALID"),
        ("Bearer " + "x" * 100_000, "AUTH_INVALID"),
        (None, "AUTH_HTTP_HEADER_MISSING"),
    ],
)
def test_headers(header: str | None, code: str | None) -> None:
    access = Access(FrontSettings(tokens=(SecretStr("one"), SecretStr("two"))))
    if code is None:
        assert not access.admit_header(header).read_only
        return
    with pytest.raises(AccessRefused) as caught:
        access.admit_header(header)
    assert caught.value.code == code
    assert caught.value.message.startswith("Unauthorized: ")


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer None", "nonsense"])
def test_without_tokens_whatever_comes_is_ignored(header: str | None) -> None:
    access = Access(FrontSettings())
    assert access.still(access.admit_header(header))
    assert not access.admit("None").read_only


def test_empty_tokens_do_not_open_the_door() -> None:
    with pytest.raises(ConfigurationError):
        Access(FrontSettings(tokens=(SecretStr(" "),)))


# -- the file --------------------------------------------------------------------------------------------------------


def of_file(tmp_path: Path, text: str) -> Access:
    path = tmp_path / "tokens"
    path.write_text(text)
    return Access(FrontSettings(token_file=str(path)))


def test_a_file_of_named_tokens(tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"gamma").hexdigest()
    text = f"# who may come in\nalpha\n\nreports ro  beta \nshop rw sha256:{hashed}\n"
    access = of_file(tmp_path, text)
    found = [access.admit(token) for token in ("alpha", "beta", "gamma")]
    assert [(grant.name, grant.read_only) for grant in found] == [
        ("line.2", False),
        ("reports", True),
        ("shop", False),
    ]
    assert refused(access, f"sha256:{hashed}") == "AUTH_INVALID"
    assert refused(access, "") == "AUTH_JWT_MISSING"
    assert "beta" not in repr(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("good\nshop rx SECRET\n", "line 2: it is neither"),
        ("two SECRET\n", "line 1: it is neither"),
        ("-name ro SECRET\n", "line 1: it is neither"),
        ("a ro SECRET more\n", "line 1: it is neither"),
        ("a ro sha256:SECRET\n", "line 1: sha256: takes 64"),
        ("a ro SECRET\nb rw SECRET\n", "a and b are one token"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_never_printed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        of_file(tmp_path, text)
    assert "SECRET" not in str(caught.value)


@given(text=st.text(max_size=60))
def test_any_file_is_read_or_refused_without_its_text(tmp_path_factory: Any, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any-tokens"
    path.write_text(text + "\nlast rw hunter2hunter2", encoding="utf-8", errors="replace")
    said, access = "", None
    try:
        access = Access(FrontSettings(token_file=str(path)))
    except ConfigurationError as error:
        said = str(error)
    assert "hunter2" not in said
    assert access is None or access.admit("hunter2hunter2").name == "last"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Access(FrontSettings(token_file=str(path)))
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        Access(FrontSettings(token_file=str(path)))


def test_a_reload_takes_effect_or_changes_nothing(tmp_path: Path) -> None:
    access = of_file(tmp_path, "shop rw old\nreports ro steady\n")
    path = tmp_path / "tokens"
    shop, reports = access.admit("old"), access.admit("steady")
    for unusable in ("", "a b\n", None):
        if unusable is None:
            path.unlink()
        else:
            path.write_text(unusable)
        with pytest.raises(ConfigurationError):
            access.reload()
        assert access.still(access.admit("old"))
    path.write_text("shop rw new\nreports rw steady\n")
    assert access.reload() == ["reports", "shop"]
    assert refused(access, "old") == "AUTH_INVALID"
    assert not access.admit("new").read_only
    assert not access.still(shop)
    assert not access.still(reports), "it may write now, so it is another grant"
    assert access.still(access.admit("steady"))
    assert not access.gone(reports)
    narrowed = access.admit("steady")
    path.write_text("shop rw new\nreports ro steady\n")
    access.reload()
    assert access.gone(narrowed), "what it wrote and has not committed was permitted by another grant"
    assert not access.gone(access.admit("new"))


# -- JSON web tokens -------------------------------------------------------------------------------------------------


def with_key(tmp_path: Path, key: str, **settings: Any) -> Access:
    path = tmp_path / "key"
    path.write_text(key)
    return Access(FrontSettings(jwt_key_file=str(path), **settings))


@pytest.mark.parametrize("key", [PEM, RAW, RAW + "=\n"])
@pytest.mark.parametrize(
    ("claims", "read_only"),
    [
        ({}, False),
        ({"a": "rw"}, False),
        ({"a": "ro"}, True),
        ({"a": "rw", "id": "other-namespace", "aud": "somebody", "iat": 1 << 40}, False),
        ({"p": {"rw": {"ns": ["main"]}}}, False),
        ({"p": {"ro": {"ns": ["main"]}}}, True),
        ({"p": {"ro": {"ns": ["main"]}, "rw": {"ns": []}}}, True),
        ({"p": {"ro": {"ns": ["a"]}, "rw": {"ns": ["b"]}}}, False),
        ({"p": {"ro": {"ns": ["a"]}, "rw": {"ns": ["b"]}}, "a": "rw"}, False),
        ({"p": {"ro": {"ns": ["a"]}, "rw": {"ns": ["b"]}}, "a": "ro"}, True),
        ({"p": {"rw": {"ns": ["a"]}}, "a": "ro"}, True),
        ({"p": {"ro": {"ns": ["a"]}}, "a": "rw"}, True),
        ({"p": {"ro": {"ns": ["a"]}, "rw": None}}, True),
        ({"p": {"ro": {"ns": ["a"]}, "rw": {"ns": None}}}, True),
    ],
)
def test_what_libsql_signs_opens(tmp_path: Path, key: str, claims: dict[str, Any], read_only: bool) -> None:
    access = with_key(tmp_path, key)
    grant = access.admit(signed(claims))
    assert grant.read_only is read_only
    assert grant.name == ("jwt:other-namespace" if "id" in claims else "jwt")
    assert access.still(grant)
    assert access.admit_header(f"Bearer {signed(claims)}") == grant


def test_a_shared_secret(tmp_path: Path) -> None:
    access = with_key(tmp_path, SECRET + "\n", jwt_algorithm="HS256")
    assert access.admit(signed({"a": "ro", "sub": "reports"}, SECRET, "HS256")) == Grant(
        "jwt:reports", True, None, hashlib.sha256(SECRET.encode()).digest()
    )
    assert refused(access, signed({}, SECRET + "!", "HS256")) == "AUTH_JWT_INVALID"
    assert refused(access, signed({}, SECRET * 2, "HS512")) == "AUTH_JWT_INVALID"
    assert refused(access, signed({})) == "AUTH_JWT_INVALID"


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    text = ".".join(parts)
    mac = b"" if key is None else hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "None", "nOnE", "EdDSA", "ES256", "", None, 5])
@pytest.mark.parametrize(
    "key", [PEM.encode(), PEM.strip().encode(), RAW.encode(), KEY.public_key().public_bytes_raw(), None]
)
def test_the_public_key_is_no_secret_and_no_signature_is_none(
    tmp_path: Path, algorithm: Any, key: bytes | None
) -> None:
    header = {"alg": algorithm, "typ": "JWT"}
    assert refused(with_key(tmp_path, PEM), by_hand(header, {"a": "rw"}, key)) == "AUTH_JWT_INVALID"


def test_a_key_that_the_token_brings_along_is_not_used(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    own = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(other.public_key().public_bytes_raw()).decode(),
    }
    for headers in ({"jwk": own}, {"jku": "http://127.0.0.1/keys"}, {"kid": "../../key"}):
        token = jwt.encode({}, other, "EdDSA", headers=headers)
        assert refused(with_key(tmp_path, PEM), token) == "AUTH_JWT_INVALID"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 1}, "AUTH_JWT_EXPIRED"),
        ({"nbf": 1 << 40}, "AUTH_JWT_IMMATURE"),
        ({"a": "admin"}, "AUTH_JWT_INVALID"),
        ({"a": ["rw"]}, "AUTH_JWT_INVALID"),
        *(({"a": value}, "AUTH_JWT_INVALID") for value in (None, True, 1, "", "RW", {"rw": 1}, {})),
        *(({"p": value}, "AUTH_JWT_INVALID") for value in (None, True, [], ["rw"], "")),
        *(({"p": value, "a": "rw"}, "AUTH_JWT_INVALID") for value in (None, {}, {"rw": {}}, {"rw": None}, "rw")),
        *(({"p": {"rw": {"ns": ["a"]}}, "a": value}, "AUTH_JWT_INVALID") for value in (None, [], "none")),
        *(({"p": {"rw": value}}, "AUTH_JWT_INVALID") for value in (True, "ns", ["ns"], 1, None, {"ns": True})),
        *(({"p": {"rw": {"ns": value}}}, "AUTH_JWT_INVALID") for value in ("a", {"a": 1}, 1, [], None)),
        ({"p": {"ro": {"ns": ["a"]}, "rw": {"ns": "a"}}}, "AUTH_JWT_INVALID"),
        ({"p": {"ro": "a", "rw": {"ns": ["a"]}}}, "AUTH_JWT_INVALID"),
        ({"p": {}}, "AUTH_JWT_INVALID"),
        ({"p": "rw"}, "AUTH_JWT_INVALID"),
        ({"p": {"rw": {"ns": []}}}, "AUTH_JWT_INVALID"),
        ({"exp": "soon"}, "AUTH_JWT_INVALID"),
        ({"exp": float("inf")}, "AUTH_JWT_INVALID"),
        ({"exp": float("nan")}, "AUTH_JWT_INVALID"),
        ({"nbf": [1]}, "AUTH_JWT_INVALID"),
        *(({"exp": value}, "AUTH_JWT_INVALID") for value in ("9999999999", None)),
        *(({"nbf": value}, "AUTH_JWT_INVALID") for value in ("1", True, None)),
    ],
)
def test_claims_that_do_not_open(tmp_path: Path, claims: dict[str, Any], code: str) -> None:
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "EdDSA"}, claims)
    )
    token = f"{text}.{base64.urlsafe_b64encode(KEY.sign(text.encode())).decode().rstrip('=')}"
    assert refused(with_key(tmp_path, PEM), token) == code


def test_a_token_may_last_for_longer_than_any_clock(tmp_path: Path) -> None:
    assert not with_key(tmp_path, PEM).admit(jwt.encode({"exp": 10**400}, KEY, "EdDSA")).read_only


def test_a_remembered_token_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = with_key(tmp_path, PEM)
    now = time.time()
    token = signed({"exp": int(now) + 60})
    grant = access.admit(token)
    assert access.admit(token) is grant, "verified once"
    monkeypatch.setattr("cutover.clock.wall", lambda: now + 70)
    assert not access.still(grant)
    monkeypatch.setattr(access._verifier, "verify", lambda token: (_ for _ in ()).throw(AccessRefused("AGAIN", "")))
    assert refused(access, token) == "AGAIN"


def test_a_new_key_ends_the_tokens_of_the_old_one_unless_both_are_there(tmp_path: Path) -> None:
    access = with_key(tmp_path, PEM)
    token = signed({})
    grant = access.admit(token)
    other = Ed25519PrivateKey.generate()
    second = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    (tmp_path / "key").write_text(second + PEM)
    access.reload()
    assert access.still(grant)
    assert access.admit(token) == grant
    assert access.still(access.admit(signed({}, other)))
    (tmp_path / "key").write_text(second)
    access.reload()
    assert not access.still(grant)
    assert refused(access, token) == "AUTH_JWT_INVALID"


@pytest.mark.parametrize(
    ("text", "algorithm", "said"),
    [
        ("", "EdDSA", "is empty"),
        ("SECRET", "EdDSA", "holds no Ed25519 public key"),
        ("SECRET" * 30, "EdDSA", "holds no Ed25519 public key"),
        ("-----BEGIN PUBLIC KEY-----\nSECRET\n-----END PUBLIC KEY-----", "EdDSA", "holds no Ed25519"),
        (
            KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() + "SECRET",
            "EdDSA",
            "holds no Ed25519 public key",
        ),
        (
            Ed448PrivateKey.generate()
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            "EdDSA",
            "holds no Ed25519 public key",
        ),
        (PEM, "HS256", "takes a shared secret"),
        ("SECRET", "HS256", "less than 32 bytes"),
    ],
)
def test_key_files_that_are_none(tmp_path: Path, text: str, algorithm: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        with_key(tmp_path, text, jwt_algorithm=algorithm)
    assert "SECRET" not in str(caught.value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80), st.integers(0, 2))
def test_no_forgery_gets_in_and_none_crashes(tmp_path_factory: Any, noise: str, place: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any-key"
    path.write_text(PEM)
    access = Access(FrontSettings(jwt_key_file=str(path), tokens=(SecretStr("one"),)))
    parts = signed({"a": "ro"}).split(".")
    parts[place] = noise
    assert refused(access, ".".join(parts)).startswith("AUTH_JWT_")
    assert access.admit("one").name == "tokens.0"
