import {
  FlushedSpanProcessor,
  type GuestSpan,
  type LiveSpan,
  liveSpans,
  type OutboxExecution,
  type OutboxOptions,
  type ReadableSpan,
  type SavedTrace,
  type SpanExporter,
  type SpanProcessor,
} from "@spanduct/opentelemetry";
import type { TracingEvent } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { at, callSite, EPOCH, Guest } from "./guest.ts";
import { elsewhere, FRESH, Host, persist, type State } from "./host.ts";
import { program } from "./programs.ts";
import type { SdkLine } from "./sdk-line.ts";
import { byIdentity, spanData } from "./span-data.ts";

const SEED = 0x0123_4567_89ab_cdefn;

/** Plain data as another process finds it. */
function stored<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

interface Attempt {
  readonly receiver: TracingEventReceiver<GuestSpan>;
  readonly execution: OutboxExecution;
}

/** Attempts whose spans are stored with the state and delivered later. */
export function outboxContract(line: SdkLine): void {
  const { api } = line;
  const hostSpan = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

  function begin(
    host: Host,
    events: readonly TracingEvent[],
    state: State = FRESH,
    options: Partial<OutboxOptions> = {},
  ): Attempt {
    const execution = host.relay.outboxExecution({ seed: SEED, attempt: 0, ...options });
    const receiver = new TracingEventReceiver<GuestSpan>(state.metadata, state.spans, [], {
      relay: execution,
      onError: (error) => host.errors.push(error),
    });
    for (const event of events) receiver.tryReceive(event);
    return { receiver, execution };
  }

  interface Committed {
    readonly state: State;
    readonly outbox: unknown;
    readonly trace: SavedTrace;
  }

  function commit(host: Host, events: readonly TracingEvent[], state?: State, options?: Partial<OutboxOptions>): Committed {
    const { receiver, execution } = begin(host, events, state, options);
    const next = elsewhere(persist(receiver));
    return { state: next, outbox: stored(execution.outbox()), trace: stored(execution.trace) };
  }

  function rollBack(host: Host, events: readonly TracingEvent[], state?: State, options?: Partial<OutboxOptions>): unknown {
    const { receiver, execution } = begin(host, events, state, options);
    receiver[Symbol.dispose]();
    return stored(execution.outbox());
  }

  /** What a process that knows nothing else exports of these outboxes. */
  async function delivered(...outboxes: unknown[]): Promise<readonly ReadableSpan[]> {
    const host = new Host(line);
    await host.relay.deliver(outboxes);
    return host.spans;
  }

  function watcher(told: string[]): SpanProcessor {
    return {
      onStart: (span) => told.push(`start ${span.name}`),
      onEnd: (span) => told.push(`end ${span.name}`),
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
    };
  }

  const isMarked = (span: ReadableSpan): boolean => span.attributes["spanduct.rolled_back"] === true;

  describe("outbox", () => {
    it("any program, committed after any events and delivered elsewhere: the spans of an uninterrupted run, each once", async () => {
      const cuts = fc.array(fc.nat({ max: 60 }), { maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(program, cuts, async (events, places) => {
          const uninterrupted = new Host(line);
          uninterrupted.commit(events, FRESH, { parent: hostSpan, seed: SEED, attempt: 0 });
          const sorted = places.map((cut) => Math.min(cut, events.length)).sort((a, b) => a - b);
          const outboxes: unknown[] = [];
          let state: State = FRESH;
          let trace: SavedTrace | undefined;
          let done = 0;
          for (const cut of [...sorted, events.length]) {
            const host = new Host(line);
            const how = { parent: hostSpan, ...(trace && { previous: trace }) };
            const step = commit(host, events.slice(done, cut), state, how);
            expect(host.errors).toEqual([]);
            expect(host.spans).toEqual([]);
            ({ state, trace } = step);
            outboxes.push(step.outbox);
            done = cut;
          }
          const spans = await delivered(...outboxes);
          expect(byIdentity(spans)).toEqual(byIdentity(uninterrupted.spans));
          expect((await delivered(...outboxes)).map(spanData)).toEqual(spans.map(spanData));
        }),
        { numRuns: 100 },
      );
    });

    it("processors are told of starts and ends in the order in which they happened, a span being one object", async () => {
      const told: string[] = [];
      const logs = line.logs();
      const loggerProvider = {
        getLogger: (name: string) => ({
          emit: (record: object) => {
            told.push(`log ${(record as { eventName: string }).eventName}`);
            logs.provider.getLogger(name).emit(record);
          },
        }),
      };
      const objects = new Map<unknown, string>();
      const identity: SpanProcessor = {
        ...watcher([]),
        onStart: (span) => objects.set(span, span.name),
        onEnd: (span) => expect(objects.get(span)).toBe(span.name),
      };
      const host = new Host(line, { spanProcessors: [watcher(told), identity], loggerProvider });
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")));
      guest.enter(outer);
      guest.close(guest.open(guest.callSite(callSite("inner"))));
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), { message: { string: "hello" }, a: { float: Number.NaN } });
      guest.close(outer);
      const open = guest.open(1);
      const first = commit(host, guest.events.splice(0));
      guest.close(open);
      expect(told).toEqual([]);
      await host.relay.deliver([first.outbox]);
      const done = ["start outer", "start inner", "end inner", "log said", "end outer", "start outer"];
      expect(told).toEqual(done);
      objects.clear();
      const second = commit(host, guest.events, first.state, { attempt: 1 });
      told.length = 0;
      await host.relay.deliver([first.outbox, second.outbox]).catch(() => undefined);
      expect(told).toEqual([...done, "end outer"]);
      const [log] = logs.finished();
      expect(log).toMatchObject({
        eventName: "said",
        body: "hello",
        hrTime: at(5000),
        hrTimeObserved: [1_767_312_000, 0],
        severityText: "INFO",
        attributes: { a: Number.NaN },
        instrumentationScope: { name: "guest" },
      });
      expect(log?.spanContext?.spanId).toMatch(/^[0-9a-f]{16}$/);
    });

    it("what a processor throws is told, the rest goes out; a flush that fails is for the caller", async () => {
      const exporter = line.memoryExporter();
      const broken: SpanProcessor = {
        ...watcher([]),
        onStart: () => {
          throw new Error("start");
        },
      };
      const host = new Host(line, { spanProcessors: [broken, line.simple(exporter)] });
      const guest = new Guest();
      guest.close(guest.open(guest.callSite(callSite("work"))));
      const { outbox } = commit(host, guest.events);
      const errors: unknown[] = [];
      await host.relay.deliver([outbox], { onError: (error) => errors.push(String(error)) });
      expect(errors).toEqual(["Error: start"]);
      expect(exporter.getFinishedSpans()).toHaveLength(1);
      const full: SpanProcessor = { ...watcher([]), forceFlush: () => Promise.reject(new Error("disk full")) };
      await expect(new Host(line, { spanProcessors: [full] }).relay.deliver([outbox])).rejects.toThrow("disk full");
    });

    it("FlushedSpanProcessor exports when it is flushed, not before, and says when that fails", async () => {
      const exported: string[] = [];
      let code = 1;
      const exporter: SpanExporter = {
        export: (spans, done) => {
          exported.push(spans.map(({ name }) => name).join());
          done({ code });
        },
        shutdown: async () => void exported.push("shutdown"),
      };
      const processor = new FlushedSpanProcessor(exporter);
      const host = new Host(line, { spanProcessors: [processor] });
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      for (let i = 0; i < 2; i++) guest.close(guest.open(site));
      const { outbox } = commit(host, guest.events);
      await expect(host.relay.deliver([outbox])).rejects.toThrow("failed with code 1");
      code = 0;
      await host.relay.deliver([outbox]);
      await processor.shutdown();
      expect(exported).toEqual(["work,work", "work,work", "shutdown"]);
      const silent = new FlushedSpanProcessor({ ...exporter, export: () => undefined }, { timeoutMs: 1 });
      await expect(new Host(line, { spanProcessors: [silent] }).relay.deliver([outbox])).rejects.toThrow("in 1 ms");
    });

    it("more spans than a batch processor keeps are flushed in between", async () => {
      const exporter = line.memoryExporter();
      const host = new Host(line, { spanProcessors: [line.batch(exporter)] });
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      for (let i = 0; i < 5000; i++) guest.close(guest.open(site));
      await host.relay.deliver([commit(host, guest.events).outbox]);
      expect(exporter.getFinishedSpans()).toHaveLength(5000);
    });

    it("log records are not lost on a relay that has no loggers: they are refused, with everything", async () => {
      const told: string[] = [];
      const guest = new Guest();
      const work = guest.open(guest.callSite(callSite("work")));
      guest.emit(guest.callSite(callSite("said", { kind: "event" })));
      guest.close(work);
      const { outbox } = commit(new Host(line, { loggerProvider: line.logs().provider }), guest.events);
      const host = new Host(line, { spanProcessors: [watcher(told)] });
      await expect(host.relay.deliver([outbox])).rejects.toMatchObject({ code: "relay_failed" });
      expect(told).toEqual([]);
    });

    it("a version that this build does not know is refused, and so is damage, before anything is delivered", async () => {
      const host = new Host(line, { loggerProvider: line.logs().provider });
      const guest = new Guest();
      const work = guest.open(guest.callSite(callSite("work")), { a: { string: "x" } });
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), { message: { string: "x" } });
      guest.close(work);
      const { outbox } = commit(host, guest.events);
      await expect(host.relay.deliver([outbox, { format: "spanduct.outbox/2", records: [] }])).rejects.toMatchObject({
        code: "unsupported_version",
      });
      const places = (value: unknown): (string | number)[][] =>
        typeof value !== "object" || value === null
          ? [[]]
          : [[], ...Object.entries(value).flatMap(([key, part]) => places(part).map((path) => [key, ...path]))];
      const junk = fc.oneof(fc.constantFrom<unknown>(null, true, -1, 0.5, 2 ** 60, "", "zz", [], {}, [[]]), fc.jsonValue());
      let refused = 0;
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...places(outbox).filter((path) => path.length > 0)), junk, async (path, value) => {
          const damaged = stored(outbox) as { [key: string]: unknown };
          let holder = damaged;
          for (const key of path.slice(0, -1)) holder = holder[key] as { [key: string]: unknown };
          holder[path.at(-1) as string] = value;
          host.exporter.reset();
          try {
            await host.relay.deliver([damaged]);
          } catch (error) {
            refused++;
            expect(error).toMatchObject({
              name: "TunnelError",
              code: expect.stringMatching(/^(snapshot_mismatch|unsupported_version)$/),
            });
            expect(host.spans).toEqual([]);
          }
        }),
        { numRuns: 400 },
      );
      expect(refused).toBeGreaterThan(200);
    });
  });

  describe("outbox: rollback", () => {
    /** A span of an earlier attempt, and events that close it and leave others open. */
    function interrupted(host: Host): { guest: Guest; before: Committed; events: readonly TracingEvent[] } {
      const guest = new Guest();
      const root = guest.open(guest.callSite(callSite("root")));
      guest.enter(root);
      const before = commit(host, guest.events.splice(0));
      const site = guest.callSite(callSite("step"));
      guest.close(guest.open(site));
      guest.enter(guest.open(site));
      guest.record(root, { a: { int: 1 } });
      guest.close(root);
      return { guest, before, events: guest.events };
    }

    it.each(["disposed of", "persisted, but not stored"])(
      "mark, %s: what the attempt did is delivered flagged, nothing else",
      async (how) => {
        const host = new Host(line);
        const { before, events } = interrupted(host);
        const { receiver, execution } = begin(host, events, before.state, { attempt: 1 });
        if (how === "disposed of") {
          receiver[Symbol.dispose]();
        } else {
          receiver.persist();
          execution.undo();
        }
        const spans = await delivered(stored(execution.outbox()));
        expect(spans.map((span) => [span.name, isMarked(span), span.status.code])).toEqual([
          ["step", true, api.SpanStatusCode.ERROR],
          ["step", true, api.SpanStatusCode.ERROR],
        ]);
        // The attempt after it ends the root, with what was committed of it.
        const retry = commit(host, [{ span_dropped: { id: 1 } }], before.state, { attempt: 1 });
        const [root] = await delivered(before.outbox, retry.outbox);
        expect(root?.attributes["a"]).toBeUndefined();
        expect(host.errors).toEqual([]);
      },
    );

    it.each(["disposed of", "persisted, but not stored"])("discard, %s: nothing is delivered", (how) => {
      const host = new Host(line);
      const { before, events } = interrupted(host);
      const { receiver, execution } = begin(host, events, before.state, { attempt: 1, rollback: "discard" });
      if (how === "disposed of") {
        receiver[Symbol.dispose]();
      } else {
        receiver.persist();
        execution.undo();
      }
      expect(execution.outbox().records).toEqual([]);
    });

    it("a retry has the ids of the attempt that was lost, and none of one that was rolled back", async () => {
      const host = new Host(line);
      const { before, events } = interrupted(host);
      const lost = commit(host, events, before.state, { attempt: 1 });
      const marked = rollBack(host, events, before.state, { attempt: 1 });
      const retry = commit(new Host(line), events, before.state, { attempt: 1 });
      expect(retry).toEqual(lost);
      expect(Object.keys(byIdentity(await delivered(before.outbox, marked, retry.outbox)))).toHaveLength(4);
    });
  });

  describe("outbox: traces", () => {
    /** A span over three attempts, each with a step in it and one beside it. */
    function workflow(traces: "continuous" | "linked", more: Partial<OutboxOptions> = {}): Committed[] {
      const host = new Host(line);
      const guest = new Guest();
      const root = guest.open(guest.callSite(callSite("root")));
      const site = guest.callSite(callSite("step"));
      guest.enter(root);
      const steps: Committed[] = [];
      for (let attempt = 0; attempt < 3; attempt++) {
        guest.close(guest.open(site, { a: { int: attempt } }));
        guest.exit(root);
        guest.close(guest.open(site));
        if (attempt === 2) guest.close(root);
        else guest.enter(root);
        const last = steps.at(-1);
        const how = { traces, attempt, ...more, ...(last && { previous: last.trace }) };
        steps.push(commit(host, guest.events.splice(0), last?.state, how));
      }
      expect(host.errors).toEqual([]);
      return steps;
    }

    it("continuous: all of an execution is one trace, which comes from its seed, or that of the host's span", async () => {
      for (const more of [{}, { parent: hostSpan }]) {
        const spans = await delivered(...workflow("continuous", more).map(({ outbox }) => outbox));
        expect(spans).toHaveLength(7);
        expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
        const roots = spans.filter((span) => span.parentSpanContext?.spanId === ("parent" in more ? hostSpan.spanId : undefined));
        expect(roots).toHaveLength(4);
      }
      const again = await delivered(workflow("continuous")[0]?.outbox);
      const first = await delivered(workflow("continuous")[0]?.outbox);
      expect(again.map(spanData)).toEqual(first.map(spanData));
    });

    it("linked: each attempt is the root of a trace, linked to the one before; spans go on in the trace they began in", async () => {
      const spans = await delivered(
        ...workflow("linked", { name: "checkout", attributes: { "spanduct.execution.id": "7" }, parent: hostSpan }).map(
          ({ outbox }) => outbox,
        ),
      );
      const runs = spans.filter(({ name }) => name === "checkout");
      expect(runs.map((run) => run.parentSpanContext)).toEqual([undefined, undefined, undefined]);
      expect(new Set(runs.map((run) => run.spanContext().traceId)).size).toBe(3);
      expect(
        runs.map((run) => run.links.map(({ context, attributes }) => [context.spanId, attributes?.["spanduct.link"]])),
      ).toEqual([
        [[hostSpan.spanId, "parent"]],
        [[runs[0]?.spanContext().spanId, "previous"]],
        [[runs[1]?.spanContext().spanId, "previous"]],
      ]);
      expect(runs[0]?.attributes["spanduct.execution.id"]).toBe("7");
      const root = spans.find(({ name }) => name === "root");
      expect(root?.parentSpanContext?.spanId).toBe(runs[0]?.spanContext().spanId);
      const inside = spans.filter(({ name, attributes }) => name === "step" && attributes["a"] !== undefined);
      expect(inside.map((step) => step.parentSpanContext?.spanId)).toEqual([
        root?.spanContext().spanId,
        runs[1]?.spanContext().spanId,
        runs[2]?.spanContext().spanId,
      ]);
      expect(inside.map(({ links }) => links.map(({ context }) => context.spanId))).toEqual([
        [],
        [root?.spanContext().spanId],
        [root?.spanContext().spanId],
      ]);
    });

    it("linked: a rolled-back attempt is a flagged trace, and the next one links to the last that was committed", async () => {
      const [first] = workflow("linked") as [Committed];
      const how = { traces: "linked", attempt: 1, previous: first.trace } as const;
      const marked = await delivered(rollBack(new Host(line), [{ span_dropped: { id: 1 } }], first.state, how));
      const next = await delivered(commit(new Host(line), [{ span_dropped: { id: 1 } }], first.state, how).outbox);
      const [failed, retried] = [marked, next].map((spans) => spans.find(({ name }) => name === "run"));
      expect(marked.map((span) => [span.name, isMarked(span)])).toEqual([["run", true]]);
      expect(failed?.links[0]?.context.spanId).toBe(retried?.links[0]?.context.spanId);
      expect(failed?.spanContext().spanId).not.toBe(retried?.spanContext().spanId);
    });

    it("a trace that comes back damaged is refused", () => {
      for (const previous of [null, 5, [], { parent: {} }, { run: { traceId: "x" } }]) {
        expect(() => new Host(line).relay.outboxExecution({ seed: 1n, attempt: 1, previous })).toThrow("[snapshot_mismatch]");
      }
    });
  });

  describe("spans that stay open", () => {
    /** An hour after the guest's epoch. */
    const clock = (): [number, number] => at(3_600_000_000_000);

    it("maxSpanAgeMs: older ones are ended and say so, once; what the guest does in them goes on under them", async () => {
      for (const maxSpanAgeMs of [3_600_000, 3_599_999]) {
        const host = new Host(line, { clock, maxSpanAgeMs });
        const guest = new Guest();
        guest.events.push({ new_call_site: { id: 90, ...callSite("root") } });
        guest.events.push({ new_span: { id: 91, metadata_id: 90, values: {}, time_unix_nano: EPOCH } as never });
        guest.enter(91);
        const first = commit(host, guest.events.splice(0));
        guest.close(guest.open(guest.callSite(callSite("step"))));
        guest.record(91, { a: { int: 1 } });
        const second = commit(host, guest.events.splice(0), first.state, { attempt: 1 });
        guest.close(91);
        const third = commit(host, guest.events.splice(0), second.state, { attempt: 2 });
        expect(host.errors).toEqual([]);
        const spans = await delivered(first.outbox, second.outbox, third.outbox);
        const root = spans.filter(({ name }) => name === "root");
        const isForced = maxSpanAgeMs === 3_599_999;
        expect(root.map(({ attributes, endTime }) => [attributes["spanduct.forced_close"], attributes["a"], endTime])).toEqual([
          isForced ? ["max_span_age", undefined, clock()] : [undefined, 1, at(guest.now)],
        ]);
        expect(liveSpans(second.state.metadata, second.state.spans)).toHaveLength(isForced ? 0 : 1);
        expect(spans.find(({ name }) => name === "step")?.parentSpanContext?.spanId).toBe(root[0]?.spanContext().spanId);
        expect(spans).toHaveLength(2);
      }
    });

    it("maxSpanAgeMs counts in every mode, and a rollback takes a forced end back", () => {
      for (const mode of ["immediate", "transactional"] as const) {
        const host = new Host(line, { clock, maxSpanAgeMs: 1000, export: mode });
        const guest = new Guest();
        const span = guest.open(guest.callSite(callSite("root")));
        const state = host.commit(guest.events);
        expect(host.span("root").attributes["spanduct.forced_close"]).toBe("max_span_age");
        host.commit([{ span_dropped: { id: span } }], state);
        expect(host.spans).toHaveLength(1);
      }
      const host = new Host(line, { clock });
      const guest = new Guest();
      guest.open(guest.callSite(callSite("root")));
      const first = commit(host, guest.events);
      const { receiver, execution } = begin(host, [], first.state, { attempt: 1, maxSpanAgeMs: 1000 });
      receiver.persist();
      execution.undo();
      expect(execution.outbox().records).toEqual([]);
    });

    it("finish: what the guest leaves open at its end is closed and says so", async () => {
      const host = new Host(line, { clock });
      const guest = new Guest();
      guest.open(guest.callSite(callSite("left")));
      const { receiver, execution } = begin(host, guest.events);
      execution.finish();
      receiver.persist();
      const [left] = await delivered(stored(execution.outbox()));
      expect(left).toMatchObject({
        name: "left",
        endTime: clock(),
        attributes: { "spanduct.forced_close": "execution_finished" },
      });
    });

    it("pendingSpans: what is open when its attempt is committed has a child without length that says so", async () => {
      const guest = new Guest();
      const root = guest.open(guest.callSite(callSite("root")), { a: { int: 1 } });
      guest.enter(root);
      const site = guest.callSite(callSite("step"));
      guest.close(guest.open(site));
      guest.open(site);
      const host = new Host(line, { pendingSpans: true });
      const first = commit(host, guest.events);
      const spans = await delivered(first.outbox);
      const live = liveSpans(first.state.metadata, first.state.spans) as LiveSpan[];
      const pending = spans.filter(({ attributes }) => attributes["spanduct.pending"] === true);
      expect(
        pending.map((span) => [span.name, span.parentSpanContext?.spanId, span.attributes["spanduct.pending_parent_id"]]),
      ).toEqual([
        ["root", live[0]?.spanId, "0000000000000000"],
        ["step", live[1]?.spanId, live[0]?.spanId],
      ]);
      expect(pending[0]).toMatchObject({ startTime: at(1000), endTime: at(1000), attributes: { a: 1 } });
      expect(spans).toHaveLength(3);
      // Not again, and not of what was rolled back.
      expect(await delivered(commit(host, [], first.state, { attempt: 1 }).outbox)).toEqual([]);
      expect((await delivered(rollBack(host, guest.events))).every(({ attributes }) => !("spanduct.pending" in attributes))).toBe(
        true,
      );
    });

    it("pendingSpans, immediate: it goes out when the span opens", () => {
      const host = new Host(line, { pendingSpans: true });
      const guest = new Guest();
      guest.open(guest.callSite(callSite("work")));
      host.attempt(guest.events);
      expect(host.span("work").attributes["spanduct.pending"]).toBe(true);
    });

    it("liveSpans lists what is open, from stored state", () => {
      const guest = new Guest();
      const root = guest.open(guest.callSite(callSite("root")), { a: { string: "x" } });
      guest.enter(root);
      const child = guest.open(1);
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), {}, child);
      const { state } = commit(new Host(line), guest.events);
      const [first, second] = liveSpans(state.metadata, state.spans);
      expect(first).toMatchObject({
        id: root,
        name: "root",
        scope: "guest",
        entered: true,
        startTime: at(1000),
        attributes: { a: "x" },
      });
      expect(second).toMatchObject({
        id: child,
        entered: false,
        parentSpanId: first?.spanId,
        traceId: first?.traceId,
        events: 1,
      });
      // Of the genuine crate, which saves nothing of ours.
      expect(liveSpans({ "1": callSite("work") }, { "7": { metadata_id: 1, ref_count: 1, values: {} } })).toEqual([
        { id: 7, name: "work", scope: "guest", entered: false },
      ]);
    });
  });
}
