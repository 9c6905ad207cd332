import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type BatchEncoder,
  controlWord,
  DEFAULT_LIMITS,
  FieldResolver,
  recordEvents,
  type TracedError,
  TracedValues,
  ValueKind,
} from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
const {
  compile: compileWasm,
  Instance,
  Module,
  RuntimeError,
} = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

interface WebAssemblyApi {
  compile(binary: Uint8Array): Promise<WasmModule>;
  readonly Instance: new (module: WasmModule, imports: object) => { readonly exports: Record<string, unknown> };
  readonly Module: { imports(module: WasmModule): { readonly module: string; readonly name: string }[] };
  readonly RuntimeError: new () => Error;
}

type WasmModule = object;

interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

const FOLDER = fileURLToPath(new URL("..", import.meta.url));
const COMPILER = join(FOLDER, "node_modules/assemblyscript/bin/asc.js");
const TRACE_ABORT = "assembly/index/traceAbort";

/** Compiles with the simplest runtime, in which every allocation shows. Paths are relative to `folder`. */
async function compile(folder: string, entry: string, abort: string): Promise<WasmModule> {
  const binary = join(scratch, "guest.wasm");
  const options = ["--outFile", binary, "--optimize", "--runtime", "stub", "--use", `abort=${abort}`];
  const { stderr } = spawnSync(process.execPath, [COMPILER, entry, ...options], { cwd: folder, encoding: "utf8" });
  expect(stderr).toBe("");
  return compileWasm(readFileSync(binary));
}

const scratch = mkdtempSync(join(tmpdir(), "guest-"));
let guestModule: WasmModule;

beforeAll(async () => {
  guestModule = await compile(FOLDER, "test/assembly/guest.ts", TRACE_ABORT);
}, 60_000);

afterAll(() => rmSync(scratch, { recursive: true }));

type Guest = Record<string, (...parameters: (number | bigint | undefined)[]) => number | bigint | undefined>;

interface Host {
  readonly guest: Guest;
  /** What the guest sent so far. */
  readonly batches: Uint8Array[];
}

interface HostOptions {
  readonly answer?: (batch: number) => number;
  readonly now?: () => bigint;
  /** What `trace_context` writes. */
  readonly context?: () => string;
  readonly module?: WasmModule;
}

/** A new instance of the guest. */
function start(options: HostOptions = {}): Host {
  const batches: Uint8Array[] = [];
  const instance = new Instance(options.module ?? guestModule, {
    spanduct: {
      send(pointer: number, length: number): number {
        const memory = instance.exports["memory"] as WasmMemory;
        batches.push(new Uint8Array(memory.buffer).slice(pointer, pointer + length));
        return options.answer?.(batches.length - 1) ?? 0;
      },
      now: options.now ?? (() => 0n),
      trace_context(pointer: number, capacity: number): number {
        const text = Buffer.from(options.context?.() ?? "");
        new Uint8Array((instance.exports["memory"] as WasmMemory).buffer).set(text.subarray(0, capacity), pointer);
        return text.length;
      },
    },
  });
  return { guest: instance.exports as Guest, batches };
}

/** Runs one scenario and flushes: its only batch. */
function run(scenario: string, argument?: number): Uint8Array {
  const { guest, batches } = start();
  guest[scenario]?.(argument);
  guest["flush"]?.();
  expect(batches).toHaveLength(1);
  return batches[0] as Uint8Array;
}

function encoder(header: { sequence?: number; droppedEvents?: number } = {}): BatchEncoder {
  const encoder = protobuf.createEncoder();
  encoder.batch({ version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0, ...header });
  return encoder;
}

type Raw = boolean | number | bigint | string | TracedError;

/** Values by position; `undefined` ones are left out. */
function values(...list: (readonly [ValueKind, Raw] | undefined)[]): TracedValues {
  const values = new TracedValues();
  list.forEach((value, field) => {
    if (value !== undefined) values.push(field, value[0], value[1]);
  });
  return values;
}

