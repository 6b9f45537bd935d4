// @libsql/client: every value there and back, arguments, and the shape of results.

import assert from "node:assert/strict";
import { createClient } from "@libsql/client";
import { bytes, FLOATS, INTEGERS, main, overHttp, prefix, refused, scenario, tell, TEXTS, token, url } from "./harness.mjs";

const values = `${prefix}values`;
const open = (more = {}) => createClient({ url, authToken: token, ...more });
const client = open();
const exact = open({ intMode: "bigint" });

scenario("tables are created", async () => {
    const made = await client.execute(
        `CREATE TABLE ${values}(id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, "any thing" VARCHAR(20))`,
    );
    assert.deepEqual([made.columns, made.rows, made.rowsAffected], [[], [], 0]);
    assert.match((await refused(client.execute(`CREATE TABLE ${values}(id)`))).message, /already exists/);
});

scenario("integers of 64 bits are exact", async () => {
    for (const [id, i] of INTEGERS.entries()) {
        await exact.execute({ sql: `INSERT INTO ${values}(id, i) VALUES (?, ?)`, args: [id + 1, i] });
    }
    const found = await exact.execute(`SELECT i, CAST(i AS TEXT) FROM ${values} ORDER BY id`);
    assert.deepEqual(found.rows.map((row) => row.i), INTEGERS);
    assert.deepEqual(found.rows.map((row) => row[1]), INTEGERS.map(String));
    const text = await open({ intMode: "string" }).execute(`SELECT max(i), min(i) FROM ${values}`);
    assert.deepEqual([text.rows[0][0], text.rows[0][1]], ["9223372036854775807", "-9223372036854775808"]);
    assert.ok((await refused(client.execute(`SELECT max(i) FROM ${values}`))) instanceof RangeError);
    assert.ok((await refused(client.execute({ sql: "SELECT ?", args: [2n ** 63n] }))) instanceof RangeError);
    assert.equal((await client.execute({ sql: "SELECT ?", args: [2 ** 40] })).rows[0][0], 2 ** 40);
    tell("integers", INTEGERS.map(String));
});

scenario("the sum of two large integers overflows as in SQLite", async () => {
    const error = await refused(exact.execute({ sql: "SELECT sum(column1) FROM (VALUES (?), (1))", args: [2n ** 63n - 1n] }));
    assert.match(error.message, /integer overflow/);
});

scenario("floats are exact and stay floats", async () => {
    const found = await client.execute({ sql: `SELECT ${FLOATS.map(() => "?").join(", ")}`, args: FLOATS });
    FLOATS.forEach((value, at) => assert.equal(Object.is(found.rows[0][at] + 0, value + 0), true, `${value}`));
    assert.deepEqual(
        (await client.execute("SELECT typeof(2.0), typeof(CAST(2 AS REAL)), 9e999, -9e999, typeof(9e999)")).rows[0].length, 5,
    );
    const edges = (await client.execute("SELECT 9e999, -9e999, 9e999 - 9e999")).rows[0];
    assert.deepEqual([edges[0], edges[1], edges[2]], [Infinity, -Infinity, null]);
    assert.ok((await refused(client.execute({ sql: "SELECT ?", args: [Infinity] }))) instanceof RangeError);
    assert.ok((await refused(client.execute({ sql: "SELECT ?", args: [NaN] }))) instanceof RangeError);
});

scenario("any text comes back as it was", async () => {
    for (const [id, t] of TEXTS.entries()) {
        await client.execute({ sql: `INSERT INTO ${values}(id, t) VALUES (?, ?)`, args: [100 + id, t] });
    }
    const found = await client.execute(`SELECT t, length(CAST(t AS BLOB)) AS size FROM ${values} WHERE id >= 100 ORDER BY id`);
    assert.deepEqual(found.rows.map((row) => row.t), TEXTS);
    assert.deepEqual(found.rows.map((row) => row.size), TEXTS.map((text) => Buffer.byteLength(text)));
    const same = await client.execute({ sql: `SELECT count(*) FROM ${values} WHERE t = ?`, args: ["👩‍👩‍👧‍👦🏳️‍🌈"] });
    assert.equal(same.rows[0][0], 1);
    assert.equal((await client.execute("SELECT 'žluť' || '👩' AS \"jméno 👩\"")).columns[0], "jméno 👩");
    tell("texts", TEXTS);
});

