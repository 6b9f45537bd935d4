// Drizzle: a table of every mode of column, its migrations written by drizzle-kit for each store, written by drizzle-orm.
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRequire } from "node:module";
import { asc, eq, lt, sql } from "drizzle-orm";
import { byKey, database, file, obey, onSqlite, postgresOptions } from "./obeying.mjs";

const schema = onSqlite ? "schema-sqlite.mjs" : "schema-postgres.mjs";
const here = import.meta.dirname;

const SQLITE = `
import { sqliteTable, text, integer, real, blob, numeric, uniqueIndex, index, primaryKey, check } from "drizzle-orm/sqlite-core";
import { sql } from "drizzle-orm";
export const users = sqliteTable("users", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  email: text("email").notNull().unique(),
  fullName: text("fullName", { length: 40 }),
  role: text("role", { enum: ["admin", "user"] }).notNull().default("user"),
  active: integer("active", { mode: "boolean" }).notNull().default(true),
  createdAt: integer("created_at", { mode: "timestamp" }).notNull(),
  seenAt: integer("seen_at", { mode: "timestamp_ms" }),
  day: text("day"),
  profile: text("profile", { mode: "json" }),
  score: real("score"),
  price: numeric("price"),
  big: integer("big"),
  raw: blob("raw", { mode: "buffer" }),
  doubled: integer("doubled").generatedAlwaysAs(sql\`big * 2\`, { mode: "stored" }),
}, (t) => [uniqueIndex("users_lower_email").on(sql\`lower(\${t.email})\`), index("users_role").on(t.role, t.active)]);
export const posts = sqliteTable("posts", {
  id: text("id").primaryKey(),
  authorId: integer("author_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  body: text("body").notNull(),
  published: text("published_at").default(sql\`CURRENT_TIMESTAMP\`),
  tags: text("tags", { mode: "json" }),
});
export const likes = sqliteTable("likes", {
  userId: integer("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  postId: text("post_id").notNull().references(() => posts.id, { onDelete: "cascade" }),
  weight: integer("weight").notNull().default(1),
}, (t) => [primaryKey({ columns: [t.userId, t.postId] }), check("weight_positive", sql\`\${t.weight} > 0\`)]);
`;
const POSTGRES = `
import { pgTable, pgEnum, text, varchar, integer, bigint, boolean, timestamp, date, jsonb, doublePrecision, numeric, customType, uuid, uniqueIndex, index, primaryKey, check } from "drizzle-orm/pg-core";
import { sql } from "drizzle-orm";
const bytea = customType({ dataType: () => "bytea" });
export const role = pgEnum("role", ["admin", "user"]);
export const users = pgTable("users", {
  id: integer("id").primaryKey().generatedAlwaysAsIdentity(),
  email: text("email").notNull().unique(),
  fullName: varchar("fullName", { length: 40 }),
  role: role("role").notNull().default("user"),
  active: boolean("active").notNull().default(true),
  createdAt: timestamp("created_at", { withTimezone: true }).notNull(),
  seenAt: timestamp("seen_at", { withTimezone: true, precision: 3 }),
  day: date("day"),
  profile: jsonb("profile"),
  score: doublePrecision("score"),
  price: numeric("price", { precision: 10, scale: 2 }),
  big: bigint("big", { mode: "number" }),
  raw: bytea("raw"),
  doubled: bigint("doubled", { mode: "number" }).generatedAlwaysAs(sql\`big * 2\`),
}, (t) => [uniqueIndex("users_lower_email").on(sql\`lower(\${t.email})\`), index("users_role").on(t.role, t.active)]);
export const posts = pgTable("posts", {
  id: uuid("id").primaryKey(),
  authorId: integer("author_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  body: text("body").notNull(),
  published: timestamp("published_at", { mode: "string" }).default(sql\`now()\`),
  tags: text("tags").array(),
});
export const likes = pgTable("likes", {
  userId: integer("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  postId: uuid("post_id").notNull().references(() => posts.id, { onDelete: "cascade" }),
  weight: integer("weight").notNull().default(1),
}, (t) => [primaryKey({ columns: [t.userId, t.postId] }), check("weight_positive", sql\`\${t.weight} > 0\`)]);
`;

