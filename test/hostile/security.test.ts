import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DEFAULT_LIMITS } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const SECURITY = read("SECURITY.md");

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Rows of the tables of a document whose first cell is a name in code, by that name. */
function rows(document: string): ReadonlyMap<string, readonly string[]> {
  const cells = [...document.matchAll(/^\| `([^`]+)`\s*\|(.*)\|$/gm)].map(([, name = "", rest = ""]): [string, string[]] => [
    name,
    rest.split("|").map((cell) => cell.trim()),
  ]);
  return new Map(cells);
}

/** A limit as documents have it. */
function shown(limit: number): string {
  if (limit === Number.POSITIVE_INFINITY) return "none";
  if (limit >= 2 ** 20 && limit % 2 ** 20 === 0) return `${limit / 2 ** 20} MiB`;
  return limit >= 2 ** 16 && limit % 2 ** 10 === 0 ? `${limit / 2 ** 10} KiB` : `${limit}`;
}

/** The value of a constant in a source: a product of whole numbers. */
function constant(path: string, pattern: RegExp): number {
  const [, product] = pattern.exec(read(path)) ?? [];
  if (product === undefined) throw new Error(`${path} has no ${pattern}`);
  return product.split("*").reduce((result, factor) => result * Number(factor.replaceAll("_", "")), 1);
}

describe.each([
  ["SECURITY.md", SECURITY],
  ["the receiver's README", read("packages/receiver/README.md")],
])("the limits in %s", (_, document) => {
  it("are all there are, with the defaults that they have", () => {
    const table = rows(document);
    const documented = Object.keys(DEFAULT_LIMITS).map((limit) => [limit, table.get(limit)?.[0]]);
    expect(documented).toEqual(Object.entries(DEFAULT_LIMITS).map(([limit, value]) => [limit, shown(value)]));
  });
});

describe("SECURITY.md", () => {
  it("says of each limit with what code it is refused", () => {
    const table = rows(SECURITY);
    for (const limit of Object.keys(DEFAULT_LIMITS)) expect(table.get(limit)?.[1]).toMatch(/`limit_exceeded`|`too_many_values`/);
  });

  it("has a row for every sandbox", () => {
    const { exports } = JSON.parse(read("packages/sandbox/package.json")) as { readonly exports: object };
    const subpaths = Object.keys(exports).filter((subpath) => subpath !== "./package.json");
    const table = rows(SECURITY);
    expect(subpaths.filter((subpath) => !table.has(subpath.slice(2)))).toEqual([]);
  });

  it.each([
    ["262144 call sites", "packages/receiver/src/arena.ts", /maxCallSites: ([\d_ *]+)/, 262_144],
    ["64 Mi units of text", "packages/receiver/src/arena.ts", /maxStringUnits: ([\d_ *]+)/, 64 * 2 ** 20],
    ["a sixteenth of both for each", "packages/receiver/src/arena.ts", /maxProgramShare: 1 \/ ([\d_]+)/, 16],
    ["100000 starts, ends and records", "packages/opentelemetry/src/attempt-options.ts", /maxHeld = ([\d_ *]+)/, 100_000],
    ["64 MiB of events and links", "packages/opentelemetry/src/attempt-options.ts", /maxHeldBytes = ([\d_ *]+)/, 64 * 2 ** 20],
    ["128 attributes, events and links", "packages/opentelemetry/src/limits.ts", /eventCountLimit \?\? ([\d_]+)/, 128],
    ["1024 of all guests", "packages/opentelemetry/src/per-target.ts", /MAX_TARGETS = ([\d_]+)/, 1024],
    ["16 MiB and ", "packages/transport/src/in-flight.ts", /DEFAULT_MAX_IN_FLIGHT_BYTES: number = ([\d_ *]+)/, 16 * 2 ** 20],
    [" and 16384 batches", "packages/transport/src/in-flight.ts", /MAX_IN_FLIGHT_BATCHES = ([\d_]+)/, 16_384],
    ["1 MiB unless you say otherwise", "packages/transport/src/ring/layout.ts", /capacity: number = 2 \*\* (\d+)/, 20],
    ["its 8 ms a turn", "packages/transport/src/pump.ts", /turnMs \?\? ([\d_]+)/, 8],
    ["most 16 times a batch", "packages/receiver/src/receiver.ts", /MAX_ERRORS_PER_BATCH = ([\d_]+)/, 16],
    ["more than 128 deep", "packages/protocol/src/error-chain.ts", /MAX_ERROR_NESTING = ([\d_]+)/, 128],
    ["above 1024 ", "packages/protocol/src/codec.ts", /COUNTED_VALUES = ([\d_]+)/, 1024],
  ])("says %j, and so does %s", (text, path, pattern, value) => {
    expect(SECURITY).toContain(text);
    expect(constant(path, pattern)).toBe(value);
  });

  it("names tests that there are", () => {
    const named = [...SECURITY.matchAll(/`((?:test\/(?:hostile|fuzz)\/)?[a-z-]+\.test\.ts|test\/[a-z/]+)`/g)].map(
      ([, path = ""]) => path,
    );
    expect(named.length).toBeGreaterThan(8);
    for (const path of named)
      expect([path, existsSync(join(ROOT, path.includes("/") ? path : `test/hostile/${path}`))]).toEqual([path, true]);
  });
});
