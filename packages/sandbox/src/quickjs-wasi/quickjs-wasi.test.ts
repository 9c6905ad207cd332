import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { type GuestSpan, OpenTelemetryRelay } from "@spanduct/opentelemetry";
import type { PersistedMetadata, PersistedSpans, TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import {
  type Outcome,
  type QuickJSWasiGuest,
  type TraceQuickJSWasiOptions,
  traceQuickJSWasi,
} from "@spanduct/sandbox/quickjs-wasi";
import { MAX_STACK_SIZE, QuickJS, type QuickJSOptions } from "quickjs-wasi";
import { describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import type { Report, Step } from "../../test/quickjs-wasi-process.ts";

const wasm = readFileSync(fileURLToPath(import.meta.resolve("quickjs-wasi/quickjs.wasm")));

sandboxContract("QuickJS in WASI", {
  async run(program, receiver, stop) {
    const deadline = performance.now() + 20_000;
    const interruptHandler = (): boolean => stop.aborted || performance.now() > deadline;
    using vm = await QuickJS.create({
      wasm,
      interruptHandler,
      onUnhandledRejection: (...rejection) => guest.rejected(...rejection),
    });
    const guest = traceQuickJSWasi(vm);
    return guest.run(receiver, () => vm.evalCode(programSource(program), `${program}.js`).dispose());
  },
});

interface TracedVm {
  readonly vm: QuickJS;
  readonly guest: QuickJSWasiGuest;
  readonly errors: TunnelError[];
  /** Run a script; the value that it ends with comes back as a copy. */
  run(code: string, trace?: TraceRecorder): Outcome<unknown, RecordedSpan>;
}

async function traced(options: TraceQuickJSWasiOptions = {}, vmOptions: Omit<QuickJSOptions, "wasm"> = {}): Promise<TracedVm> {
  const vm = await QuickJS.create({ wasm, ...vmOptions });
  onTestFinished(() => vm.dispose());
  return trace(vm, options);
}

function trace(vm: QuickJS, options: TraceQuickJSWasiOptions = {}): TracedVm {
  const errors: TunnelError[] = [];
  const guest = traceQuickJSWasi(vm, { onError: (error) => errors.push(error), ...options });
  return {
    vm,
    guest,
    errors,
    run: (code, trace = new TraceRecorder()) =>
      guest.run(receiverOf(trace), () => vm.evalCode(code, "user.js").consume((value) => vm.dump(value))),
  };
}

function receiverOf(relay: TraceRecorder): TracingEventReceiver<RecordedSpan> {
  return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay });
}

