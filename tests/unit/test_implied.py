"""Which CHECKs a narrow type of Postgres keeps by itself."""

from __future__ import annotations

import pytest

from cutover.model.table import Column
from cutover.schema.implied import implied

KEPT = [
    ("x IN (0, 1)", "NUMERIC", "boolean"),
    ("length(x) <= 30", "TEXT", "character varying(30)"),
    ("x BETWEEN -32768 AND 32767", "INTEGER", "smallint"),
    ("typeof(x) IN ('integer', 'null')", "INTEGER", "integer"),
    ("json_valid(x) OR x IS NULL", "TEXT", "jsonb"),
    ("length(x) = 36", "TEXT", "uuid"),
    ("length(x) = 32", "TEXT", "uuid"),
    ("x IS date(x)", "TEXT", "date"),
    ("x LIKE '____-__-__%'", "NUMERIC", "timestamp without time zone"),
    ("x GLOB '*T*Z'", "TEXT", "timestamp(3) without time zone"),
    ("x IN ('a', 'b', 'c')", "TEXT", "kind"),
    ("nobody_knows(x)", "TEXT", "character varying(10)"),
]
NOT_KEPT = [
    ("x = 1", "NUMERIC", "boolean"),
    ("length(x) < 30", "TEXT", "character varying(30)"),
    ("x <> ''", "TEXT", "character varying(30)"),
    ("x >= 0", "INTEGER", "integer"),
    ("x % 2 = 0", "INTEGER", "smallint"),
    ("typeof(x) = 'integer'", "INTEGER", "integer"),
    ("json_valid(x)", "TEXT", "jsonb"),
    ("json_type(x) = 'object'", "TEXT", "jsonb"),
    ("x > '2000-01-01'", "TEXT", "date"),
    ("x > 0", "NUMERIC", "numeric(10,2)"),
    ("x = 'a'", "TEXT", "kind"),
]


def _column(affinity: str, target_type: str) -> Column:
    enum = target_type == "kind"
    return Column("x", "", affinity, "x", target_type, base_type="enum" if enum else "", labels=("a", "b") * enum)


@pytest.mark.parametrize(("check", "affinity", "target_type"), KEPT)
def test_what_the_type_keeps(check: str, affinity: str, target_type: str) -> None:
    assert implied(check, _column(affinity, target_type), nullable=True)


@pytest.mark.parametrize(("check", "affinity", "target_type"), NOT_KEPT)
def test_what_the_type_does_not_keep(check: str, affinity: str, target_type: str) -> None:
    assert not implied(check, _column(affinity, target_type), nullable=True)


@pytest.mark.parametrize("check", ["json_valid(x)", "typeof(x) = 'text'"])
def test_what_it_keeps_where_no_value_may_lack(check: str) -> None:
    assert implied(check, _column("TEXT", "jsonb"), nullable=False)
