import type { TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, type QuickJSGuest, type TraceQuickJSOptions, traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant, type QuickJSContext, type QuickJSRuntime } from "quickjs-emscripten-core";
import { describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";

const quickJS = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));

sandboxContract(
  "QuickJS",
  {
    run(program, receiver, stop) {
      const deadline = performance.now() + 20_000;
      using runtime = quickJS.newRuntime({ interruptHandler: () => stop.aborted || performance.now() > deadline });
      using context = runtime.newContext();
      const outcome = traceQuickJS(context).run(receiver, () => context.evalCode(programSource(program), `${program}.js`));
      if (outcome.kind === "committed") outcome.value.dispose();
      return outcome;
    },
  },
  [{ reason: "quickjs-emscripten tells nobody of promises that fail", programs: ["rejects"] }],
);

interface Vm {
  readonly runtime: QuickJSRuntime;
  readonly context: QuickJSContext;
  readonly guest: QuickJSGuest;
  readonly errors: TunnelError[];
  /** Run a script; the value that it ends with comes back as a copy. */
  run(code: string, trace?: TraceRecorder): Outcome<unknown, RecordedSpan>;
}

/** A traced context. QuickJS aborts when one of its handles is left at the end of the test. */
function vm(options: TraceQuickJSOptions = {}): Vm {
  const runtime = quickJS.newRuntime();
  const context = runtime.newContext();
  onTestFinished(() => {
    context.dispose();
    runtime.dispose();
  });
  const errors: TunnelError[] = [];
  const guest = traceQuickJS(context, { onError: (error) => errors.push(error), ...options });
  return {
    runtime,
    context,
    guest,
    errors,
    run(code, trace = new TraceRecorder()) {
      const outcome = guest.run(receiverOf(trace), () => context.evalCode(code, "user.js"));
      if (outcome.kind === "rolled_back") return outcome;
      return { ...outcome, value: outcome.value.consume((value) => context.dump(value)) };
    },
  };
}

function receiverOf(relay: TraceRecorder): TracingEventReceiver<RecordedSpan> {
  return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay });
}

