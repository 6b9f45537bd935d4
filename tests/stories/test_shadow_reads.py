"""Reads of the front door are replayed on both stores, and one that differs is found before the switch."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from tests.support.commands import cutover
from tests.support.service import Service, until
from tests.support.sqlite_world import make
from tests.support.writers import DirectWriter

HELPER = "cutover.substr(text, bigint, bigint)"
START = "SELECT id, substr(body, 1, 4) AS start FROM items WHERE id = ? ORDER BY id"


async def reads(service: Service) -> dict[str, Any]:
    """By text, what came of the replays."""
    _, body = await service.request("GET", service.admin + "/v1/statements")
    return {row["sql"]: row["shadow_reads"] for row in body["rows"]}


async def gate(service: Service) -> tuple[bool, str]:
    _, body = await service.switch("promote", dry_run=True)
    return next((gate["ok"], gate["detail"]) for gate in body["gates"] if gate["name"] == "shadow_reads_match")


async def written(service: Service) -> None:
    """A write is tried on both stores, and undone: SQLite's answer to the application is the only one that counts."""
    sql = "UPDATE items SET n = n + 1 WHERE id = ? RETURNING n"
    written = 8

    async def tried() -> Any:
        nonlocal written
        written += 1
        assert await service.rows(sql, "old-8") == [[written]]
        _, body = await service.request("GET", service.admin + "/v1/statements")
        found = next(row["shadow_writes"] for row in body["rows"] if row["sql"] == sql)
        assert not found or not found["mismatch"], found
        return found if found and found["match"] else None  # on a busy machine it may take longer than a trial may

    assert (await until(tried, "the write's trial"))["latest"] == "match"
    assert await service.rows("SELECT n FROM items WHERE id = 'old-8'") == [[written]]


async def told_of_another_order(service: Service) -> None:
    """Of rows that were changed, which are elsewhere in Postgres's file: the text leaves it open, so they match."""
    await service.sql("UPDATE items SET body = 'moved' WHERE id = 'old-8'")
    sql = "SELECT n, body FROM items WHERE body <> 'gone'"

    async def told() -> bool:
        await service.rows(sql)
        return "another order" in str((await reads(service)).get(sql))

    await until(told, "a match in another order")
    assert (await gate(service))[0]


async def test_a_read_that_differs_blocks_the_promotion_until_it_is_mended(service: Service, postgres_url: str) -> None:
    with service.config.open("a") as config:
        config.write('[compare]\nshadow_read_sample = 1\nshadow_write_sample = 1\n[tables.items]\nrowid = "drop"\n')
    await service.start()
    await service.up()
    assert await service.rows(START, "old-7") == [["old-7", "body"]]
    assert await service.rows("SELECT random() AS r")

    async def replayed() -> Any:
        found = await reads(service)
        return found if all(found.get(sql) for sql in (START, "SELECT random() AS r")) else None

    found = await until(replayed, "both replays")
    assert (found[START]["latest"], found[START]["match"]) == ("match", 1)
    assert found[START]["ratio"] > 0
    assert (found["SELECT random() AS r"]["latest"], found[START]["differs"]) == ("inconclusive", None)
    assert await gate(service) == (True, "1 match, 0 mismatch, 1 inconclusive; none differs now")
    await written(service)
    await told_of_another_order(service)
    connection = await asyncpg.connect(postgres_url)
    try:
        right = await connection.fetchval("SELECT pg_get_functiondef($1::text::regprocedure)", HELPER)
        head, _, _ = right.partition("RETURN ")
        await connection.execute(head + "RETURN reverse(left(x, 4))")
        assert await service.rows(START, "old-7") == [["old-7", "body"]], "SQLite answers"

        async def noticed() -> Any:  # by itself, without being asked for
            return (await service.status())["rehearsal"]["shadow_reads"]["mismatch"]

        await until(noticed, "the replay")
        found = await reads(service)
        assert found[START]["differs"] == "Row 1, column start: a text on both, but not the same."
        assert "ydob" not in str(found)
        assert "old-7" not in str(found)
        ok, detail = await gate(service)
        assert not ok
        assert detail.startswith(
            "1 statement answered differently on Postgres, limit 0, see `cutover rehearse` (reads: "
        )
        await service.verified()
        code, refused = await service.switch("promote")
        assert (code, refused["error"]["code"]) == (409, "gates_failed")
        assert await service.rows(START, "nobody") == []
        assert not (await gate(service))[0], "another read of the text that matches does not clear it"
        await connection.execute(right)
    finally:
        await connection.close()
    assert (await gate(service))[0]
    assert (await reads(service))[START]["differs"] is None
    await service.switched("promote")


