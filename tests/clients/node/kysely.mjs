// kysely with @libsql/kysely-libsql (which brings an older @libsql/client of its own).

import assert from "node:assert/strict";
import { LibsqlDialect } from "@libsql/kysely-libsql";
import { Kysely, Migrator, sql } from "kysely";
import { bytes, main, prefix, refused, scenario, tell, TEXTS, token, url } from "./harness.mjs";

const person = `${prefix}person`;
const pet = `${prefix}pet`;
const db = new Kysely({ dialect: new LibsqlDialect({ url, authToken: token }) });

const migrations = {
    "2026-01-01": {
        up: async (db) => {
            await db.schema.createTable(person)
                .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
                .addColumn("name", "varchar(50)", (column) => column.notNull())
                .addColumn("email", "text", (column) => column.unique())
                .addColumn("score", "real", (column) => column.defaultTo(0.5))
                .addColumn("picture", "blob")
                .execute();
        },
        down: async (db) => db.schema.dropTable(person).execute(),
    },
    "2026-01-02": {
        up: async (db) => {
            await db.schema.createTable(pet)
                .addColumn("id", "integer", (column) => column.primaryKey())
                .addColumn("owner", "integer", (column) => column.references(`${person}.id`).onDelete("cascade").notNull())
                .addColumn("name", "text", (column) => column.notNull())
                .addUniqueConstraint(`${prefix}named`, ["owner", "name"])
                .execute();
            await db.schema.createIndex(`${prefix}names`).on(pet).column("name").execute();
            await db.schema.alterTable(person).addColumn("active", "integer", (column) => column.notNull().defaultTo(1)).execute();
        },
        down: async (db) => db.schema.dropTable(pet).execute(),
    },
};

scenario("migrations, forth, back and forth", async () => {
    const migrator = new Migrator({
        db, provider: { getMigrations: async () => migrations },
        migrationTableName: `${prefix}migration`, migrationLockTableName: `${prefix}migration_lock`,
    });
    const outcome = async (promise) => {
        const { error, results } = await promise;
        assert.equal(error, undefined);
        return results.map((result) => `${result.migrationName} ${result.status}`);
    };
    assert.deepEqual(await outcome(migrator.migrateToLatest()), ["2026-01-01 Success", "2026-01-02 Success"]);
    assert.deepEqual(await outcome(migrator.migrateToLatest()), []);
    assert.deepEqual(await outcome(migrator.migrateDown()), ["2026-01-02 Success"]);
    await sql`ALTER TABLE ${sql.table(person)} DROP COLUMN active`.execute(db);
    assert.deepEqual(await outcome(migrator.migrateToLatest()), ["2026-01-02 Success"]);
});

scenario("introspection", async () => {
    const tables = await db.introspection.getTables();
    const found = tables.find((table) => table.name === person);
    assert.deepEqual(found.columns.map((column) => [column.name, column.dataType, column.isNullable, column.isAutoIncrementing]), [
        ["id", "INTEGER", true, true], ["name", "varchar(50)", false, false], ["email", "TEXT", true, false],
        ["score", "REAL", true, false], ["picture", "BLOB", true, false], ["active", "INTEGER", false, false],
    ]);
});

scenario("rows there and back", async () => {
    const picture = bytes(3000);
    const made = await db.insertInto(person).values({ name: "Ada", email: "a@x", picture }).executeTakeFirstOrThrow();
    assert.equal(made.insertId, 1n);
    assert.equal(made.numInsertedOrUpdatedRows, 1n);
    const ada = await db.selectFrom(person).selectAll().where("id", "=", 1).executeTakeFirstOrThrow();
    assert.equal(Buffer.compare(Buffer.from(ada.picture), Buffer.from(picture)), 0);
    assert.deepEqual([ada.name, ada.score, ada.active], ["Ada", 0.5, 1]);
    await db.insertInto(person).values(TEXTS.slice(0, 14).map((name, at) => ({ name, email: `${at}` }))).execute();
    const names = await db.selectFrom(person).select("name").where("id", ">", 1).orderBy("id").execute();
    assert.deepEqual(names.map((row) => row.name), TEXTS.slice(0, 14));
    const returned = await db.insertInto(pet).values([{ owner: 1, name: "Byron" }, { owner: 1, name: "Puff" }]).returning(["id", "name"]).execute();
    assert.deepEqual(returned.map((row) => ({ ...row })), [{ id: 1, name: "Byron" }, { id: 2, name: "Puff" }]);
    tell("names", names.map((row) => row.name));
});

