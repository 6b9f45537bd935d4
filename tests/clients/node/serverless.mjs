// @tursodatabase/serverless: cursors of Hrana 3 for every statement, on streams that are kept.

import assert from "node:assert/strict";
import { connect } from "@tursodatabase/serverless";
import { createClient } from "@tursodatabase/serverless/compat";
import { bytes, FLOATS, INTEGERS, main, prefix, refused, scenario, tell, TEXTS, token, url } from "./harness.mjs";

const items = `${prefix}items`;
const open = (more = {}) => connect({ url, authToken: token, ...more });
const db = open();

const count = async (by = db) => (await by.get(`SELECT count(*) AS n FROM ${items}`)).n;

scenario("a script makes the schema", async () => {
    await db.exec(`
        CREATE TABLE ${items}(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER, r REAL, b BLOB);
        CREATE INDEX ${prefix}n ON ${items}(n);
        INSERT INTO ${items}(id, name) VALUES (1, 'semi;colon'); -- the end
    `);
    assert.equal(await count(), 1);
    await refused(db.exec(`INSERT INTO ${items}(id) VALUES (2); INSERT INTO ${items}(id) VALUES (2)`));
    assert.equal(await count(), 2);
});

scenario("values", async () => {
    const exact = open();
    exact.defaultSafeIntegers(true);
    for (const [at, n] of INTEGERS.entries()) {
        await exact.run(`INSERT INTO ${items}(id, n) VALUES (?, ?)`, 100 + at, n);
    }
    assert.deepEqual((await exact.all(`SELECT n FROM ${items} WHERE id >= 100 ORDER BY id`)).map((row) => row.n), INTEGERS);
    await exact.close();
    for (const value of FLOATS) {
        assert.equal(Object.is((await db.get("SELECT ? AS v", [value])).v + 0, value + 0), true, `${value}`);
    }
    assert.deepEqual((await db.get("SELECT 9e999 AS v")).v, Infinity);
    for (const text of TEXTS) {
        assert.equal((await db.get("SELECT ? AS v", text)).v, text);
    }
    const large = bytes(1 << 20);
    await db.run(`INSERT INTO ${items}(id, b) VALUES (?, ?), (201, ?)`, 200, large, new Uint8Array(0));
    const found = await db.all(`SELECT b FROM ${items} WHERE id >= 200 ORDER BY id`);
    assert.equal(Buffer.compare(Buffer.from(found[0].b), Buffer.from(large)), 0);
    assert.equal(found[1].b.length, 0);
    assert.deepEqual({ ...(await db.get("SELECT ? AS a, ? AS b, ? AS c", [true, null, false])) }, { a: 1, b: null, c: 0 });
});

scenario("prepared statements", async () => {
    const insert = await db.prepare(`INSERT INTO ${items}(name, n) VALUES (:name, :n)`);
    const done = await insert.run({ name: "named", n: 5, more: 6 });
    assert.equal(done.changes, 1);
    tell("rowid", Number(done.lastInsertRowid));
    const select = await db.prepare(`SELECT name, n, n + 1 AS more FROM ${items} WHERE name = ?`);
    assert.deepEqual(select.columns().map((column) => [column.name, column.type]), [["name", "TEXT"], ["n", "INTEGER"], ["more", null]]);
    assert.deepEqual({ ...(await select.get("named")) }, { name: "named", n: 5, more: 6 });
    assert.equal(await select.get("nobody"), undefined);
    assert.deepEqual(await select.raw().all("named"), [["named", 5, 6]]);
    const seen = [];
    for await (const row of (await db.prepare("SELECT value FROM json_each(?)")).iterate("[1,2,3]")) {
        seen.push(row.value);
    }
    assert.deepEqual(seen, [1, 2, 3]);
    assert.equal((await refused(db.prepare("SELEC 1"))).code, "SQL_PARSE_ERROR");
});

scenario("errors, and the connection after them", async () => {
    const error = await refused(db.run(`INSERT INTO ${items}(name) VALUES ('named')`));
    assert.equal(error.code, "SQLITE_CONSTRAINT");
    assert.match(error.message, new RegExp(`UNIQUE constraint failed: ${items}.name`));
    assert.match((await refused(db.get("SELECT * FROM nowhere"))).message, /no such table: nowhere/);
    assert.equal((await db.get("SELECT 1 AS one")).one, 1);
});

