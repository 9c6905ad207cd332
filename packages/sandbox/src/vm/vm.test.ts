import { spawnSync } from "node:child_process";
import { type Context, createContext, runInContext } from "node:vm";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import type { TunnelError } from "@spanduct/protocol";
import { MetadataArena, type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, type TraceVmOptions, traceVm, type VmGuest, VmRejections } from "@spanduct/sandbox/vm";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";

sandboxContract("node:vm", {
  run(program, receiver) {
    const context = createContext(Object.create(null));
    // A timeout is all that kills a script.
    const options = { filename: `${program}.js`, timeout: program === "stuck" ? 1000 : 30_000 };
    const script = () => runInContext(programSource(program), context, options) as unknown;
    if (program !== "rejects") return traceVm(context).run(receiver, script);
    return withoutVitest(async () => {
      using rejections = new VmRejections(process);
      return await traceVm(context, { rejections }).run(receiver, async () => script());
    });
  },
});

/** Vitest takes every rejection in its process for a failure of the test. */
async function withoutVitest<T>(run: () => Promise<T>): Promise<T> {
  const listeners = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  try {
    return await run();
  } finally {
    for (const listener of listeners) process.on("unhandledRejection", listener);
  }
}

interface Traced {
  readonly context: Context;
  readonly guest: VmGuest;
  readonly errors: TunnelError[];
  run(code: string, trace?: TraceRecorder): Outcome<unknown, RecordedSpan>;
  runAsync(code: string, trace?: TraceRecorder): Promise<Outcome<unknown, RecordedSpan>>;
}

function traced(context: Context = createContext(Object.create(null)), options: TraceVmOptions = {}): Traced {
  const errors: TunnelError[] = [];
  const guest = traceVm(context, { onError: (error) => errors.push(error), ...options });
  const evaluate = (code: string): unknown => runInContext(code, context, { filename: "user.js", timeout: 5000 });
  return {
    context,
    guest,
    errors,
    run: (code, trace = new TraceRecorder()) => guest.run(receiverOf(trace), () => evaluate(code)),
    runAsync: (code, trace = new TraceRecorder()) => guest.run(receiverOf(trace), () => evaluate(code) as Promise<unknown>),
  };
}

function receiverOf(relay: TraceRecorder): TracingEventReceiver<RecordedSpan> {
  return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay });
}

/** For a script: what of `found` belongs to another realm than the script's, and what can be had there. */
const FOREIGN = `
  var foreign = (found) => found.flatMap((each) => {
    if ((typeof each !== "object" && typeof each !== "function") || each === null) return [];
    const realms = [each, Object.getPrototypeOf(each)].map((object) => object?.constructor?.constructor);
    return realms.flatMap((Fn) => (Fn === undefined || Fn === Function ? [] : [Fn("return typeof process")()]));
  });
`;