scenario("joins, conditions, expressions", async () => {
    const joined = await db.selectFrom(person).innerJoin(pet, `${pet}.owner`, `${person}.id`)
        .select([`${person}.name as who`, db.fn.count(`${pet}.id`).as("pets")]).groupBy(`${person}.id`).execute();
    assert.deepEqual(joined.map((row) => ({ ...row })), [{ who: "Ada", pets: 2 }]);
    const { rows } = await sql`SELECT ${1} AS one, ${"two"} AS two, ${null} AS three`.execute(db);
    assert.deepEqual({ ...rows[0] }, { one: 1, two: "two", three: null });
});

scenario("updates, upserts and deletes", async () => {
    const changed = await db.updateTable(person).set((eb) => ({ score: eb("score", "+", 1) })).where("id", "<=", 2).executeTakeFirstOrThrow();
    assert.equal(changed.numUpdatedRows, 2n);
    await db.insertInto(person).values({ name: "Augusta", email: "a@x" })
        .onConflict((conflict) => conflict.column("email").doUpdateSet({ name: "Augusta" })).execute();
    assert.equal((await db.selectFrom(person).select("name").where("email", "=", "a@x").executeTakeFirst()).name, "Augusta");
    assert.equal((await db.deleteFrom(pet).where("name", "=", "Puff").executeTakeFirst()).numDeletedRows, 1n);
});

scenario("constraint errors", async () => {
    const error = await refused(db.insertInto(person).values({ name: "x", email: "a@x" }).execute());
    assert.equal(error.code, "SQLITE_CONSTRAINT");
    assert.match(error.message, new RegExp(`UNIQUE constraint failed: ${person}.email`));
    assert.match((await refused(db.insertInto(pet).values({ owner: 99, name: "x" }).execute())).message, /FOREIGN KEY/);
    assert.match((await refused(db.selectFrom(`${prefix}nowhere`).selectAll().execute())).message, /no such table/);
});

scenario("transactions", async () => {
    await db.transaction().execute(async (trx) => {
        const { id } = await trx.insertInto(person).values({ name: "In" }).returning("id").executeTakeFirstOrThrow();
        await trx.insertInto(pet).values({ owner: id, name: "Side" }).execute();
    });
    await refused(db.transaction().execute(async (trx) => {
        await trx.insertInto(person).values({ name: "Lost" }).execute();
        throw new Error("no");
    }));
    await refused(db.transaction().execute(async (trx) => {
        await trx.insertInto(person).values({ name: "Lost" }).execute();
        await trx.insertInto(person).values({ name: "Lost", email: "a@x" }).execute();
    }));
    const kept = await db.selectFrom(person).select("name").where("name", "in", ["In", "Lost"]).execute();
    assert.deepEqual(kept.map((row) => row.name), ["In"]);
});

scenario("at once", async () => {
    await Promise.all(Array.from({ length: 6 }, () => db.transaction().execute(async (trx) => {
        const { score } = await trx.selectFrom(person).select("score").where("id", "=", 3).executeTakeFirstOrThrow();
        await trx.updateTable(person).set({ score: score + 1 }).where("id", "=", 3).execute();
    })));
    assert.equal((await db.selectFrom(person).select("score").where("id", "=", 3).executeTakeFirst()).score, 6.5);
    tell("score", 6.5);
    await db.destroy();
});

await main();
