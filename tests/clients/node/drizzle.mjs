// drizzle-orm with its libSQL driver: the typed query builder, relations, transactions, batches, migrations.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { asc, desc, eq, gt, inArray, relations, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { migrate } from "drizzle-orm/libsql/migrator";
import { blob, index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { bytes, main, prefix, refused, scenario, tell, TEXTS, token, url } from "./harness.mjs";

const users = sqliteTable(`${prefix}users`, {
    id: integer("id").primaryKey({ autoIncrement: true }),
    name: text("name").notNull(),
    email: text("email").unique(),
    score: real("score").default(1.5),
    active: integer("active", { mode: "boolean" }).notNull().default(true),
    joined: integer("joined", { mode: "timestamp_ms" }),
    large: blob("large", { mode: "bigint" }),
    picture: blob("picture", { mode: "buffer" }),
    settings: text("settings", { mode: "json" }),
    kind: text("kind", { enum: ["person", "robot"] }).default("person"),
}, (table) => [index(`${prefix}users_name`).on(table.name)]);

const posts = sqliteTable(`${prefix}posts`, {
    id: integer("id").primaryKey(),
    author: integer("author").notNull().references(() => users.id, { onDelete: "cascade" }),
    title: text("title").notNull(),
}, (table) => [uniqueIndex(`${prefix}posts_title`).on(table.author, table.title)]);

const tags = sqliteTable(`${prefix}tags`, {
    post: integer("post").notNull(),
    tag: text("tag").notNull(),
}, (table) => [primaryKey({ columns: [table.post, table.tag] })]);

const schema = {
    users, posts, tags,
    usersRelations: relations(users, ({ many }) => ({ posts: many(posts) })),
    postsRelations: relations(posts, ({ one }) => ({ author: one(users, { fields: [posts.author], references: [users.id] }) })),
};

const client = createClient({ url, authToken: token });
const db = drizzle(client, { schema });

const FIRST = [
    `CREATE TABLE \`${prefix}users\` (
        \`id\` integer PRIMARY KEY AUTOINCREMENT NOT NULL, \`name\` text NOT NULL, \`email\` text, \`score\` real DEFAULT 1.5,
        \`active\` integer DEFAULT true NOT NULL, \`joined\` integer, \`large\` blob, \`picture\` blob, \`settings\` text,
        \`kind\` text DEFAULT 'person'
    );`,
    `CREATE UNIQUE INDEX \`${prefix}users_email\` ON \`${prefix}users\` (\`email\`);`,
    `CREATE INDEX \`${prefix}users_name\` ON \`${prefix}users\` (\`name\`);`,
    `CREATE TABLE \`${prefix}posts\` (
        \`id\` integer PRIMARY KEY NOT NULL, \`author\` integer NOT NULL, \`title\` text NOT NULL,
        FOREIGN KEY (\`author\`) REFERENCES \`${prefix}users\`(\`id\`) ON UPDATE no action ON DELETE cascade
    );`,
    `CREATE UNIQUE INDEX \`${prefix}posts_title\` ON \`${prefix}posts\` (\`author\`,\`title\`);`,
];
const SECOND = [
    `CREATE TABLE \`${prefix}tags\` (\`post\` integer NOT NULL, \`tag\` text NOT NULL, PRIMARY KEY(\`post\`, \`tag\`));`,
];

scenario("migrations run once", async () => {
    const folder = mkdtempSync(join(tmpdir(), "drizzle-"));
    try {
        mkdirSync(join(folder, "meta"));
        const entries = [FIRST, SECOND].map((statements, idx) => {
            writeFileSync(join(folder, `000${idx}_step.sql`), statements.join("\n--> statement-breakpoint\n"));
            return { idx, version: "6", when: 1700000000000 + idx, tag: `000${idx}_step`, breakpoints: true };
        });
        const journal = { version: "7", dialect: "sqlite", entries };
        writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify(journal));
        const options = { migrationsFolder: folder, migrationsTable: `${prefix}migrations` };
        await migrate(db, options);
        await migrate(db, options);
    } finally {
        rmSync(folder, { recursive: true });
    }
    const found = await db.all(sql`SELECT name FROM sqlite_master WHERE name LIKE ${`${prefix}%`} AND type = 'table' ORDER BY name`);
    assert.deepEqual(found.map((row) => row.name), ["migrations", "posts", "tags", "users"].map((name) => prefix + name));
    assert.equal((await client.execute(`SELECT count(*) AS n FROM ${prefix}migrations`)).rows[0].n, 2);
});