const string = (text: string): readonly [ValueKind, Raw] => [ValueKind.string, text];
const int = (value: number | bigint): readonly [ValueKind, Raw] => [ValueKind.int, value];
const uInt = (value: number | bigint): readonly [ValueKind, Raw] => [ValueKind.uInt, value];
const bool = (value: boolean): readonly [ValueKind, Raw] => [ValueKind.bool, value];
const float = (value: number): readonly [ValueKind, Raw] => [ValueKind.float, value];
const error = (value: TracedError): readonly [ValueKind, Raw] => [ValueKind.error, value];

// Numbers of the guest's call sites, in the order in which it makes them.
const WORK = 1;
const STEP = 2;
const DONE = 3;
const DETAIL = 4;

function announceWork(sink: BatchEncoder): void {
  const fields = ["path", "bytes"];
  const place = { target: "guest::work", file: "guest.ts", line: 12 };
  sink.newCallSite(WORK, { kind: "span", name: "work", level: "info", ...place, fields }, undefined);
}

function announceStep(sink: BatchEncoder): void {
  sink.newCallSite(STEP, { kind: "span", name: "step", target: "guest", level: "debug", fields: [] }, undefined);
}

function announceDone(sink: BatchEncoder): void {
  const fields = ["message", "a", "b", "c"];
  sink.newCallSite(DONE, { kind: "event", name: "done", target: "guest", level: "info", fields }, undefined);
}

function expectBytes(actual: Uint8Array | undefined, expected: BatchEncoder): void {
  expect(Buffer.from(actual ?? []).toString("hex")).toBe(Buffer.from(expected.finish()).toString("hex"));
}

/** Nothing in the batch is refused, and what it says, encoded again, is the same batch. */
function expectValid(batch: Uint8Array | undefined): void {
  const sink = protobuf.createEncoder();
  const errors: unknown[] = [];
  protobuf.createDecoder(DEFAULT_LIMITS).decode(batch ?? new Uint8Array(), sink, (error) => errors.push(error));
  expect(errors).toEqual([]);
  expectBytes(batch, sink);
}

it("SpanSite, EventSite: spans and events are the bytes that the protobuf encoder writes", () => {
  const expected = encoder();
  announceWork(expected);
  expected.newSpan(1, undefined, WORK, values(string("README.md"), int(300)), undefined);
  expected.spanEntered(1, undefined);
  announceStep(expected);
  expected.newSpan(2, undefined, STEP, values(), undefined);
  expected.followsFrom(2, 1, undefined);
  expected.spanCloned(2, undefined);
  expected.spanDropped(2, undefined);
  announceDone(expected);
  expected.newEvent(DONE, undefined, values(string("in work")), undefined);
  expected.newEvent(DONE, 2, values(string("in step")), undefined);
  expected.spanExited(1, undefined);
  expected.valuesRecorded(1, values(undefined, int(301)), undefined);
  expected.spanDropped(2, undefined);
  expected.spanDropped(1, undefined);
  expected.newSpan(3, 1, WORK, values(string("of a closed one")), undefined);
  expected.spanDropped(3, undefined);
  expectBytes(run("spans"), expected);
});

it("values: every type is the bytes that the protobuf encoder writes", () => {
  const expected = encoder();
  announceDone(expected);
  const list = [
    values(string("naïve 日本語 🦀 \0"), bool(true), bool(false), float(1.5)),
    values(int(-1), uInt(255), int(-300), uInt(65535)),
    values(int(-(2 ** 31)), uInt(2 ** 32 - 1), int(-(2n ** 63n)), uInt(2n ** 64n - 1n)),
    values(int(2n ** 63n - 1n), float(-0), float(Number.NaN), float(Math.fround(0.1))),
    values(string(""), undefined, float(Number.NEGATIVE_INFINITY), int(0)),
    values(string("lone \ud800 surrogate"), string("\udc00")),
    values(),
  ];
  for (const each of list) expected.newEvent(DONE, undefined, each, undefined);
  expectBytes(run("values"), expected);
});