scenario("blobs, empty and large", async () => {
    const large = bytes(1 << 20);
    const sent = [new Uint8Array(0), new Uint8Array([0, 255, 128]), new Uint8Array([1, 2]).buffer, large];
    for (const [at, b] of sent.entries()) {
        await client.execute({ sql: `INSERT INTO ${values}(id, b) VALUES (?, ?)`, args: [200 + at, b] });
    }
    const found = (await client.execute(`SELECT b, typeof(b) AS type FROM ${values} WHERE id >= 200 ORDER BY id`)).rows;
    assert.deepEqual(found.map((row) => row.type), ["blob", "blob", "blob", "blob"]);
    assert.ok(found[0].b instanceof ArrayBuffer);
    assert.deepEqual(found.map((row) => row.b.byteLength), [0, 3, 2, 1 << 20]);
    assert.equal(Buffer.compare(Buffer.from(found[3].b), Buffer.from(large)), 0);
    tell("blob", large.length);
});

scenario("booleans, dates, null and undefined", async () => {
    const date = new Date("2026-02-03T04:05:06.789Z");
    const found = (await client.execute({ sql: "SELECT ?, ?, ?, ?", args: [true, false, date, null] })).rows[0];
    assert.deepEqual([found[0], found[1], found[2], found[3]], [1, 0, date.valueOf(), null]);
    assert.ok((await refused(client.execute({ sql: "SELECT ?", args: [undefined] }))) instanceof TypeError);
});

scenario("arguments by position, number and name", async () => {
    const one = async (sql, args) => [...Object.values((await client.execute({ sql, args })).rows[0])];
    assert.deepEqual(await one("SELECT ? AS x, ? AS y", ["a", 2]), ["a", 2]);
    assert.deepEqual(await one("SELECT ?2 AS x, ?1 AS y, ?2 AS z", ["a", "b"]), ["b", "a", "b"]);
    assert.deepEqual(await one("SELECT ?3 AS x, ?1 AS y", ["a", "b", "c"]), ["c", "a"]);
    assert.deepEqual(await one("SELECT :a AS x, @b AS y, $c AS z", { a: 1, b: 2, c: 3 }), [1, 2, 3]);
    assert.deepEqual(await one("SELECT :a AS x, :a AS y", { ":a": "same" }), ["same", "same"]);
    assert.deepEqual(await one("SELECT @b AS x, $c AS y", { "@b": 2, $c: 3 }), [2, 3]);
    assert.deepEqual((await client.execute("SELECT ? AS x", ["second argument"])).rows[0].x, "second argument");
    assert.ok(await refused(client.execute({ sql: "SELECT ?, ?", args: ["one"] })));
    assert.ok(await refused(client.execute({ sql: "SELECT :a", args: { b: 1 } })));
});

scenario("the shape of a result", async () => {
    const found = await client.execute(`SELECT id, i AS number, "any thing", 1 + 1, t FROM ${values} WHERE id = 1`);
    assert.deepEqual(found.columns, ["id", "number", "any thing", "1 + 1", "t"]);
    assert.deepEqual({ ...found.rows[0] }, { id: 1, number: 0, "any thing": null, "1 + 1": 2, t: null });
    assert.equal(found.rows[0].length, 5);
    assert.deepEqual(found.toJSON().rows, [[1, 0, null, 2, null]]);
    const twice = await client.execute("SELECT 1 AS a, 2 AS a, 3 AS b");
    assert.deepEqual([twice.columns, twice.rows[0][0], twice.rows[0][1], twice.rows[0].length], [["a", "a", "b"], 1, 2, 3]);
    const none = await client.execute(`SELECT id, t FROM ${values} WHERE id = 0`);
    assert.deepEqual([none.columns, none.rows, none.rowsAffected], [["id", "t"], [], 0]);
});

scenario("declared types", async () => {
    const found = await client.execute(`SELECT v.id, i AS number, "any thing", 1 + 1, w.t FROM ${values} v JOIN (SELECT t FROM ${values}) w LIMIT 1`);
    assert.deepEqual(found.columnTypes, ["INTEGER", "INTEGER", "VARCHAR(20)", "", "TEXT"]);
});

