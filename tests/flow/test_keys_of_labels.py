"""Keys that are labels of an enum, which Postgres sorts as they were made, and keys that Postgres numbers itself."""

from __future__ import annotations

from cutover.model.table import Column, Table
from cutover.model.values import Row
from tests.support.postgres import PRIMARY, SHADOW, native, ready

_LABELS = ("zen", "a b", "ok", "Übel")
MOODS = Table(
    "moods",
    "public",
    "moods",
    (
        Column("mood", "TEXT", "TEXT", "mood", "feeling", base_type="enum", labels=_LABELS, exact=True),
        Column("n", "INTEGER", "INTEGER", "n", "bigint", exact=True),
        Column("note", "TEXT", "TEXT", "note", "text"),
    ),
    ("mood", "n"),
)
_MOODS = (
    "CREATE TYPE feeling AS ENUM ('zen', 'a b', 'ok', 'Übel')",
    "CREATE TABLE moods (mood feeling, n bigint, note text, PRIMARY KEY (mood, n))",
)
ROWS: list[Row] = [(label, n, f"{label} {n}") for label in sorted(_LABELS) for n in (1, 2)]

NUMBERED = Table(
    "numbered",
    "public",
    "numbered",
    (Column("id", "INTEGER", "INTEGER", "id", "bigint", exact=True), Column("v", "TEXT", "TEXT", "v", "text")),
    ("id",),
    rowid_alias="id",
)
_NUMBERED = ("CREATE TABLE numbered (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",)


async def test_labels_are_sorted_and_split_as_sqlite_does(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW, ddl=_MOODS, tables=(MOODS,)) as store:
        async with store.applier(1, 1, None) as applier:
            assert (await applier.replace_range(MOODS, None, None, ROWS)).upserted == len(ROWS)
            assert (await applier.apply(MOODS, ROWS[:3], [ROWS[3][:2]])).deleted == 1
        left = ROWS[:3] + ROWS[4:]
        async with store.snapshot() as snapshot:
            assert await snapshot.range(MOODS, None, 100) == left
            assert await snapshot.range(MOODS, ("ok", 1), 2) == [ROWS[4], ROWS[5]]
            for bound, above in (("ok", 1), 3), (("no label", 5), 2), (("ok",), 2), (("{", 0), 5):
                key = (*bound, 0) if len(bound) == 1 else bound
                assert await snapshot.between(MOODS, key, None) == left[above:]
            uppers = [("a b", 1), ("no label", 5), ("zen", 1)]
            digests = await snapshot.digests(MOODS, None, uppers, tail=True)
            assert [one.rows for one in digests] == [1, 1, 2, 3]
            assert sum(one.rows for one in await snapshot.scan(MOODS, None, 2, 9)) == len(left)


async def test_changes_of_rows_with_such_keys_are_captured(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY, ddl=_MOODS, tables=(MOODS,)) as store, native(postgres_url) as app:
        await app.execute(
            "INSERT INTO moods VALUES ('zen', 1, 'x'), ('ok', 1, 'y'); DELETE FROM moods WHERE note = 'y'"
        )
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).count == 3
            found = {key: row async for page in snapshot.changed(MOODS, 9) for key, row in page}
        assert found == {("zen", 1): ("zen", 1, "x"), ("ok", 1): None}


async def test_numbers_that_postgres_always_makes_are_the_primarys(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW, ddl=_NUMBERED, tables=(NUMBERED,)) as store:
        async with store.applier(1, 1, None) as applier:
            await applier.replace_range(NUMBERED, None, None, [(5, "a"), (7, "b")])
            await applier.apply(NUMBERED, [(7, "c"), (9, "d")], [(5,)])
        async with store.snapshot() as snapshot:
            assert await snapshot.range(NUMBERED, None, 9) == [(7, "c"), (9, "d")]
