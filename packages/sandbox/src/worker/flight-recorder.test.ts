import { setTimeout as sleep } from "node:timers/promises";
import { LevelNumber } from "@spanduct/protocol";
import { type ReceiverOptions, TracingEventReceiver } from "@spanduct/receiver";
import { Pump } from "@spanduct/transport";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { timerDelay } from "../../../../test/support/timer-delay.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { type TracedWorker, type TraceWorkerOptions, traceWorker } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/worker/index.js", import.meta.url).href);

interface Run extends TracedWorker<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

/** A worker with a ring whose code finds `tracing`, its `workerData` and `threads`. */
function start(
  source: string,
  options: TraceWorkerOptions = {},
  trace: TraceRecorder = new TraceRecorder(),
  receiverOptions: Partial<ReceiverOptions<RecordedSpan>> = {},
): Run {
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace, ...receiverOptions });
  const script = `
    const threads = require("node:worker_threads");
    const { workerData } = threads;
    import(${GUEST}).then(({ connect }) => { const tracing = connect(); ${source} });
  `;
  const run = traceWorker(script, receiver, { eval: true, stdout: true, stderr: true, ring: {}, ...options });
  onTestFinished(async () => {
    await run.worker.terminate();
  });
  return { ...run, trace, receiver };
}

/** Counts its events in memory that the test can see, each after it was made. */
const ENDLESS = `
  const outer = tracing.span({ name: "outer" }).enter();
  const step = tracing.span({ name: "step", fields: ["n"] });
  const note = tracing.event({ name: "note", fields: ["n", "text"] });
  for (let n = 0; ; n++) {
    const span = step.enter({ n });
    note.emit({ n, text: "x".repeat(n % 50) });
    Atomics.store(workerData.confirmed, 0, n + 1);
    span.close();
  }
`;

const OPEN = `
  tracing.span({ name: "outer" }).enter();
  tracing.span({ name: "inner", fields: ["n"] }).enter({ n: 1 });
  tracing.event({ name: "last words" }).emit();
`;

const seeds = fc.sample(fc.nat(), { numRuns: 6, seed: Date.now() });

