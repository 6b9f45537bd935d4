"""Views by name, also those that the parser does not know."""

from __future__ import annotations

import pytest

from cutover.dialect.catalog import Catalog
from cutover.dialect.translator import translate
from cutover.dialect.typed import Refused


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE VIEW v AS SELECT 1", "v"),
        ('CREATE VIEW IF NOT EXISTS "My View" (a) AS SELECT 1', "my view"),
        ("create view main.[V x] as select 1", "v x"),
        ("CREATE VIEW w AS SELECT * FROM v2, v1 USING (x) GROUP BY x", "w"),
    ],
)
def test_views_are_known_by_name(statement: str, name: str) -> None:
    assert Catalog.of((), [statement]).views == {name: statement}


def test_a_view_that_the_parser_does_not_know_is_refused_when_it_is_read() -> None:
    catalog = Catalog.of((), ["CREATE VIEW w AS SELECT * FROM (v2 JOIN v1) USING (x)", "CREATE VIEW v AS SELECT 1"])
    with pytest.raises(Refused, match="The syntax of a view"):
        translate("SELECT * FROM w", catalog, [])
    assert translate("SELECT * FROM v", catalog, []).width == 1
