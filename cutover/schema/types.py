"""Which Postgres type a SQLite column gets where cutover creates the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cutover.errors import SchemaError
from cutover.model.table import Column
from cutover.schema.codecs import codec_for, scalars
from cutover.schema.codecs.names import printed
from cutover.schema.defaults import gives_text
from cutover.schema.sqlite_schema import SqliteColumn

NOTHING_YET = "it holds nothing yet"
"""What is said of a column that only its values will tell the type of."""
SEVERAL_KINDS = "holds several kinds of value"
"""The same of one whose values tell of more than one."""

_TYPE_OF_CLASS = {"integer": "bigint", "real": "double precision", "text": "text", "blob": "bytea"}
_TYPE_OF_AFFINITY = {"INTEGER": "bigint", "TEXT": "text", "REAL": "double precision"}


@dataclass(frozen=True)
class Histogram:
    """How many values of each storage class a column holds."""

    null: int = 0
    integer: int = 0
    real: int = 0
    text: int = 0
    blob: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the storage classes that occur, NULL aside."""
        return tuple(name for name in _TYPE_OF_CLASS if getattr(self, name))

    @property
    def counts(self) -> dict[str, int]:
        """Values by storage class, those that occur; NULLs included."""
        return {name: count for name in ("null", *_TYPE_OF_CLASS) if (count := getattr(self, name))}

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, name):,} {name}" for name in self.classes) or "no value"


def is_soft(affinity: str) -> bool:
    """Whether the declared type does not settle what the column holds, so that its data are asked."""
    return affinity not in _TYPE_OF_AFFINITY


def is_guessed(column: Column) -> bool:
    """Whether the column is one of texts by its name, as DATETIME is, though SQLite keeps numbers in it as well."""
    return is_soft(column.affinity) and column.affinity == "NUMERIC" and column.target_type == "text"


def is_blob_by_name(column: Column) -> bool:
    """Whether the column is one of bytes because it is declared so, though SQLite keeps whatever comes in it."""
    return column.affinity == "BLOB" and column.target_type == "bytea" and column.declared != "" and not column.exact


BY_NAME = "cutover: as its name says"
"""The comment on such a column of cutover's making, which tells it from one of the application's own."""


def normal_type(written: str) -> str:
    """A type as people write it, as `format_type` prints it. Raises `SchemaError` for one that cannot be mirrored."""
    normal = printed(written)
    codec_for(Column(name="", declared="", affinity="", target="", target_type=normal))
    return normal


def choose_type(column: SqliteColumn, histogram: Histogram | None, *, born: bool = False, in_key: bool = False) -> str:
    """The type that keeps what the column holds (design: affinity-faithful, not "nice" Postgres types).

    A firm affinity (INTEGER, TEXT, REAL) decides, unless the default of an INTEGER is a text; otherwise the data do,
    and where there are none, the declared name: DECIMAL and NUMERIC are `numeric`, which holds every number that
    SQLite may hold there.
    With `born` the table is made on Postgres, where no data will ever say it: a column that may hold anything is then
    one that can. `in_key`: rows are told apart by it, for which `numeric` does not do. Raises `SchemaError` if neither
    settles it.
    """
    if not is_soft(column.affinity):
        if column.affinity == "INTEGER" and not in_key and column.default and gives_text(column.default, "INTEGER"):
            return scalars.NAME
        return _TYPE_OF_AFFINITY[column.affinity]
    classes = histogram.classes if histogram else ()
    if column.affinity == "NUMERIC" and not in_key and _will_be_mixed(column.declared.upper(), classes):
        return "numeric"
    if len(classes) == 1:
        return _TYPE_OF_CLASS[classes[0]]
    if classes == ("integer", "real") and column.affinity == "NUMERIC":
        return "numeric"  # SQLite keeps whole numbers of such a column as integers, and so does the codec
    if classes:
        raise SchemaError(
            f"{SEVERAL_KINDS} ({histogram}), and no Postgres type gives all of them back unchanged",
            hint=_hint_for_mixed(classes),
        )
    by_name = _by_name(column.declared.upper())
    if by_name is None and histogram is not None and not in_key and _name_of_numbers(column.declared.upper()):
        return "numeric"
    if by_name is None and born:
        return _of_any_name(column, in_key=in_key)
    if by_name is None:
        what = f"the declared type {column.declared}" if column.declared else "a column without a declared type"
        raise SchemaError(
            f"{what} does not say what it holds" + ("" if histogram is None else f", and {NOTHING_YET}"),
            hint='Set its type in the configuration: bigint, "double precision", text or bytea.',
        )
    return by_name


def alike(
    column: SqliteColumn, histogram: Histogram | None, others: Iterable[tuple[SqliteColumn, Histogram | None]]
) -> Histogram | None:
    """What is known of a column of times that holds nothing yet: what `others` of the same declared type hold, if
    that is integers throughout. Otherwise its own, since text would hold whatever the name promises."""
    declared = column.declared.upper()
    if (histogram and histogram.classes) or not ("DATE" in declared or "TIME" in declared):
        return histogram
    same = [other for each, other in others if other and other.classes and each.declared.upper() == declared]
    return same[0] if same and all(other.classes == ("integer",) for other in same) else histogram


def _will_be_mixed(declared: str, classes: tuple[str, ...]) -> bool:
    """Whether a column of NUMERIC affinity that holds one kind of numbers may get the other: SQLite makes an integer of
    every real that is whole, and a name such as DECIMAL(10,2) says that there will be fractions. So does one without
    digits, as ORMs write it."""
    return classes == ("real",) or (classes == ("integer",) and _name_of_numbers(declared) and _fractions(declared))


def _name_of_numbers(declared: str) -> bool:
    return declared.partition("(")[0].strip() in ("DECIMAL", "NUMERIC")


def _fractions(declared: str) -> bool:
    limits = declared.partition("(")[2]
    return not limits or limits.rstrip(") ").partition(",")[2].strip() not in ("", "0")


def _of_any_name(column: SqliteColumn, *, in_key: bool) -> str:
    """Of a name that promises nothing, as ARRAY and BINARY(16) do not, which to SQLite are NUMERIC."""
    declared = column.declared.upper()
    if column.affinity == "NUMERIC" and any(part in declared for part in _OF_NUMBERS):
        return "numeric"
    if column.affinity == "NUMERIC" and in_key:
        return "bytea" if "BINARY" in declared else "numeric"
    return scalars.NAME


_OF_NUMBERS = ("NUM", "DEC", "MONEY", "CURRENCY", "FIXED", "YEAR", "BIT")


def _by_name(declared: str) -> str | None:
    if "BOOL" in declared:
        return "bigint"
    if any(part in declared for part in ("DATE", "TIME", "JSON", "UUID", "STRING", "ENUM")):
        return "text"
    return "bytea" if "BLOB" in declared else None


def _hint_for_mixed(classes: tuple[str, ...]) -> str:
    if classes == ("integer", "real"):
        return (
            "SQLite turns whole numbers in such a column into integers. Declare it REAL in SQLite, "
            "or store integers only (such as cents)."
        )
    return "Make its values of one kind in SQLite (find them with SELECT ... WHERE typeof(column) = '...')."