scenario("batches", async () => {
    const before = await count();
    const add = (name) => ({ sql: `INSERT INTO ${items}(name) VALUES (?)`, args: [name] });
    const done = await db.batch([add("b1"), { sql: "SELECT :a AS a", args: { a: 7 } }, `SELECT count(*) AS n FROM ${items}`]);
    assert.deepEqual([done[0].rowsAffected, done[1].rows[0].a, done[2].rows[0].n], [1, 7, before + 1]);
    await refused(db.batch([add("b2"), add("b1"), add("b3")], "immediate"));
    assert.equal(await count(), before + 1);
    await db.batch(Array.from({ length: 300 }, (_, at) => add(`many ${at}`)), "write");
    assert.equal(await count(), before + 301);
});

scenario("transactions of their own stream", async () => {
    const before = await count();
    const move = db.transactionAsync(async (tx, name) => {
        await tx.run(`INSERT INTO ${items}(name) VALUES (?)`, name);
        assert.equal(await count(tx), before + 1);
        assert.equal(await count(), before, "the connection itself is outside");
        return "returned";
    });
    assert.equal(await move.immediate("moved"), "returned");
    assert.equal(await count(), before + 1);
    await refused(db.transactionAsync(async (tx) => {
        await tx.run(`INSERT INTO ${items}(name) VALUES ('lost')`);
        throw new Error("no");
    })());
    await refused(db.transactionAsync(async (tx) => {
        await tx.run(`INSERT INTO ${items}(name) VALUES ('lost')`);
        await tx.run(`INSERT INTO ${items}(name) VALUES ('moved')`);
    })());
    assert.equal(await count(), before + 1);
});

scenario("a transaction on the connection's stream", async () => {
    const before = await count();
    await db.exec("BEGIN IMMEDIATE");
    await db.run(`INSERT INTO ${items}(name) VALUES ('in')`);
    assert.equal(db.inTransaction, true);
    await db.exec("ROLLBACK");
    assert.equal(db.inTransaction, false);
    assert.equal(await count(), before);
    assert.equal((await db.pragma("foreign_keys")).rows[0][0], 1);
});

scenario("many at once", async () => {
    await db.run(`INSERT INTO ${items}(id, n) VALUES (1000, 0)`);
    const connections = Array.from({ length: 5 }, () => open());
    await Promise.all(connections.map(async (one) => {
        const add = one.transactionAsync(async (tx) => {
            const { n } = await tx.get(`SELECT n FROM ${items} WHERE id = 1000`);
            await tx.run(`UPDATE ${items} SET n = ? WHERE id = 1000`, n + 1);
        });
        for (let turn = 0; turn < 5; turn += 1) {
            await add.immediate();
            await one.run(`UPDATE ${items} SET n = n + 1 WHERE id = 1000`);
        }
        await one.close();
    }));
    assert.equal((await db.get(`SELECT n FROM ${items} WHERE id = 1000`)).n, 50);
    tell("counter", 50);
});

scenario("a big result, row by row", async () => {
    let rows = 0;
    for await (const row of db.iterate("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i FROM n")) {
        rows += 1;
        assert.equal(row.i, rows);
    }
    assert.equal(rows, 10_000);
});

scenario("its @libsql/client face, and tokens", async () => {
    const compat = createClient({ url, authToken: token });
    const done = await compat.execute({ sql: `SELECT name FROM ${items} WHERE id = ?`, args: [1] });
    assert.equal(done.rows[0].name, "semi;colon");
    await compat.batch([`DELETE FROM ${items} WHERE name = 'b1'`], "write");
    compat.close();
    if (token !== undefined) {
        await refused(open({ authToken: "wrong" }).get("SELECT 1"));
        await refused(open({ authToken: undefined }).get("SELECT 1"));
    }
    tell("names", (await db.all(`SELECT name FROM ${items} WHERE name IS NOT NULL ORDER BY id`)).map((row) => row.name));
    await db.close();
});

await main();
