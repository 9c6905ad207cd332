import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controlWord, type TracedError, ValueKind } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeWithBoth } from "../../../../test/oracle/decode-with-both.ts";
import { compileAssemblyScript } from "../../../../test/support/assemblyscript.ts";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import type { SinkCall } from "../../../../test/support/sink-calls.ts";
import { TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import {
  call,
  compile,
  FOLDER,
  type Guest,
  type Host,
  type HostOptions,
  hex,
  LIMITS,
  Module,
  RuntimeError,
  SOURCE,
  start,
  valuesOf,
} from "./host.ts";

const TWIN = "../packages/guests/assemblyscript/test/assembly/guest.ts";
const TWIN_ABORT = "../packages/guests/assemblyscript/assembly/index/traceAbort";
const vectors = JSON.parse(readFileSync(join(FOLDER, "../../../test/vectors/span-ids.json"), "utf8")) as {
  readonly span_key: string;
  readonly ids: { readonly [span: string]: string };
}[];

const scratch = mkdtempSync(join(tmpdir(), "guest-c-"));

afterAll(() => rmSync(scratch, { recursive: true }));

/** Something to do with a guest, and the host that it needs. */
interface Scenario {
  readonly name: string;
  readonly host?: () => HostOptions;
  readonly run: (guest: Guest) => void;
}

/** What the twin in AssemblyScript does as well. */
const SHARED: readonly Scenario[] = [
  { name: "spans and events", run: call("spans") },
  { name: "values of every type", run: call("values") },
  { name: "errors, sixteen causes of them", run: call("errors") },
  {
    name: "texts at every width of a length",
    run: (guest) => {
      guest["setBatchBytes"]?.(16_384);
      for (const length of [0, 1, 100, 107, 108, 109, 110, 127, 128, 200, 16_200, 16_383, 16_384, 65_536])
        guest["text"]?.(length);
    },
  },
  {
    name: "batches of a thousand bytes",
    run: (guest) => {
      guest["setBatchBytes"]?.(1000);
      guest["many"]?.(200);
    },
  },
  {
    name: "each event at once",
    run: (guest) => {
      guest["setBatchBytes"]?.(1);
      guest["spans"]?.();
    },
  },
  {
    name: "a level that falls from batch to batch",
    host: () => ({ answer: (batch) => controlWord(4 - batch, false) }),
    run: call("detail", "flush", "detail", "spans", "flush", "spans", "filteredSpan", "flush", "spans", "flush", "spans"),
  },
  {
    name: "a span below the level",
    host: () => ({ answer: () => controlWord(3, false) }),
    run: call("spans", "flush", "filteredSpan"),
  },
  {
    name: "a request to announce in every second answer",
    host: () => ({ answer: (batch) => controlWord(5, batch % 2 === 0) }),
    run: call("spans", "flush", "spans", "flush", "spans", "flush", "spans"),
  },
  {
    name: "times of the host's clock, some of them before the last",
    host: () => {
      let read = 0;
      const offsets = [0n, 1500n, 1400n, 3_000_000_000n];
      return { now: () => 1_800_000_000_123_456_789n + (offsets[read++ % offsets.length] as bigint) };
    },
    run: call("hostClock", "spans"),
  },
  {
    name: "leaps of the clock",
    run: (guest) => {
      for (const step of [0n, 2n ** 60n, -(2n ** 60n), 2n ** 52n, -(2n ** 52n), 2n ** 52n - 7n]) {
        guest["workflowClock"]?.(step);
        guest["spans"]?.();
      }
    },
  },
];

const missing = missingClang();
const suite = missing === undefined ? "spanduct.h" : `spanduct.h (${missing})`;

describe.skipIf(missing !== undefined)(suite, { timeout: 60_000 }, () => {
  let module: object;
  let twin: object;

  beforeAll(async () => {
    module = await compile(compileC(SOURCE));
    twin = await compile(await compileAssemblyScript(TWIN, ["--use", `abort=${TWIN_ABORT}`]));
  }, 60_000);

  function run({ host, run }: Omit<Scenario, "name">, of: object = module): Uint8Array[] {
    const { guest, batches } = start(of, host?.());
    run(guest);
    guest["flush"]?.();
    return batches;
  }

  /** The events of the only batch. */
  function eventsOf(batches: readonly Uint8Array[]): SinkCall[] {
    expect(batches).toHaveLength(1);
    return decodeWithBoth(batches[0] as Uint8Array, LIMITS).filter(([method]) => method === "newEvent");
  }

  it.each(SHARED)("$name: the bytes that the library for AssemblyScript writes", (scenario) => {
    const batches = run(scenario);
    expect(batches.map(hex)).toEqual(run(scenario, twin).map(hex));
    expect(batches.length).toBeGreaterThan(0);
    for (const batch of batches) decodeWithBoth(batch, LIMITS);
  });

  it.each([
    ["without optimization", ["-O0"]],
    ["for size", ["-Oz"]],
    ["as C++", ["-O2", "-xc++"]],
  ])("compiled %s it writes the same bytes", async (_, options) => {
    const other = await compile(compileC(SOURCE, options));
    for (const scenario of [...SHARED, { run: call("kinds") }]) {
      expect(run(scenario, other).map(hex)).toEqual(run(scenario).map(hex));
    }
  });

  it("spanduct_wide_int, spanduct_object, spanduct_error_value: values that other libraries have no type for", () => {
    const outer: TracedError = { message: "outer", type: "IOError", stack: "at main", source: null };
    const { int, uInt, object, error } = ValueKind;
    expect(eventsOf(run({ run: call("kinds") })).map(valuesOf)).toEqual([
      [
        [object, "Point { x: 1 }"],
        [error, outer],
        [error, { message: "", source: null }],
      ],
      [
        [int, -(2n ** 127n)],
        [int, -(2n ** 64n)],
        [int, -(2n ** 64n) + 1n],
        [int, 2n ** 64n - 1n],
      ],
      [
        [int, -(2n ** 63n)],
        [int, 5],
        [uInt, 2n ** 64n - 1n],
        [uInt, 2n ** 64n],
      ],
      [
        [uInt, 2n ** 128n - 1n],
        [int, 1],
      ],
    ]);
  });

  it("spanduct_int, spanduct_uint, spanduct_float: every width of a number", () => {
    const edges = Array.from({ length: 64 }, (_, bits) => [-1n, 0n, 1n].map((delta) => 2n ** BigInt(bits) + delta)).flat();
    const { guest, batches } = start(module);
    for (const edge of edges) for (const value of [edge, -edge]) guest["numbers"]?.(value, Number(value));
    guest["flush"]?.();
    const events = batches.flatMap((batch) => decodeWithBoth(batch)).filter(([method]) => method === "newEvent");
    const numbers = events.map((event) => valuesOf(event).map(([, raw]) => raw));
    const expected = edges.flatMap((edge) => [edge, -edge]);
    expect(numbers.map(([value]) => BigInt(value as number))).toEqual(expected.map((value) => BigInt.asIntN(64, value)));
    expect(numbers.map(([, value]) => BigInt(value as number))).toEqual(expected.map((value) => BigInt.asUintN(64, value)));
    expect(numbers.map(([, , value]) => value)).toEqual(expected.map(Number));
  });

  it("spanduct_text: any bytes arrive as the text that TextDecoder makes of them", () => {
    const { guest, memory, batches } = start(module);
    const at = Number(guest["scratchAt"]?.());
    const lead = fc.constantFrom(
      0x7f,
      0x80,
      0xbf,
      0xc0,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xe1,
      0xec,
      0xed,
      0xee,
      0xf0,
      0xf1,
      0xf4,
      0xf5,
      0xff,
    );
    const tail = fc.constantFrom(0x00, 0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe2);
    const bytes = fc.array(fc.oneof(lead, tail, fc.nat(255)), { maxLength: 300 });
    fc.assert(
      fc.property(bytes, (text) => {
        batches.length = 0;
        new Uint8Array(memory.buffer).set(text, at);
        guest["bytes"]?.(text.length);
        guest["flush"]?.();
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        expect(eventsOf(batches).map(valuesOf)).toEqual([[[ValueKind.string, decoder.decode(Uint8Array.from(text))]]]);
      }),
      { numRuns: 1000 },
    );
  });

  it("spanduct_use_buffer: whatever its size, what arrives is whole and what does not is counted", () => {
    let most = 0;
    for (let size = 0; size < 400; size++) {
      const { guest, batches } = start(module);
      guest["useBuffer"]?.(size);
      for (const name of ["spans", "kinds", "spans"]) guest[name]?.();
      guest["flush"]?.();
      const calls = batches.flatMap((batch) => decodeWithBoth(batch));
      expect(batches.every(({ length }) => length <= size)).toBe(true);
      const headers = calls.filter((call) => call[0] === "batch").map(([, header]) => header);
      expect(headers.map((header) => (header as { sequence: number }).sequence)).toEqual(batches.map((_, sequence) => sequence));
      // The host knows of all drops in the end, unless there is no room even for that.
      const told = headers.at(-1) as { droppedEvents: number } | undefined;
      expect(told?.droppedEvents ?? Number(guest["droppedEvents"]?.())).toBe(Number(guest["droppedEvents"]?.()));
      const events = calls.filter(([method]) => method !== "batch" && method !== "newCallSite").length;
      expect(events + Number(guest["droppedEvents"]?.())).toBeLessThanOrEqual(32);
      expect(events).toBeGreaterThanOrEqual(most - 2);
      most = Math.max(most, events);
    }
    expect(most).toBe(32);
  });

  it("spanduct_emit: an event that does not fit the rest of the buffer goes with the next batch, call sites included", () => {
    const { guest, batches } = start(module);
    guest["useBuffer"]?.(200);
    guest["setBatchBytes"]?.(200);
    for (const length of [50, 100, 300, 110]) guest["text"]?.(length);
    guest["flush"]?.();
    const calls = batches.map((batch) => decodeWithBoth(batch));
    expect(calls.map((batch) => batch.map(([method]) => method))).toEqual([
      ["batch", "newCallSite", "newEvent"],
      ["batch", "newEvent"],
      ["batch", "newEvent"],
    ]);
    expect(calls.map(([header]) => header?.[1])).toMatchObject([
      { droppedEvents: 0 },
      { droppedEvents: 0 },
      { droppedEvents: 1 },
    ]);
  });

  it("spanduct_flush: drops are told of also where nothing else is to tell, once", () => {
    const { guest, batches } = start(module);
    guest["text"]?.(1);
    guest["text"]?.(1 << 20);
    for (let i = 0; i < 3; i++) guest["flush"]?.();
    const headers = batches.map((batch) => decodeWithBoth(batch)[0]?.[1]);
    expect(headers).toMatchObject([
      { sequence: 0, droppedEvents: 0 },
      { sequence: 1, droppedEvents: 1 },
    ]);
    expect(batches).toHaveLength(2);
  });

  it("spanduct_flush: without anything to tell it sends nothing", () => {
    expect(run({ run: call("flush") })).toEqual([]);
  });

  it("spanduct_control: only the mark, the level and the request to announce count, whatever the host answers", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.integer(),
            fc.nat(0xffff).map((low) => 0x5350_0000 | low),
          ),
          { maxLength: 5 },
        ),
        (words) => {
          const { guest, batches } = start(module, { answer: (batch) => words[batch] ?? 0 });
          let level = 5;
          let announced = false;
          for (const word of words) {
            const before = batches.length;
            guest["text"]?.(1);
            guest["flush"]?.();
            expect(batches.length - before).toBe(level >= 3 ? 1 : 0);
            if (batches.length === before) return;
            const calls = decodeWithBoth(batches.at(-1) as Uint8Array);
            expect(calls.some(([method]) => method === "newCallSite")).toBe(!announced);
            announced = true;
            if (word >>> 16 !== 0x5350) continue;
            level = Math.min(word & 7, 5);
            if ((word & 8) !== 0) announced = false;
          }
        },
      ),
    );
  });

  it("spanduct_control: takes a word that came on a way of its own", () => {
    const { guest, batches } = start(module);
    guest["control"]?.(controlWord(2, false));
    guest["spans"]?.();
    guest["flush"]?.();
    expect(batches).toEqual([]);
  });

  it("spanduct_emit: what is traced while the host takes a batch is counted, not sent", () => {
    const { guest, batches } = start(module, {
      answer: (batch, guest) => {
        if (batch === 0) guest["spans"]?.();
        return 0;
      },
    });
    guest["text"]?.(1);
    guest["flush"]?.();
    const dropped = Number(guest["droppedEvents"]?.());
    expect(dropped).toBeGreaterThan(1);
    const [first, second] = batches.map((batch) => decodeWithBoth(batch));
    expect(first?.map(([method]) => method)).toEqual(["batch", "newCallSite", "newEvent"]);
    expect(second).toMatchObject([["batch", { sequence: 1, droppedEvents: dropped }]]);
  });

  it("spanduct_set_clock: a clock that traces does not hang the guest, and one that traps does not mute it", () => {
    const { guest, batches } = start(module);
    guest["tracingClock"]?.();
    guest["text"]?.(1);
    guest["flush"]?.();
    expect(guest["droppedEvents"]?.()).toBe(1n);
    guest["trappingClock"]?.();
    expect(() => guest["text"]?.(1)).toThrow(RuntimeError);
    guest["noClock"]?.();
    guest["text"]?.(2);
    guest["flush"]?.();
    const last = decodeWithBoth(batches.at(-1) as Uint8Array);
    expect(valuesOf(last.at(-1))).toEqual([[ValueKind.string, "xx"]]);
  });

  it("spanduct_abort: why a guest cannot go on is delivered before it traps", () => {
    const { guest, batches } = start(module);
    expect(() => guest["fail"]?.()).toThrow(RuntimeError);
    const [abort] = eventsOf(batches);
    expect(valuesOf(abort)).toMatchObject([
      [ValueKind.string, "out of luck"],
      [ValueKind.string, expect.stringContaining("guest.c")],
      [ValueKind.uInt, expect.any(Number)],
    ]);
  });

  it("README: its guest compiles without a C library, and its trace arrives", async () => {
    const readme = readFileSync(join(FOLDER, "README.md"), "utf8");
    const [, code] = /```c\n(.*?)```/s.exec(readme) as RegExpExecArray;
    const [, options] = /```sh\nclang (.*) guest\.c -o guest\.wasm\n```/.exec(readme) as RegExpExecArray;
    writeFileSync(join(scratch, "guest.c"), code as string);
    const binary = join(scratch, "guest.wasm");
    const command = [...(options as string).split(" "), `-I${FOLDER}`, "guest.c", "-o", binary];
    expect(spawnSync("clang", command, { cwd: scratch, encoding: "utf8" }).stderr).toBe("");
    const sums = await compile(readFileSync(binary));
    const { guest, memory, batches } = start(sums, { now: () => 42n });
    const numbers = memory.buffer.byteLength - 12;
    new Int32Array(memory.buffer, numbers, 3).set([40, -1, 3]);
    expect(guest["sum"]?.(numbers, 3)).toBe(42n);
    guest["flush"]?.();
    const calls = decodeWithBoth(batches[0] as Uint8Array);
    const [, , place] = calls.find(([method]) => method === "newCallSite") as SinkCall;
    expect(place).toEqual({
      kind: "span",
      name: "sum",
      level: "info",
      target: "demo::sums",
      file: "guest.c",
      line: 7,
      fields: ["count", "result"],
    });
    const methods = "batch newCallSite newSpan spanEntered newCallSite newEvent valuesRecorded spanExited spanDropped";
    expect(calls.map(([method]) => method).join(" ")).toBe(methods);

    // By hand, with a receiver.
    const [, byHand] = /```ts\n(.*?)```/s.exec(readme) as RegExpExecArray;
    const AsyncFunction = (async () => undefined).constructor as FunctionConstructor;
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver({}, {}, [], { relay: trace });
    await new AsyncFunction("module", "receiver", "pointer", "count", byHand as string)(sums, receiver, 1024, 3);
    expect(trace.spans).toMatchObject([{ name: "sum", state: "closed", values: { count: { int: 3 } } }]);
  });

  it("imports: the narrow function, and the clock and the trace context where they are used", async () => {
    const imports = (of: object): string[] =>
      Module.imports(of)
        .map(({ module, name }) => `${module}.${name}`)
        .sort();
    expect(imports(module)).toEqual(["spanduct.now", "spanduct.send", "spanduct.trace_context"]);
    const source = join(scratch, "small.c");
    const declaration = `#define SPANDUCT_IMPLEMENTATION\n#include "${join(FOLDER, "spanduct.h")}"\n`;
    writeFileSync(source, `${declaration}SPANDUCT_EVENT(hi, SPANDUCT_INFO, "hi");\nvoid run(void) { spanduct_emit(&hi); }\n`);
    const small = compileC(source, ["-Oz", "-Wl,--export=run"]);
    expect(imports(await compile(small))).toEqual(["spanduct.send"]);
    expect(small.length).toBeLessThan(4500);
  });

  const TRACE = "0af7651916cd43dd8448eb211c80319c";
  const HOST = `00-${TRACE}-b7ad6b7169203331-01`;

  /** What `header` said, for each span. */
  function headers(host: Host, spans: readonly (bigint | string)[]): unknown[] {
    host.batches.length = 0;
    for (const span of spans) host.guest["header"]?.(BigInt(span));
    host.guest["flush"]?.();
    return eventsOf(host.batches).map((event) => {
      const [[, text], [, known]] = valuesOf(event) as [readonly [ValueKind, string], readonly [ValueKind, boolean]];
      expect(known).toBe(text !== "");
      return text;
    });
  }

  it("spanduct_traceparent: spans have the ids of the vectors, the host's span its own", () => {
    expect(vectors.length).toBeGreaterThan(3);
    for (const { span_key, ids } of vectors) {
      const host = start(module, { traceContext: `${HOST}\n${span_key}\nvendor=1` });
      const spans = Object.keys(ids);
      expect(headers(host, ["0", ...spans])).toEqual([HOST, ...spans.map((span) => `00-${TRACE}-${ids[span]}-01`)]);
    }
  });

  it("spanduct_traceparent: it is only of spans where the host has a trace but no span in it", () => {
    const traceContext = `00-${TRACE}-0000000000000000-01\n0f1e2d3c4b5a69788796a5b4c3d2e1f0\n`;
    expect(headers(start(module, { traceContext }), [0n, 1n])).toEqual(["", `00-${TRACE}-800e4a6ff54fb264-01`]);
  });

  it("spanduct_traceparent: without a key it is the host's, without a context there is none", () => {
    expect(headers(start(module, { traceContext: `${HOST}\n\n` }), [0n, 1n])).toEqual([HOST, HOST]);
    expect(headers(start(module), [0n, 1n])).toEqual(["", ""]);
  });

  it("spanduct_begin: spans of earlier runs are no longer named, and the control word is followed", () => {
    const host = start(module, { traceContext: `${HOST}\n0f1e2d3c4b5a69788796a5b4c3d2e1f0\n` });
    host.guest["filteredSpan"]?.();
    host.guest["flush"]?.();
    host.guest["spanduct_begin"]?.(controlWord(3, false));
    expect(headers(host, [1n, 2n, 3n])).toEqual([HOST, HOST, expect.stringMatching(/^00-.{32}-(?!b7ad6b7169203331)/)]);
    host.batches.length = 0;
    host.guest["detail"]?.();
    host.guest["flush"]?.();
    expect(host.batches).toEqual([]);
  });
});
