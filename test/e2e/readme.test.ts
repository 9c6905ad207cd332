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