it("TracedError: causes travel as the protobuf encoder writes them, sixteen of them, the rest counted", () => {
  const expected = encoder();
  announceDone(expected);
  const inner: TracedError = { message: "inner", source: null };
  const failed = error({ message: "outer", type: "IOError", source: inner });
  expected.newEvent(DONE, undefined, values(string("failed"), failed), undefined);
  let chain: TracedError | null = null;
  for (let link = 16; link > 0; link--) {
    chain = { message: `link ${link}`, source: chain, ...(link === 16 && { omitted: 4 }) };
  }
  expected.newEvent(DONE, undefined, values(string("deep"), error(chain as TracedError)), undefined);
  let circle: TracedError | null = null;
  for (let link = 16; link > 0; link--) {
    circle = { message: "circle", source: circle, ...(link === 16 && { omitted: 984 }) };
  }
  expected.newEvent(DONE, undefined, values(string("endless"), error(circle as TracedError)), undefined);
  expectBytes(run("errors"), expected);
});

it.each([0, 1, 100, 107, 108, 109, 110, 127, 128, 200, 16_200, 16_383, 16_384, 65_536])(
  "EventSite.emit: a text of %i bytes is the bytes that the protobuf encoder writes",
  (length) => {
    const expected = encoder();
    announceDone(expected);
    expected.newEvent(DONE, undefined, values(string("x".repeat(length))), undefined);
    expectBytes(run("text", length), expected);
  },
);

it("droppedEvents: an event that does not fit is undone and counted, and the flush says so, once", () => {
  const { guest, batches } = start();
  guest["text"]?.(5);
  guest["text"]?.(1 << 20);
  guest["text"]?.(6);
  guest["flush"]?.();
  guest["text"]?.(7);
  guest["flush"]?.();
  expect(guest["droppedEvents"]?.()).toBe(1n);

  const first = encoder();
  announceDone(first);
  first.newEvent(DONE, undefined, values(string("x".repeat(5))), undefined);
  first.newEvent(DONE, undefined, values(string("x".repeat(6))), undefined);
  expectBytes(batches[0], first);
  expectBytes(batches[1], encoder({ sequence: 1, droppedEvents: 1 }));
  const third = encoder({ sequence: 2, droppedEvents: 1 });
  third.newEvent(DONE, undefined, values(string("x".repeat(7))), undefined);
  expectBytes(batches[2], third);
  guest["flush"]?.();
  expect(batches).toHaveLength(3);
});

it("droppedEvents: a batch that begins after a drop says so", () => {
  const { guest, batches } = start();
  guest["text"]?.(1);
  guest["flush"]?.();
  guest["text"]?.(1 << 20);
  guest["text"]?.(1);
  guest["flush"]?.();
  const second = encoder({ sequence: 1, droppedEvents: 1 });
  second.newEvent(DONE, undefined, values(string("x")), undefined);
  expectBytes(batches[1], second);
  expect(batches).toHaveLength(2);
});

it("flush: batches are numbered, go out once they hold the bytes that were asked for, and an empty one does not", () => {
  const { guest, batches } = start();
  guest["flush"]?.();
  expect(batches).toHaveLength(0);
  guest["setBatchBytes"]?.(1);
  guest["text"]?.(1);
  guest["text"]?.(1);
  guest["flush"]?.();
  expect(batches).toHaveLength(2);
  const second = encoder({ sequence: 1 });
  second.newEvent(DONE, undefined, values(string("x")), undefined);
  expectBytes(batches[1], second);

  guest["setBatchBytes"]?.(1000);
  for (let i = 0; i < 100; i++) guest["text"]?.(30);
  for (const batch of batches.slice(2)) {
    expect(batch.length).toBeGreaterThanOrEqual(1000);
    expect(batch.length).toBeLessThan(1050);
    expectValid(batch);
  }
  expect(batches.length).toBeGreaterThan(4);
});

