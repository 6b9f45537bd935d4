// A schema, and writes of every kind, whose values Postgres can hold as well (it has no text with NUL).

import { createClient } from "@libsql/client";
import { bytes, FLOATS, INTEGERS, main, prefix, scenario, tell, TEXTS, token, url } from "./harness.mjs";

const client = createClient({ url, authToken: token, intMode: "bigint" });
const table = `${prefix}all`;

scenario("values of every type", async () => {
    await client.execute(`CREATE TABLE ${table}(id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB)`);
    const texts = TEXTS.filter((text) => !text.includes("\u0000"));
    await client.batch(texts.map((text, at) => ({
        sql: `INSERT INTO ${table} VALUES (?, ?, ?, ?, ?)`,
        args: [at, INTEGERS[at % INTEGERS.length], FLOATS[at % FLOATS.length], text, bytes(at * 100)],
    })), "write");
});

scenario("changes, of each way to make one", async () => {
    await client.execute(`UPDATE ${table} SET t = t || '!' WHERE id = 3`);
    await client.executeMultiple(`DELETE FROM ${table} WHERE id = 4; UPDATE ${table} SET id = 100 WHERE id = 5;`);
    const transaction = await client.transaction("write");
    await transaction.execute(`INSERT INTO ${table}(id, t) VALUES (200, 'in a transaction')`);
    await transaction.commit();
    const lost = await client.transaction("write");
    await lost.execute(`DELETE FROM ${table}`);
    await lost.rollback();
    tell("ids", (await client.execute(`SELECT id FROM ${table} ORDER BY id`)).rows.map((row) => Number(row.id)));
});

await main();