scenario("a tool that compares the schema with its own finds nothing of cutover's", async () => {
    const columns = await db.all(sql`
        SELECT m.name AS "table", p.name AS "column", p.type, p."notnull", p.dflt_value, p.pk, p.hidden, m.sql
        FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS p
        WHERE m.type = 'table' OR m.type = 'view' ORDER BY m.name, p.cid`);
    assert.equal(columns.filter((row) => row.table === `${prefix}posts`).length, 3);
    const indexes = await db.all(sql`
        SELECT m.name, i.name AS "index", i."unique", i.origin FROM sqlite_master AS m, pragma_index_list(m.name) AS i`);
    assert.ok(indexes.some((row) => row.index === `${prefix}users_name`));
    const triggers = await db.all(sql`SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'`);
    const counters = await db.all(sql`SELECT name, seq FROM sqlite_sequence`);
    const listed = (await client.execute("PRAGMA table_list")).rows;
    for (const found of [columns, indexes, triggers, counters, listed]) {
        assert.ok(!JSON.stringify(found).includes("_cutover"), JSON.stringify(found));
    }
});

const ada = {
    name: "Ada", email: "ada@example.org", active: false, joined: new Date("2026-01-02T03:04:05.678Z"), large: 2n ** 80n,
    picture: Buffer.from(bytes(5000)), settings: { deep: [1, "two", { three: null }], text: TEXTS.slice(0, 10) }, kind: "robot",
};

scenario("every mode of column comes back as it was", async () => {
    const [made] = await db.insert(users).values(ada).returning();
    assert.deepEqual(made, { id: 1, score: 1.5, ...ada });
    const [found] = await db.select().from(users).where(eq(users.email, "ada@example.org"));
    assert.deepEqual(found, made);
    const [plain] = await db.insert(users).values({ name: "Plain" }).returning({ id: users.id, active: users.active, kind: users.kind });
    assert.deepEqual(plain, { id: 2, active: true, kind: "person" });
});

scenario("queries", async () => {
    await db.insert(users).values(Array.from({ length: 50 }, (_, at) => ({ name: `user ${at}`, score: at, email: `${at}@x` })));
    await db.insert(posts).values([{ id: 1, author: 1, title: "On engines" }, { id: 2, author: 1, title: "Notes" }, { id: 3, author: 2, title: "Plainly" }]);
    const joined = await db.select({ title: posts.title, name: users.name }).from(posts)
        .innerJoin(users, eq(users.id, posts.author)).orderBy(desc(posts.title));
    assert.deepEqual(joined.map((row) => `${row.name}: ${row.title}`), ["Plain: Plainly", "Ada: On engines", "Ada: Notes"]);
    const nested = await db.query.users.findMany({ with: { posts: { orderBy: asc(posts.id) } }, where: inArray(users.id, [1, 2]), columns: { name: true } });
    assert.deepEqual(nested.map((user) => [user.name, user.posts.length]), [["Ada", 2], ["Plain", 1]]);
    const left = await db.select().from(posts).leftJoin(tags, eq(tags.post, posts.id)).where(eq(posts.id, 1));
    assert.equal(left[0][`${prefix}tags`], null);
    const [counted] = await db.select({ n: sql`count(*)`, top: sql`max(${users.score})` }).from(users).where(gt(users.score, 10));
    assert.deepEqual(counted, { n: 39, top: 49 });
    assert.equal(await db.$count(users), 52);
    const prepared = db.select().from(users).where(eq(users.id, sql.placeholder("id"))).prepare();
    assert.equal((await prepared.execute({ id: 2 }))[0].name, "Plain");
    assert.equal((await prepared.get({ id: 1 })).name, "Ada");
    const [row] = await db.values(sql`SELECT ${1}, ${"two"}, ${null}`);
    assert.deepEqual([row[0], row[1], row[2], row.length], [1, "two", null, 3]);
});