it("control word: the level filters, and spans that were filtered out are silent", () => {
  const { guest, batches } = start({ answer: (batch) => controlWord(4 - batch, false) });
  guest["detail"]?.();
  guest["flush"]?.();
  guest["detail"]?.();
  guest["flush"]?.();
  expect(batches).toHaveLength(1);
  const first = encoder();
  const detail = { kind: "event", name: "detail", target: "guest", level: "trace", fields: ["message"] } as const;
  first.newCallSite(DETAIL, detail, undefined);
  first.newEvent(DETAIL, undefined, values(string("low")), undefined);
  expectBytes(batches[0], first);
});

it("control word: a span below the level costs nothing and its children hang under the contextual parent", () => {
  const { guest, batches } = start({ answer: () => controlWord(3, false) });
  guest["text"]?.(1);
  guest["flush"]?.();
  guest["filteredSpan"]?.();
  guest["flush"]?.();
  const second = encoder({ sequence: 1 });
  announceWork(second);
  second.newSpan(1, undefined, WORK, values(string("still sent")), undefined);
  second.spanDropped(1, undefined);
  expectBytes(batches[1], second);
});

it("control word: off silences the guest", () => {
  const { guest, batches } = start({ answer: () => controlWord(0, false) });
  guest["text"]?.(1);
  guest["flush"]?.();
  guest["spans"]?.();
  guest["values"]?.();
  guest["flush"]?.();
  expect(batches).toHaveLength(1);
});

it("control word: a request to announce repeats each call site once, before it is next used", () => {
  const { guest, batches } = start({ answer: (batch) => controlWord(5, batch === 0) });
  for (let batch = 0; batch < 3; batch++) {
    guest["text"]?.(1);
    guest["text"]?.(1);
    guest["flush"]?.();
  }
  const second = encoder({ sequence: 1 });
  announceDone(second);
  const third = encoder({ sequence: 2 });
  for (const sink of [second, third]) {
    for (let i = 0; i < 2; i++) sink.newEvent(DONE, undefined, values(string("x")), undefined);
  }
  expectBytes(batches[1], second);
  expectBytes(batches[2], third);
});

it("control word: an answer without the mark is ignored", () => {
  const { guest, batches } = start({ answer: () => 8 });
  for (let batch = 0; batch < 2; batch++) {
    guest["text"]?.(1);
    guest["flush"]?.();
  }
  const second = encoder({ sequence: 1 });
  second.newEvent(DONE, undefined, values(string("x")), undefined);
  expectBytes(batches[1], second);
});

it("setClock: times are deltas to a base that is read when a batch begins", () => {
  const base = 1_800_000_000_123_456_789n;
  const times = [0n, 1500n, 1400n, 3_000_000_000n].map((offset) => base + offset);
  let read = 0;
  const { guest, batches } = start({ now: () => times[read++] as bigint });
  guest["hostClock"]?.();
  for (let i = 0; i < 4; i++) guest["text"]?.(i);
  guest["flush"]?.();

  const expected = protobuf.createEncoder();
  expected.batch({ version: 1, clock: "wall", baseTimeUnixNano: base, sequence: 0, droppedEvents: 0 });
  announceDone(expected);
  [0, 1500, 1400, 3_000_000_000].forEach((time, i) => {
    expected.newEvent(DONE, undefined, values(string("x".repeat(i))), time);
  });
  expectBytes(batches[0], expected);
});

it("setClock: an event that was undone does not shift the times after it", () => {
  let time = 1_000_000n;
  const { guest, batches } = start({ now: () => (time += 10n) });
  guest["hostClock"]?.();
  for (const length of [1, 1 << 20, 1]) guest["text"]?.(length);
  guest["flush"]?.();
  const expected = protobuf.createEncoder();
  expected.batch({ version: 1, clock: "wall", baseTimeUnixNano: 1_000_010n, sequence: 0, droppedEvents: 0 });
  announceDone(expected);
  for (const at of [0, 20]) expected.newEvent(DONE, undefined, values(string("x")), at);
  expectBytes(batches[0], expected);
});

