import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { controlWord, type TraceContext, type TunnelError } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { type ReceiverOptions, TracingEventReceiver } from "@spanduct/receiver";
import { batches, TracingEventSender } from "@spanduct/sender";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileAssemblyScript } from "../../../../test/support/assemblyscript.ts";
import { type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { parseJson } from "../../../../test/support/vector-streams.ts";
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
  readonly RuntimeError: new () => Error;
}
const { compile, Instance, Memory, RuntimeError } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const PAGE = 65_536;
const WORD = controlWord(5, false);

const abort = "~lib/@spanduct/guest-assemblyscript/assembly/index/traceAbort";
const programs = await compile(
  await compileAssemblyScript("contract/assembly/sandbox-programs.ts", ["--debug", "--use", `abort=${abort}`]),
);
const raw = await compile(await compileAssemblyScript("support/assembly/raw-guest.ts", ["--runtime", "stub", "--use", "abort="]));

sandboxContract(
  "WASM",
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

/** What `raw-guest.ts` exports. */
interface RawGuest {
  readonly memory: { readonly buffer: ArrayBuffer };
  allocate(size: number): number;
  sendBatch(pointer: number, length: number): number;
  replay(pointer: number, length: number): void;
  grow(pages: number): number;
  trap(): void;
}

interface Started {
  readonly guest: WasmGuest;
  readonly instance: { readonly exports: object };
  readonly exports: RawGuest;
  readonly errors: TunnelError[];
}

function start(): Started {
  const errors: TunnelError[] = [];
  const guest = traceWasm({ onError: (error) => errors.push(error) });
  const instance = new Instance(raw, { ...guest.imports, tracing: { send_event: guest.send } });
  const exports = instance.exports as RawGuest;
  exports.grow(1);
  return { guest, instance, exports, errors };
}

function receiverOf(
  relay: TraceRecorder,
  options: Partial<ReceiverOptions<RecordedSpan>> = {},
): TracingEventReceiver<RecordedSpan> {
  return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay, ...options });
}

/** A batch with one event. */
function batchOf(name: string): Uint8Array {
  let sent = new Uint8Array();
  const output = batches((batch) => {
    sent = batch.slice();
  });
  const tracing = new TracingEventSender(output);
  tracing.event({ name }).emit();
  tracing.flush();
  return sent;
}

function put(exports: RawGuest, bytes: Uint8Array, at: number = exports.allocate(bytes.length)): number {
  new Uint8Array(exports.memory.buffer).set(bytes, at);
  return at;
}

