import { LevelNumber } from "@spanduct/protocol";
import { type ReceiverOptions, TracingEventReceiver } from "@spanduct/receiver";
import { type RolledBack, type TracedWorker, traceWorker, type WorkerRingOptions } from "@spanduct/sandbox/web-worker";
import { describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../test/contract/sandbox.ts";
import { programSource } from "../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../test/support/trace-recorder.ts";

/** A worker that runs `code`, which finds `spanduct`, `connect` and `disconnect`. */
function guest(code: string): URL {
  return new URL(`./guest.js?${encodeURIComponent(code)}`, import.meta.url);
}

/** A worker without a guest half. */
function moduleOf(code: string): string {
  return URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
}

// Without a pause for any program: what the host says lies in the ring.
sandboxContract("web worker with a ring", {
  run(program, receiver, stop) {
    const code = `${programSource(program)} setTimeout(() => setTimeout(() => self.close()));`;
    const { worker, outcome } = traceWorker(guest(code), receiver, { ring: {} });
    stop.addEventListener("abort", () => worker.terminate());
    return outcome;
  },
});

interface Run extends TracedWorker<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

function start(
  url: string | URL,
  ring: WorkerRingOptions,
  trace: TraceRecorder = new TraceRecorder(),
  options: Partial<ReceiverOptions<RecordedSpan>> = {},
): Run {
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace, ...options });
  const run = traceWorker(url, receiver, { ring });
  onTestFinished(() => run.worker.terminate());
  return { ...run, trace, receiver };
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data), { once: true }));
}

/** Says of each event that it was made, in memory that the host can see, and never flushes. */
const ENDLESS = guest(`
  const { tracing } = spanduct;
  const confirmed = new Int32Array(new SharedArrayBuffer(4));
  postMessage(confirmed);
  const outer = tracing.span({ name: "outer" }).enter();
  const step = tracing.span({ name: "step", fields: ["n"] });
  const note = tracing.event({ name: "note", fields: ["n", "text"] });
  for (let n = 0; ; n++) {
    const span = step.enter({ n });
    note.emit({ n, text: "x".repeat(n % 50) });
    Atomics.store(confirmed, 0, n + 1);
    span.close();
  }
`);

const OPEN = `
  const { tracing } = spanduct;
  tracing.span({ name: "outer" }).enter();
  tracing.span({ name: "inner", fields: ["n"] }).enter({ n: 1 });
  tracing.event({ name: "last words" }).emit();
`;
const LAST_WORDS = [
  "outer (rolled back)",
  "  inner (rolled back) n=1",
  "    · last words",
  expect.stringContaining("    · exception error="),
];