describe("traceQuickJS", () => {
  it("adds nothing to a context but the tunnel and the console, and leads nowhere else", () => {
    const plain = quickJS.newContext();
    const list = "JSON.stringify(Object.getOwnPropertyNames(globalThis))";
    const before = JSON.parse(plain.unwrapResult(plain.evalCode(list)).consume((value) => plain.getString(value))) as string[];
    plain.dispose();
    const { run } = vm();
    const outcome = run(list) as { value: string };
    const added = (JSON.parse(outcome.value) as string[]).filter((name) => !before.includes(name));
    expect(added.sort()).toEqual(
      ["begin", "flush", "now", "rejected", "send"].map((name) => `__spanduct_${name}`).concat("console", "spanduct"),
    );

    const types = run(`
      const found = [];
      for (const start of [spanduct, spanduct.tracing, __spanduct_send, __spanduct_now, __spanduct_flush, __spanduct_begin, __spanduct_rejected]) {
        const Fn = Object.getPrototypeOf(start).constructor.constructor;
        found.push(Fn === Function, Fn("return this")() === globalThis, Fn("return typeof process + typeof require")());
      }
      found.push(typeof __spanduct_send(new ArrayBuffer(0)), typeof __spanduct_now());
      JSON.stringify([...new Set(found)]);
    `) as { value: string };
    expect(JSON.parse(types.value)).toEqual([true, "undefinedundefined", "number"]);
  });

  it("is not undone by a script that tidies up", () => {
    const { run } = vm();
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

  it('throws "transport_failed" for a context that is traced already', () => {
    const { context } = vm();
    expect(() => traceQuickJS(context)).toThrow("[transport_failed]");
  });

  it("counts what is no batch, and the guest goes on", () => {
    const { run, guest, errors } = vm();
    const outcome = run(`
      const junk = [undefined, null, 7, "text", {}, [1], new Uint8Array(4), { byteLength: 3 }, () => 1, Symbol("x"), 5n];
      const answers = junk.map((each) => __spanduct_send(each));
      answers.push(__spanduct_send());
      JSON.stringify([...new Set(answers)]);
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: "[0]" });
    expect(guest.stats.ignored).toBe(12);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["malformed"]));
  });

  it("tells the receiver of bytes that are no batch", () => {
    const { context, guest } = vm();
    const receiver = receiverOf(new TraceRecorder());
    const outcome = guest.run(receiver, () => context.evalCode("__spanduct_send(new Uint8Array([255, 255]).buffer)"));
    if (outcome.kind === "committed") outcome.value.dispose();
    expect(receiver.stats.refused).toEqual({ malformed: 1 });
  });

  it("reads a batch to its end whatever happens to the memory of QuickJS meanwhile", () => {
    const { run } = vm();
    const other = vm();
    const trace = new TraceRecorder(({ name }) => {
      if (name === "first") other.run("globalThis.big = new Uint8Array(64 * 1024 * 1024); undefined");
    });
    run(`for (const name of ["first", "second"]) spanduct.tracing.event({ name }).emit();`, trace);
    expect(trace.lines()).toEqual(["· first", "· second"]);
  });

  it("ignores what comes outside of a run", () => {
    const { context, guest, errors } = vm();
    context.unwrapResult(context.evalCode("__spanduct_send(new ArrayBuffer(8))")).dispose();
    expect(guest.stats.ignored).toBe(1);
    expect(errors[0]?.code).toBe("receiver_closed");
  });

  it("takes the guest's time from the host", () => {
    const times: (number | undefined)[] = [];
    const trace = new TraceRecorder();
    const relay = Object.assign(trace, {
      timeBase: (base: bigint) => times.push(Number(base / 1_000_000n)),
    });
    vm({ now: () => 1_700_000_000_000.25 }).run(`spanduct.tracing.event({ name: "now" }).emit()`, relay);
    expect(times).toEqual([1_700_000_000_000]);
  });
});

describe("run", () => {
  it("goes on in the same context with a receiver made from the last one, open spans included", () => {
    const { context, guest } = vm();
    const first = new TraceRecorder();
    const receiver = receiverOf(first);
    const outcome = guest.run(receiver, () =>
      context.evalCode(`globalThis.open = spanduct.tracing.span({ name: "open" }).enter(); undefined`),
    );
    if (outcome.kind === "rolled_back") throw outcome.error;
    outcome.value.dispose();
    expect(first.lines()).toEqual(["open (open)"]);

    const second = new TraceRecorder();
    const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, outcome.localSpans, { relay: second });
    const end = guest.run(next, () => context.evalCode(`spanduct.tracing.event({ name: "inside" }).emit(); open.close()`));
    if (end.kind === "rolled_back") throw end.error;
    end.value.dispose();
    expect(first.lines()).toEqual(["open", "  · inside"]);
    expect(second.losses).toEqual([]);
  });

  it("goes on in the same context after deadlines that ended the guest anywhere, also in the middle of a write", () => {
    const { context, runtime, guest, run } = vm();
    let left = 0;
    runtime.setInterruptHandler(() => left-- <= 0);
    const storm = `
      const site = spanduct.tracing.span({ name: "work", fields: ["n"] });
      for (let n = 0; ; n++) site.enter({ n }).close();
    `;
    for (let i = 0; i < 50; i++) {
      left = i;
      const receiver = receiverOf(new TraceRecorder());
      expect(guest.run(receiver, () => context.evalCode(`{ ${storm} }`)).kind).toBe("rolled_back");
      expect(receiver.stats.refused).toEqual({});
    }
    left = Number.POSITIVE_INFINITY;
    const trace = new TraceRecorder();
    expect(run(`spanduct.tracing.span({ name: "after" }).run(undefined, () => 7)`, trace)).toMatchObject({ value: 7 });
    expect(trace.lines()).toEqual(["after"]);
  });

  it("begins with the level of the run's receiver", () => {
    const { context, guest } = vm();
    const silent = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: new TraceRecorder(), maxLevel: 0 });
    const code = `spanduct.tracing.event({ name: "said" }).emit(); spanduct.tracing.flush(); spanduct.tracing.maxLevel`;
    const levels = [silent, receiverOf(new TraceRecorder())].map((receiver) => {
      const outcome = guest.run(receiver, () => context.evalCode(code));
      if (outcome.kind === "rolled_back") throw outcome.error;
      return [outcome.value.consume((value) => context.dump(value)), receiver.stats.batches];
    });
    expect(levels).toEqual([
      [0, 0],
      [5, 1],
    ]);
  });

  it("settles asynchronous code when its promise does", async () => {
    const { context, runtime, guest } = vm();
    const start = (code: string, trace: TraceRecorder): Promise<Outcome<{ dispose(): void }, RecordedSpan>> =>
      guest.run(receiverOf(trace), async () => {
        const promise = context.unwrapResult(context.evalCode(code, "user.js"));
        const settled = context.resolvePromise(promise);
        promise.dispose();
        context.unwrapResult(runtime.executePendingJobs());
        return settled;
      });
    const good = new TraceRecorder();
    const outcome = await start(`spanduct.tracing.span({ name: "slow" }).run(undefined, async () => { await 1; })`, good);
    if (outcome.kind === "rolled_back") throw outcome.error;
    outcome.value.dispose();
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
    ["an object with a bigint", "throw { n: 1n }", "Error", expect.any(String)],
    ["a function", "throw function broken() {}", "Error", expect.any(String)],
    ["a symbol", "throw Symbol('broken')", "Error", expect.any(String)],
    ["an error caused by null", "throw new Error('m', { cause: null })", "Error", "m"],
    ["an error of a class", "throw new (class LinkError extends Error { name = 'LinkError' })('broken')", "LinkError", "broken"],
    ["an error with a hostile name", "throw Object.assign(new Error('m'), { name: { toString() { throw 1 } } })", "Error", "m"],
    ["a syntax error", "let 1", "SyntaxError", expect.any(String)],
  ])("rolls back when the guest throws %s", (_, code, name, message) => {
    expect(vm().run(code)).toMatchObject({ kind: "rolled_back", error: { name, message } });
  });

  it.each([
    [
      "getters that throw",
      `({ get message() { throw 1 }, get name() { throw 2 }, get stack() { throw 3 }, get cause() { throw 4 } })`,
    ],
    ["a proxy that throws", "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } })"],
    ["a circle of causes", "(() => { const error = new Error('again'); error.cause = error; return error; })()"],
    ["a thousand causes", "Array.from({ length: 1000 }).reduce((cause, _, i) => new Error('c' + i, { cause }), undefined)"],
  ])("rolls back when the guest throws %s", (_, thrown) => {
    const trace = new TraceRecorder();
    const outcome = vm().run(`throw ${thrown}`, trace);
    expect(outcome).toMatchObject({ kind: "rolled_back", error: expect.any(Error) });
    let causes = 0;
    for (let error = errorOf(trace.events[0]); error.source !== null; error = error.source) causes++;
    expect(causes).toBeLessThan(16);
  });

  it("rolls back a guest that uses up its memory, and the next one runs", () => {
    const { runtime, run } = vm();
    runtime.setMemoryLimit(2 * 1024 * 1024);
    const trace = new TraceRecorder();
    const code = `spanduct.tracing.span({ name: "greedy" }).enter(); const all = []; for (;;) all.push(new Array(1000).fill(1))`;
    expect(run(code, trace).kind).toBe("rolled_back");
    expect(trace.ending).toBe("rollback");
    expect(vm().run("1 + 1")).toMatchObject({ kind: "committed", value: 2 });
  });

  it("survives that the host's own code in the run throws, also after it disposed of the context", () => {
    const runtime = quickJS.newRuntime();
    const context = runtime.newContext();
    const guest = traceQuickJS(context);
    const outcome = guest.run(receiverOf(new TraceRecorder()), () => {
      context.dispose();
      throw new Error("of the host");
    });
    runtime.dispose();
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "of the host" } });
  });
});