async def large(service: Service) -> None:
    """As a tool of another system writes it, in more than one portion: what comes first is known to the end."""
    file = service.folder / "large.sql"
    long = f"SELECT '{'x' * 100_000}' AS long"
    body = [f"SELECT n AS c{at} FROM items WHERE id = 'old-{at}'" for at in range(150)]
    texts = ["-- a; comment", "CREATE TABLE later (x)", *body, long, "INSERT INTO later VALUES (1)", "ATTACH 'x' AS y"]
    file.write_bytes(b"\xef\xbb\xbf" + ";\r\n".join(texts).replace("a; comment;", "a; comment").encode())
    ran = await cutover("rehearse", "--json", "--file", str(file), "--admin-url", service.admin)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["rows"]
    assert [row["status"] for row in found] == ["skipped", *["ready"] * 151, "skipped", "invalid"]
    assert [row["shadow_read"]["result"] for row in found[1:152]] == ["match"] * 151


async def test_statements_of_a_file_are_rehearsed(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    file = service.folder / "app.sql"
    file.write_text(
        """
        CREATE TABLE later (x);
        INSERT INTO later VALUES (1);
        BEGIN; UPDATE items SET n = n + 1 WHERE id = ?; COMMIT;
        SELECT count(*), max(n) FROM items;
        SELECT id FROM items WHERE n = ?;
        SELECT missing FROM items;
        SELECT body FROM items LIMIT 3;
        SELECT body FROM items ORDER BY id LIMIT 3;
        DELETE FROM items WHERE id = 'old-7' RETURNING id;
        """
    )
    ran = await cutover("rehearse", "--json", "--file", str(file), "--admin-url", service.admin)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["rows"]
    assert "CREATE TABLE" in found[0]["translation"]
    rows = [(row["status"], (row["shadow_read"] or row["shadow_write"] or {}).get("result")) for row in found]
    assert rows == [
        ("skipped", None),
        ("skipped", None),
        ("skipped", None),
        ("ready", "inconclusive"),
        ("skipped", None),
        ("ready", "match"),
        ("ready", "inconclusive"),
        ("invalid", None),
        ("ready", "match"),
        ("ready", "match"),
        ("ready", "match"),
    ]
    await large(service)
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT sum(n) FROM items") == sum(range(500))
        right = await connection.fetchval("SELECT pg_get_functiondef($1::text::regprocedure)", HELPER)
        await connection.execute(right.partition("RETURN ")[0] + "RETURN NULL")
    finally:
        await connection.close()
    file.write_text("CREATE TRIGGER t AFTER INSERT ON items BEGIN SELECT 1; SELECT 2; END;")
    ran = await cutover("rehearse", "--file", str(file), "--admin-url", service.admin)
    assert (ran.code, "refused" in ran.out) == (3, True)
    file.write_text("SELECT substr(body, 1, 4) FROM items ORDER BY id")
    ran = await cutover("rehearse", "--file", str(file), "--admin-url", service.admin)
    assert ran.code == 3
    assert "differs" in ran.out
    assert (await service.status())["rehearsal"]["statements"] == 0, "asked about, but not sent by an application"


async def test_a_statement_about_the_only_table_which_cannot_be_mirrored_is_refused(service: Service) -> None:
    """Where nothing is mapped, either before or after, it is no statement that SQLite refuses, too."""
    made = ("CREATE TABLE mixed (a)", "INSERT INTO mixed VALUES (1), ('one')")
    make(service.sqlite, "DROP TABLE items", "DROP TABLE accounts", "DROP TABLE pairs")
    await service.start()
    await service.up()
    make(service.sqlite, *made)
    file = service.folder / "app.sql"
    file.write_text("SELECT a FROM mixed; INSERT INTO mixed VALUES (2); SELECT b FROM mixed")

    async def told() -> bool:
        ran = await cutover("rehearse", "--json", "--file", str(file), "--admin-url", service.admin)
        found = [row["status"] for row in json.loads(ran.out)["rows"]]
        return found == ["refused", "refused", "invalid"] and ran.code == 3

    await service.explained(until(told, "a rehearsal that knows of the table"))


async def test_a_read_of_a_table_that_is_on_its_way_does_not_differ(service: Service) -> None:
    await service.start()
    await service.up()
    for number in range(6):
        made = await service.sql(f"CREATE TABLE early{number} (id INTEGER PRIMARY KEY, name TEXT)")
        assert made["type"] == "ok", made
        await service.rows(f"INSERT INTO early{number} VALUES (1, 'one')")
        for column in ("id", "name"):
            assert len(await service.rows(f"SELECT {column} FROM early{number}")) == 1

    async def replayed() -> dict[str, int] | None:
        found: dict[str, int] = (await service.status())["rehearsal"]["shadow_reads"]
        return found if found["match"] >= 12 or found["mismatch"] else None

    found = await service.explained(until(replayed, "the reads replayed"))
    told = (await service.request("GET", service.admin + "/v1/statements"))[1]
    assert (found["mismatch"], found["differing"]) == (0, 0), told


async def test_reads_amid_writes_never_differ(service: Service) -> None:
    with service.config.open("a") as config:
        config.write("[compare]\nshadow_read_sample = 1\n")
    await service.start()
    await service.up()
    with DirectWriter(service.sqlite, "direct") as direct:
        await until(lambda: len(direct.acknowledged) > 20, "writes")

        async def replayed() -> bool:
            for sql in ("SELECT count(*), max(id) FROM items", "SELECT id, n FROM items ORDER BY id DESC LIMIT 5"):
                await service.rows(sql)
            found = await reads(service)
            return len(found) == 2 and all(read and read["match"] >= 3 for read in found.values())

        await until(replayed, "replays")
        found = await reads(service)
    assert [(read["mismatch"], read["inconclusive"]) for read in found.values()] == [(0, 0), (0, 0)], found


async def test_a_restart_forgets_nothing_that_is_not_ready(service: Service) -> None:
    async def looked() -> tuple[bool, str] | None:
        _, body = await service.switch("promote", dry_run=True)
        gate = next(gate for gate in body["gates"] if gate["name"] == "statements_ready")
        return None if "not rehearsed yet" in gate["detail"] else (gate["ok"], gate["detail"])

    async def ready() -> tuple[bool, str]:
        found: tuple[bool, str] = await until(looked, "the rehearsal")
        return found

    await service.start()
    await service.up()
    await service.rows("DELETE FROM items WHERE id = 'nobody' RETURNING (SELECT count(*) FROM items)")
    await service.rows("SELECT n FROM items WHERE id = 'somebody'")
    assert await ready() == (False, "1 of 2 statements ready")
    kept = service.config.parent / "state" / "rehearsal.json"

    async def written() -> bool:
        return kept.exists() and kept.read_text().count('"id"') == 2

    await until(written, "the verdicts in their file")
    assert "nobody" not in kept.read_text()
    assert "somebody" not in kept.read_text()
    await service.kill()
    await service.start()
    await service.up()
    assert await ready() == (False, "1 of 2 statements ready")
    assert await service.post("/v1/statements/forget") == (200, {"forgotten": 2})
    assert await ready() == (True, "the front door has seen no statement")
    assert await service.stop() == 0
