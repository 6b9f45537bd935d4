// @libsql/client: errors and what can be matched on, batches, transactions, many at once, tokens.

import assert from "node:assert/strict";
import { createClient, LibsqlBatchError, LibsqlError } from "@libsql/client";
import { main, onPostgres, prefix, refused, scenario, tell, token, url } from "./harness.mjs";

const people = `${prefix}people`;
const posts = `${prefix}posts`;
const counter = `${prefix}counter`;
const open = (more = {}) => createClient({ url, authToken: token, ...more });
const client = open();

const count = async (table, by = client) => (await by.execute(`SELECT count(*) AS n FROM ${table}`)).rows[0].n;
const insert = (id, name = `name ${id}`) => ({ sql: `INSERT INTO ${people}(id, name) VALUES (?, ?)`, args: [id, name] });

async function fails(promise, code, text) {
    const error = await refused(promise);
    assert.ok(error instanceof LibsqlError, `${error?.stack}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return error;
}

scenario("migrate makes the schema with foreign keys off", async () => {
    await client.migrate([
        `CREATE TABLE ${posts}(id INTEGER PRIMARY KEY, author INTEGER NOT NULL REFERENCES ${people}(id), body TEXT)`,
        `CREATE TABLE ${people}(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INTEGER CHECK (age >= 0))`,
        { sql: `INSERT INTO ${posts}(id, author, body) VALUES (1, 1, ?)`, args: ["before its author"] },
        `INSERT INTO ${people}(id, name) VALUES (1, 'first')`,
        `CREATE TABLE ${counter}(id INTEGER PRIMARY KEY, n INTEGER NOT NULL)`,
        `INSERT INTO ${counter} VALUES (1, 0), (2, 0)`,
    ]);
    assert.deepEqual([await count(people), await count(posts)], [1, 1]);
    await refused(client.migrate([`CREATE TABLE ${prefix}half(id)`, "CREATE NONSENSE"]));
    await fails(client.execute(`SELECT * FROM ${prefix}half`), "SQLITE_UNKNOWN", /no such table/);
    assert.equal((await client.execute("PRAGMA foreign_keys")).rows[0][0], 1);
});

scenario("constraints have their code and SQLite's own text", async () => {
    await fails(client.execute(insert(1, "other")), "SQLITE_CONSTRAINT", new RegExp(`UNIQUE constraint failed: ${people}.id`));
    await fails(client.execute(insert(2, "first")), "SQLITE_CONSTRAINT", new RegExp(`UNIQUE constraint failed: ${people}.name`));
    await fails(client.execute(insert(2, null)), "SQLITE_CONSTRAINT", new RegExp(`NOT NULL constraint failed: ${people}.name`));
    await fails(
        client.execute(`INSERT INTO ${people}(name, age) VALUES ('x', -1)`), "SQLITE_CONSTRAINT", /CHECK constraint failed: age >= 0/,
    );
    await fails(client.execute(`INSERT INTO ${posts}(author) VALUES (99)`), "SQLITE_CONSTRAINT", /FOREIGN KEY constraint failed/);
    await fails(client.execute(`DELETE FROM ${people} WHERE id = 1`), "SQLITE_CONSTRAINT", /FOREIGN KEY constraint failed/);
    assert.deepEqual([await count(people), await count(posts)], [1, 1]);
});

scenario("other errors name what is wrong", async () => {
    await fails(client.execute("SELECT foobar"), "SQL_INPUT_ERROR", /no such column: foobar/);
    await fails(client.execute("SELECT * FROM nowhere"), "SQLITE_UNKNOWN", /no such table: nowhere/);
    await fails(client.execute("SELEC 1"), "SQL_PARSE_ERROR", /near "?SELEC"?: syntax error/);
    await fails(client.execute("SELECT 1; SELECT 2"), "SQL_MANY_STATEMENTS", /statement/);
    await fails(client.execute("-- nothing"), "SQL_NO_STATEMENT", /./);
    await fails(client.execute({ sql: "SELECT ?, ?", args: [1] }), "ARGS_INVALID", /./);
    assert.equal((await client.execute("SELECT 1 AS one")).rows[0].one, 1);
});

scenario("a batch is all or nothing", async () => {
    const done = await client.batch([
        insert(10),
        [`INSERT INTO ${people}(id, name) VALUES (?, ?)`, [11, "pair"]],
        `SELECT count(*) AS n FROM ${people}`,
        { sql: `UPDATE ${people} SET name = :name WHERE id = :id RETURNING name`, args: { name: "renamed", id: 11 } },
    ], "write");
    assert.deepEqual(done.map((result) => result.rowsAffected), [1, 1, 0, 1]);
    assert.deepEqual([done[0].lastInsertRowid, done[2].rows[0].n, done[3].rows[0].name], [10n, 3, "renamed"]);
    const error = await fails(client.batch([insert(12), insert(13), insert(12), insert(14)], "write"), "SQLITE_CONSTRAINT", /UNIQUE/);
    assert.ok(error instanceof LibsqlBatchError);
    assert.equal(error.statementIndex, 2);
    assert.equal(await count(people), 3);
    for (const mode of ["deferred", "read"]) {
        const read = await client.batch([`SELECT count(*) AS n FROM ${people}`, "SELECT 2 AS two"], mode);
        assert.deepEqual([read[0].rows[0].n, read[1].rows[0].two], [3, 2]);
    }
    assert.deepEqual(await client.batch([], "write"), []);
    await refused(client.batch(["SELECT 1; SELECT 2"]));
    assert.equal((await client.batch([insert(15), `DELETE FROM ${people} WHERE id = 15`], "deferred"))[1].rowsAffected, 1);
});

scenario("a batch of a thousand", async () => {
    const many = Array.from({ length: 1000 }, (_, at) => insert(1000 + at));
    assert.equal((await client.batch(many, "write")).length, 1000);
    const different = Array.from({ length: 200 }, (_, at) => `SELECT ${at} AS n`);
    assert.deepEqual((await client.batch(different, "read")).map((result) => result.rows[0].n), [...Array(200).keys()]);
    assert.equal((await client.execute(`DELETE FROM ${people} WHERE id >= 1000`)).rowsAffected, 1000);
});

scenario("a transaction commits", async () => {
    const transaction = await client.transaction("write");
    const made = await transaction.execute(insert(20));
    assert.equal(made.lastInsertRowid, 20n);
    const [read] = await transaction.batch([`SELECT count(*) AS n FROM ${people}`, insert(21)]);
    assert.equal(read.rows[0].n, 4);
    await transaction.executeMultiple(`UPDATE ${people} SET age = 1 WHERE id = 20; UPDATE ${people} SET age = 2 WHERE id = 21;`);
    assert.equal(await count(people), 3, "others do not see it yet");
    await transaction.commit();
    assert.equal(transaction.closed, true);
    assert.equal(await count(people), 5);
    await fails(transaction.execute("SELECT 1"), "TRANSACTION_CLOSED", /closed/);
    await fails(transaction.commit(), "TRANSACTION_CLOSED", /closed/);
    await transaction.rollback();
});

scenario("a transaction is rolled back, or just closed", async () => {
    const first = await client.transaction("write");
    await first.execute(insert(30));
    await first.rollback();
    const second = await client.transaction();
    await second.execute(insert(30));
    second.close();
    const third = await client.transaction("deferred");
    await third.rollback();
    const fourth = await client.transaction("write");
    assert.equal((await fourth.execute(`SELECT count(*) AS n FROM ${people}`)).rows[0].n, 5);
    await fourth.commit();
});

scenario("an error inside leaves the transaction open", async () => {
    const transaction = await client.transaction("write");
    await transaction.execute(insert(40));
    await fails(transaction.execute(insert(40)), "SQLITE_CONSTRAINT", /UNIQUE/);
    await fails(transaction.execute("SELECT foobar"), "SQL_INPUT_ERROR", /foobar/);
    const error = await fails(transaction.batch([insert(41), insert(40), insert(42)]), "SQLITE_CONSTRAINT", /UNIQUE/);
    assert.equal(error.statementIndex, 1);
    assert.equal(transaction.closed, false);
    await transaction.execute(insert(43));
    await transaction.commit();
    const found = await client.execute(`SELECT id FROM ${people} WHERE id BETWEEN 40 AND 49 ORDER BY id`);
    assert.deepEqual(found.rows.map((row) => row.id), [40, 41, 43]);
});

scenario("an error that ends the transaction ends it", async () => {
    const transaction = await client.transaction("write");
    await transaction.execute(insert(50));
    await fails(
        transaction.execute(`INSERT OR ROLLBACK INTO ${people}(id, name) VALUES (50, 'x')`), "SQLITE_CONSTRAINT", /UNIQUE/,
    );
    await refused(transaction.commit());
    assert.equal((await client.execute(`SELECT count(*) AS n FROM ${people} WHERE id = 50`)).rows[0].n, 0);
});

scenario("a reading transaction sees one moment", async () => {
    const reading = await client.transaction("read");
    const before = (await reading.execute(`SELECT count(*) AS n FROM ${people}`)).rows[0].n;
    await client.execute(insert(60));
    assert.equal((await reading.execute(`SELECT count(*) AS n FROM ${people}`)).rows[0].n, before);
    await reading.commit();
    assert.equal(await count(people), before + 1);
});

scenario("savepoints", async () => {
    const transaction = await client.transaction("write");
    await transaction.execute(insert(70));
    await transaction.execute("SAVEPOINT inner_one");
    await transaction.execute(insert(71));
    await transaction.execute("ROLLBACK TO inner_one");
    await transaction.execute(insert(72));
    await transaction.execute("RELEASE inner_one");
    await transaction.commit();
    const found = await client.execute(`SELECT id FROM ${people} WHERE id BETWEEN 70 AND 79 ORDER BY id`);
    assert.deepEqual(found.rows.map((row) => row.id), [70, 72]);
});

scenario("a second writer waits for the first", async () => {
    const first = await client.transaction("write");
    await first.execute(insert(80));
    const order = [];
    const second = client.execute(insert(81)).then(() => order.push("second"));
    await first.execute(`SELECT count(*) FROM ${people}`);
    order.push("first");
    await first.commit();
    await second;
    assert.deepEqual(order, ["first", "second"]);
});

scenario("executeMultiple", async () => {
    const trigger = `
        CREATE TRIGGER ${prefix}noted AFTER INSERT ON ${posts} BEGIN
            INSERT INTO ${prefix}log(what) VALUES ('posted; ' || new.body);
            UPDATE ${people} SET age = coalesce(age, 0) + 1 WHERE id = new.author;
        END;`;
    if (onPostgres) await fails(client.executeMultiple(trigger), "SQL_NOT_TRANSLATABLE", /CREATE TRIGGER/);
    // What the trigger does, said by the client where there can be none.
    const noting = `INSERT INTO ${prefix}log(what) VALUES ('posted; semi;colon');
        UPDATE ${people} SET age = coalesce(age, 0) + 1 WHERE id = 1;`;
    await client.executeMultiple(`
        -- comments; with semicolons
        CREATE TABLE ${prefix}log(id INTEGER PRIMARY KEY, what TEXT);
        ${onPostgres ? noting : trigger}
        INSERT INTO ${posts}(author, body) VALUES (1, 'semi;colon');
        SELECT * FROM ${prefix}log; /* its rows are dropped */
    `);
    assert.equal((await client.execute(`SELECT what FROM ${prefix}log`)).rows[0].what, "posted; semi;colon");
    await fails(
        client.executeMultiple(`INSERT INTO ${prefix}log(id) VALUES (50); INSERT INTO ${prefix}log(id) VALUES (50); DELETE FROM ${prefix}log`),
        "SQLITE_CONSTRAINT", /UNIQUE/,
    );
    assert.equal(await count(`${prefix}log`), 2, "what came before the error stays");
    await refused(client.executeMultiple(`BEGIN; DELETE FROM ${prefix}log; INSERT INTO nowhere VALUES (1); COMMIT`));
    assert.equal(await count(`${prefix}log`), 2, "a transaction that was begun and not finished is rolled back");
    await client.executeMultiple(`BEGIN; INSERT INTO ${prefix}log(id) VALUES (60); COMMIT;`);
    assert.equal(await count(`${prefix}log`), 3);
});

scenario("many clients add up", async () => {
    const clients = Array.from({ length: 8 }, () => open());
    await Promise.all(clients.flatMap((one) => Array.from({ length: 25 }, () =>
        one.execute(`UPDATE ${counter} SET n = n + 1 WHERE id = 1`))));
    await Promise.all(clients.map(async (one) => {
        for (let turn = 0; turn < 5; turn += 1) {
            const transaction = await one.transaction("write");
            const before = (await transaction.execute(`SELECT n FROM ${counter} WHERE id = 2`)).rows[0].n;
            await transaction.execute({ sql: `UPDATE ${counter} SET n = ? WHERE id = 2`, args: [before + 1] });
            await transaction.commit();
        }
    }));
    const found = await client.execute(`SELECT n FROM ${counter} ORDER BY id`);
    assert.deepEqual(found.rows.map((row) => row.n), [200, 40]);
    tell("counters", [200, 40]);
    clients.forEach((one) => one.close());
});

scenario("a client at work with statements of every kind at once", async () => {
    const work = Array.from({ length: 60 }, (_, at) => [
        client.execute(insert(2000 + at)),
        refused(client.execute(insert(1))),
        client.batch([insert(3000 + at), `SELECT ${at} AS n`], "write"),
        client.execute({ sql: "SELECT ? AS n", args: [at] }),
    ]);
    for (const [at, [, error, batch, read]] of work.entries()) {
        assert.equal((await error).code, "SQLITE_CONSTRAINT");
        assert.equal((await batch)[1].rows[0].n, at);
        assert.equal((await read).rows[0].n, at);
    }
    await Promise.all(work.map(([first]) => first));
    assert.equal((await client.execute(`SELECT count(*) AS n FROM ${people} WHERE id >= 2000`)).rows[0].n, 120);
});

scenario("tokens", async () => {
    if (token === undefined) {
        return; // a door that asks for none: whatever comes is let in
    }
    for (const wrong of ["wrong", `${token}x`, undefined]) {
        const other = open({ authToken: wrong });
        const error = await refused(other.execute("SELECT 1"));
        assert.match(`${error.message} ${error.cause?.message}`, /401|[Uu]nauthorized|AUTH/);
        await refused(other.batch([insert(90)], "write"));
        other.close();
    }
    assert.equal((await client.execute(`SELECT count(*) AS n FROM ${people} WHERE id = 90`)).rows[0].n, 0);
});

scenario("told", async () => {
    tell("people", (await client.execute(`SELECT id, name, age FROM ${people} ORDER BY id`)).toJSON().rows);
});

await main();
