"""What is wrong with us in looking at one statement fails that statement, and neither its transaction nor another's."""

from __future__ import annotations

from typing import NoReturn

import pytest

from cutover.dialect import translator
from cutover.errors import StatementError
from cutover.stores.sqlite import schemacopy
from tests.flow.dialect_world import world

SCHEMA = "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT);"
BROKEN = "DELETE FROM pet WHERE id = 1 RETURNING name"


def broken(*_: object) -> NoReturn:
    raise ValueError("with a secret")


@pytest.mark.parametrize(("module", "function"), [(schemacopy, "returned"), (translator, "rewrite")])
async def test_a_transaction_goes_on_behind_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, module: object, function: str
) -> None:
    async with world(postgres_url, SCHEMA, data=("INSERT INTO pet VALUES (1, 'rex')",)) as both:
        await both.on_postgres("BEGIN")
        await both.on_postgres("INSERT INTO pet VALUES (2, 'bim')")
        with monkeypatch.context() as patch:
            patch.setattr(module, function, broken)
            with pytest.raises(StatementError, match="nothing of it was executed") as told:
                await both.on_postgres(BROKEN)
            assert told.value.code == "SQLITE_UNKNOWN"
            assert "secret" not in told.value.message
            if function == "returned":
                with pytest.raises(StatementError, match="nothing of it was executed"):
                    await both.session.describe(BROKEN)
            rehearsed = await both.executor.rehearsal.rehearse(BROKEN)
            assert (rehearsed.status, rehearsed.reason) == ("failing", "its translation met a defect; see the log")
        assert (await both.on_postgres(BROKEN)).rows == [("rex",)]
        await both.on_postgres("COMMIT")
        assert (await both.on_postgres("SELECT name FROM pet")).rows == [("bim",)]


async def test_columns_of_returning_behind_with(postgres_url: str) -> None:
    data = ("INSERT INTO pet VALUES (1, 'rex'), (77, 'bim')",)
    async with world(postgres_url, SCHEMA, data=data) as both:
        for sql in (
            "WITH n AS (SELECT 77 AS k) UPDATE pet SET name = 'q' WHERE id = (SELECT k FROM n) "
            "RETURNING (SELECT k FROM n), name",
            "WITH n AS (SELECT 77 AS k) DELETE FROM pet WHERE id IN (SELECT k FROM n) RETURNING name",
            "WITH replace(k) AS (SELECT 5) INSERT INTO pet SELECT k, 'x' FROM replace RETURNING id, name",
        ):
            await both.same(sql)