it("setClock: a leap beyond what a batch can say begins a new batch", () => {
  const { guest, batches } = start();
  guest["workflowClock"]?.(0n);
  guest["text"]?.(1);
  guest["workflowClock"]?.(2n ** 60n);
  guest["text"]?.(1);
  guest["workflowClock"]?.(-(2n ** 60n));
  guest["text"]?.(1);
  guest["flush"]?.();
  expect(batches).toHaveLength(3);
  for (const batch of batches) expectValid(batch);
});

it("SpanSite.open: the hot path allocates nothing but the buffer", () => {
  const { guest, batches } = start();
  const atStart = guest["many"]?.(0);
  guest["many"]?.(1);
  expect(guest["many"]?.(20_000)).toBe(atStart);
  guest["flush"]?.();
  expect(batches.length).toBeGreaterThan(10);
  for (const batch of batches) expectValid(batch);
});

it("traceAbort: why a guest aborted is delivered before it traps", () => {
  const { guest, batches } = start();
  expect(() => guest["fail"]?.()).toThrow(RuntimeError);
  const text = Buffer.from(batches[0] as Uint8Array).toString();
  expect(batches).toHaveLength(1);
  expectValid(batches[0]);
  for (const part of ["about to fail", "abort", "Array is empty"]) expect(text).toContain(part);
});

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const HOST = `00-${TRACE}-b7ad6b7169203331-03`;

/** The texts that a guest emitted, as JSON. */
function textsOf(batches: readonly Uint8Array[]): string {
  const texts: unknown[] = [];
  const events = recordEvents((event) => {
    if ("new_event" in event)
      texts.push(Object.values(event.new_event.values).map((value) => Object.values(value)[0])[0] ?? null);
  });
  const resolver = new FieldResolver(events, DEFAULT_LIMITS);
  for (const batch of batches)
    protobuf.createDecoder(DEFAULT_LIMITS).decode(batch, resolver, (error) => expect.unreachable(error.message));
  return texts.join(" ");
}

it("traceparent: spans have the ids of the vectors, the host's span its own", () => {
  const vectors = JSON.parse(readFileSync(join(FOLDER, "../../../test/vectors/span-ids.json"), "utf8")) as {
    readonly span_key: string;
    readonly ids: { readonly [number: string]: string };
  }[];
  expect(vectors.length).toBeGreaterThan(3);
  for (const { span_key, ids } of vectors) {
    const { guest, batches } = start({ context: () => `${HOST}\n${span_key}\nvendor=1` });
    guest["beginRun"]?.(0);
    const numbers = Object.keys(ids);
    for (const number of [0, ...numbers]) guest["header"]?.(BigInt(number));
    guest["flush"]?.();
    const expected = [HOST, ...numbers.map((number) => `00-${TRACE}-${ids[number]}-03`)];
    expect(textsOf(batches)).toBe(expected.join(" "));
  }
});

it("traceparent: a span keeps the context of the run that opened it; without a key, or without a context, it has no id of its own", () => {
  const key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
  const other = HOST.replace("0af7", "1111");
  const contexts = [`${HOST}\n${key}\n`, `${other}\n\nvendor=${"long".repeat(20)}`, "", `${other}\n${key}\n`];
  let run = 0;
  const { guest, batches } = start({ context: () => contexts[run++] as string });
  guest["header"]?.(0n);
  for (const _ of contexts) {
    guest["beginRun"]?.(0);
    guest["many"]?.(1);
    guest["header"]?.(0n);
  }
  for (const span of [1n, 2n, 3n, 4n]) guest["header"]?.(span);
  guest["beginRun"]?.(controlWord(0, false));
  guest["header"]?.(0n);
  guest["beginRun"]?.(controlWord(3, false));
  guest["flush"]?.();
  const id = (host: string, span: string): string => host.replace("b7ad6b7169203331", span);
  expect(textsOf(batches)).toBe(
    // Null where there is none. Off, the guest emits nothing.
    ["", HOST, other, "", other, id(HOST, "800e4a6ff54fb264"), other, "", id(other, "9ec716b64236e3be")].join(" "),
  );
});