describe("send", () => {
  it("refuses a range that is not inside of the memory, counts it, and the guest goes on", () => {
    const { guest, instance, exports, errors } = start();
    const trace = new TraceRecorder();
    const before = guest.stats.ignored;
    const outcome = guest.run(receiverOf(trace), instance, () => {
      const size = exports.memory.buffer.byteLength;
      const hostile = [
        [size, 1],
        [size - 1, 2],
        [0, size + 1],
        [-1, 1],
        [1, -1],
        [-1, -1],
        [0x7fffffff, 0x7fffffff],
        [-0x80000000, -0x80000000],
      ] as const;
      const answers = hostile.map(([pointer, length]) => exports.sendBatch(pointer, length));
      const batch = batchOf("still here");
      return [...answers, exports.sendBatch(put(exports, batch), batch.length)];
    });
    expect(outcome).toMatchObject({ kind: "committed", value: [0, 0, 0, 0, 0, 0, 0, 0, WORD] });
    expect(guest.stats.ignored - before).toBe(8);
    expect(errors.slice(before).map(({ code }) => code)).toEqual(new Array(8).fill("malformed"));
    expect(trace.lines()).toEqual(["· still here"]);
  });

  it("takes a range that ends where the memory ends, and no bytes at all as an empty batch", () => {
    const { guest, instance, exports } = start();
    const trace = new TraceRecorder();
    const receiver = receiverOf(trace);
    const batch = batchOf("at the end");
    guest.run(receiver, instance, () => {
      const size = exports.memory.buffer.byteLength;
      exports.sendBatch(put(exports, batch, size - batch.length), batch.length);
      exports.sendBatch(size, 0);
    });
    expect(trace.lines()).toEqual(["· at the end"]);
    expect(receiver.stats.batches).toBe(2);
  });

  it("follows a memory that grows", () => {
    const { guest, instance, exports } = start();
    const trace = new TraceRecorder();
    const batch = batchOf("far out");
    guest.run(receiverOf(trace), instance, () => {
      const far = exports.memory.buffer.byteLength + 3 * PAGE;
      exports.grow(4);
      exports.sendBatch(put(exports, batch, far), batch.length);
    });
    expect(trace.lines()).toEqual(["· far out"]);
  });

  it("is refused outside of a run, thus also in the start function", () => {
    const { guest, exports, errors } = start();
    expect(exports.sendBatch(0, 4)).toBe(0);
    expect(guest.stats.ignored).toBe(2);
    // Before the first run the module's memory is not known either.
    expect(errors.map(({ code }) => code)).toEqual(["malformed", "malformed"]);

    const { guest: other, instance, exports: otherExports, errors: otherErrors } = start();
    other.run(receiverOf(new TraceRecorder()), instance, () => undefined);
    expect(otherExports.sendBatch(0, 4)).toBe(0);
    expect(otherErrors.at(-1)?.code).toBe("receiver_closed");
  });

  it("refuses a module whose memory is none", () => {
    const { guest, errors } = start();
    guest.run(receiverOf(new TraceRecorder()), { exports: { memory: { buffer: "0123456789" } } }, () => guest.send(0, 1));
    expect(errors.at(-1)?.reason).toContain("no memory");
  });

  it.each<[string, TraceWasmOptions & { memory: { buffer: ArrayBufferLike } }]>([
    ["imported", { memory: new Memory({ initial: 1 }) }],
    ["shared", { memory: new Memory({ initial: 1, maximum: 2, shared: true }) }],
  ])("reads a memory that is %s, with 32-bit and 64-bit numbers", (_, options) => {
    const guest = traceWasm(options);
    const trace = new TraceRecorder();
    const batch = batchOf("from there");
    new Uint8Array(options.memory.buffer).set(batch, 100);
    const send = guest.send as (pointer: number | bigint, length: number | bigint) => number;
    const outcome = guest.run(receiverOf(trace), { exports: {} }, () => [
      send(100, batch.length),
      send(-100n, 1n),
      send(BigInt(PAGE), 1n),
      send(0n, 2n ** 63n - 1n),
    ]);
    expect(outcome).toMatchObject({ kind: "committed", value: [WORD, 0, 0, 0] });
    expect(trace.lines()).toEqual(["· from there"]);
  });

  it("takes the events of the genuine crate, one at a time, through an import of any name", () => {
    const streams = globSync("test/vectors/streams/*.jsonl", { cwd: resolve(import.meta.dirname, "../../../..") });
    expect(streams.length).toBeGreaterThan(5);
    for (const stream of streams) {
      const lines = readFileSync(resolve(import.meta.dirname, "../../../..", stream), "utf8")
        .trim()
        .split("\n");
      const events = lines.filter((line) => !line.startsWith('{"$control"'));
      const { guest, instance, exports } = start();
      const through = new TraceRecorder();
      const receiver = receiverOf(through, { codec: json });
      const outcome = guest.run(receiver, instance, () => {
        for (const event of events) {
          const bytes = Buffer.from(event);
          exports.replay(put(exports, bytes), bytes.length);
        }
      });
      expect(outcome.kind).toBe("committed");
      expect(receiver.stats).toMatchObject({ events: events.length, batches: events.length, refused: {} });

      const direct = new TraceRecorder();
      const reference = receiverOf(direct);
      for (const event of events) reference.receive(parseJson(event) as never);
      expect(through.roots, stream).toEqual(direct.roots);
    }
  });

  it("refuses bytes that are no events of the crate, and the guest goes on", () => {
    const { guest, instance, exports } = start();
    const receiver = receiverOf(new TraceRecorder(), { codec: json });
    const outcome = guest.run(receiver, instance, () => {
      for (const text of ["nonsense", '{"new_span":{}}', "\xff", '{"span_entered":{"id":7}}']) {
        const bytes = Buffer.from(text, "latin1");
        exports.replay(put(exports, bytes), bytes.length);
      }
    });
    expect(outcome.kind).toBe("committed");
    expect(receiver.stats.refused).toEqual({ malformed: 3, unknown_span_id: 1 });
  });
});

describe("trace_context", () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const spanKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

  /** What the import returned, and what it wrote at address 100; a dot for what it left alone. */
  function ask(
    traceContext: TraceContext | undefined,
    capacity: number,
    ptr = 100,
  ): [length: number, text: string, ignored: number] {
    const memory = new Memory({ initial: 1 });
    const guest = traceWasm({ memory });
    const outcome = guest.run(receiverOf(Object.assign(new TraceRecorder(), { traceContext })), { exports: {} }, () => {
      new Uint8Array(memory.buffer).fill(".".charCodeAt(0));
      return guest.imports.spanduct.trace_context(ptr, capacity);
    });
    if (outcome.kind === "rolled_back") throw outcome.error;
    const text = Buffer.from(memory.buffer.slice(100, 300)).toString("latin1").replace(/\.+$/, "");
    return [outcome.value, text, guest.stats.ignored];
  }

  it("writes the context of the run at hand, as much of it as there is room for, and returns how much there is", () => {
    const whole = `${traceparent}\n${spanKey}\nvendor=1,other=2`;
    const context = { traceparent, spanKey, tracestate: "vendor=1,other=2" };
    expect(ask(context, 200)).toEqual([whole.length, whole, 0]);
    expect(ask(context, whole.length)).toEqual([whole.length, whole, 0]);
    expect(ask(context, 88)).toEqual([whole.length, `${traceparent}\n${spanKey}`, 0]);
    expect(ask(context, 0)).toEqual([whole.length, "", 0]);
    expect(ask({ traceparent }, 200)).toEqual([57, `${traceparent}\n\n`, 0]);
    expect(ask({ traceparent, tracestate: "not=\u00e4scii" }, 200)).toEqual([57, `${traceparent}\n\n`, 0]);
  });

  it("says 0 where there is none, also outside of a run", () => {
    expect(ask(undefined, 200)).toEqual([0, "", 0]);
    expect(traceWasm().imports.spanduct.trace_context(0, 88)).toBe(0);
  });

  it.each([
    [PAGE, 1],
    [PAGE - 87, 88],
    [-1, 88],
    [0, -1],
  ])("refuses a range that is not inside of the memory: %i, %i", (ptr, capacity) => {
    expect(ask({ traceparent, spanKey }, capacity, ptr)).toEqual([0, "", 1]);
  });
});