describe("traceWorker with a ring", { timeout: 60_000 }, () => {
  it.each(seeds)("has every record that was made before terminate(), whenever that comes (seed %d)", async (seed) => {
    const confirmed = new Int32Array(new SharedArrayBuffer(4));
    const { worker, outcome, trace, receiver } = start(ENDLESS, { workerData: { confirmed }, ring: { waitMs: 30_000 } });
    while (Atomics.load(confirmed, 0) === 0) await new Promise(setImmediate);
    if (seed % 2 === 0) {
      // The host takes in what comes, until then.
      await sleep(seed % 50);
    } else {
      // The host is busy with something else, until then.
      for (const end = performance.now() + (seed % 50); performance.now() < end; );
    }
    worker.terminate();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the worker ended with exit code 1" } });

    const count = Atomics.load(confirmed, 0);
    const notes = trace.events.filter(({ name }) => name === "note").map(({ values }) => values["n"]);
    expect([count, count + 1]).toContain(notes.length);
    expect(notes.every((value, n) => value !== undefined && "int" in value && value.int === n)).toBe(true);
    const [outer] = trace.roots as RecordedSpan[];
    expect([trace.roots.length, outer?.state]).toEqual([1, "rolled back"]);
    const steps = trace.spans.slice(1);
    expect(steps.slice(0, count - 1).every(({ state }) => state === "closed")).toBe(true);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0 });
  });

  it.each<[string, string, object, TraceWorkerOptions]>([
    ["process.exit()", "process.exit(3);", { message: "the worker ended with exit code 3" }, {}],
    [
      "no memory left",
      "const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));",
      { code: "ERR_WORKER_OUT_OF_MEMORY" },
      { resourceLimits: { maxOldGenerationSizeMb: 16 } },
    ],
    ["an error in a timer", `setTimeout(() => { throw new RangeError("late"); });`, { name: "RangeError" }, {}],
    ["endless recursion", "const again = () => again() + 1; setTimeout(again);", { name: "RangeError" }, {}],
  ])("has every record that was made before %s", async (_, source, error, options) => {
    const { outcome, trace } = start(`${OPEN} ${source}`, options);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error });
    expect(trace.lines()).toEqual([
      "outer (rolled back)",
      "  inner (rolled back) n=1",
      "    · last words",
      expect.stringContaining("    · exception error="),
    ]);
  });

  it("has every record of a guest in an endless loop, while that runs", async () => {
    let stop: (() => void) | undefined;
    const trace = new TraceRecorder(({ name }) => {
      if (name === "last words") stop?.();
    });
    const { worker, outcome } = start(`${OPEN} for (;;);`, {}, trace);
    stop = () => void worker.terminate();
    expect((await outcome).kind).toBe("rolled_back");
    expect(trace.lines().slice(0, 3)).toEqual(["outer (rolled back)", "  inner (rolled back) n=1", "    · last words"]);
  });

  it("commits a guest that comes to its end, with what it has open", async () => {
    const { outcome, trace } = start(OPEN);
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 }, 2: { ref_count: 1 } } });
    expect(trace.lines()).toEqual(["outer (open)", "  inner (open) n=1", "    · last words"]);
  });

  it("turns a guest that never yields down and up again, also while that sends nothing", async () => {
    let events = 0;
    const trace = new TraceRecorder(({ name }) => {
      if (++events === 1) receiver.maxLevel = LevelNumber.off;
      if (name === "loud again") receiver.maxLevel = LevelNumber.error;
    });
    const { outcome, worker, receiver } = start(
      `
        const [loud, again] = ["loud", "loud again"].map((name) => tracing.event({ name, level: "debug" }));
        for (let i = 0; loud.enabled; i++) loud.emit();
        threads.parentPort.postMessage("silent");
        while (!again.enabled);
        while (again.enabled) again.emit();
        tracing.event({ name: "error", level: "error" }).emit();
      `,
      { ring: { waitMs: 30_000 } },
      trace,
    );
    worker.once("message", () => {
      receiver.maxLevel = LevelNumber.trace;
    });
    expect((await outcome).kind).toBe("committed");
    expect([...new Set(trace.events.map(({ name }) => name))]).toEqual(["loud", "loud again", "error"]);
  });

  it("loses nothing of a guest that waits for room, however small the ring", async () => {
    const source = `
      const item = tracing.span({ name: "item", fields: ["i"] });
      for (let i = 0; i < 500; i++) item.enter({ i }).close();
    `;
    const { outcome, trace, receiver } = start(source, { ring: { capacity: 256, waitMs: 30_000 } });
    expect((await outcome).kind).toBe("committed");
    expect(trace.spans.map(({ values }) => values["i"])).toEqual(Array.from({ length: 500 }, (_, int) => ({ int })));
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0 });
  });

  it("knows how much was lost of a guest that does not wait, also of what is larger than the ring", async () => {
    const done = new Int32Array(new SharedArrayBuffer(4));
    const source = `
      const note = tracing.event({ name: "note", fields: ["text"] });
      for (let i = 0; i < 1000; i++) note.emit({ text: "x".repeat(10 + i * 10) });
      Atomics.store(workerData.done, 0, 1);
      Atomics.notify(workerData.done, 0);
    `;
    const { outcome, trace, receiver } = start(source, { ring: { capacity: 4096 }, workerData: { done } });
    // The host does something else until the guest has tried to send everything.
    expect(Atomics.wait(done, 0, 0, 30_000)).not.toBe("timed-out");
    expect((await outcome).kind).toBe("committed");
    const { droppedEvents, refused } = receiver.stats;
    expect(trace.events.length).toBeGreaterThan(10);
    // Announcements of the call site are events too.
    expect(trace.events.length + droppedEvents).toBeGreaterThanOrEqual(1000);
    expect(trace.events.length + droppedEvents).toBeLessThan(2000);
    expect(refused).toEqual({});
  });

  it("ends a guest that breaks its ring, with what came before in the trace", async () => {
    const gone = new Int32Array(new SharedArrayBuffer(4));
    const source = `
      ${OPEN}
      Atomics.wait(workerData.gone, 0, 0);
      new Int32Array(workerData.spanduct.ring.memory.buffer).fill(-1);
      for (;;);
    `;
    const trace = new TraceRecorder(() => {
      Atomics.store(gone, 0, 1);
      Atomics.notify(gone, 0);
    });
    const { outcome } = start(source, { workerData: { gone } }, trace);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "malformed" } });
    expect(trace.lines().slice(0, 3)).toEqual(["outer (rolled back)", "  inner (rolled back) n=1", "    · last words"]);
    expect(errorOf(trace.events.at(-1)).message).toContain("[malformed]");
  });

  it("leaves the host its timers, with three guests at full speed that share a pump", async () => {
    const confirmed = new Int32Array(new SharedArrayBuffer(4));
    const pump = new Pump();
    // The budget of events keeps the trace small; what is beyond is refused, at full cost.
    const limits = { maxEventsPerSpan: 100, maxLiveSpans: 100 };
    const runs = [1, 2, 3].map(() => start(ENDLESS, { workerData: { confirmed }, pump }, new TraceRecorder(), { limits }));
    while (runs.some(({ receiver }) => receiver.stats.events < 1000)) await new Promise(setImmediate);
    const late: number[] = [];
    for (let i = 0; i < 15; i++) late.push(await timerDelay());
    for (const { worker } of runs) worker.terminate();
    for (const { outcome } of runs) expect((await outcome).kind).toBe("rolled_back");
    // The median, because a garbage collection may come in between.
    expect(late.sort((a, b) => a - b)[7]).toBeLessThan(50);
  });
});