describe("traceWorker with a ring", () => {
  it.each([[0], [20], [50]])("has every record that was made before terminate(), %s ms into an endless loop", async (ms) => {
    const { worker, outcome, trace, receiver } = start(ENDLESS, { waitMs: 30_000 });
    const confirmed = (await message(worker)) as Int32Array;
    while (Atomics.load(confirmed, 0) === 0) await new Promise((resolve) => setTimeout(resolve));
    // The host is busy with something else, until then.
    for (const end = performance.now() + ms; performance.now() < end; );
    const count = Atomics.load(confirmed, 0);
    worker.terminate();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the worker was terminated" } });

    const notes = trace.events.filter(({ name }) => name === "note").map(({ values }) => values["n"]);
    // It goes on for a moment: browsers do not stop a worker between two of its steps.
    expect(notes.length).toBeGreaterThanOrEqual(count);
    expect(notes.every((value, n) => value !== undefined && "int" in value && value.int === n)).toBe(true);
    const [outer] = trace.roots as RecordedSpan[];
    expect([trace.roots.length, outer?.state]).toEqual([1, "rolled back"]);
    const steps = trace.spans.slice(1);
    expect(steps.slice(0, count - 1).every(({ state }) => state === "closed")).toBe(true);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0 });
  });

  it("has every record of a guest in an endless loop, while that runs", async () => {
    let stop: (() => void) | undefined;
    const trace = new TraceRecorder(({ name }) => {
      if (name === "last words") stop?.();
    });
    const { worker, outcome } = start(guest(`${OPEN} for (;;);`), {}, trace);
    stop = () => worker.terminate();
    expect((await outcome).kind).toBe("rolled_back");
    expect(trace.lines()).toEqual(LAST_WORDS);
  });

  it.each([
    ["an error", `setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a promise that fails", `Promise.reject(new RangeError("late", { cause: new Error("deep") }));`],
  ])("has every record that was made before %s", async (_, code) => {
    const { outcome, trace } = start(guest(`${OPEN} ${code}`), {});
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError" } });
    expect(trace.lines()).toEqual(LAST_WORDS);
    expect(errorOf(trace.events.at(-1))).toMatchObject({ type: "RangeError", source: { message: "deep" } });
  });

  it("commits a guest that closes itself or disconnects, with what it has open", async () => {
    for (const end of ["self.close();", "disconnect();"]) {
      const { outcome, trace } = start(guest(`${OPEN} ${end}`), {});
      expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 }, 2: { ref_count: 1 } } });
      expect(trace.lines()).toEqual(["outer (open)", "  inner (open) n=1", "    · last words"]);
    }
  });

  it("takes in a stream that is longer than the ring from a guest that waits, and knows what one drops that does not", async () => {
    const source = guest(`
      const note = spanduct.tracing.event({ name: "note", fields: ["text"] });
      for (let n = 0; n < 2000; n++) note.emit({ text: "x".repeat(100) });
      self.close();`);
    for (const waitMs of [30_000, 0]) {
      const { outcome, trace, receiver } = start(source, { capacity: 4096, waitMs });
      expect((await outcome).kind).toBe("committed");
      const { droppedEvents, refused } = receiver.stats;
      expect(refused).toEqual({});
      if (waitMs > 0) expect([trace.events.length, droppedEvents]).toEqual([2000, 0]);
      else expect(trace.events.length + droppedEvents).toBeGreaterThanOrEqual(2000);
    }
  });

  it("a guest that never yields learns of a level that the host turns up", async () => {
    const source = guest(`
      const { tracing } = spanduct;
      const note = tracing.event({ name: "note" });
      while (!note.enabled) tracing.flush();
      note.emit();
      self.close();`);
    const { outcome, trace, receiver } = start(source, {}, new TraceRecorder(), { maxLevel: LevelNumber.off });
    receiver.maxLevel = LevelNumber.info;
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["· note"]);
  });

  it.each([
    ["no memory", "7"],
    ["memory that is not shared", "new Uint8Array(4096)"],
    ["memory without a ring in it", "new Uint8Array(new SharedArrayBuffer(4096))"],
    ["too little memory", "new Uint8Array(new SharedArrayBuffer(8))"],
    ["memory that grows", "new Uint8Array(new SharedArrayBuffer(8, { maxByteLength: 4096 }))"],
  ])("rolls back a guest that offers %s for a ring", async (_, ring) => {
    const code = `postMessage({ spanduct: "connect", ring: ${ring} }, [new MessageChannel().port2]);`;
    const { outcome } = start(moduleOf(code), {});
    const { kind, error } = (await outcome) as RolledBack;
    expect([kind, error]).toEqual(["rolled_back", expect.objectContaining({ code: "malformed" })]);
  });

  it("rolls back a guest that breaks its ring", async () => {
    const code = `
      const { postMessage } = self;
      self.postMessage = (message, ports) => {
        postMessage.call(self, message, ports);
        setTimeout(() => new Int32Array(message.ring.buffer).fill(0x12345), 20);
      };
      import(${JSON.stringify(guest(OPEN).href)});`;
    const { outcome } = start(moduleOf(code), {});
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "malformed" } });
  });
});
