"""What the driver need not ask: the array types that each Postgres has by the same numbers.

For a type that it does not know, the driver asks the catalog, once on each connection. It knows no array; and its
question takes the server longer than what was to be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import asyncpg

if TYPE_CHECKING:
    Opened = asyncpg.Connection[asyncpg.Record]

ARRAYS: dict[str, tuple[int, int]] = {
    "bool": (1000, 16),
    "bytea": (1001, 17),
    "char": (1002, 18),
    "name": (1003, 19),
    "int2": (1005, 21),
    "int4": (1007, 23),
    "text": (1009, 25),
    "bpchar": (1014, 1042),
    "varchar": (1015, 1043),
    "int8": (1016, 20),
    "float4": (1021, 700),
    "float8": (1022, 701),
    "oid": (1028, 26),
    "timestamp": (1115, 1114),
    "date": (1182, 1082),
    "time": (1183, 1083),
    "timestamptz": (1185, 1184),
    "numeric": (1231, 1700),
    "uuid": (2951, 2950),
    "json": (199, 114),
    "jsonb": (3807, 3802),
}
"""Name of an element's type → numbers (of its array, of itself), as `pg_type` has them in every database."""

_KNOWN = [
    {
        "oid": array,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "basetype": None,
        "basetype_name": None,
        "elemtype": element,
        "elemtype_name": name,
        "elemdelim": b",",
        "range_subtype": None,
        "range_subtype_name": None,
        "attrtypoids": None,
        "attrnames": None,
        "depth": 0,
    }
    for name, (array, element) in ARRAYS.items()
]
"""As the catalog would answer."""


async def know_arrays(connection: Opened) -> None:
    """Of a connection that was just opened. Nothing is sent."""
    cast("Any", connection)._protocol.get_settings().register_data_types(_KNOWN)  # noqa: SLF001  # no public one
