"""Names of Postgres types: as people write them, and as `format_type` prints them, taken apart. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ALIASES = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float8": "double precision",
    "float": "double precision",
    "float4": "real",
    "bool": "boolean",
    "decimal": "numeric",
    "dec": "numeric",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
}

_TYPE = re.compile(
    r"(?P<name>.*?)(?:\((?P<limits>-?\d+(?:,-?\d+)?)\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)


@dataclass(frozen=True)
class TypeName:
    """A type as `format_type` prints it."""

    name: str
    """Without limits, such as `timestamp with time zone`."""
    limits: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def of(cls, printed: str) -> TypeName:
        """Takes a printed name apart."""
        found = _TYPE.fullmatch(printed)
        assert found is not None, "everything may be absent but the name, which may be anything"
        limits = tuple(int(limit) for limit in found["limits"].split(",")) if found["limits"] else ()
        return cls(found["name"] + (found["zone"] or ""), limits, bool(found["array"]))

    @property
    def limit(self) -> int | None:
        """The first limit: a length or a precision."""
        return self.limits[0] if self.limits else None


def printed(written: str) -> str:
    """A type as people write it, such as `timestamptz(3)` or `decimal(10, 2)`, as `format_type` prints it."""
    text = re.sub(r"\s+", " ", written.strip().lower())
    text = re.sub(r" ?([(),]) ?", r"\1", text)
    text = re.sub(r"\)(with)", r") \1", text)
    found = _TYPE.fullmatch(text)
    assert found is not None, "everything may be absent but the name, which may be anything"
    name = found["name"].strip()
    name = _ALIASES.get(name, name) if not found["zone"] else name
    limits = f"({found['limits']})" if found["limits"] else ""
    if name == "character" and not limits:
        limits = "(1)"
    if name == "numeric" and limits and "," not in limits:
        limits = f"{limits[:-1]},0)"
    base, _, zone = name.partition(" w")
    zone = found["zone"] or (f" w{zone}" if zone else "")
    return base + limits + zone + ("[]" if found["array"] else "")