scenario("rows affected, last rowid and RETURNING", async () => {
    const table = `${prefix}affected`;
    await client.execute(`CREATE TABLE ${table}(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, n INTEGER DEFAULT 7)`);
    const first = await client.execute(`INSERT INTO ${table}(a) VALUES ('x'), ('y'), ('z')`);
    assert.deepEqual([first.rowsAffected, first.lastInsertRowid], [3, 3n]);
    const given = await client.execute(`INSERT INTO ${table}(a) VALUES ('r'), ('s') RETURNING id, a, n`);
    assert.deepEqual(given.rows.map((row) => ({ ...row })), [{ id: 4, a: "r", n: 7 }, { id: 5, a: "s", n: 7 }]);
    assert.deepEqual([given.rowsAffected, given.lastInsertRowid], [2, 5n]);
    const merged = await client.execute(
        `INSERT INTO ${table}(a, n) VALUES ('x', 1) ON CONFLICT(a) DO UPDATE SET n = excluded.n RETURNING id, n`,
    );
    assert.deepEqual({ ...merged.rows[0] }, { id: 1, n: 1 });
    assert.equal((await client.execute(`INSERT OR IGNORE INTO ${table}(a) VALUES ('x')`)).rowsAffected, 0);
    assert.equal((await client.execute(`UPDATE ${table} SET n = n + 1 WHERE id > 3`)).rowsAffected, 2);
    assert.equal((await client.execute(`DELETE FROM ${table} WHERE a IN ('r', 's')`)).rowsAffected, 2);
    assert.equal((await client.execute(`WITH w(v) AS (VALUES ('v'), ('w')) INSERT INTO ${table}(a) SELECT v FROM w`)).rowsAffected, 2);
    assert.equal((await client.execute(`SELECT a FROM ${table}`)).rowsAffected, 0);
    const kept = await client.execute(`SELECT id, a, n FROM ${table} ORDER BY id`);
    assert.deepEqual(kept.toJSON().rows, [[1, "x", 1], [2, "y", 7], [3, "z", 7], [8, "v", 7], [9, "w", 7]]);
    tell("affected", kept.toJSON().rows);
});

scenario("big results", async () => {
    const wide = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, 'row ' || i AS t FROM n";
    const rows = (await client.execute(wide)).rows;
    assert.equal(rows.length, 20_000);
    assert.deepEqual({ ...rows[19_999] }, { i: 20_000, t: "row 20000" });
    const long = (await client.execute("SELECT zeroblob(3000000) AS b, replace(hex(zeroblob(500000)), '00', 'ž') AS t")).rows[0];
    assert.deepEqual([long.b.byteLength, long.t], [3_000_000, "ž".repeat(500_000)]);
});

scenario("what SQLite can, it can here", async () => {
    const one = async (sql, ...args) => (await client.execute({ sql, args })).rows[0][0];
    assert.equal(await one("SELECT json_extract(?, '$.a[1]')", '{"a": [1, "two"]}'), "two");
    assert.equal(await one("SELECT group_concat(v) FROM (SELECT row_number() OVER (ORDER BY column1) AS v FROM (VALUES (5), (6)))"), "1,2");
    assert.equal(await one("SELECT date('2026-01-31', '+1 month')"), "2026-03-03");
    await client.execute(`CREATE TABLE ${prefix}search_me(id INTEGER PRIMARY KEY, body TEXT)`);
    await client.execute(`CREATE VIEW ${prefix}seen AS SELECT id, upper(body) AS loud FROM ${prefix}search_me`);
    await client.execute({ sql: `INSERT INTO ${prefix}search_me(body) VALUES (?)`, args: ["quiet"] });
    assert.equal(await one(`SELECT loud FROM ${prefix}seen`), "QUIET");
    assert.equal(await one("EXPLAIN QUERY PLAN SELECT 1") !== undefined, true);
    assert.equal(await one("SELECT 'trailing' ; -- comment"), "trailing");
});

scenario("what this transport cannot, it says", async () => {
    let error;
    try { await client.sync(); } catch (caught) { error = caught; }
    assert.equal(error.code, "SYNC_NOT_SUPPORTED");
    assert.equal(client.protocol, overHttp ? "http" : "ws");
    const other = open();
    other.close();
    assert.equal(other.closed, true);
    assert.ok(await refused(other.execute("SELECT 1")));
    await other.reconnect();
    assert.equal((await other.execute("SELECT 1 AS one")).rows[0].one, 1);
    other.close();
});

await main();
