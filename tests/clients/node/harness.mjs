// One process for each scenario: its cases run one after another, each reports a line, and the exit code is the verdict.
//
//     ok    12 ms  name of the case            FAIL  name of the case, with what went wrong below it
//
// The last line, when all is well, is `told {...}`: what the door acknowledged, for the test to hold against the store itself.

import assert from "node:assert/strict";

export const url = required("DOOR_URL");
export const token = process.env.DOOR_TOKEN || undefined;
export const kind = required("DOOR_KIND"); // http or ws
export const prefix = required("TABLE_PREFIX"); // names of tables begin with it: several scenarios share a door
export const overHttp = kind === "http";
export const onPostgres = process.env.DOOR_PRIMARY === "postgres";

const cases = [];
const told = {};

/** Add a case. Cases run in order; a failed one does not stop the next. */
export function scenario(name, run) {
    cases.push([name, run]);
}

/** Note something that was acknowledged. */
export function tell(name, value) {
    told[name] = value;
}

/** Run the cases; the last thing a scenario does. */
export async function main() {
    let failed = 0;
    for (const [name, run] of cases) {
        const began = performance.now();
        try {
            await within(60_000, run());
            console.log(`ok   ${(performance.now() - began).toFixed(0).padStart(5)} ms  ${name}`);
        } catch (error) {
            failed += 1;
            console.log(`FAIL  ${name}\n${error?.stack ?? error}${cause(error)}`);
        }
    }
    const text = JSON.stringify(told, (_, value) => (typeof value === "bigint" ? value.toString() : value));
    // Exits when it is written: what is longer than a pipe's buffer would otherwise be cut off.
    process.stdout.write(failed ? "\n" : `told ${text}\n`, () => process.exit(failed ? 1 : 0));
}

/** The error that a promise is rejected with; fails when it is not. */
export async function refused(promise) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        return error;
    }
    assert.fail(`expected an error, got ${JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v))}`);
}

/** Text with everything that has ever been lost on the way: NUL, quotes, astral planes, combining marks, controls. */
export const TEXTS = [
    "", " ", "a\u0000b", "\u0000", "'\"`;--", "\\n\\", "line\r\nline\u2028\u2029", "Žluťoučký kůň", "日本語", "👩‍👩‍👧‍👦🏳️‍🌈",
    "\u{10ffff}\u{10000}", "e\u0301 é", "\ufeffmark", "\u202ertl", "\u007f\u0080\uffff\ufffd", "x".repeat(100_000),
].filter((text) => !onPostgres || !text.includes("\0")); // which has no such character

/** 64-bit integers where other types end. */
export const INTEGERS = [
    0n, 1n, -1n, 2n ** 31n, -(2n ** 31n) - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n),
];

export const FLOATS = [0, -0, 0.1, -1.5, 2 ** 53, 1e-7, 1e21, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, Math.PI];

/** `size` bytes that do not compress and are the same each time. */
export function bytes(size) {
    const made = new Uint8Array(size);
    for (let at = 0, state = 1; at < size; at += 1) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        made[at] = state >>> 24;
    }
    return made;
}

function required(name) {
    assert.ok(process.env[name], `${name} is not set`);
    return process.env[name];
}

function cause(error) {
    return error?.cause ? `\ncaused by ${error.cause?.stack ?? error.cause}` : "";
}

async function within(milliseconds, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done within ${milliseconds} ms`)), milliseconds);
    });
    try {
        await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
