import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { controlWord, LevelNumber, type TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, growingBatches, TracingEventSender } from "@spanduct/sender";
import { createRing, ringReceiver, ringSender } from "@spanduct/transport/ring";
import fc from "fast-check";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileAssemblyScript } from "../../../../test/support/assemblyscript.ts";
import { type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { type TraceWasmOptions, traceWasm, type WasmGuest } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  compile(binary: Uint8Array): Promise<object>;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
  readonly Memory: new (size: {
    initial: number;
    maximum?: number;
    shared?: boolean;
  }) => { readonly buffer: ArrayBufferLike; grow(pages: number): number };
}
const { compile, Instance, Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const LIBRARY = "@spanduct/guest-assemblyscript/assembly";
const ABORT = `abort=~lib/${LIBRARY}/index/traceAbort`;
const RING = `export { ring as spanduct_ring } from "${LIBRARY}";`;

const programs = await compile(
  await compileAssemblyScript("ring-programs.ts", ["--debug", "--use", ABORT], {
    "ring-programs.ts": `export * from "./contract/assembly/sandbox-programs"; ${RING}`,
  }),
);

sandboxContract(
  "WASM with a ring",
  {
    run(program, receiver) {
      const guest = traceWasm();
      const instance = new Instance(programs, guest.imports);
      return guest.run(receiver, instance, (instance.exports as { readonly [name: string]: () => void })[program] as () => void);
    },
  },
  [
    { reason: "AssemblyScript has a console only where the host gives it one", programs: ["console"] },
    { reason: "AssemblyScript has no promises", programs: ["rejects"] },
  ],
);

/** What a module may do, without the library's `spanduct_flush`: only the ring can tell of a trap. */
const RECORDER = `
  import { close, enter, EventSite, Level, SpanSite } from "${LIBRARY}";
  ${RING}
  const OUTER = new SpanSite("outer");
  const STEP = new SpanSite("step", Level.Info, ["n"]);
  const NOTE = new EventSite("note", Level.Debug, ["n"]);

  export function step(n: i32): void {
    const span = STEP.open(n);
    enter(span);
    NOTE.emit(n);
    close(span);
  }
  export function open(): void { enter(OUTER.open()); }
  export function grow(): void { memory.grow(1); }
  export function trap(): void { unreachable(); }
  export function hang(): void { for (let n = 0;; n++) if (n < 100) step(n); }
`;

interface Recorder {
  step(n: number): void;
  open(): void;
  grow(): void;
  trap(): void;
}

let recorder: object;
beforeAll(async () => {
  const options = ["--runtime", "stub", "--use", "abort="];
  recorder = await compile(await compileAssemblyScript("recorder.ts", options, { "recorder.ts": RECORDER }));
}, 60_000);

interface Started {
  readonly guest: WasmGuest;
  readonly instance: { readonly exports: object };
  readonly exports: Recorder;
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

function start(): Started {
  const guest = traceWasm();
  const instance = new Instance(recorder, guest.imports);
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  return { guest, instance, exports: instance.exports as Recorder, trace, receiver };
}

const notes = (trace: TraceRecorder): unknown[] => trace.events.map(({ values }) => (values["n"] as { int: number })?.int);

describe("the ring of a module", () => {
  it("has every record that was made before a trap, and what was open is rolled back", () => {
    const { guest, instance, exports, trace, receiver } = start();
    const outcome = guest.run(receiver, instance, () => {
      exports.open();
      exports.step(1);
      exports.step(2);
      exports.trap();
    });
    expect(outcome.kind).toBe("rolled_back");
    expect(trace.lines()).toEqual([
      "outer (rolled back)",
      "  step n=1",
      "    · note n=1",
      "  step n=2",
      "    · note n=2",
      expect.stringContaining("  · exception error="),
    ]);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, batches: 1 });
  });

  it("is found again when the memory has grown, and goes on in the next run", () => {
    const { guest, instance, exports, trace, receiver } = start();
    const outcome = guest.run(receiver, instance, () => {
      exports.step(1);
      exports.grow();
      exports.step(2);
    });
    if (outcome.kind === "rolled_back") throw outcome.error;
    expect(notes(trace)).toEqual([1, 2]);

    exports.grow();
    const second = new TraceRecorder();
    const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, outcome.localSpans, { relay: second });
    expect(guest.run(next, instance, () => exports.step(3)).kind).toBe("committed");
    expect(notes(second)).toEqual([3]);
    expect(next.stats).toMatchObject({ refused: {}, lostBatches: 0 });
  });

  it("loses nothing where the guest makes more than fits", () => {
    const { guest, instance, exports, trace, receiver } = start();
    guest.run(receiver, instance, () => {
      for (let n = 0; n < 20_000; n++) exports.step(n);
    });
    expect(notes(trace)).toEqual(Array.from({ length: 20_000 }, (_, n) => n));
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0 });
  });

  it("drain: takes in what is there while a run goes on, and tells the guest of a level that was turned", async () => {
    const { guest, instance, exports, trace, receiver } = start();
    guest.drain();
    const outcome = await guest.run(receiver, instance, async () => {
      exports.step(1);
      expect(trace.events).toEqual([]);
      guest.drain();
      expect(notes(trace)).toEqual([1]);
      receiver.maxLevel = LevelNumber.info;
      guest.drain();
      exports.step(2);
      await Promise.resolve();
      receiver.maxLevel = LevelNumber.debug;
      guest.drain();
      exports.step(3);
    });
    expect(outcome.kind).toBe("committed");
    expect(trace.lines()).toEqual(["step n=1", "  · note n=1", "step n=2", "step n=3", "  · note n=3"]);
  });

  it("is read before a batch that comes by send, and send without bytes only reads it", () => {
    const { memory, guest, instance, sender } = written();
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const other = batchOf("by send");
    guest.run(receiver, instance, () => {
      sender.event({ name: "in the ring" }).emit();
      new Uint8Array(memory.buffer).set(other, 60_000);
      expect(guest.send(60_000, other.length)).toBe(controlWord(5, false));
      expect(trace.events.map(({ name }) => name)).toEqual(["in the ring", "by send"]);
      sender.event({ name: "again in the ring" }).emit();
      expect(guest.send(0, 0)).toBe(0);
      expect(trace.events.map(({ name }) => name)).toEqual(["in the ring", "by send", "again in the ring"]);
    });
    expect(receiver.stats.batches).toBe(3);
  });
});