describe("traceVm", () => {
  it.each([
    ["of an object without a prototype", () => createContext(Object.create(null))],
    ["of a plain object", () => createContext({})],
    ["that makes no code from text", () => createContext({}, { codeGeneration: { strings: false, wasm: false } })],
    ["with a queue of microtasks of its own", () => createContext(Object.create(null), { microtaskMode: "afterEvaluate" })],
  ])("loads into a context %s", async (_, create) => {
    const trace = new TraceRecorder();
    const code = `spanduct.tracing.span({ name: "slow" }).run(undefined, async () => { await 1; return 42; })`;
    expect(await traced(create()).runAsync(code, trace)).toMatchObject({ kind: "committed", value: 42 });
    expect(trace.lines()).toEqual(["slow"]);
  });

  it("adds nothing to a context but the tunnel", () => {
    const list = "Object.getOwnPropertyNames(globalThis).join()";
    const before = String(runInContext(list, createContext(Object.create(null)))).split(",");
    const { value } = traced().run(list) as { value: string };
    expect(
      value
        .split(",")
        .filter((name) => !before.includes(name) && name !== "console")
        .sort(),
    ).toEqual(["spanduct", ...["begin", "flush", "now", "rejected", "send"].map((name) => `__spanduct_${name}`)].sort());
  });

  it("gives a guest no way to the host's Function and process", () => {
    const { run } = traced(createContext(Object.assign(Object.create(null), { leak: () => 0 })));
    expect(run(`${FOREIGN} foreign([leak]).join()`)).toMatchObject({ value: "object,object" });
    expect(run(`__spanduct_send.constructor("return typeof process")()`)).toMatchObject({ value: "undefined" });
    expect(run(`__spanduct_send.constructor("return process")()`)).toMatchObject({
      kind: "rolled_back",
      error: { name: "ReferenceError", message: "process is not defined" },
    });
    const outcome = run(`${FOREIGN}
      const found = [spanduct, ...Object.values(spanduct), spanduct.tracing, console, console.log];
      found.push(__spanduct_send, __spanduct_now, __spanduct_flush, __spanduct_begin, __spanduct_rejected);
      found.push(__spanduct_send(new ArrayBuffer(0)), __spanduct_send(), __spanduct_now(), __spanduct_flush(), __spanduct_begin(0));
      JSON.stringify(foreign(found));
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: "[]" });
  });

  it("gives a guest no exception of the host's, also where the stack ends in a call of the host's", () => {
    const { run } = traced(undefined, {
      now: () => {
        throw new Error("of the host");
      },
      onError: () => {
        throw new Error("of the host");
      },
    });
    const outcome = run(`${FOREIGN}
      const found = [];
      const note = spanduct.tracing.event({ name: "note" });
      const attempt = (call) => { try { found.push(call()); } catch (error) { found.push(error); } };
      const dive = () => {
        try { dive(); } catch (error) { found.push(error); }
        for (const call of [() => __spanduct_send(new ArrayBuffer(8)), __spanduct_now, () => { note.emit(); __spanduct_flush(); }]) {
          attempt(call);
        }
      };
      attempt(__spanduct_now);
      attempt(() => __spanduct_send("junk"));
      let depth = 0;
      const deepest = () => { depth++; deepest(); };
      try { deepest(); } catch {}
      const from = (n) => (n > 0 ? from(n - 1) : attempt(() => __spanduct_send(new ArrayBuffer(8))));
      for (let n = Math.max(0, depth - 2000); n < depth; n += 7) attempt(() => from(n));
      foreign(found).length + " of " + (found.length > 100);
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: "0 of true" });
  });

  it("gives a guest that tampers with its realm no function of the host's", async () => {
    const { run, runAsync } = traced();
    const outcome = await runAsync(`${FOREIGN}
      globalThis.found = [];
      globalThis.leaks = () => foreign(found).join() + " of " + (found.length > 20);
      const keep = (...all) => { for (const each of all) found[found.length] = each; };
      const { apply } = Reflect;
      for (const [holder, key] of [
        [Function.prototype, "call"], [Function.prototype, "apply"], [Function.prototype, "bind"], [Reflect, "apply"],
        [Promise.prototype, "then"], [Uint8Array.prototype, "slice"], [Object, "defineProperty"], [Array.prototype, "push"],
      ]) {
        const original = holder[key];
        holder[key] = function (...args) {
          keep(this, ...args);
          return apply(original, this, args);
        };
      }
      Error.prepareStackTrace = (error, sites) => {
        for (const site of sites) keep(site.getFunction(), site.getThis());
        return "stack";
      };
      spanduct.tracing.event({ name: "note", fields: ["error"] }).emit({ error: new Error("bad") });
      console.log("text");
      spanduct.tracing.flush();
      const value = { name: "value" };
      const promise = Promise.resolve(value);
      value.then = keep;
      promise.then = keep;
      promise.constructor = { [Symbol.species]: class extends Promise {
        constructor(executor) { super(executor); keep(executor); }
      } };
      promise;
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: { name: "value" } });
    expect(run("throw new Error('bad')").kind).toBe("rolled_back");
    expect(run("leaks()")).toMatchObject({ kind: "committed", value: " of true" });
  });

  it("lets a script that tidies up not cut the tunnel", () => {
    const trace = new TraceRecorder();
    const outcome = traced().run(
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

  it("captures a console that the host put into the context, and leaves the host's own as it is", () => {
    const written: unknown[][] = [];
    const log = (...args: unknown[]): void => void written.push(args);
    const console = { log };
    const trace = new TraceRecorder();
    traced(createContext({ console })).run(`console.log("hello", 1)`, trace);
    expect(trace.events).toMatchObject([{ target: "console", values: { message: { string: "hello 1" } } }]);
    expect(written).toEqual([["hello", 1]]);
    expect(console).toEqual({ log });
    expect(console.log).toBe(log);
  });

  it.each([
    ["is traced already", () => traced().context],
    ["is none", () => ({})],
    [
      "does not let itself be changed",
      () => {
        const context = createContext(Object.create(null));
        runInContext("Object.defineProperty = () => { throw 5 }", context);
        return context;
      },
    ],
  ])('throws "transport_failed" for a context that %s', (_, create) => {
    const context = create();
    expect(() => traceVm(context)).toThrow("[transport_failed]");
  });

  it("counts what is no batch, and the guest goes on", () => {
    const { run, guest, errors } = traced();
    const outcome = run(`
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      const junk = [undefined, null, 7, "text", {}, [1], new Uint8Array(4), new SharedArrayBuffer(8), { byteLength: 3 }, () => 1,
        Symbol("x"), 5n, proxy, new Proxy(new ArrayBuffer(8), {}), Object.create(new ArrayBuffer(8))];
      [...new Set(junk.map((each) => __spanduct_send(each)))].join();
    `);
    expect(outcome).toMatchObject({ kind: "committed", value: "0" });
    expect(guest.stats.ignored).toBe(15);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["malformed"]));
  });

  it("tells the receiver of bytes that are no batch", () => {
    const { context, guest } = traced();
    const receiver = receiverOf(new TraceRecorder());
    guest.run(receiver, () => void runInContext("__spanduct_send(new Uint8Array([255, 255]).buffer)", context));
    expect(receiver.stats.refused).toEqual({ malformed: 1 });
  });

  it("ignores what comes outside of a run", () => {
    const { context, guest, errors } = traced();
    runInContext("__spanduct_send(new ArrayBuffer(8))", context);
    expect(guest.stats.ignored).toBe(1);
    expect(errors[0]?.code).toBe("receiver_closed");
  });

  it("takes the guest's time from the host", () => {
    const times: number[] = [];
    const relay = Object.assign(new TraceRecorder(), { timeBase: (base: bigint) => times.push(Number(base / 1_000_000n)) });
    traced(undefined, { now: () => 1_700_000_000_000.25 }).run(`spanduct.tracing.event({ name: "now" }).emit()`, relay);
    expect(times).toEqual([1_700_000_000_000]);
  });
});

describe("run", () => {
  it("rolls back a script that times out, with what it sent before", () => {
    const { context, guest } = traced();
    const trace = new TraceRecorder();
    const code = `spanduct.tracing.span({ name: "endless" }).enter(); for (;;);`;
    const outcome = guest.run(receiverOf(trace), () => void runInContext(code, context, { timeout: 50 }));
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" } });
    expect(outcome.kind === "rolled_back" && outcome.error).toBeInstanceOf(Error);
    expect(trace.lines()).toEqual(["endless (rolled back)", expect.stringMatching(/^ {2}· exception error=/)]);
    expect(trace.ending).toBe("rollback");
  });

  it("ends also when the guest makes its last flush endless", () => {
    const { run } = traced();
    const endless = "for (const each of [Array, Uint8Array, ArrayBuffer]) each.prototype.slice = () => { for (;;); };";
    const trace = new TraceRecorder();
    expect(run(`spanduct.tracing.event({ name: "kept" }).emit(); ${endless}`, trace).kind).toBe("committed");
    expect(trace.ending).toBe("commit");
  });

  it("goes on in the same context with a receiver made from the last one, open spans included", () => {
    const { context, guest } = traced();
    const first = new TraceRecorder();
    const receiver = receiverOf(first);
    const begin = `globalThis.open = spanduct.tracing.span({ name: "open" }).enter();`;
    const outcome = guest.run(receiver, () => void runInContext(begin, context));
    if (outcome.kind === "rolled_back") throw outcome.error;
    const second = new TraceRecorder();
    const next = new TracingEventReceiver(receiver.persistMetadata(), outcome.spans, outcome.localSpans, { relay: second });
    const end = `spanduct.tracing.event({ name: "inside" }).emit(); open.close();`;
    expect(guest.run(next, () => void runInContext(end, context)).kind).toBe("committed");
    expect(first.lines()).toEqual(["open", "  · inside"]);
    expect(second.losses).toEqual([]);
  });

  it("serves one execution after another in the same context, and nothing counts as lost", () => {
    const { guest, context } = traced();
    for (let i = 0; i < 3; i++) {
      const trace = new TraceRecorder();
      const receiver = receiverOf(trace);
      guest.run(receiver, () => runInContext("console.log('hello'); spanduct.tracing.flush(); console.log('bye')", context));
      expect(trace.events.map(({ values }) => values["message"])).toEqual([{ string: "hello" }, { string: "bye" }]);
      expect(receiver.stats).toMatchObject({ events: 3, batches: 2, refused: {}, lostBatches: 0 });
    }
  });

  it('throws "guest_busy" in a run', () => {
    const { guest } = traced();
    const outcome = guest.run(receiverOf(new TraceRecorder()), () => {
      guest.run(receiverOf(new TraceRecorder()), () => 1);
    });
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { code: "guest_busy" } });
  });

  it("settles asynchronous code when its promise does, the guest's or the host's", async () => {
    const { context, guest, runAsync } = traced();
    const bad = new TraceRecorder();
    const failed = await runAsync(`(async () => { await 1; throw new RangeError("late"); })()`, bad);
    expect(failed).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(bad.ending).toBe("rollback");
    const outcome = await guest.run(receiverOf(new TraceRecorder()), async () => Number(runInContext("6 * 7", context)));
    expect(outcome).toMatchObject({ kind: "committed", value: 42 });
    const error = new Error("of the host");
    const thrown = await guest.run(receiverOf(new TraceRecorder()), () => Promise.reject(error));
    expect(thrown).toMatchObject({ kind: "rolled_back", error });
    expect(thrown.kind === "rolled_back" && thrown.error).toBe(error);
  });

  it.each([
    ["a text", `throw "just text"`, "Error", "just text"],
    ["nothing", "throw null", "Error", "null"],
    ["a symbol", "throw Symbol('broken')", "Error", "Symbol(broken)"],
    ["an object", "throw { code: 7 }", "Error", "{ code: 7 }"],
    ["a function", "throw function broken() {}", "Error", "[Function: broken]"],
    ["an error of a class", "throw new (class LinkError extends Error { name = 'LinkError' })('broken')", "LinkError", "broken"],
    ["an error with a hostile name", "throw Object.assign(new Error('m'), { name: { toString() { throw 1 } } })", "Error", "m"],
    [
      "an error with a stack of its own making",
      "Error.prepareStackTrace = () => { throw 5 }; throw new Error('m')",
      "Error",
      "m",
    ],
    ["a syntax error", "let 1", "SyntaxError", expect.any(String)],
    [
      "a proxy",
      "throw new Proxy(new Error('m'), { get() { throw 1 }, getPrototypeOf() { throw 2 } })",
      "Error",
      expect.any(String),
    ],
    [
      "an error with a hostile prototype",
      "throw Object.setPrototypeOf(new Error('m'), new Proxy({}, { get() { throw 1 } }))",
      "Error",
      "m",
    ],
  ])("rolls back when the guest throws %s", (_, code, name, message) => {
    const outcome = traced().run(code);
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { name, message } });
    expect(outcome.kind === "rolled_back" && outcome.error).toBeInstanceOf(Error);
  });

  it.each([
    ["a circle of causes", "(() => { const error = new Error('again'); error.cause = error; return error; })()"],
    ["a thousand causes", "Array.from({ length: 1000 }).reduce((cause, _, i) => new Error('c' + i, { cause }), undefined)"],
  ])("rolls back when the guest throws %s", (_, thrown) => {
    const trace = new TraceRecorder();
    expect(traced().run(`throw ${thrown}`, trace).kind).toBe("rolled_back");
    let causes = 0;
    for (let error = errorOf(trace.events[0]); error.source !== null; error = error.source) causes++;
    expect(causes).toBeGreaterThan(1);
    expect(causes).toBeLessThan(16);
  });

  describe("with a guest that makes endless what the host has to do with its objects", { timeout: 30_000 }, () => {
    const endless = `
      const loop = () => { for (;;); };
      const proxy = new Proxy({}, { getPrototypeOf: loop, getOwnPropertyDescriptor: loop, get: loop, has: loop, ownKeys: loop });
    `;
    const thrown = (code: string): unknown => {
      const { context, guest } = traced();
      const script = () => runInContext(`{ ${endless} ${code} }`, context, { timeout: 5000, displayErrors: false }) as undefined;
      const outcome = guest.run(receiverOf(new TraceRecorder()), script);
      return outcome.kind === "rolled_back" ? outcome.error : outcome.kind;
    };

    it.each([
      ["an object with an endless prototype", "throw Object.create(proxy)", "Error: something that cannot be read"],
      ["one in an object", "throw { inside: Object.create(proxy) }", "Error: something that cannot be read"],
      [
        "an error with an endless prototype",
        `throw Object.setPrototypeOf(Object.assign(new Error("m"), { name: "N" }), proxy)`,
        "N: m",
      ],
      ["an error with an endless message", `throw Object.defineProperty(new Error("m"), "message", { get: loop })`, "Error"],
      ["an error whose stack is endless", `Error.prepareStackTrace = loop; throw new Error("m")`, "Error: m"],
      ["an endless cause", `throw new Error("m", { cause: Object.create(proxy) })`, "Error: m"],
    ])("rolls back when it throws %s", (_, code, text) => {
      const error = thrown(code);
      expect(error).toBeInstanceOf(Error);
      expect(String(error)).toBe(text);
    });

    it("rolls back when it returns a promise that cannot be subscribed to", async () => {
      const { context, guest } = traced();
      const code = `Object.defineProperty((async () => 1)(), "constructor", { get() { for (;;); } })`;
      const outcome = await guest.run(receiverOf(new TraceRecorder()), () => runInContext(code, context) as Promise<number>);
      expect(outcome).toMatchObject({ kind: "rolled_back", error: { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" } });
    });

    it.each([
      "Object.defineProperty = () => { for (;;); }",
      "Object.create = () => { for (;;); }; globalThis.console = {}",
      "Object.defineProperty(globalThis, '__spanduct_call', { get() { for (;;); } })",
      "Object.setPrototypeOf(globalThis, new Proxy({}, { get() { for (;;); }, has() { for (;;); }, set() { for (;;); } }))",
    ])('throws "transport_failed" for a context in which %s', (code) => {
      const context = createContext(Object.create(null));
      runInContext(code, context);
      expect(() => traceVm(context)).toThrow("[transport_failed]");
    });

    it("gives one that ran before none of the host's functions", () => {
      const context = createContext(Object.create(null));
      runInContext(
        `
        globalThis.found = [];
        const { defineProperty, getOwnPropertyNames } = Object;
        Object.defineProperty = (...args) => {
          found.push(...getOwnPropertyNames(globalThis).filter((name) => name.startsWith("__spanduct")));
          return defineProperty(...args);
        };
      `,
        context,
      );
      traceVm(context);
      const found = runInContext("found.join()", context) as string;
      expect(found).not.toBe("");
      expect(found).not.toContain("__spanduct_call");
    });
  });

  it("rolls back a script whose time is up in the middle of the host's work, and the next run is as ever", () => {
    const { context, guest } = traced();
    const arena = new MetadataArena();
    const stuck = Object.assign(new TraceRecorder(), {
      newSpan: () => {
        for (;;);
      },
    });
    const receiverIn = (relay: TraceRecorder) => new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay, arena });
    const script = (timeout: number) => () => {
      const code = `spanduct.tracing.span({ name: "work" }).run(undefined, () => 1); __spanduct_flush(); 7`;
      return runInContext(code, context, { timeout, displayErrors: false }) as number;
    };
    const failed = guest.run(receiverIn(stuck), script(50));
    expect(failed).toMatchObject({ kind: "rolled_back", error: { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" } });
    expect(stuck.ending).toBe("rollback");
    const trace = new TraceRecorder();
    const receiver = receiverIn(trace);
    expect(guest.run(receiver, script(5000))).toMatchObject({ kind: "committed", value: 7 });
    expect(trace.lines()).toEqual(["work"]);
    expect(receiver.stats.refused).toEqual({});
    expect(arena.stats.programs).toBe(0);
  });

  it("survives times that are up anywhere in a batch", { timeout: 60_000 }, () => {
    const { context, guest } = traced();
    const arena = new MetadataArena();
    const relay = new OpenTelemetryRelay({ spanProcessors: [] });
    const receiverIn = () => new TracingEventReceiver<unknown>({}, {}, [], { relay: relay.execution() as Relay<unknown>, arena });
    const storm = `
      const site = spanduct.tracing.span({ name: "work", fields: ["n"] });
      for (let n = 0; ; n++) site.enter({ n }).close();
    `;
    const ends = Array.from({ length: 40 }, (_, i) => {
      const script = () => runInContext(`{ ${storm} }`, context, { timeout: 2 + (i % 10), displayErrors: false }) as number;
      return guest.run(receiverIn(), script);
    });
    expect(new Set(ends.map((outcome) => outcome.kind === "rolled_back" && (outcome.error as { code?: string }).code))).toEqual(
      new Set(["ERR_SCRIPT_EXECUTION_TIMEOUT"]),
    );
    const receiver = receiverIn();
    const script = () => runInContext(`spanduct.tracing.span({ name: "work" }).run(undefined, () => 7)`, context) as number;
    expect(guest.run(receiver, script)).toMatchObject({ kind: "committed", value: 7, spans: {} });
    expect(receiver.stats).toMatchObject({ refused: {}, liveSpans: 0 });
    expect(arena.stats.programs).toBe(0);
  });

  it("tells where the guest threw", () => {
    const outcome = traced().run("\n\n  throw new TypeError('here')");
    expect(outcome.kind === "rolled_back" && String((outcome.error as Error).stack)).toMatch(/TypeError: here\n +at user\.js:3/);
  });
});

describe("VmRejections", { timeout: 30_000 }, () => {
  const SANDBOX = JSON.stringify(new URL("../../dist/vm/index.js", import.meta.url).href);
  const RECEIVER = JSON.stringify(import.meta.resolve("@spanduct/receiver"));

  /** A process of its own, which prints what `code` logs; `guest(code)` runs a guest and gives the errors in its trace. */
  function host(code: string): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    const program = `
      import { createContext, runInContext } from "node:vm";
      import { traceVm, VmRejections } from ${SANDBOX};
      import { TracingEventReceiver } from ${RECEIVER};
      const relay = (errors) => new Proxy({}, {
        get: (_, method) => {
          if (method === "event") return (callSite, values) => errors.push(values.raws[0].message);
          return method === "maxLevel" || method === "traceContext" ? undefined : () => ({});
        },
      });
      let rejections;
      const unheard = [];
      async function guest(code, isSync = false) {
        const errors = [];
        const context = createContext(Object.create(null));
        const receiver = new TracingEventReceiver({}, {}, [], { relay: relay(errors) });
        const traced = traceVm(context, { ...(rejections && { rejections }), onError: (error) => unheard.push(error.cause.message) });
        const run = () => runInContext(code, context);
        const outcome = await traced.run(receiver, isSync ? run : async () => run());
        return [outcome.kind, ...errors].join();
      }
      process.on("exit", (code) => console.log("exit", code));
      ${code}
    `;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      timeout: 20_000,
    });
    return { status, stdout: stdout.trim().replaceAll("\n", "; "), stderr };
  }

  it("without it Node ends the process for a promise of a context's", () => {
    expect(
      host(`await guest("Promise.reject(new Error('forgotten')); 1"); setTimeout(() => console.log("alive"));`),
    ).toMatchObject({
      status: 1,
      stdout: "exit 1",
      stderr: expect.stringContaining("Error: forgotten"),
    });
  });

  it("makes them events of their guests, and the process lives", () => {
    const { status, stdout } = host(`
      rejections = new VmRejections(process);
      console.log(await guest("Promise.reject(new Error('one')); (class Own extends Promise {}).reject(new Error('two')); 1"));
      console.log(await guest("(async () => { await 1; Promise.reject(new Error('before the end')); })()"));
      console.log(await guest("const late = Promise.reject(new Error('handled')); Promise.resolve().then(() => late.catch(() => 1)); 1"));
      console.log(await guest("(async () => { throw new Error('of the run') })()"));
    `);
    expect(stdout).toBe("committed,one,two; committed,before the end; committed; rolled_back,of the run; exit 0");
    expect(status).toBe(0);
  });

  it("reports those that come after their run", () => {
    const { stdout } = host(`
      rejections = new VmRejections(process);
      console.log(await guest("Promise.reject(new Error('too late')); 1", true));
      setImmediate(() => console.log(unheard.join()));
    `);
    expect(stdout).toBe("committed; too late; exit 0");
  });

  it("leaves those of others to Node and to the host's own listeners", () => {
    const dies = host(`
      rejections = new VmRejections(process);
      Promise.reject(new RangeError("of the host"));
      setTimeout(() => console.log("alive"));
    `);
    expect(dies).toMatchObject({ status: 1, stdout: "exit 1", stderr: expect.stringContaining("RangeError: of the host") });
    const untraced = host(`
      rejections = new VmRejections(process);
      runInContext("Promise.reject(new Error('nobody traces it')); 1", createContext({}));
    `);
    expect(untraced).toMatchObject({ status: 1, stderr: expect.stringContaining("nobody traces it") });
    const lives = host(`
      rejections = new VmRejections(process);
      process.on("unhandledRejection", (reason) => console.log("heard", reason.message));
      Promise.reject(new RangeError("of the host"));
      console.log(await guest("Promise.reject(new Error('of the guest')); 1"));
      rejections[Symbol.dispose]();
      console.log(process.listenerCount("unhandledRejection"));
    `);
    expect(lives.stdout).toBe("heard of the host; heard of the guest; committed,of the guest; 1; exit 0");
  });

  it("runs no code of the guest's to tell of what it was", () => {
    const { stdout } = host(`
      rejections = new VmRejections(process);
      console.log(await guest(\`
        const stuck = () => { for (;;); };
        const traps = Object.fromEntries(["get", "getPrototypeOf", "getOwnPropertyDescriptor", "ownKeys", "has"].map((name) => [name, stuck]));
        Promise.reject(new Proxy(new Error("x"), traps));
        const promise = Promise.reject(Object.defineProperty(new Error("readable"), "stack", { get: stuck }));
        promise.then = promise.catch = stuck;
        1;
      \`));
    `);
    expect(stdout).toMatch(/^committed,.*,readable; exit 0$/);
  });
});
