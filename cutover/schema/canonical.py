"""One row, one hash, the same on both stores."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5

from cutover.model.values import Row
from cutover.schema.codecs import Codec, canonical_any

MODULUS = 1 << 64

_SLICE = 1 << 20


def canonical_row(row: Row, codecs: Sequence[Codec]) -> bytes:
    """The canonical bytes of a row: each column's canonical form followed by `;`."""
    return b"".join(
        (b"n;" if value is None else codec.canonical(value) + b";") for value, codec in zip(row, codecs, strict=True)
    )


def row_hash(canonical: bytes) -> int:
    """The first 64 bits of the MD5 of a row's canonical bytes, unsigned. Sums of these, modulo 2**64, are digests.

    MD5 because both databases have it and speed counts; the enemy is accident, not malice.
    """
    return int.from_bytes(md5(canonical, usedforsecurity=False).digest()[:8], "big")


def digest_row(row: Row, codecs: Sequence[Codec]) -> bytes:
    """The bytes of a row that digests are made of: what a database can compute where it can, else `canonical_row`.

    Where spellings of one value differ, so do digests that a database computes; the rows are compared one by one then.
    """
    if all(codec.digest is not None for codec in codecs):
        return b"".join(canonical_any(value) + b";" for value in row)
    return canonical_row(row, codecs)


def row_md5(row: Row, codecs: Sequence[Codec]) -> bytes:
    """The MD5 of `digest_row`, made of slices where values are large: their canonical form is never held whole."""
    if not any(isinstance(value, bytes) and len(value) > _SLICE for value in row) or not all(
        codec.digest is not None for codec in codecs
    ):
        return md5(digest_row(row, codecs), usedforsecurity=False).digest()
    hashed = md5(usedforsecurity=False)
    for value in row:
        if isinstance(value, bytes):
            hashed.update(b"b")
            for at in range(0, len(value), _SLICE):
                hashed.update(value[at : at + _SLICE].hex().encode())
        else:
            hashed.update(canonical_any(value))
        hashed.update(b";")
    return hashed.digest()


def digest(rows: Sequence[Row], codecs: Sequence[Codec]) -> int:
    """Sum of the rows' hashes modulo 2**64: independent of order, and pairs do not cancel."""
    return sum(row_hash(digest_row(row, codecs)) for row in rows) % MODULUS