scenario("updates, upserts, deletes and cascades", async () => {
    const done = await db.update(users).set({ score: sql`${users.score} + 1` }).where(gt(users.score, 47.5));
    assert.equal(done.rowsAffected, 2);
    const [merged] = await db.insert(users).values({ name: "Other", email: "ada@example.org" })
        .onConflictDoUpdate({ target: users.email, set: { name: "Augusta Ada" } }).returning();
    assert.deepEqual([merged.id, merged.name], [1, "Augusta Ada"]);
    assert.equal((await db.insert(users).values({ name: "Nobody", email: "ada@example.org" }).onConflictDoNothing()).rowsAffected, 0);
    await db.delete(users).where(eq(users.id, 2));
    assert.deepEqual((await db.select({ id: posts.id }).from(posts)).map((row) => row.id), [1, 2]);
});

scenario("errors are the client's", async () => {
    const reason = async (promise) => {
        const error = await refused(promise);
        return error.cause ?? error;
    };
    const twice = await reason(db.insert(users).values({ name: "x", email: "ada@example.org" }));
    assert.equal(twice.code, "SQLITE_CONSTRAINT");
    assert.match(twice.message, new RegExp(`UNIQUE constraint failed: ${prefix}users.email`));
    assert.match((await reason(db.insert(posts).values({ author: 999, title: "x" }))).message, /FOREIGN KEY constraint failed/);
    assert.match((await reason(db.run(sql`INSERT INTO ${users}(name) VALUES (NULL)`))).message, /NOT NULL constraint failed/);
});

scenario("transactions, nested ones, and rollback", async () => {
    await db.transaction(async (tx) => {
        await tx.insert(tags).values([{ post: 1, tag: "a" }]);
        await refused(tx.transaction(async (inner) => {
            await inner.insert(tags).values([{ post: 1, tag: "lost" }]);
            throw new Error("only the inner one");
        }));
        await tx.transaction((inner) => inner.insert(tags).values([{ post: 1, tag: "b" }]));
    });
    await refused(db.transaction(async (tx) => {
        await tx.insert(tags).values([{ post: 2, tag: "lost" }]);
        tx.rollback();
    }));
    await refused(db.transaction(async (tx) => {
        await tx.insert(tags).values([{ post: 2, tag: "lost" }]);
        await tx.insert(tags).values([{ post: 1, tag: "a" }]);
    }));
    assert.deepEqual(await db.select().from(tags).orderBy(tags.tag), [{ post: 1, tag: "a" }, { post: 1, tag: "b" }]);
});

scenario("batches", async () => {
    const [inserted, listed, changed] = await db.batch([
        db.insert(tags).values({ post: 3, tag: "batch" }).returning(),
        db.select().from(tags).where(eq(tags.post, 3)),
        db.update(tags).set({ tag: "batched" }).where(eq(tags.post, 3)),
    ]);
    assert.deepEqual([inserted, listed, changed.rowsAffected], [[{ post: 3, tag: "batch" }], [{ post: 3, tag: "batch" }], 1]);
    await refused(db.batch([db.insert(tags).values({ post: 4, tag: "x" }), db.insert(tags).values({ post: 4, tag: "x" })]));
    assert.equal(await db.$count(tags, eq(tags.post, 4)), 0);
});

scenario("at once", async () => {
    await db.insert(users).values({ id: 900, name: "counter", score: 0 });
    const add = () => db.update(users).set({ score: sql`${users.score} + 1` }).where(eq(users.id, 900));
    await Promise.all(Array.from({ length: 40 }, add));
    assert.equal((await db.select().from(users).where(eq(users.id, 900)))[0].score, 40);
    await db.insert(tags).values({ post: 100, tag: "0" });
    // A unique key that is computed from itself, for what may be several rows.
    await db.update(tags).set({ tag: sql`CAST(${tags.tag} AS INTEGER) + 1` }).where(eq(tags.post, 100));
    assert.equal((await db.select().from(tags).where(eq(tags.post, 100)))[0].tag, "1");
    tell("tags", (await db.select().from(tags).orderBy(tags.post, tags.tag)).map((row) => [row.post, row.tag]));
});

await main();
