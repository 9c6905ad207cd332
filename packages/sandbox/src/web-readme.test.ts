import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findChromium, launchChromium, serveSite } from "../../../examples/support/chromium.ts";

const PACKAGE = resolve(import.meta.dirname, "..");
const missing = findChromium() === undefined ? " (there is no Chromium)" : "";

/** Where the README says "for instance". */
const TRACING = `
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

export const exporter = new InMemorySpanExporter();
export const spanProcessors = [new SimpleSpanProcessor({ exporter })];
`;

/** Prints the outcome of a host, and its spans. */
const main = (host: string): string => `
import { say } from "./outcome.ts";
import { exporter } from "./tracing.ts";
import { settled } from "./${host}.ts";

console.log(say(settled));
for (const { name } of exporter.getFinishedSpans()) console.log(name);
document.title = "done";
`;

/** Inside of the package, so that the code finds what a user's would find. */
let folder: string;

beforeAll(() => {
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  folder = mkdtempSync(join(PACKAGE, "dist", "readme-"));
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (\S+\.ts)\n(.*?)```/gs)) {
    writeFileSync(join(folder, name as string), code as string);
  }
  writeFileSync(join(folder, "tracing.ts"), TRACING);
});

afterAll(() => rmSync(folder, { recursive: true }));

async function bundle(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(folder, file)],
    bundle: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

it.skipIf(missing !== "").each([
  ["web-worker", ["the guest says 6765", "went well, 0 spans open, 0 of them here", "fibonacci"]],
  ["iframe", ["went well, 0 spans open, 0 of them here", "draw"]],
])(`README: %s-host.ts runs in a page, and its trace arrives${missing}`, { timeout: 120_000 }, async (name, expected) => {
  writeFileSync(join(folder, "index.ts"), main(`${name}-host`));
  const files = new Map([
    ["/index.js", await bundle("index.ts")],
    [`/${name}-guest.js`, await bundle(`${name}-guest.ts`)],
  ]);
  await using site = await serveSite(files);
  await using browser = await launchChromium();
  const page = await browser.newPage();
  const lines: string[] = [];
  page.on("console", (message) => lines.push(message.text()));
  page.on("pageerror", (error) => lines.push(String(error)));
  await page.goto(`http://localhost:${site.port}/index.html`);
  await page.waitForFunction(() => document.title === "done");
  expect(lines).toEqual(expected);
});
