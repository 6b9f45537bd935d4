"""Protocol Buffers as bytes: numbers of variable length, and fields with a number and a kind. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cutover.hrana.fields import ProtocolError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_WIDTHS = {FIXED64: 8, FIXED32: 4}
_LONGEST = 10


def read_fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, kind, value) of each field of a message, in its order. Raises `ProtocolError`."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = read_varint(data, at)
            yield key >> 3, kind, value
            continue
        if kind == BYTES:
            width, at = read_varint(data, at)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise ProtocolError(f"A Protobuf field has the unknown kind {kind}.")
        if at + width > len(data):
            raise ProtocolError("A Protobuf field ends beyond its message.")
        yield key >> 3, kind, data[at : at + width]
        at += width


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends. Raises `ProtocolError`."""
    found = 0
    for place in range(_LONGEST):
        if at + place >= len(data):
            raise ProtocolError("A Protobuf number is cut off.")
        byte = data[at + place]
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return found & ((1 << 64) - 1), at + place + 1
    raise ProtocolError("A Protobuf number is too long.")


def varint(number: int) -> bytes:
    """A number, negative ones as 64 bits of two's complement."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def field(number: int, kind: int, value: int | bytes) -> bytes:
    """A field of a message."""
    head = varint(number << 3 | kind)
    if isinstance(value, int):
        return head + varint(value)
    return head + varint(len(value)) + value if kind == BYTES else head + value


def signed(number: int) -> int:
    """A number of 64 bits as two's complement."""
    return number - (1 << 64) if number >> 63 else number


def zigzag(number: int) -> int:
    """A signed number so that small ones are short."""
    return (number << 1) ^ (number >> 63)


def unzigzag(number: int) -> int:
    """The signed number again."""
    return (number >> 1) ^ -(number & 1)