describe("run", () => {
  it("tells a module that it begins, with the level of the receiver, and another time to announce its call sites", () => {
    const { guest, instance } = start();
    const words: number[] = [];
    const beginning = { exports: { ...instance.exports, spanduct_begin: (word: number) => words.push(word) } };
    for (const maxLevel of [5, 0]) {
      const outcome = guest.run(receiverOf(new TraceRecorder(), { maxLevel }), beginning, () => words.length);
      expect(outcome).toMatchObject({ kind: "committed", value: words.length });
    }
    expect(words).toEqual([controlWord(5, false), controlWord(0, true)]);
  });

  it("settles an asynchronous run when its promise does", async () => {
    const { guest, instance, exports } = start();
    const trace = new TraceRecorder();
    const batch = batchOf("later");
    const good = guest.run(receiverOf(trace), instance, async () => {
      await Promise.resolve();
      return exports.sendBatch(put(exports, batch), batch.length);
    });
    expect(await good).toMatchObject({ kind: "committed", value: WORD });
    expect(trace.lines()).toEqual(["· later"]);

    const bad = guest.run(receiverOf(new TraceRecorder()), instance, async () => {
      await Promise.resolve();
      exports.trap();
    });
    expect(await bad).toMatchObject({ kind: "rolled_back", error: expect.any(RuntimeError) });
  });

  it('is one at a time: another one throws "guest_busy" and leaves its receiver open', async () => {
    const { guest, instance } = start();
    const [first, second] = [new TraceRecorder(), new TraceRecorder()];
    const running = guest.run(receiverOf(first), instance, () => Promise.resolve());
    expect(() => guest.run(receiverOf(second), instance, () => undefined)).toThrow("[guest_busy]");
    expect((await running).kind).toBe("committed");
    expect(second.ending).toBeUndefined();
    expect(guest.run(receiverOf(second), instance, () => undefined).kind).toBe("committed");
  });

  it("calls spanduct_flush when it ends, and ends as it would have when that traps", () => {
    const { guest, instance, exports } = start();
    let flushes = 0;
    const spanduct_flush = (): void => {
      flushes++;
      exports.trap();
    };
    const flushing = { exports: { ...instance.exports, spanduct_flush } };
    expect(guest.run(receiverOf(new TraceRecorder()), flushing, () => 1)).toMatchObject({ kind: "committed", value: 1 });
    const failed = guest.run(receiverOf(new TraceRecorder()), flushing, () => {
      throw new Error("first");
    });
    expect(failed).toMatchObject({ kind: "rolled_back", error: { message: "first" } });
    expect(flushes).toBe(2);
  });

  it("says that it rolled back when somebody else has closed the receiver", () => {
    const { guest, instance } = start();
    const receiver = receiverOf(new TraceRecorder());
    receiver.persist();
    expect(guest.run(receiver, instance, () => 1)).toMatchObject({
      kind: "rolled_back",
      error: { code: "receiver_closed" },
    });
  });

  it("leaves spans open for the next run, which goes on with them", () => {
    const guest = traceWasm();
    const instance = new Instance(programs, guest.imports);
    const { nested } = instance.exports as { readonly nested: () => void };
    const first = new TraceRecorder();
    const receiver = receiverOf(first);
    const outcome = guest.run(receiver, instance, nested);
    if (outcome.kind === "rolled_back") throw outcome.error;

    // A receiver for the same guest, whose batches go on counting and whose call sites are announced already.
    const second = new TraceRecorder();
    const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, outcome.localSpans, { relay: second });
    expect(guest.run(next, instance, nested).kind).toBe("committed");
    expect(second.lines()).toEqual(first.lines());
    expect(second.losses).toEqual([]);
  });
});

it("imports.spanduct.now: nanoseconds since the Unix epoch", () => {
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  const now = traceWasm().imports.spanduct.now();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(BigInt(Date.now() + 1) * 1_000_000n);
});
