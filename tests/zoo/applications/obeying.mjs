// The application's side of the harness, as in tests/frameworks/obeying.py.
import { createInterface } from "node:readline";

export const database = process.env.APPLICATION_DATABASE ?? "";
export const onSqlite = database.startsWith("sqlite:///");
export const file = database.replace("sqlite:///", "");

export function postgresOptions() {
  const url = new URL(database.replace("@/", "@localhost/"));
  return {
    user: url.username,
    database: url.pathname.slice(1),
    host: url.searchParams.get("host") ?? url.hostname,
    port: Number(url.searchParams.get("port") ?? url.port ?? 5432),
  };
}

export function plain(value) {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "no date" : value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]));
  }
  return value;
}

export function byKey(rows, ...keys) {
  return Object.fromEntries(
    rows.map((row) => [JSON.stringify(keys.map((key) => plain(row[key]))), JSON.stringify(plain(row))]),
  );
}

export async function obey(application) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [asked, ...given] = JSON.parse(line);
    let answer;
    try {
      answer = { result: (await application[asked](...given)) ?? null };
    } catch (error) {
      answer = { error: `${error.stack}\n${error.cause?.stack ?? ""}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}
