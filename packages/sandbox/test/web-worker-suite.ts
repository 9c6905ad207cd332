import { TracingEventReceiver } from "@spanduct/receiver";
import { connect, type RolledBack, type TracedWorker, traceWorker } from "@spanduct/sandbox/web-worker";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../../test/contract/sandbox.ts";
import { type ProgramName, programSource } from "../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../test/support/trace-recorder.ts";

/** A worker that runs `code`, which finds `spanduct`, `connect` and `disconnect`. */
function guest(code: string): URL {
  return new URL(`./guest.js?${encodeURIComponent(code)}`, import.meta.url);
}

/** Programs that wait for a word of the host's. */
const YIELDING: readonly ProgramName[] = ["chatter", "heals"];
const PAUSE = "new Promise((turn) => setTimeout(turn))";

sandboxContract("web worker", {
  run(program, receiver, stop) {
    const ends = YIELDING.includes(program)
      ? `${programSource(program, PAUSE)}.then(close)`
      : `${programSource(program)} setTimeout(() => setTimeout(close));`;
    const { worker, outcome } = traceWorker(guest(`const close = () => self.close(); ${ends}`), receiver);
    stop.addEventListener("abort", () => worker.terminate());
    return outcome;
  },
});

interface Run extends TracedWorker<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

function start(url: string | URL | ((name: string) => Worker), options?: WorkerOptions): Run {
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  return { ...traceWorker(url, receiver, options), trace, receiver };
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data), { once: true }));
}

const OPEN = `spanduct.tracing.span({ name: "open" }).enter(); spanduct.tracing.event({ name: "last words" }).emit();`;

