"""Large results come from Postgres in pieces, small ones as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.dialect.pieces import PostgresPieces
from cutover.model.statement import BatchResult, Ok, Statement, Step
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE lines (id INTEGER PRIMARY KEY, body TEXT NOT NULL);"
MANY = (
    "WITH RECURSIVE n(at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < {0}) SELECT at, 'line ' || at FROM n"
)


@pytest.fixture
async def lines(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=("INSERT INTO lines (body) VALUES ('a'), ('b')",)) as made:
        yield made


async def test_a_small_result_is_whole_and_the_same_as_without_pieces(lines: World) -> None:
    steps = [
        Step(Statement("SELECT * FROM lines ORDER BY id")),
        Step(Statement("SELECT nothing FROM lines")),
        Step(Statement("SELECT 1"), Ok(1)),
        Step(Statement("SELECT abs(?)", (-(2**63),))),
        Step(Statement("PRAGMA table_info(lines)")),
    ]
    found, plain = await lines.executor.read_pieces(steps), await lines.executor.run(steps)
    assert isinstance(found, BatchResult)
    for one, other in zip(found.results, plain.results, strict=True):
        assert (one and (one.columns, one.rows)) == (other and (other.columns, other.rows))
    assert [error and error.code for error in found.errors] == [error and error.code for error in plain.errors]


async def test_rows_that_nobody_wants_are_not_sent_of_a_pragma_either(lines: World) -> None:
    for sql in ("PRAGMA table_info(lines)", "PRAGMA foreign_keys", "SELECT name FROM sqlite_master"):
        statement = Statement(sql, want_rows=False)
        found = await lines.executor.read_pieces([Step(statement)])
        assert isinstance(found, BatchResult)
        for result in (found.results[0], await lines.session.execute(statement)):
            assert result is not None
            assert result.columns
            assert not result.rows
        assert (await lines.on_postgres(sql)).rows


async def test_a_large_result_is_fetched_as_it_is_taken(lines: World) -> None:
    pieces = await lines.executor.read_pieces([Step(Statement(MANY.format(50_000))), Step(Statement("SELECT 7"))])
    assert isinstance(pieces, PostgresPieces)
    rows: list[tuple[object, ...]] = []
    ended = largest = 0
    while found := await pieces.more():
        for piece in found:
            largest = max(largest, len(piece.rows))
            rows += piece.rows
            ended += piece.ends is not None
    assert rows == [*((at, f"line {at}") for at in range(1, 50_001)), (7,)]
    assert ended == 2
    assert largest <= 2000
    await pieces.close()


async def test_what_is_given_up_leaves_its_connection_fit_for_others(lines: World) -> None:
    for _ in range(10):  # more than there are connections
        pieces = await lines.executor.read_pieces([Step(Statement(MANY.format(20_000)))])
        assert isinstance(pieces, PostgresPieces)
        assert await pieces.more()
        await pieces.close()
        await pieces.close()
        assert await pieces.more() == ()
    await lines.same("INSERT INTO lines (body) VALUES ('c')")