it("traceparent: of spans only, where the host has a trace but no span in it", () => {
  const { guest, batches } = start({ context: () => `00-${TRACE}-0000000000000000-01\n0f1e2d3c4b5a69788796a5b4c3d2e1f0\n` });
  guest["beginRun"]?.(0);
  for (const span of [0n, 1n]) guest["header"]?.(span);
  guest["flush"]?.();
  expect(textsOf(batches)).toBe(` 00-${TRACE}-800e4a6ff54fb264-01`);
});

it("beginRun: the control word that the host begins with is followed", () => {
  const { guest, batches } = start();
  guest["beginRun"]?.(controlWord(0, false));
  guest["text"]?.(1);
  guest["flush"]?.();
  expect(batches).toHaveLength(0);
  guest["beginRun"]?.(controlWord(5, false));
  guest["text"]?.(1);
  guest["flush"]?.();
  expect(batches).toHaveLength(1);
});

function importsOf(guest: WasmModule): string[] {
  return Module.imports(guest)
    .map(({ module, name }) => `${module}.${name}`)
    .sort();
}

it("imports: the narrow function, and the clock and the trace context where they are used", () => {
  expect(importsOf(guestModule)).toEqual(["spanduct.now", "spanduct.send", "spanduct.trace_context"]);
});

it("README: its guest compiles as an installed package and its trace arrives", { timeout: 60_000 }, async () => {
  const readme = readFileSync(join(FOLDER, "README.md"), "utf8");
  const guest = /```ts\n\/\/ assembly\/guest\.ts\n(.*?)```/s.exec(readme)?.[1] as string;
  const project = join(scratch, "project");
  for (const folder of ["assembly", "node_modules/@spanduct"]) mkdirSync(join(project, folder), { recursive: true });
  symlinkSync(FOLDER, join(project, "node_modules/@spanduct/guest-assemblyscript"));
  writeFileSync(join(project, "assembly/guest.ts"), guest);
  const module = await compile(project, "assembly/guest.ts", `~lib/@spanduct/guest-assemblyscript/${TRACE_ABORT}`);
  expect(importsOf(module)).toEqual(["spanduct.now", "spanduct.send"]);
  const { guest: sums, batches } = start({ module, now: () => 42n });
  const memory = sums["memory"] as unknown as WasmMemory;
  memory.grow(1);
  const numbers = memory.buffer.byteLength - 12;
  new Int32Array(memory.buffer, numbers, 3).set([40, -1, 3]);
  expect(sums["sum"]?.(numbers, 3)).toBe(42n);
  sums["spanduct_flush"]?.();

  const expected = protobuf.createEncoder();
  expected.batch({ version: 1, clock: "wall", baseTimeUnixNano: 42n, sequence: 0, droppedEvents: 0 });
  const target = "demo::sums";
  expected.newCallSite(1, { kind: "span", name: "sum", target, level: "info", fields: ["count", "result"] }, undefined);
  expected.newSpan(1, undefined, 1, values(int(3)), 0);
  expected.spanEntered(1, 0);
  const fields = ["message", "value", "at"];
  expected.newCallSite(2, { kind: "event", name: "negative", target, level: "warn", fields }, undefined);
  expected.newEvent(2, undefined, values(string("a negative number"), int(-1), int(1)), 0);
  expected.valuesRecorded(1, values(undefined, int(42)), 0);
  expected.spanExited(1, 0);
  expected.spanDropped(1, 0);
  expectBytes(batches[0], expected);
});
