import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { compileAssemblyScript } from "../../../test/support/assemblyscript.ts";
import { compileC, missingClang } from "../../../test/support/clang.ts";

const PACKAGE = resolve(import.meta.dirname, "..");

/** Where the README says "for instance". */
const TRACING = `
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

export const exporter = new InMemorySpanExporter();
export const spanProcessors = [new SimpleSpanProcessor({ exporter })];
`;

/** Prints the outcome of a host, and its spans. */
const MAIN = `
import { say } from "./outcome.ts";
import { exporter } from "./tracing.ts";

const { settled } = await import(process.argv[2]);
console.log(say(settled));
for (const { name, attributes, events } of exporter.getFinishedSpans()) {
  const values = Object.entries(attributes).filter(([key]) => !/^(level|busy_ns|idle_ns|code\\..*)$/.test(key));
  console.log([name, ...values.map(([key, value]) => key + "=" + value), ...events.map((event) => "· " + event.name)].join(" "));
}
`;

const CRATE_GUEST = `
@external("tracing", "send_event")
declare function sendEvent(pointer: usize, length: usize): void;

function say(event: string): void {
  const bytes = String.UTF8.encode(event);
  sendEvent(changetype<usize>(bytes), bytes.byteLength);
}

export function run(): void {
  say('{"new_call_site":{"id":7,"kind":"span","name":"from Rust","target":"crate","level":"info","fields":["n"]}}');
  say('{"new_span":{"id":1,"metadata_id":7,"values":{"n":{"u_int":3}}}}');
  say('{"span_dropped":{"id":1}}');
}
`;

const COMMAND = `
import { close, flush, SpanSite } from "@spanduct/guest-assemblyscript/assembly";

export { flush as spanduct_flush };

@external("wasi_snapshot_preview1", "fd_write")
declare function write(fd: i32, pieces: usize, count: i32, written: usize): i32;

const span = new SpanSite("command").open();
const text = String.UTF8.encode("hello\\n");
const piece = memory.data(8);
store<usize>(piece, changetype<usize>(text));
store<i32>(piece, text.byteLength, 4);
write(1, piece, 1, memory.data(4));
close(span);
`;

const PLUGIN = `
#define SPANDUCT_IMPLEMENTATION
#include "spanduct-extism.h"

SPANDUCT_SPAN(greet_site, SPANDUCT_INFO, "greet");

__attribute__((export_name("greet"))) void greet(void) { spanduct_close(spanduct_open(&greet_site)); }
`;

const missing = missingClang();

/** Else Node says on standard error that its WASI is experimental. */
const QUIET = "--disable-warning=ExperimentalWarning";

/** Inside of the package, so that the code finds what a user's would find. */
let folder: string;

beforeAll(async () => {
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  folder = mkdtempSync(join(PACKAGE, "dist", "readme-"));
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (\S+\.ts)\n(.*?)```/gs)) {
    writeFileSync(join(folder, name as string), code as string);
  }
  writeFileSync(join(folder, "tracing.ts"), TRACING);
  writeFileSync(join(folder, "main.ts"), MAIN);

  const guest = readFileSync(resolve(PACKAGE, "../guests/assemblyscript/README.md"), "utf8");
  const [, sum] = /```ts\n\/\/ assembly\/guest\.ts\n(.*?)```/s.exec(guest) as RegExpExecArray;
  const abort = "abort=~lib/@spanduct/guest-assemblyscript/assembly/index/traceAbort";
  const options = ["--runtime", "stub", "--initialMemory", "1", "--use"];
  const [wasm, crate, command] = await Promise.all([
    compileAssemblyScript("guest.ts", [...options, abort], { "guest.ts": sum as string }),
    compileAssemblyScript("crate.ts", [...options, "abort="], { "crate.ts": CRATE_GUEST }),
    compileAssemblyScript("command.ts", [...options, "abort=", "--exportStart", "_start"], { "command.ts": COMMAND }),
  ]);
  writeFileSync(join(folder, "guest.wasm"), wasm);
  writeFileSync(join(folder, "crate.wasm"), crate);
  writeFileSync(join(folder, "command.wasm"), command);
  if (missing === undefined) {
    writeFileSync(join(folder, "plugin.c"), PLUGIN);
    const include = `-I${resolve(PACKAGE, "../guests/c")}`;
    writeFileSync(join(folder, "plugin.wasm"), compileC(join(folder, "plugin.c"), ["-O2", include]));
  }
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true }));

const HOSTS: [host: string, printed: unknown[]][] = [
  ["worker-host.ts", ["the guest says 6765", "went well, 0 spans open, 0 of them here", "fibonacci n=20"]],
  [
    "recorder-host.ts",
    [
      "failed: Error: the worker ended with exit code 1",
      "endless error.type=Error spanduct.rolled_back=true · last words · exception",
    ],
  ],
  ["process-host.ts", ["49", "the guest has ended well", "went well, 0 spans open, 0 of them here", "square n=7 · 49"]],
  ["quickjs-host.ts", ["the guest says 42", "went well, 0 spans open, 0 of them here", "user script · hello"]],
  ["quickjs-wasi-host.ts", ["went well, 0 spans open, 0 of them here", "ask answer=42"]],
  ["vm-host.ts", ["the guest says 42", "went well, 0 spans open, 0 of them here", "rule · hello"]],
  ["vm-rejections.ts", ["the guest says saved", "went well, 0 spans open, 0 of them here"]],
  ["wasm-host.ts", ["went well, 0 spans open, 0 of them here", expect.stringMatching(/^sum count=4 result=/)]],
  ["crate-host.ts", ["went well, 0 spans open, 0 of them here", "from Rust n=3"]],
  ["wasi-host.ts", ["hello", "went well, 0 spans open, 0 of them here", "command"]],
];
if (missing === undefined) HOSTS.push(["extism-host.ts", ["went well, 0 spans open, 0 of them here", "greet"]]);
else it.skip(`README: extism-host.ts runs (${missing})`, () => undefined);

it.each(HOSTS)("README: %s runs, its trace arrives, and the host ends", { timeout: 60_000 }, async (host, expected) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [QUIET, "main.ts", `./${host}`], {
    cwd: folder,
    timeout: 30_000,
  });
  expect(stderr).toBe("");
  expect(stdout.trim().split("\n")).toEqual(expected);
});

it.each([
  ["stream", "far away"],
  ["websocket", "in a page"],
])("README: %s-host.ts waits for its guest, whose trace arrives, and both end", { timeout: 60_000 }, async (name, span) => {
  const free = createServer().listen(0);
  const port = String((free.address() as AddressInfo).port);
  await new Promise((resolve) => free.close(resolve));
  const options = { cwd: folder, timeout: 30_000, env: { ...process.env, PORT: port } };
  const host = promisify(execFile)(process.execPath, [QUIET, "main.ts", `./${name}-host.ts`], options);
  const isThere = (): Promise<boolean> =>
    new Promise((resolve) => {
      if (name === "stream") return resolve(existsSync(join(folder, "guests.sock")));
      const socket = createConnection(Number(port), "localhost", () => resolve(true));
      socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
    });
  while (!(await isThere())) await new Promise(setImmediate);
  await promisify(execFile)(process.execPath, [`${name}-guest.ts`], options);
  const { stdout, stderr } = await host;
  expect(stderr).toBe("");
  expect(stdout.trim().split("\n")).toEqual(["went well, 0 spans open, 0 of them here", span]);
});