class Drizzle {
  async migrate() {
    const place = mkdtempSync(join(here, "drizzle-"));
    const path = join(place, schema);
    writeFileSync(path, onSqlite ? SQLITE : POSTGRES);
    const kit = createRequire(import.meta.url).resolve("drizzle-kit").replace(/drizzle-kit\/.*/, "drizzle-kit/bin.cjs");
    const dialect = onSqlite ? "sqlite" : "postgresql";
    execFileSync("node", [kit, "generate", "--dialect", dialect, "--schema", path, "--out", "out"], { cwd: place });
    this.tables = await import(path);
    const migrations = { migrationsFolder: join(place, "out") };
    if (onSqlite) {
      const { drizzle } = await import("drizzle-orm/better-sqlite3");
      const { migrate } = await import("drizzle-orm/better-sqlite3/migrator");
      const Database = (await import("better-sqlite3")).default;
      const connection = new Database(file, { timeout: 30000 });
      connection.pragma("foreign_keys = ON");
      this.db = drizzle(connection);
      migrate(this.db, migrations);
    } else {
      const { drizzle } = await import("drizzle-orm/node-postgres");
      const { migrate } = await import("drizzle-orm/node-postgres/migrator");
      const { Pool } = (await import("pg")).default;
      this.db = drizzle(new Pool(postgresOptions()));
      await migrate(this.db, migrations);
    }
  }

  async seed() {
    await this.write(0);
  }

  async write(turn) {
    const { users, posts, likes } = this.tables;
    const moment = (n) => new Date(Date.UTC(2024, 1, 29, 23, 59, n % 60));
    const uuid = (n) => `00000000-0000-4000-8000-${String(turn * 1000 + n).padStart(12, "0")}`;
    for (let n = 0; n < 12; n += 1) {
      const [user] = await this.db
        .insert(users)
        .values({
          email: `üser${turn}.${n}@example.org`,
          fullName: ["Zoë 🐘", "", null, 'it\'s "quoted"'][n % 4],
          role: n % 3 ? "user" : "admin",
          active: n % 2 === 0,
          createdAt: moment(n),
          seenAt: n % 4 ? new Date(moment(n).getTime() + n * 7) : null,
          day: n % 5 ? `2024-02-${String(n + 1).padStart(2, "0")}` : null,
          profile: [{ b: 1, a: [null, "ü"] }, {}, [1, 2.5], null][n % 4],
          score: [0.1, -2.25, 1e-300, null, 3][n % 5],
          price: n % 3 ? ["19.90", "-0.01", "12"][n % 3] : null,
          big: [0, 2 ** 52, -(2 ** 40), null][n % 4],
          raw: n % 3 ? Buffer.from([0, 255, n]) : null,
        })
        .returning();
      await this.db.insert(posts).values({
        id: uuid(n), authorId: user.id, body: `text ${n}`, published: "2024-01-01 10:00:00", tags: ["a", "ü, \"x\"", ""],
      });
      await this.db.insert(posts).values({ id: uuid(n + 500), authorId: user.id, body: "", tags: null });
      await this.db.insert(likes).values({ userId: user.id, postId: uuid(n), weight: n + 1 });
    }
    const work = (tx) => [
      tx.update(users).set({ active: false, profile: { turn } }).where(eq(users.role, "admin")),
      tx.update(likes).set({ weight: sql`${likes.weight} + 1` }).where(lt(likes.weight, 4)),
      tx.delete(posts).where(eq(posts.id, uuid(3))),
      tx.delete(users).where(eq(users.email, `üser${turn}.5@example.org`)),
      tx.insert(likes).values({ userId: 1, postId: uuid(1) }).onConflictDoUpdate({
        target: [likes.userId, likes.postId], set: { weight: 99 },
      }),
    ];
    if (onSqlite) {
      this.db.transaction((tx) => work(tx).forEach((query) => query.run()));
    } else {
      await this.db.transaction(async (tx) => {
        for (const query of work(tx)) await query;
      });
    }
  }

  async read() {
    const { users, posts, likes } = this.tables;
    const people = await this.db.select().from(users).orderBy(asc(users.id));
    const texts = (await this.db.select().from(posts)).map((post) => ({ ...post, published: post.published && "set" }));
    const prices = people.map((user) => ({ ...user, price: user.price === null ? null : Number(user.price) }));
    return {
      users: byKey(prices, "id"),
      posts: byKey(texts, "id"),
      likes: byKey(await this.db.select().from(likes), "userId", "postId"),
    };
  }
}

await obey(new Drizzle());