describe("traceQuickJSWasi", () => {
  it("adds nothing to a VM but the tunnel and the console, and leads nowhere else", async () => {
    using plain = await QuickJS.create({ wasm });
    const list = "Object.getOwnPropertyNames(globalThis)";
    const before = plain.evalCode(list).consume((value) => plain.dump(value)) as string[];
    const { run } = await traced();
    const outcome = run(list) as { value: string[] };
    expect(outcome.value.filter((name) => !before.includes(name)).sort()).toEqual(
      ["begin", "flush", "now", "rejected", "send"].map((name) => `__spanduct_${name}`).concat("console", "spanduct"),
    );

    const types = run(`
      const found = [];
      for (const start of [spanduct, spanduct.tracing, __spanduct_send, __spanduct_now, __spanduct_flush, __spanduct_begin, __spanduct_rejected]) {
        const Fn = Object.getPrototypeOf(start).constructor.constructor;
        found.push(Fn === Function, Fn("return this")() === globalThis, Fn("return typeof process + typeof require")());
      }
      found.push(typeof __spanduct_send(new ArrayBuffer(0)), typeof __spanduct_now());
      [...new Set(found)];
    `);
    expect(types).toMatchObject({ value: [true, "undefinedundefined", "number"] });
  });

  it("is not undone by a script that tidies up", async () => {
    const { run } = await traced();
    const trace = new TraceRecorder();
    const outcome = run(
      `const { tracing } = spanduct;
       for (const name of Object.getOwnPropertyNames(globalThis)) {
         if (name === "console" || name.includes("spanduct")) { globalThis[name] = undefined; delete globalThis[name]; }
       }
       tracing.event({ name: "last words" }).emit();`,
      trace,
    );
    expect(outcome.kind).toBe("committed");
    expect(trace.lines()).toEqual(["· last words"]);
  });

  it('throws "transport_failed" for a VM that is traced already, and for one where the guest half does not load', async () => {
    const { vm, run } = await traced();
    expect(() => traceQuickJSWasi(vm)).toThrow("[transport_failed]");
    const trace = new TraceRecorder();
    run(`spanduct.tracing.event({ name: "still there" }).emit()`, trace);
    expect(trace.lines()).toEqual(["· still there"]);

    using taken = await QuickJS.create({ wasm });
    taken.evalCode("globalThis.spanduct = 1").dispose();
    expect(() => traceQuickJSWasi(taken)).toThrow("[transport_failed]");
  });

  it("counts what is no batch, and the guest goes on", async () => {
    const { run, guest, errors } = await traced();
    const outcome = run(`
      const gone = new ArrayBuffer(8);
      gone.transfer();
      const junk = [undefined, null, 7, "text", {}, [1], new Uint8Array(4), { byteLength: 3 }, () => 1, Symbol("x"), 5n, gone];
      const answers = junk.map((each) => __spanduct_send(each));
      answers.push(__spanduct_send());
      [...new Set(answers)];
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: [0] });
    expect(guest.stats.ignored).toBe(13);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["malformed"]));
  });

  it("tells the receiver of bytes that are no batch", async () => {
    const { vm, guest } = await traced();
    const receiver = receiverOf(new TraceRecorder());
    guest.run(receiver, () => vm.evalCode("__spanduct_send(new Uint8Array([255, 255]).buffer)").dispose());
    expect(receiver.stats.refused).toEqual({ malformed: 1 });
  });

  it("ignores what comes outside of a run", async () => {
    const { vm, guest, errors } = await traced();
    vm.evalCode("__spanduct_send(new ArrayBuffer(8))").dispose();
    expect(guest.stats.ignored).toBe(1);
    expect(errors[0]?.code).toBe("receiver_closed");
  });

  it("takes the guest's time from the host", async () => {
    const times: number[] = [];
    const trace = new TraceRecorder();
    const relay = Object.assign(trace, { timeBase: (base: bigint) => times.push(Number(base / 1_000_000n)) });
    const { run } = await traced({ now: () => 1_700_000_000_000.25 });
    run(`spanduct.tracing.event({ name: "now" }).emit()`, relay);
    expect(times).toEqual([1_700_000_000_000]);
  });

  it("leaves no memory of the VM taken, however often the guest sends and asks for the time", async () => {
    const { vm, run } = await traced();
    const code = `
      note = spanduct.tracing.event({ name: "note" });
      for (let i = 0; i < 20_000; i++) { note.emit(); if (i % 10 === 0) spanduct.tracing.flush(); }
    `;
    run(code);
    const before = vm.snapshot().memory.length;
    for (let i = 0; i < 5; i++) run(code);
    expect(vm.snapshot().memory.length).toBe(before);
  });
});

describe("run", () => {
  it("begins with the level of the run's receiver", async () => {
    const { vm, guest } = await traced();
    const silent = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: new TraceRecorder(), maxLevel: 0 });
    const code = `spanduct.tracing.event({ name: "said" }).emit(); spanduct.tracing.flush(); spanduct.tracing.maxLevel`;
    const levels = [silent, receiverOf(new TraceRecorder())].map((receiver) => {
      const outcome = guest.run(receiver, () => vm.evalCode(code).consume((value) => value.toNumber()));
      return [outcome.kind === "committed" && outcome.value, receiver.stats.batches];
    });
    expect(levels).toEqual([
      [0, 0],
      [5, 1],
    ]);
  });

  it("settles asynchronous code when its promise does", async () => {
    const { vm, guest } = await traced();
    const start = (code: string, trace: TraceRecorder): Promise<Outcome<unknown, RecordedSpan>> =>
      guest.run(receiverOf(trace), () => {
        const settled = vm.evalCode(code, "user.js").consume((promise) => vm.resolvePromise(promise));
        vm.executePendingJobs();
        return settled;
      });
    const good = new TraceRecorder();
    const outcome = await start(
      `spanduct.tracing.span({ name: "slow" }).run(undefined, async () => { await 1; return 7; })`,
      good,
    );
    expect(outcome.kind === "committed" && (outcome.value as { toNumber(): number }).toNumber()).toBe(7);
    expect(good.lines()).toEqual(["slow"]);

    const bad = new TraceRecorder();
    const failed = await start(`(async () => { await 1; throw new RangeError("late"); })()`, bad);
    expect(failed).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(bad.ending).toBe("rollback");
  });

  it.each([
    ["a text", `throw "just text"`, "Error", "just text"],
    ["a number", "throw 5", "Error", "5"],
    ["nothing", "throw null", "Error", "null"],
    ["undefined", "throw undefined", "Error", "undefined"],
    ["an object", "throw { code: 7 }", "Error", '{"code":7}'],
    ["an object with a bigint", "throw { n: 1n }", "Error", '{"n":"1"}'],
    [
      "an object with objects in it",
      "throw { a: [1], f() {}, s: Symbol('x') }",
      "Error",
      '{"a":"[Array]","f":"[Function]","s":"[Symbol]"}',
    ],
    ["an object that says __proto__", `throw JSON.parse('{"__proto__":1}')`, "Error", '{"__proto__":1}'],
    ["a function", "throw function broken() {}", "Error", "[Function]"],
    ["a symbol", "throw Symbol('broken')", "Error", "[Symbol]"],
    ["an error caused by null", "throw new Error('m', { cause: null })", "Error", "m"],
    ["an error of a class", "throw new (class LinkError extends Error { name = 'LinkError' })('broken')", "LinkError", "broken"],
    ["an error with a hostile name", "throw Object.assign(new Error('m'), { name: { toString() { throw 1 } } })", "Error", "m"],
    ["a syntax error", "let 1", "SyntaxError", expect.any(String)],
  ])("rolls back when the guest throws %s", async (_, code, name, message) => {
    const { run } = await traced();
    expect(run(code)).toMatchObject({ kind: "rolled_back", error: { name, message } });
    expect(run("1 + 1")).toMatchObject({ kind: "committed", value: 2 });
  });

  it.each([
    [
      "getters that throw",
      `({ get message() { throw 1 }, get name() { throw 2 }, get stack() { throw 3 }, get cause() { throw 4 } })`,
    ],
    ["a proxy that throws", "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } })"],
    ["a circle of causes", "(() => { const error = new Error('again'); error.cause = error; return error; })()"],
    ["a thousand causes", "Array.from({ length: 1000 }).reduce((cause, _, i) => new Error('c' + i, { cause }), undefined)"],
  ])("rolls back when the guest throws %s", async (_, thrown) => {
    const trace = new TraceRecorder();
    const { run } = await traced();
    expect(run(`throw ${thrown}`, trace)).toMatchObject({ kind: "rolled_back", error: expect.any(Error) });
    let causes = 0;
    for (let error = errorOf(trace.events[0]); error.source !== null; error = error.source) causes++;
    expect(causes).toBeLessThan(16);
  });

  it.each([
    [
      "its memory",
      { memoryLimit: 2 * 1024 * 1024 },
      "const all = []; for (;;) all.push(new Array(1000).fill(1))",
      "out of memory",
    ],
    [
      "its stack",
      { maxStackSize: MAX_STACK_SIZE },
      "(function deeper() { return deeper() + 1; })()",
      "Maximum call stack size exceeded",
    ],
  ])("rolls back a guest that uses up %s, and the next run goes on in the same VM", async (_, limits, code, message) => {
    const { run } = await traced({}, limits);
    const trace = new TraceRecorder();
    const outcome = run(`spanduct.tracing.span({ name: "greedy" }).enter(); (() => { ${code} })()`, trace);
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { message } });
    expect(trace.lines()).toEqual(["greedy (rolled back)", expect.stringContaining("  · exception")]);
    expect(run("1 + 1")).toMatchObject({ kind: "committed", value: 2 });
  });

  it("tells of a promise that fails only when nobody has handled it by the end of the run", async () => {
    const vm = await QuickJS.create({ wasm, onUnhandledRejection: (...rejection) => guest?.rejected(...rejection) });
    onTestFinished(() => vm.dispose());
    let guest: QuickJSWasiGuest | undefined;
    // Before there is anybody to tell.
    vm.evalCode("globalThis.early = Promise.reject(new Error('early')); undefined").dispose();
    guest = traceQuickJSWasi(vm);
    let metadata: PersistedMetadata = {};
    const runAll = (code: string): TraceRecorder => {
      const trace = new TraceRecorder();
      const receiver = new TracingEventReceiver<RecordedSpan>(metadata, {}, [], { relay: trace });
      guest?.run(receiver, () => {
        vm.evalCode(code).dispose();
        vm.executePendingJobs();
      });
      metadata = receiver.persistMetadata();
      return trace;
    };
    const messages = (trace: TraceRecorder): string[] => trace.events.map((event) => errorOf(event).message);
    const first = runAll(`
      early.catch(() => undefined);
      const late = Promise.reject(new Error("handled late"));
      Promise.resolve().then(() => late.catch(() => undefined));
      globalThis.forgotten = Promise.reject(new Error("forgotten"));
      Promise.reject(5);
      Promise.reject({ get message() { throw 1 } });
    `);
    expect(messages(first)).toEqual(["forgotten", "5", "[unreadable]"]);
    expect(first.events).toMatchObject(new Array(3).fill({ name: "exception", level: "error" }));
    // Told once.
    expect(messages(runAll("forgotten.catch(() => undefined); Promise.reject(new Error('next'))"))).toEqual(["next"]);
    guest.rejected(vm.undefined, vm.undefined, true);
    expect(messages(runAll("Object.defineProperty(Map.prototype, 'set', { value() { throw 1 } }); Promise.reject(1)"))).toEqual(
      [],
    );
  });

  it("rolls back a promise job that the host interrupts", async () => {
    let interrupted = false;
    const { vm, guest } = await traced({}, { interruptHandler: () => interrupted });
    const trace = new TraceRecorder(() => {
      interrupted = true;
    });
    const outcome = guest.run(receiverOf(trace), () => {
      vm.evalCode(`Promise.resolve().then(() => { console.log("endless"); spanduct.tracing.flush(); for (;;); })`).dispose();
      vm.executePendingJobs();
    });
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: expect.stringContaining("interrupted") } });
    expect(trace.ending).toBe("rollback");
  });

  it("survives that the host's own code in the run throws, also after it disposed of the VM", async () => {
    const { vm, guest } = await traced();
    const outcome = guest.run(receiverOf(new TraceRecorder()), () => {
      vm.dispose();
      throw new Error("of the host");
    });
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "of the host" } });
  });
});

describe("a VM restored from a snapshot", () => {
  /** A guest inside of a span, waiting for `approve`. */
  const WAITING = `
    const { tracing } = spanduct;
    const order = tracing.span({ name: "order", fields: ["answer"] });
    const note = tracing.event({ name: "note", fields: ["text"] });
    const approval = new Promise((resolve) => { globalThis.approve = resolve; });
    note.emit({ text: "begun" });
    order.run({}, async (span) => {
      const answer = await approval;
      span.record({ answer });
      note.emit({ text: "approved" }, span);
    });
  `;

  async function restored(vm: QuickJS, options: Omit<QuickJSOptions, "wasm"> = {}): Promise<TracedVm> {
    const snapshot = QuickJS.deserializeSnapshot(QuickJS.serializeSnapshot(vm.snapshot()));
    vm.dispose();
    const copy = await QuickJS.restore(snapshot, { wasm, ...options });
    onTestFinished(() => copy.dispose());
    return trace(copy);
  }

  it("goes on in the span that it waited in, and its batches go on counting", async () => {
    const before = await traced();
    const first = new TraceRecorder();
    const receiver = receiverOf(first);
    const outcome = before.guest.run(receiver, () => {
      before.vm.evalCode(WAITING).dispose();
      before.vm.executePendingJobs();
    });
    if (outcome.kind === "rolled_back") throw outcome.error;
    expect(first.lines()).toEqual(["· note text=begun", "order (open)"]);

    const { vm, guest } = await restored(before.vm);
    const second = new TraceRecorder();
    const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, outcome.localSpans, { relay: second });
    const end = guest.run(next, () => {
      vm.evalCode(`approve("yes")`).dispose();
      vm.executePendingJobs();
    });
    expect(end).toMatchObject({ kind: "committed", spans: {} });
    expect(first.lines()).toEqual(["· note text=begun", "order answer=yes", "  · note text=approved"]);
    expect(next.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, callSites: 2 });
  });

  it("propagates its spans by the ids that are exported, those from before the snapshot and those from after it", async () => {
    const exporter = new InMemorySpanExporter();
    const relay = new OpenTelemetryRelay({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const attempt = (number: number) =>
      relay.execution({ seed: 7n, attempt: number, parent: { traceId, spanId: `000000000000000${number + 1}`, traceFlags: 1 } });
    const before = await traced();
    const receiver = new TracingEventReceiver<GuestSpan>({}, {}, [], { relay: attempt(0) });
    const outcome = before.guest.run(receiver, () =>
      before.vm
        .evalCode(`globalThis.order = spanduct.tracing.span({ name: "order" }).enter(); spanduct.tracing.traceparent(order)`)
        .consume((header) => header.toString()),
    );
    if (outcome.kind === "rolled_back") throw outcome.error;

    const { vm, guest } = await restored(before.vm);
    const state = JSON.parse(JSON.stringify(outcome.spans)) as PersistedSpans;
    const next = new TracingEventReceiver<GuestSpan>(receiver.persistMetadata(), state, [], { relay: attempt(1) });
    const end = guest.run(next, () =>
      vm
        .evalCode(`
        const { tracing } = spanduct;
        const pay = tracing.span({ name: "pay" }).start();
        const headers = [tracing.traceparent(), tracing.traceparent(order), tracing.traceparent(pay)];
        pay.close();
        order.close();
        headers;
      `)
        .consume((headers) => vm.dump(headers) as string[]),
    );
    if (end.kind === "rolled_back") throw end.error;
    const idOf = (name: string) =>
      exporter
        .getFinishedSpans()
        .find((span) => span.name === name)
        ?.spanContext().spanId;
    const header = (id: string | undefined): string => `00-${traceId}-${id}-01`;
    expect(outcome.value).toBe(header(idOf("order")));
    expect(end.value).toEqual([header("0000000000000002"), header(idOf("order")), header(idOf("pay"))]);
  });

  it("announces its call sites again to a host that has lost them", async () => {
    const before = await traced();
    before.guest.run(receiverOf(new TraceRecorder()), () => before.vm.evalCode(WAITING).dispose());
    const { vm, guest } = await restored(before.vm);
    const trace = new TraceRecorder();
    const receiver = receiverOf(trace);
    guest.run(receiver, () => {
      vm.evalCode(`note.emit({ text: "nobody knows this call site" }); tracing.flush(); note.emit({ text: "healed" })`).dispose();
    });
    expect(trace.lines()).toEqual(["· note text=healed"]);
  });

  it("follows the level of the receiver that it finds, not of the one that it left", async () => {
    const before = await traced();
    const loud = receiverOf(new TraceRecorder());
    before.guest.run(loud, () => before.vm.evalCode(WAITING).dispose());
    const { vm, guest } = await restored(before.vm);
    const silent = new TracingEventReceiver<RecordedSpan>(loud.persistMetadata(), {}, [], {
      relay: new TraceRecorder(),
      maxLevel: 1,
    });
    const outcome = guest.run(silent, () => vm.evalCode("note.emit(); tracing.maxLevel").consume((level) => level.toNumber()));
    expect(outcome).toMatchObject({ value: 1 });
    expect(silent.stats.events).toBe(0);
  });

  it("can be restored as often as one likes, each copy on its own", async () => {
    const before = await traced();
    const receiver = receiverOf(new TraceRecorder());
    const outcome = before.guest.run(receiver, () => before.vm.evalCode(WAITING).dispose());
    if (outcome.kind === "rolled_back") throw outcome.error;
    const snapshot = before.vm.snapshot();
    for (const text of ["first", "second"]) {
      using vm = await QuickJS.restore(snapshot, { wasm });
      const relay = new TraceRecorder();
      const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, [], { relay });
      trace(vm).guest.run(next, () => vm.evalCode(`note.emit({ text: "${text}" })`).dispose());
      expect(relay.events.map(({ values }) => values["text"])).toEqual([{ string: text }]);
      expect(next.stats).toMatchObject({ refused: {}, lostBatches: 0 });
    }
  });

  it("takes its time from the host that restored it", async () => {
    const before = await traced({ now: () => 1000 });
    before.guest.run(receiverOf(new TraceRecorder()), () => before.vm.evalCode(WAITING).dispose());
    const snapshot = before.vm.snapshot();
    using vm = await QuickJS.restore(snapshot, { wasm });
    const times: bigint[] = [];
    const relay = Object.assign(new TraceRecorder(), { timeBase: (base: bigint) => times.push(base) });
    trace(vm, { now: () => 5000 }).guest.run(receiverOf(relay), () => vm.evalCode("note.emit()").dispose());
    expect(times).toEqual([5_000_000_000n]);
  });

  it("stops what the next host interrupts", async () => {
    const before = await traced();
    before.guest.run(receiverOf(new TraceRecorder()), () => before.vm.evalCode(WAITING).dispose());
    const { run } = await restored(before.vm, { interruptHandler: () => true });
    expect(run("for (;;);")).toMatchObject({ kind: "rolled_back", error: { message: "interrupted" } });
  });
});

describe("a guest that outlives its process", { timeout: 60_000 }, () => {
  const PROCESS = resolve(import.meta.dirname, "../../test/quickjs-wasi-process.ts");

  async function start(step: Step, folder: string): Promise<Report> {
    const run = promisify(execFile)(process.execPath, [PROCESS, step, folder]);
    const { stdout } = step === "die" ? await run.catch((killed: { readonly stdout: string }) => killed) : await run;
    return JSON.parse(stdout) as Report;
  }

  it("has one span, as long as it really took, whatever processes it went through and which of them died", async () => {
    const folder = mkdtempSync(join(tmpdir(), "spanduct-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const begin = await start("begin", folder);
    expect(begin).toMatchObject({ kind: "committed", spans: [{ name: "prepare" }], stats: { lostBatches: 0, refused: {} } });
    // This one takes the snapshot up, does the work, and dies before anything is committed.
    const lost = await start("die", folder);
    expect(lost.spans).toEqual([]);
    const end = await start("end", folder);
    expect(end).toMatchObject({ kind: "committed", stats: { lostBatches: 0, droppedEvents: 0, refused: {}, liveSpans: 0 } });
    expect(end.spans.map(({ name }) => name)).toEqual(["pay", "order"]);

    const [prepare] = begin.spans;
    const [pay, order] = end.spans;
    if (prepare === undefined || pay === undefined || order === undefined) throw new Error("a span is missing");
    expect(new Set([begin.pid, lost.pid, end.pid]).size).toBe(3);
    expect(prepare.parent).toBe(order.id);
    expect(pay.parent).toBe(order.id);
    expect(new Set([prepare, pay, order].map(({ trace }) => trace)).size).toBe(1);
    expect(new Set([prepare, pay, order].map(({ id }) => id)).size).toBe(3);
    expect(order.start).toBeGreaterThanOrEqual(begin.startedAt);
    expect(order.start).toBeLessThanOrEqual(prepare.start);
    expect(order.end).toBeGreaterThanOrEqual(end.startedAt);
    expect(order.events).toEqual(["waiting", "approved"]);
    // Sequence numbers went on: the first process sent what the last one counts from.
    expect(end.firstSequence).toBe(begin.stats.batches);
  });
});