/** A batch with one event. */
function batchOf(name: string): Uint8Array {
  let sent = new Uint8Array();
  const output = batches((batch) => {
    sent = batch.slice();
  });
  const sender = new TracingEventSender(output);
  sender.event({ name }).emit();
  sender.flush();
  return sent;
}

/** A "module" whose ring this test writes, at 1024 in a page of memory. */
function written(
  options: TraceWasmOptions = {},
  memory: { readonly buffer: ArrayBufferLike; grow(pages: number): number } = new Memory({ initial: 1, maximum: 4 }),
): {
  readonly memory: { readonly buffer: ArrayBufferLike; grow(pages: number): number };
  readonly guest: WasmGuest;
  readonly instance: { readonly exports: object };
  readonly sender: TracingEventSender;
} {
  new Uint8Array(memory.buffer).set(createRing(4096), 1024);
  return {
    memory,
    guest: traceWasm(options),
    instance: { exports: { memory, spanduct_ring: () => 1024 } },
    sender: new TracingEventSender(growingBatches(ringSender(new Uint8Array(memory.buffer, 1024)))),
  };
}

describe("a module that means harm", () => {
  it.each<[string, unknown, number]>([
    ["beyond its memory", 65_536, 1],
    ["at the very end", 65_532, 1],
    ["at no multiple of 4", 1025, 1],
    ["where there is none", 2048, 1],
    ["at a negative number", -4, 1],
    ["at a negative 64-bit number", -4n, 1],
    ["nowhere", 0, 0],
    ["nowhere, in 64 bits", 0n, 0],
    ["at what is no number", Number.NaN, 0],
    ["at nothing", undefined, 0],
  ])("and says that its ring is %s does without one, which is counted", (_, at, ignored) => {
    const errors: TunnelError[] = [];
    const { memory, guest } = written({ onError: (error) => errors.push(error) });
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const batch = batchOf("by send");
    const outcome = guest.run(receiver, { exports: { memory, spanduct_ring: () => at } }, () => {
      new Uint8Array(memory.buffer).set(batch, 60_000);
      return guest.send(60_000, batch.length);
    });
    expect(outcome).toMatchObject({ kind: "committed", value: controlWord(5, false) });
    expect(trace.lines()).toEqual(["· by send"]);
    expect(errors.map(({ code }) => code)).toEqual(new Array(ignored).fill("malformed"));
    expect(guest.stats.ignored).toBe(ignored);
  });

  it.each<[string, (memory: ArrayBufferLike) => void]>([
    ["the position", (buffer) => new Int32Array(buffer, 1024, 48).fill(-2, 16, 17)],
    ["all of it", (buffer) => new Uint8Array(buffer).fill(0xff)],
    ["a length", (buffer) => new Int32Array(buffer, 1024 + 192).fill(100_000, 0, 1)],
  ])("and breaks its ring (%s) loses what was in it, once, and the run goes on", (_, harm) => {
    const { memory, guest, instance, sender } = written();
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const event = sender.event({ name: "in the ring" });
    const batch = batchOf("by send");
    const outcome = guest.run(receiver, instance, () => {
      event.emit();
      harm(memory.buffer);
      new Uint8Array(memory.buffer).set(batch, 60_000);
      return [guest.send(60_000, batch.length), guest.send(60_000, batch.length), guest.drain()];
    });
    expect(outcome.kind).toBe("committed");
    expect(guest.stats.ignored).toBe(1);
    expect(trace.lines()).toEqual(["· by send", "· by send"]);
  });

  it("and moves or shrinks its memory is read no further than that reaches", () => {
    const { guest, sender, memory } = written();
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const exports = { memory: memory as { buffer: unknown }, spanduct_ring: () => 1024 };
    const outcome = guest.run(receiver, { exports }, () => {
      sender.event({ name: "in the ring" }).emit();
      exports.memory = { buffer: new ArrayBuffer(512) };
      guest.drain();
      exports.memory = { buffer: "no memory" };
      guest.drain();
    });
    expect(outcome.kind).toBe("committed");
    expect([guest.stats.ignored, trace.lines()]).toEqual([1, []]);
  });

  it("and traps when it is asked for its ring is rolled back", () => {
    const { guest } = written();
    const receiver = new TracingEventReceiver({}, {}, [], { relay: new TraceRecorder() });
    const spanduct_ring = (): number => {
      throw new Error("trap");
    };
    expect(guest.run(receiver, { exports: { spanduct_ring } }, () => 1)).toMatchObject({ error: { message: "trap" } });
  });

  it("and scribbles over its memory between events gives nothing but coded errors, and the host goes on", () => {
    const stores = fc.array(fc.tuple(fc.nat(70), fc.oneof(fc.integer(), fc.integer({ min: -100, max: 5000 }))), { maxLength: 5 });
    fc.assert(
      fc.property(fc.array(stores, { maxLength: 8 }), (rounds) => {
        const codes: string[] = [];
        const { guest, instance, sender, memory } = written({ onError: ({ code }) => codes.push(code) });
        const receiver = new TracingEventReceiver({}, {}, [], { relay: new TraceRecorder() });
        const event = sender.event({ name: "e" });
        const outcome = guest.run(receiver, instance, () => {
          for (const round of rounds) {
            event.emit();
            for (const [word, value] of round) new Int32Array(memory.buffer, 1024)[word] = value;
            guest.drain();
          }
        });
        expect(outcome.kind).toBe("committed");
        expect(codes.every((code) => code === "malformed")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("memory that threads share", { timeout: 60_000 }, () => {
  it("is imported, and its ring found by a 64-bit number", () => {
    const memory = new Memory({ initial: 1, maximum: 4, shared: true });
    const { guest, sender } = written({ memory }, memory);
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const outcome = guest.run(receiver, { exports: { spanduct_ring: () => 1024n } }, () => {
      sender.event({ name: "before" }).emit();
      memory.grow(1);
      sender.event({ name: "after" }).emit();
    });
    expect(outcome.kind).toBe("committed");
    expect(trace.lines()).toEqual(["· before", "· after"]);
  });

  it("has all that a module wrote which hung in another thread until that was terminated", async () => {
    const options = ["--runtime", "stub", "--use", "abort=", "--importMemory", "--sharedMemory", "--enable", "threads"];
    const pages = ["--initialMemory", "8", "--maximumMemory", "8"];
    const wasm = await compileAssemblyScript("recorder.ts", [...options, ...pages], { "recorder.ts": RECORDER });
    const memory = new Memory({ initial: 8, maximum: 8, shared: true });
    const worker = new Worker(
      `const { parentPort, workerData: { wasm, memory } } = require("node:worker_threads");
       const env = { memory };
       WebAssembly.instantiate(wasm, { env, spanduct: { send: () => 0 } }).then(({ instance }) => {
         parentPort.postMessage(instance.exports.spanduct_ring());
         instance.exports.open();
         instance.exports.hang();
       });`,
      { eval: true, workerData: { wasm, memory } },
    );
    onTestFinished(async () => {
      await worker.terminate();
    });
    const [at] = await once(worker, "message");
    const written = new Int32Array(memory.buffer, at, 48);
    // A hundred steps are some 3 kB; the module goes on for ever.
    const bytes = new Int32Array(memory.buffer, at + 192, 1);
    while (Atomics.load(bytes, 0) < 2500 || Atomics.load(written, 16) === 0) await new Promise(setImmediate);
    await worker.terminate();

    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const host = ringReceiver(new Uint8Array(memory.buffer, at), (batch) => receiver.receiveBatch(batch));
    await host.drain();
    host.close();
    receiver[Symbol.dispose]();
    const [outer] = trace.roots as RecordedSpan[];
    expect([trace.roots.length, outer?.name, outer?.state]).toEqual([1, "outer", "rolled back"]);
    const numbers = notes(trace);
    expect(numbers.length).toBeGreaterThan(50);
    expect(numbers).toEqual(numbers.map((_, n) => n));
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0 });
  });
});
