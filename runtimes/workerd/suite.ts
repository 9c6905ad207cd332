// Runs in a Worker, with the host half.
import type { ClockDomain } from "@spanduct/protocol";
import { type ReceiverOptions, TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, traceWorkerd, type WorkerdRun } from "@spanduct/sandbox/workerd";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../test/contract/sandbox.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../test/support/trace-recorder.ts";
import { EXCEPTIONS } from "./exceptions.ts";

type Rpc = { readonly [method: string]: (argument: unknown) => Promise<unknown> } & {
  fetch(url: string, init?: RequestInit): Promise<Response>;
};

declare const workerd: {
  readonly env: { readonly GUEST: Rpc; readonly HOSTILE: Rpc; readonly LOADER: WorkerLoader; readonly GUEST_CODE: string };
};

interface WorkerLoader {
  get(id: string, code: () => object): { getEntrypoint(): object };
}

declare const scheduler: { wait(ms: number): Promise<void> };

sandboxContract(
  "workerd",
  {
    run: (program, receiver, stop) => traceWorkerd(workerd.env.GUEST).run(receiver, program, null, { signal: stop }).outcome,
  },
  EXCEPTIONS,
);

interface Run<T> extends WorkerdRun<T, RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

interface RunOptions extends Partial<ReceiverOptions<RecordedSpan>> {
  readonly trace?: TraceRecorder;
  readonly service?: object;
  readonly argument?: unknown;
  readonly signal?: AbortSignal;
}

function run<T>(method: string, options: RunOptions = {}): Run<T> {
  const { trace = new TraceRecorder(), service = workerd.env.GUEST, argument = null, signal, ...receiverOptions } = options;
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace, ...receiverOptions });
  const { value, outcome } = traceWorkerd(service).run<T, RecordedSpan>(receiver, method, argument, signal && { signal });
  return { value, outcome, trace, receiver };
}

describe("traceWorkerd", () => {
  it("hands a request in and the response out", async () => {
    const request = new Request("http://guest/look", { method: "POST", body: "hello" });
    const { value, outcome } = run<Response>("fetch", { argument: request });
    expect(await (await value).json()).toMatchObject({ value: { argument: "hello", level: 5 } });
    expect((await outcome).kind).toBe("committed");
  });

  it("hands out a response whose body is still on its way", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const request = new Request("http://guest/stream", { method: "POST", body: readable });
    const { value, outcome, trace } = run<Response>("fetch", { argument: request });
    const response = await value;
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["· streaming"]);
    void writer.write(new TextEncoder().encode("late"));
    void writer.close();
    expect(await response.text()).toBe("late");
  });

  it("needs no call back for what fits into the last batch", async () => {
    let calls = 0;
    const service = {
      spanduct: (call: { tell(message: unknown): unknown }) => {
        const tell = (message: unknown): unknown => {
          calls++;
          return call.tell(message);
        };
        return workerd.env.GUEST["spanduct"]?.({ ...call, tell });
      },
    };
    const { outcome, trace } = run("lastWords", { service });
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["· last words"]);
    expect(calls).toBe(0);
    await run("nested", { service }).outcome;
    expect(calls).toBe(1);
  });

  it("gives the value at once, and the outcome when what the guest handed to ctx.waitUntil is done", async () => {
    const { value, outcome, trace } = run("background", { argument: "early" });
    expect(await value).toBe("early");
    expect(trace.lines()).toEqual(["background (open)", "· returns"]);
    expect(await outcome).toMatchObject({ kind: "committed", value: "early", spans: {} });
    expect(trace.lines()).toEqual(["background", "· returns", "background", "background"]);
  });

  it("rolls back when something fails that was handed to ctx.waitUntil, and the value stands", async () => {
    const { value, outcome, trace } = run("failingBackground");
    expect(await value).toBe("early");
    expect(await outcome).toMatchObject({
      kind: "rolled_back",
      error: { name: "RangeError", message: "too late", cause: { message: "on purpose" } },
    });
    expect(trace.lines()).toEqual(["· fails", expect.stringMatching(/^· exception error=/)]);
  });

  it("says what was thrown with causes and stack, to who waits for the value as well", async () => {
    const { value, outcome } = run("doomed");
    const settled = await outcome;
    const error = { message: "guest failed", stack: expect.stringContaining("doomed"), cause: { name: "TypeError" } };
    expect(settled).toMatchObject({ kind: "rolled_back", error });
    expect(await value.catch((thrown: unknown) => thrown)).toMatchObject(error);
  });

  it("keeps calls apart that are in the same guest at once", async () => {
    const runs = ["a", "b", "c"].map((argument) => run("slow", { argument }));
    await Promise.all(runs.map(({ outcome }) => outcome));
    expect(runs.map(({ trace }) => trace.lines())).toEqual(
      ["a", "b", "c"].map((name) => [`outer ${name}`, `  inner ${name}`, `    · note ${name}`]),
    );
  });

  it("does not go on with a guest that the host wants nothing of", async () => {
    const { receiver, outcome, value } = run<{ level: number }>("look", { maxLevel: 0 });
    expect((await value).level).toBe(0);
    await outcome;
    expect(receiver.stats.batches).toBe(0);
  });

  it("counts what is lost of a guest that sends more than may be on its way", async () => {
    const { receiver, outcome, trace } = run("storm", { argument: 400 });
    expect((await outcome).kind).toBe("committed");
    const arrived = trace.events.length;
    expect(arrived).toBeLessThan(200);
    expect(arrived + receiver.stats.droppedEvents).toBeGreaterThanOrEqual(400);
    expect(receiver.stats.refused).toEqual({});
  });

  it("rolls back a guest that is given up, with what it had sent", async () => {
    const stop = new AbortController();
    const trace = new TraceRecorder(() => stop.abort(new Error("enough")));
    const { outcome } = run("waiting", { trace, signal: stop.signal });
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "enough" } });
    expect(trace.lines()).toEqual(["endless (rolled back)", "  · stuck", expect.stringMatching(/^ {2}· exception error=/)]);
  });

  it("rolls back a guest that the runtime cancels because it waits for nothing", async () => {
    const { outcome, trace } = run("hung");
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: expect.stringContaining("never") } });
    expect(trace.lines()[0]).toBe("endless (rolled back)");
  });

  it("rolls back what cannot be called", async () => {
    expect(await run("constructor").outcome).toMatchObject({ kind: "rolled_back", error: { name: "TypeError" } });
    expect(await run("nothing of that name").outcome).toMatchObject({ kind: "rolled_back", error: { name: "TypeError" } });
    expect((await run("look", { argument: Symbol("no RPC carries this") }).outcome).kind).toBe("rolled_back");
    expect((await run("look", { service: {} }).outcome).kind).toBe("rolled_back");
  });

  it("has times of the guest's clock, which stands still between I/O", async () => {
    const bases: [bigint, ClockDomain][] = [];
    const times: (number | undefined)[] = [];
    class Clocked extends TraceRecorder {
      timeBase(base: bigint, clock: ClockDomain): void {
        bases.push([base, clock]);
      }
      override event(...[site, values, parent, time]: [...Parameters<TraceRecorder["event"]>, (number | undefined)?]): void {
        times.push(time);
        super.event(site, values, parent);
      }
    }
    const trace = new Clocked();
    expect((await run("clock", { trace }).outcome).kind).toBe("committed");
    expect(bases.map(([, clock]) => clock)).toEqual(["frozen", "frozen"]);
    const stamped = bases.map(([base], i) => Number((base + BigInt(times[i] as number)) / 1_000_000n));
    const read = trace.events.map(({ values }) => (values["at"] as { readonly int: number }).int);
    for (const [i, at] of read.entries()) expect(Math.abs((stamped[i] as number) - at)).toBeLessThan(5);
    expect((stamped[1] as number) - (stamped[0] as number)).toBeGreaterThanOrEqual(19);
  });

  it("traces a Worker that the host loads at run time, which can reach nothing else", async () => {
    const { LOADER, GUEST_CODE } = workerd.env;
    const loaded = LOADER.get("guest", () => ({
      compatibilityDate: "2026-07-01",
      compatibilityFlags: ["nodejs_als"],
      mainModule: "guest.js",
      modules: { "guest.js": GUEST_CODE },
      env: {},
      globalOutbound: null,
    }));
    const { outcome, trace } = run("nested", { service: loaded.getEntrypoint() });
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()[0]).toBe("outer job=contract");
  });
});

