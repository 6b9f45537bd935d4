"""Dates and times that one column writes in several ways. Counted in SQL, since every column of dates is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cutover.model.table import Column, Table
from cutover.schema.findings import Finding
from cutover.schema.sqlite_schema import quoted

_FORMS = (
    ("a whole number", "typeof({0}) = 'integer'"),
    ("a number with a fraction", "typeof({0}) = 'real'"),
    ("a day alone", "(typeof({0}) = 'text' AND length({0}) = 10)"),
    ("a blank before the time", "(typeof({0}) = 'text' AND substr({0}, 11, 1) = ' ')"),
    ("a T before the time", "(typeof({0}) = 'text' AND substr({0}, 11, 1) = 'T')"),
)
_ZONES = (
    ("Z", "{0} LIKE '%Z'"),
    ("an offset", "substr({0}, 20) GLOB '*[+-][0-9][0-9]*'"),
    ("no offset", "({0} NOT LIKE '%Z' AND substr({0}, 20) NOT GLOB '*[+-][0-9][0-9]*')"),
)
_MOMENTS = ("DATE", "TIME")
_TIMES_ON_TARGET = ("timestamp", "date", "time")


def mixed_forms(table: Table) -> Iterator[tuple[Column, list[tuple[str, str]], list[tuple[str, str]]]]:
    """Columns of dates and times, with (what it is, SQL condition) of each form, and of each way to say the zone."""
    for column in table.columns:
        declared = column.declared.upper()
        if any(word in declared for word in _MOMENTS) or column.target_type.startswith(_TIMES_ON_TARGET):
            value = f"s.{quoted(column.name)}"
            timed = f"(typeof({value}) = 'text' AND length({value}) > 10 AND {{}})"
            yield (
                column,
                [(name, condition.format(value)) for name, condition in _FORMS],
                [(name, timed.format(condition.format(value))) for name, condition in _ZONES],
            )


def of_mixed_forms(table: Table, column: Column, forms: Mapping[str, int]) -> Iterator[Finding]:
    """What to say of a column that writes one kind of thing in several ways; `forms` are those that occur."""
    if len(forms) < 2:
        return
    told = ", ".join(f"{name} ({count:,})" for name, count in forms.items())
    yield Finding(
        "warns",
        "mixed_forms",
        f"Dates or times are written in several ways: {told}.",
        "As text each stays as it is, and they do not sort together. As a timestamp, what is written on Postgres comes"
        " back in the commonest form, or in the `format` that you set.",
        table.name,
        column.name,
    )
