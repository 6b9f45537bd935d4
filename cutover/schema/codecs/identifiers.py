"""uuid, inet, cidr and macaddr: values with several spellings, of which Postgres keeps none."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Foreign, Ladder, meaning, same, text_form, wrong_class

UUID_FORMATS = ("dashed", "hex", "blob", "DASHED", "HEX")
"""Those in capitals write capitals."""

_DASHED = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_MAC = re.compile(r"([0-9a-fA-F]{2})([:-]?)(?:[0-9a-fA-F]{2}\2){4,6}[0-9a-fA-F]{2}")
_UNICODE_FREE = re.compile(r"[0-9a-fA-F.:/]+")


def uuid(affinity: str, declared: str, wanted: str) -> Codec:
    """uuid. A column of 32 characters (Django, SQLAlchemy) has no room for dashes."""
    name = wanted or ("blob" if affinity == "BLOB" else "hex" if "(32)" in declared else "dashed")
    if name not in UUID_FORMATS:
        raise SchemaError(
            f"the format {name} is none for a column of type uuid", hint=f"Formats are {', '.join(UUID_FORMATS)}."
        )
    plain = "replace({0}::text, '-', '')"
    digest = {
        "dashed": text_form("{0}::text"),
        "DASHED": text_form("upper({0}::text)"),
        "hex": text_form(plain),
        "HEX": text_form(f"upper({plain})"),
        "blob": f"'b' || {plain}",
    }[name]

    def canonical(value: SqlValue) -> bytes:
        return b"u" + _uuid(value).encode()

    written = {"dashed": "{0}::text", "DASHED": "upper({0}::text)", "hex": plain, "HEX": f"upper({plain})"}.get(name)
    shown = ("text", written) if written is not None else ("blob", f"decode({plain}, 'hex')")
    back = _UUID_BACK[name]
    ladder = Ladder(0, 2**128 - 1, lambda number: back(_dashes(f"{number:032x}")))
    return Codec(_uuid, back, meaning(canonical), digest, "text", "uuid", format=name, ladder=ladder, shown=shown)


def _uuid(value: Any) -> str:  # noqa: ANN401  # any storage class
    if isinstance(value, str) and _DASHED.fullmatch(value):
        return value.lower()
    if isinstance(value, str) and _HEX.fullmatch(value):
        return _dashes(value.lower())
    if isinstance(value, bytes) and len(value) == 16:
        return _dashes(value.hex())
    if isinstance(value, str | bytes):
        kind = "text" if isinstance(value, str) else "a blob"
        raise Unrepresentable(f"{kind} that is no UUID in a column of type uuid")
    raise wrong_class(value, "uuid")


def _dashes(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_UUID_BACK: dict[str, Callable[[str], SqlValue]] = {
    "dashed": same,
    "DASHED": str.upper,
    "hex": lambda text: text.replace("-", ""),
    "HEX": lambda text: text.replace("-", "").upper(),
    "blob": lambda text: bytes.fromhex(text.replace("-", "")),
}


# -- networks ----------------------------------------------------------------------------------------------------------

_NO_KEY = "SQLite sorts addresses as text"


def inet() -> Codec:
    """inet: an address, perhaps with the length of its network."""
    digest = text_form("regexp_replace({0}::text, CASE family({0}) WHEN 4 THEN '/32$' ELSE '/128$' END, '')")
    return _network(_inet, "inet", digest, _host)


def cidr() -> Codec:
    """cidr: a network."""
    return _network(_cidr, "cidr", text_form("{0}::text"), same)


def _network(parse: Callable[[Any], str], name: str, digest: str, back: Callable[[str], SqlValue]) -> Codec:
    def canonical(value: SqlValue) -> bytes:
        return b"a" + parse(value).encode()

    shown = ("text", "regexp_replace({0}::text, CASE family({0}) WHEN 4 THEN '/32$' ELSE '/128$' END, '')")
    text = shown if name == "inet" else ("text", "{0}::text")
    return Codec(parse, back, meaning(canonical), digest, "text", name, _NO_KEY, shown=text)


def _inet(value: Any) -> str:  # noqa: ANN401  # any storage class
    """Always with the length: one spelling an address."""
    try:
        return str(ipaddress.ip_interface(_written(value, "inet")))
    except ValueError:
        raise Unrepresentable("text that is no address in a column of type inet") from None


def _cidr(value: Any) -> str:  # noqa: ANN401  # any storage class
    try:
        return str(ipaddress.ip_network(_written(value, "cidr")))
    except ValueError:
        raise Unrepresentable("text that is no network in a column of type cidr") from None


def _written(value: Any, name: str) -> str:  # noqa: ANN401  # any storage class
    if type(value) is Foreign or not isinstance(value, str):
        raise wrong_class(value, name)
    _, slash, length = value.partition("/")
    if not _UNICODE_FREE.fullmatch(value) or (slash and not (length.isdigit() and str(int(length)) == length)):
        raise ValueError(value)
    return value


def _host(text: str) -> str:
    """`inet` cast to text always has the length of its network; as a value it has only what is no single address."""
    return text.removesuffix("/128") if ":" in text else text.removesuffix("/32")


def macaddr(name: str, width: int) -> Codec:
    """macaddr (six bytes) and macaddr8 (eight)."""

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if not isinstance(value, str):
            raise wrong_class(value, name)
        digits = re.sub("[:-]", "", value).lower()
        if not _MAC.fullmatch(value) or len(digits) != 2 * width:
            raise Unrepresentable(f"text that is no hardware address in a column of type {name}")
        return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))

    def canonical(value: SqlValue) -> bytes:
        return b"a" + convert(value).encode()

    ladder = Ladder(0, 256**width - 1, lambda number: ":".join(re.findall("..", f"{number:0{2 * width}x}")))
    return Codec(
        convert,
        same,
        meaning(canonical),
        text_form("{0}::text"),
        "text",
        name,
        ladder=ladder,
        shown=("text", "{0}::text"),
    )