describe("traceWorker", () => {
  it("commits a worker that closes itself, after what it has batched", async () => {
    const { outcome, trace } = start(guest(`${OPEN} self.close();`));
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it("commits a worker that disconnects; it lives on, and what it traces then goes nowhere", async () => {
    const { worker, outcome, trace } = start(
      guest(`${OPEN} self.onmessage = () => { spanduct.tracing.event({ name: "late" }).emit(); postMessage(spanduct.tracing.maxLevel); };
        disconnect();`),
    );
    expect((await outcome).kind).toBe("committed");
    worker.postMessage("go");
    expect(await message(worker)).toBe(0);
    worker.terminate();
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it.each([
    ["an error nobody catches", `setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a promise nobody catches", `Promise.reject(new RangeError("late", { cause: new Error("deep") }));`],
    [
      "an error, and then closes itself",
      `addEventListener("error", () => self.close());
      setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`,
    ],
  ])("rolls back a worker that ends with %s, which is in the trace with its cause", async (_, code) => {
    const { worker, outcome, trace } = start(guest(`${OPEN} ${code}`));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
    expect(errorOf(trace.events.at(-1))).toMatchObject({ type: "RangeError", message: "late", source: { message: "deep" } });
    expect(errorOf(trace.events.at(-1)).stack).toContain("guest.js");
    worker.terminate();
  });

  it("says once what nobody caught, also when the guest captures errors itself", async () => {
    const { outcome, trace } = start(
      guest(`spanduct.captureErrors(spanduct.tracing, self); setTimeout(() => { throw new Error("late"); });`),
    );
    expect((await outcome).kind).toBe("rolled_back");
    expect(trace.lines()).toEqual([expect.stringMatching(/^· exception error=/)]);
  });

  it("rolls back a worker that throws no error at all", async () => {
    const { worker, outcome } = start(guest("setTimeout(() => { throw 5; });"));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "5" } });
    worker.terminate();
  });

  it("goes on where a listener of the worker's takes care of what nobody caught", async () => {
    const { outcome, trace } = start(
      guest(`for (const type of ["error", "unhandledrejection"]) addEventListener(type, (event) => event.preventDefault());
        setTimeout(() => { throw new Error("handled"); });
        Promise.reject(new Error("handled"));
        setTimeout(() => { ${OPEN} self.close(); }, 20);`),
    );
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it.each([
    ["is no JavaScript", "data:text/javascript,this is no code"],
    ["is not there", new URL("./nowhere.js", import.meta.url).href],
    ["throws before it connects", "data:text/javascript,throw new Error('early')"],
  ])("rolls back a worker whose script %s", async (_, url) => {
    const { outcome, trace } = start(url);
    expect((await outcome).kind).toBe("rolled_back");
    expect(trace.lines()).toEqual([expect.stringMatching(/^· exception error=/)]);
  });

  it("rolls back a worker that is terminated, after what it has sent", async () => {
    const { worker, outcome, trace } = start(guest(`${OPEN} spanduct.tracing.flush(); postMessage("sent");`));
    expect(await message(worker)).toBe("sent");
    worker.terminate();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the worker was terminated" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
  });

  it("commits a worker that had come to its end when it was terminated", async () => {
    const { worker, outcome } = start(guest(`${OPEN} disconnect(); postMessage("result");`));
    expect(await message(worker)).toBe("result");
    worker.terminate();
    expect((await outcome).kind).toBe("committed");
  });

  it("settles the run of a worker that fails and goes on sending", async () => {
    const { worker, outcome, receiver } = start(
      guest(`
        const note = spanduct.tracing.event({ name: "note" });
        setInterval(() => { note.emit(); spanduct.tracing.flush(); });
        // The guest half is kept from telling.
        addEventListener("error", (event) => event.stopImmediatePropagation(), { capture: true });
        MessagePort.prototype.postMessage = new Proxy(MessagePort.prototype.postMessage, {
          apply: (post, port, args) => args[0] instanceof ArrayBuffer ? Reflect.apply(post, port, args) : undefined,
        });
        setTimeout(() => { throw new Error("on its own"); });`),
    );
    expect((await outcome).kind).toBe("rolled_back");
    worker.terminate();
    expect(receiver.stats.refused).toEqual({});
  });

  it("leaves the worker's own messages alone, and does not show the application those of the tunnel", async () => {
    const { worker, outcome } = start(guest(`postMessage({ spanduct: "connect" }); postMessage([self.name]); self.close();`), {
      name: "fib",
    });
    const seen: unknown[] = [];
    worker.addEventListener("message", ({ data }) => seen.push(data));
    await outcome;
    expect(seen).toEqual([{ spanduct: "connect" }, [expect.stringMatching(/^fib spanduct:/)]]);
  });

  it("takes a worker that the caller makes, as bundlers want it", async () => {
    const url = guest(`${OPEN} self.close();`);
    const { outcome, trace } = start((name) => new Worker(url, { type: "module", name }));
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it("takes the first port that a guest offers and no other", async () => {
    const { outcome, trace, receiver } = start(
      guest(`
        const ports = [new MessageChannel(), new MessageChannel()];
        for (const { port2 } of ports) postMessage({ spanduct: "connect" }, [port2]);
        for (const { port1 } of ports) for (const message of [new ArrayBuffer(3), { spanduct: "done" }]) port1.postMessage(message);
        ${OPEN} setTimeout(() => self.close());`),
    );
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
    expect(receiver.stats.refused).toEqual({});
  });

  it("takes whatever a guest posts in place of what the guest half would, and nothing behind its last word", async () => {
    const hostile = `
      const { port1, port2 } = new MessageChannel();
      for (const message of [null, 1, {}, { spanduct: "connect" }, { spanduct: ["connect"] }]) postMessage(message);
      postMessage({ spanduct: "connect", again: new Map() }, [port2]);
      let cause = { message: "deepest" };
      for (let i = 0; i < 200; i++) cause = { message: "m".repeat(100), cause };
      const messages = [undefined, [], { spanduct: {} }, new ArrayBuffer(3), { spanduct: "thrown", error: { name: {}, message: [], stack: 7, cause } }];
      for (const message of [...messages, { spanduct: "failed" }, { spanduct: "done" }, new ArrayBuffer(4)]) port1.postMessage(message);`;
    const { worker, outcome, trace, receiver } = start(`data:text/javascript,${encodeURIComponent(hostile)}`);
    const { kind, error } = (await outcome) as RolledBack;
    worker.terminate();
    expect(kind).toBe("rolled_back");
    let causes = 0;
    for (let next: unknown = error; next instanceof Error; next = next.cause) causes++;
    expect(causes).toBe(16);
    expect(trace.events).toHaveLength(1);
    expect(receiver.stats.refused).toEqual({ malformed: 1 });
  });
});

describe("connect", () => {
  it("gives the same sender at every call, so that spans of several modules fit together", async () => {
    const { outcome, trace } = start(
      guest(`
        spanduct.tracing.span({ name: "outer" }).enter();
        connect({ target: "other" }).span({ name: "inner" }).enter().close();
        if (connect() !== spanduct.tracing) throw new Error("another sender");
        self.close();`),
    );
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["outer (open)", "  inner"]);
  });

  it("gives a sender that is off in a worker that nobody traces, which hears nothing of it", async () => {
    const worker = new Worker(guest(`${OPEN} postMessage(spanduct.tracing.maxLevel);`), { type: "module", name: "mine" });
    expect(await message(worker)).toBe(0);
    worker.terminate();
  });

  it("gives a sender that is off in a page", () => {
    const tracing = connect();
    expect(tracing.maxLevel).toBe(0);
    expect(tracing.span({ name: "nowhere" }).run(undefined, () => 42)).toBe(42);
  });
});
