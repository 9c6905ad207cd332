import { once } from "node:events";
import { MessageChannel } from "node:worker_threads";
import { TracingEventReceiver } from "@spanduct/receiver";
import type { Outcome } from "@spanduct/sandbox/worker";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { connect } from "./guest.ts";
import { type TracedWorker, type TraceWorkerOptions, traceWorker } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/worker/index.js", import.meta.url).href);
const SENDER = JSON.stringify(import.meta.resolve("@spanduct/sender"));

/** A worker whose code finds `spanduct` and `threads`. */
function script(source: string): string {
  return `(async () => {
    const threads = require("node:worker_threads");
    const { connect } = await import(${GUEST});
    const spanduct = { ...(await import(${SENDER})), tracing: connect({ captureConsole: true }) };
    ${source}
  })()`;
}

const SILENT: TraceWorkerOptions = { eval: true, stdout: true, stderr: true };

// A host that is behind must not make the difference.
for (const ring of [undefined, { waitMs: 60_000 }]) {
  sandboxContract(ring === undefined ? "worker" : "worker with a ring", {
    run(program, receiver, stop) {
      const options = { ...SILENT, ...(ring && { ring }) };
      const { worker, outcome } = traceWorker(script(programSource(program)), receiver, options);
      stop.addEventListener("abort", () => worker.terminate());
      return outcome;
    },
  });
}

interface Run extends TracedWorker<RecordedSpan> {
  readonly trace: TraceRecorder;
}

function start(source: string, options: TraceWorkerOptions = {}): Run {
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  return { ...traceWorker(script(source), receiver, { ...SILENT, ...options }), trace };
}

const OPEN = `spanduct.tracing.span({ name: "open" }).enter(); spanduct.tracing.event({ name: "last words" }).emit();`;

describe("traceWorker", { timeout: 60_000 }, () => {
  it("commits a worker that ends with process.exit(), after what it has batched", async () => {
    const { outcome, trace } = start(`${OPEN} process.exit();`);
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it("rolls back a worker that ends with another exit code, after what it has batched", async () => {
    const { outcome, trace } = start(`${OPEN} process.exit(3);`);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the worker ended with exit code 3" } });
    expect(trace.lines()).toEqual(["open (rolled back)", "  · last words", expect.stringContaining("  · exception")]);
  });

  it.each([
    ["an error nobody catches", `setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a promise nobody catches", `Promise.reject(new RangeError("late", { cause: new Error("deep") }));`],
  ])("rolls back a worker that ends with %s, which is in the trace with its cause", async (_, source) => {
    const { outcome, trace } = start(`${OPEN} ${source}`);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
    expect(errorOf(trace.events.at(-1))).toMatchObject({ type: "RangeError", message: "late", source: { message: "deep" } });
  });

  it("says once what nobody caught, also when the guest captures errors itself", async () => {
    const { outcome, trace } = start(
      `spanduct.captureErrors(spanduct.tracing, process); setTimeout(() => { throw new Error("late"); });`,
    );
    expect((await outcome).kind).toBe("rolled_back");
    expect(trace.lines()).toEqual([expect.stringMatching(/^· exception error=/)]);
  });

  it("rolls back a worker that throws no error at all", async () => {
    const { outcome, trace } = start("setTimeout(() => { throw 5; });");
    expect(await outcome).toEqual({ kind: "rolled_back", error: 5 });
    expect(trace.events.at(-1)?.values["error"]).toMatchObject({ error: { message: "5" } });
  });

  it("rolls back a worker that uses up its memory", async () => {
    const { outcome, trace } = start(
      `${OPEN} spanduct.tracing.flush(); const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));`,
      { resourceLimits: { maxOldGenerationSizeMb: 16 } },
    );
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "ERR_WORKER_OUT_OF_MEMORY" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
  });

  it("terminates a worker that floods the tunnel, and rolls it back", async () => {
    const { outcome, trace } = start(`
      spanduct.tracing.span({ name: "before" }).enter();
      spanduct.tracing.flush();
      const { port } = threads.workerData.spanduct;
      for (;;) port.postMessage(new ArrayBuffer(1 << 20));
    `);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "transport_failed" } });
    expect(trace.lines()[0]).toBe("before (rolled back)");
  });

  it("rolls back a worker whose code does not load", async () => {
    const { outcome } = start("this is no code");
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "SyntaxError" } });
  });

  it("hands on the worker's own data and ports", async () => {
    const { port1, port2 } = new MessageChannel();
    const { outcome } = start(`threads.workerData.port.postMessage(threads.workerData.list);`, {
      workerData: { list: [1, 2, 3], port: port2 },
      transferList: [port2],
    });
    const [message] = await once(port1, "message");
    expect(message).toEqual([1, 2, 3]);
    port1.close();
    expect((await outcome).kind).toBe("committed");
  });

  it("knows how much was lost of a worker that sends faster than its host reads", async () => {
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const source = script(`
      const note = spanduct.tracing.event({ name: "note", fields: ["text"] });
      const text = "x".repeat(10_000);
      for (let i = 0; i < 4000; i++) note.emit({ text });
      Atomics.store(threads.workerData.done, 0, 1);
      Atomics.notify(threads.workerData.done, 0);
    `);
    const done = new Int32Array(new SharedArrayBuffer(4));
    const { outcome } = traceWorker(source, receiver, { ...SILENT, workerData: { done } });
    // The host does something else until the guest has sent everything.
    expect(Atomics.wait(done, 0, 0, 30_000)).not.toBe("timed-out");
    const { kind }: Outcome<void, RecordedSpan> = await outcome;
    expect(kind).toBe("committed");
    const { droppedEvents, refused } = receiver.stats;
    const arrived = trace.events.filter(({ name }) => name === "note").length;
    expect(arrived).toBeLessThan(4000);
    // Announcements of call sites are events too.
    expect(arrived + droppedEvents).toBeGreaterThanOrEqual(4000);
    expect(refused).toEqual({});
  });
});

describe("connect", { timeout: 60_000 }, () => {
  it("gives the same sender at every call, so that spans of several modules fit together", async () => {
    const { outcome, trace } = start(`
      spanduct.tracing.span({ name: "outer" }).enter();
      connect({ target: "other" }).span({ name: "inner" }).enter().close();
      if (connect() !== spanduct.tracing) throw new Error("another sender");
    `);
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["outer (open)", "  inner"]);
  });

  it("gives a sender that is off in a thread that nobody traces", () => {
    const tracing = connect();
    expect(tracing.maxLevel).toBe(0);
    const span = tracing.span({ name: "nowhere" });
    expect(span.run(undefined, () => 42)).toBe(42);
    expect(tracing.droppedEvents).toBe(0);
  });
});