describe("a traced Worker that nobody traces", () => {
  it("does what it does, with a sender that is off", async () => {
    const { GUEST } = workerd.env;
    expect(await GUEST["look"]?.(7)).toMatchObject({ argument: 7, level: 0, members: ["object", "function", "object"] });
    expect(await (await GUEST.fetch("http://guest/look")).json()).toMatchObject({ value: { level: 0 } });
  });
});

describe("traceWorkerd: a guest that does not keep to it", () => {
  const call = (method: string, options: RunOptions = {}): Run<unknown> =>
    run(method, { service: workerd.env.HOSTILE, ...options });

  const ANSWERS = [
    ["nothing", "rolled_back"],
    ["text", "committed"],
    ["no batches", "committed"],
    ["batches that are none", "committed"],
    ["batches without a list", "committed"],
    ["functions for batches", "committed"],
    ["an end that is none", "rolled_back"],
    ["an end that brings nothing", "committed"],
    ["something odd thrown", "rolled_back"],
    ["an error that is none", "rolled_back"],
    ["a million causes", "rolled_back"],
  ] as const;
  for (const [method, kind] of ANSWERS) {
    it(`settles once when it answers with ${method}`, async () => {
      const { outcome, trace } = call(method);
      expect((await outcome).kind).toBe(kind);
      expect(trace.ending).toBe(kind === "committed" ? "commit" : "rollback");
      if (kind === "rolled_back") {
        let causes = 0;
        for (let error = errorOf(trace.events.at(-1)); error.source !== null; error = error.source) causes++;
        expect(causes).toBeLessThan(16);
      }
    });
  }

  it("can be given up when its end never comes", async () => {
    const stop = new AbortController();
    const { value, outcome } = call("an end that never comes", { signal: stop.signal });
    expect(await value).toBe(1);
    stop.abort();
    expect((await outcome).kind).toBe("rolled_back");
  });

  it("says nothing any more when the run has ended", async () => {
    const errors: string[] = [];
    const guest = traceWorkerd(workerd.env.HOSTILE, { onError: ({ code }) => errors.push(code) });
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const { outcome } = guest.run(receiver, "words after the end", null);
    const settled: Outcome<unknown> = await outcome;
    expect(settled.kind).toBe("committed");
    const before = receiver.stats;
    while (guest.stats.ignored === 0) await scheduler.wait(1);
    expect(receiver.stats).toEqual(before);
    expect(errors).toEqual(["receiver_closed"]);
  });
});
