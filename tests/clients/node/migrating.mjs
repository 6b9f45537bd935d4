// An application on drizzle-orm that migrates at each start, as its documentation has it, and then works.
//
// MIGRATIONS says how many of its migrations this version of it has.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { asc, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { migrate } from "drizzle-orm/libsql/migrator";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { main, scenario, tell, token, url } from "./harness.mjs";

const people = sqliteTable("people", {
    id: integer("id").primaryKey({ autoIncrement: true }),
    name: text("name").notNull(),
});

const MIGRATIONS = [
    [
        "CREATE TABLE `people` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `name` text);",
        "CREATE INDEX `people_name` ON `people` (`name`);",
    ],
    [ // what drizzle-kit writes where a column becomes NOT NULL
        "CREATE TABLE `places` (`id` integer PRIMARY KEY NOT NULL, `person` integer REFERENCES `people`(`id`));",
        "PRAGMA foreign_keys=OFF;",
        "CREATE TABLE `__new_people` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `name` text NOT NULL);",
        'INSERT INTO `__new_people`("id", "name") SELECT "id", "name" FROM `people`;',
        "DROP TABLE `people`;",
        "ALTER TABLE `__new_people` RENAME TO `people`;",
        "PRAGMA foreign_keys=ON;",
        "CREATE INDEX `people_name` ON `people` (`name`);",
    ],
    ["ALTER TABLE `people` ADD `email` text;"],
].slice(0, Number(process.env.MIGRATIONS));

const client = createClient({ url, authToken: token });
const db = drizzle(client);

scenario("the application starts", async () => {
    const folder = mkdtempSync(join(tmpdir(), "drizzle-"));
    try {
        mkdirSync(join(folder, "meta"));
        const entries = MIGRATIONS.map((statements, idx) => {
            writeFileSync(join(folder, `000${idx}_step.sql`), statements.join("\n--> statement-breakpoint\n"));
            return { idx, version: "6", when: 1700000000000 + idx, tag: `000${idx}_step`, breakpoints: true };
        });
        writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify({ version: "7", dialect: "sqlite", entries }));
        await migrate(db, { migrationsFolder: folder });
    } finally {
        rmSync(folder, { recursive: true });
    }
});

scenario("it works", async () => {
    await db.insert(people).values({ name: `of version ${MIGRATIONS.length}` });
    tell("names", (await db.select({ name: people.name }).from(people).orderBy(asc(people.id))).map((row) => row.name));
    const ledger = await db.all(sql`SELECT id, created_at, typeof(created_at) AS kind FROM __drizzle_migrations`);
    assert.deepEqual(ledger, MIGRATIONS.map((_, idx) => ({ id: null, created_at: 1700000000000 + idx, kind: "integer" })));
});

await main();
