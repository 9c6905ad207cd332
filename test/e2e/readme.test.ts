import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

/** What the README leaves to the reader. */
const RELAY = `
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { spanProcessors } from "./tracing.ts";

export const relay = new OpenTelemetryRelay({ spanProcessors }).execution();
`;

let folder: string;

beforeAll(() => {
  const out = join(ROOT, "test/out");
  mkdirSync(out, { recursive: true });
  folder = mkdtempSync(join(out, "readme-"));
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (\S+\.ts)\n(.*?)```/gs)) {
    writeFileSync(join(folder, name as string), code as string);
  }
  writeFileSync(join(folder, "relay.ts"), RELAY);
});

afterAll(() => rmSync(folder, { recursive: true }));

async function run(file: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { cwd: folder, timeout: 30_000 });
  expect(stderr).toBe("");
  return stdout;
}

it("README: the guest's span comes out of the host's processors, and the guest is committed", { timeout: 60_000 }, async () => {
  const printed = await run("host.ts");
  expect(printed).toContain("hello, world");
  expect(printed).toMatch(/name: 'greet'/);
  expect(printed).toMatch(/name: 'world'/);
  expect(printed.trimEnd().split("\n").at(-1)).toBe("committed");
});

it("README: any boundary is a function that takes bytes", { timeout: 60_000 }, async () => {
  const printed = await run("anywhere.ts");
  expect(printed).toMatch(/name: 'answer'/);
  expect(printed).toMatch(/value: 42/);
  expect(printed).toMatch(/name: 'through the tunnel'/);
});

it("README: every line of the table of sandboxes is one of a program that the tests run", () => {
  const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
  const table = /## Sandboxes\n(.*?)\n## /s.exec(read("README.md"))?.[1] ?? "";
  const code = [...table.matchAll(/(`+) ?(.+?) ?\1/g)].map(([, , line]) => line as string);
  const lines = code.filter((line) => /[=(;#]/.test(line) && !line.startsWith("@"));
  const programs = [
    "packages/sandbox/README.md",
    "packages/guests/c/README.md",
    "examples/quickjs/guests/discount.js",
    "examples/extism/plugin.c",
  ]
    .map(read)
    .flatMap((text) => text.split("\n"))
    .map((line) => line.trim());
  expect(lines.length).toBeGreaterThan(40);
  expect(lines.filter((line) => !programs.includes(line))).toEqual([]);
});

it("README: what it costs is what the benchmarks have measured", () => {
  interface Measured {
    readonly name: string;
    readonly ratio: number;
    readonly met: boolean;
  }
  const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
  const { results } = JSON.parse(read("packages/bench/results.json")) as { results: Measured[] };
  const table = /## What it costs\n(.*?)\n!\[/s.exec(read("README.md"))?.[1] ?? "";
  const rows = table.split("\n").filter((line) => /^\| (?!what)/.test(line));
  const names = [
    "guest, encoded: 3 attributes, 1 event | SDK span + OTLP/protobuf",
    "guest, encoded: 3 attributes, 1 event | SDK span + OTLP/JSON",
    "tunnel, guest to onEnd: 3 attributes, 1 event | SDK 3.1",
    "tunnel, guest to onEnd: 3 attributes, 1 event | SDK 2.12",
    "tunnel, guest to onEnd, all of it read there: 3 attributes, 1 event | SDK 3.1",
    "tunnel, guest to onEnd: 3 attributes, 1 event, entered | SDK 3.1 startActiveSpan",
    "worker, end to end, into OpenTelemetry spans | postMessage of each record, only counted",
    "host: decode + receive, relay that does nothing | JSON.parse of the same events",
    "stream of 100000 spans, sender, protobuf, receiver | the genuine crate, native, with JSON",
    "wire, with times: 3 attributes, 1 event | OTLP/protobuf",
    "memory: 100000 live spans on the host, 3 attributes and 1 event each | the SDK's",
    "size: sender core | OpenTelemetry API, trace only",
  ];
  const written = rows.map((row) => {
    const [, , , , ratio = "", target = ""] = row.split("|");
    return [ratio.trim(), !target.includes("not met")];
  });
  const measured = names.map((name) => {
    const result = results.find((one) => one.name === name);
    return [result?.ratio.toFixed(2), result?.met];
  });
  expect(written).toEqual(measured);
});
