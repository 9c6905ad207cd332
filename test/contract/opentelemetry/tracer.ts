import { type ReadableSpan, type TracerRelay, type TracerRelayOptions, tracerRelay } from "@spanduct/opentelemetry";
import type { TracingEvent } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { at, callSite, Guest } from "./guest.ts";
import { elsewhere, FRESH, Host, persist, type State } from "./host.ts";
import { program } from "./programs.ts";
import type { MemoryExporter, SdkLine } from "./sdk-line.ts";
import { spanData } from "./span-data.ts";

const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

type Execution = Parameters<TracerRelay["execution"]>[0];

/** The relay for hosts that have a tracer only. */
export function tracerContract(line: SdkLine): void {
  const { api } = line;

  /** A host process with a tracer provider. */
  class TracerHost {
    readonly exporter: MemoryExporter = line.memoryExporter();
    readonly errors: string[] = [];
    readonly relay: TracerRelay;

    constructor(options: TracerRelayOptions = {}, sampler = line.samplers.on()) {
      const tracerProvider = line.tracerProvider([line.simple(this.exporter)], sampler);
      this.relay = tracerRelay({ tracerProvider, clock: () => [1_767_312_000, 0], ...options });
    }

    get spans(): readonly ReadableSpan[] {
      return this.exporter.getFinishedSpans();
    }

    span(name: string): ReadableSpan {
      const found = this.spans.filter((span) => span.name === name);
      expect(found.map((span) => span.name)).toEqual([name]);
      return found[0] as ReadableSpan;
    }

    attempt(events: readonly TracingEvent[], state: State = FRESH, options: Execution = {}): TracingEventReceiver<never> {
      const receiver = new TracingEventReceiver<never>(state.metadata, state.spans, state.local as never, {
        relay: this.relay.execution(options) as never,
        onError: (error) => this.errors.push(error.code),
      });
      for (const event of events) receiver.tryReceive(event);
      return receiver;
    }

    commit(events: readonly TracingEvent[], state: State = FRESH, options: Execution = {}): State {
      return persist(this.attempt(events, state, options) as never);
    }

    rollBack(events: readonly TracingEvent[], state: State = FRESH, options: Execution = {}): void {
      this.attempt(events, state, options)[Symbol.dispose]();
    }
  }

  /** What of a span does not depend on who chose its id. */
  function shape(spans: readonly ReadableSpan[]): unknown[] {
    const names = new Map(spans.map((span) => [span.spanContext().spanId, span.startTime.join()]));
    const nameOf = (id: string | undefined): string | undefined => (id === undefined ? undefined : (names.get(id) ?? id));
    return spans.map((span) => {
      const { name, kind, startTime, endTime, status, attributes, events, links, scope } = spanData(span);
      return {
        ...{ name, kind, startTime, endTime, status, scope },
        // The SDK's own spans lose an attribute of the name __proto__.
        attributes: Object.entries(attributes as object).filter(([name]) => name !== "__proto__"),
        events: (events as ReadableSpan["events"]).map((event) => [event.name, event.time, event.attributes]),
        links: (links as { to: string[] }[]).map(({ to }) => nameOf(to[1])),
        parent: nameOf(span.parentSpanContext?.spanId),
      };
    });
  }

  describe("tracerRelay", () => {
    it("makes the spans that the other relay makes, with the tracer's ids, for any program", () => {
      fc.assert(
        fc.property(program, fc.constantFrom("immediate", "transactional"), (events, mode) => {
          const ours = new Host(line, { export: mode });
          ours.commit(events, FRESH, { parent: PARENT });
          const host = new TracerHost({ export: mode });
          host.commit(events, FRESH, { parent: PARENT });
          expect(host.errors).toEqual([]);
          expect(shape(host.spans)).toEqual(shape(ours.spans));
        }),
        { numRuns: 100 },
      );
    });

    it("a single tracer makes all spans, and their target is an attribute", () => {
      const exporter = line.memoryExporter();
      const tracer = line.tracerProvider([line.simple(exporter)]).getTracer("mine");
      const host = new TracerHost({ tracer });
      const guest = new Guest();
      guest.close(guest.open(guest.callSite(callSite("work", { target: "app" }))));
      host.commit(guest.events);
      expect(exporter.getFinishedSpans()).toMatchObject([
        { name: "work", instrumentationScope: { name: "mine" }, attributes: { target: "app" } },
      ]);
    });

    it("without a provider the global one is used when the first span opens, and never set", () => {
      const relay = tracerRelay();
      const exporter = line.memoryExporter();
      api.trace.setGlobalTracerProvider(line.tracerProvider([line.simple(exporter)]));
      try {
        const host = new TracerHost();
        Object.assign(host, { relay });
        const guest = new Guest();
        guest.close(guest.open(guest.callSite(callSite("work"))));
        host.commit(guest.events);
        expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(["work"]);
      } finally {
        api.trace.disable();
      }
    });

    it("a sampler that wants nothing silences the guest", () => {
      const host = new TracerHost({}, line.samplers.off());
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), {}, span);
      expect(host.attempt(guest.events).maxLevel).toBe(0);
      expect(host.errors).toEqual([]);
    });

    it("events become log records of their span", () => {
      const { provider, finished } = line.logs();
      const host = new TracerHost({ loggerProvider: provider, export: "transactional" });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.enter(span);
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), { message: { string: "hello" } });
      guest.close(span);
      const receiver = host.attempt(guest.events);
      expect(finished()).toEqual([]);
      receiver.persist();
      const { traceId, spanId } = host.span("work").spanContext();
      expect(finished()).toMatchObject([{ body: "hello", eventName: "said", spanContext: { traceId, spanId } }]);
    });

    it("loss: an event on every open root", () => {
      const host = new TracerHost();
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      const receiver = host.attempt(guest.events);
      const header = { version: 1, clock: "none", baseTimeUnixNano: 0n, droppedEvents: 0 } as const;
      receiver.batch({ ...header, sequence: 0 });
      receiver.batch({ ...header, sequence: 3 });
      receiver.tryReceive({ span_dropped: { id: span } });
      expect(host.span("work").events).toMatchObject([{ name: "spanduct.loss", attributes: { batches: 2, events: 0 } }]);
    });

    it.each(["immediate", "transactional"] as const)(
      "%s: a span that this process still has goes on, and a rollback undoes what was done to it",
      (mode) => {
        const host = new TracerHost({ export: mode });
        const guest = new Guest();
        const span = guest.open(guest.callSite(callSite("work")), { a: { int: 1 } });
        guest.enter(span);
        const state = host.commit(guest.events.splice(0));
        guest.record(span, { a: { int: 2 } });
        guest.emit(guest.callSite(callSite("said", { kind: "event", level: "error" })));
        guest.exit(span);
        guest.close(span);
        host.rollBack(guest.events.splice(0), state);
        expect(host.spans).toEqual([]);
        guest.close(span);
        host.commit(guest.events, state);
        expect(host.span("work")).toMatchObject({
          startTime: at(1000),
          attributes: { a: 1, busy_ns: guest.now - 2000, idle_ns: 1000 },
          events: [],
          links: [],
          status: { code: api.SpanStatusCode.UNSET },
        });
      },
    );

    it.each(["immediate", "transactional"] as const)(
      "%s: a span that another process left open goes on as a new one that is linked to it",
      (mode) => {
        const first = new TracerHost({ export: mode });
        const guest = new Guest();
        const site = guest.callSite(callSite("work", { fields: ["a", "otel.status_description"] }));
        const span = guest.open(site, { a: { int: 1 } });
        guest.enter(span);
        guest.record(span, { "otel.status_description": { string: "slow" } });
        const state = first.commit(guest.events.splice(0), FRESH, { parent: PARENT });
        const saved = state.spans[String(span)]?.relay;
        const old = (saved as { identity: { traceId: string; spanId: string } }).identity;
        // A process that only passes the execution on.
        const between = new TracerHost({ export: mode }).commit([], elsewhere(state), { parent: api.ROOT_CONTEXT });
        expect(between.spans).toEqual(state.spans);

        const second = new TracerHost({ export: mode });
        guest.close(guest.open(guest.callSite(callSite("inner"))));
        guest.exit(span);
        guest.close(span);
        second.commit(guest.events, elsewhere(between), { parent: api.ROOT_CONTEXT });
        expect(second.errors).toEqual([]);
        const work = second.span("work");
        expect(spanData(work)).toMatchObject({
          traceId: PARENT.traceId,
          startTime: at(1000),
          endTime: at(guest.now),
          links: [{ to: [old.traceId, old.spanId, 1, undefined], attributes: { "opentracing.ref_type": "follows_from" } }],
          attributes: { a: 1, busy_ns: guest.now - 3000, idle_ns: 2000 },
          status: { code: api.SpanStatusCode.ERROR, message: "slow" },
        });
        expect(work.parentSpanContext?.spanId).toBe(PARENT.spanId);
        expect(work.spanContext().spanId).not.toBe(old.spanId);
        expect(second.span("inner").parentSpanContext?.spanId).toBe(work.spanContext().spanId);
      },
    );

    it("rollback: what is open is closed and flagged; held attempts are flagged as a whole or discarded", () => {
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")));
      guest.enter(outer);
      guest.close(guest.open(guest.callSite(callSite("inner"))));
      const marks = (options: TracerRelayOptions): unknown[] => {
        const host = new TracerHost(options);
        host.rollBack(guest.events);
        expect(host.errors).toEqual([]);
        return host.spans.map(({ name, attributes, status }) => [name, attributes["spanduct.rolled_back"], status.code]);
      };
      const { ERROR, UNSET } = api.SpanStatusCode;
      expect(marks({})).toEqual([
        ["inner", undefined, UNSET],
        ["outer", true, ERROR],
      ]);
      expect(marks({ export: "transactional" })).toEqual([
        ["inner", true, ERROR],
        ["outer", true, ERROR],
      ]);
      expect(marks({ export: "transactional", rollback: "discard" })).toEqual([]);
    });

    it("what is held is bounded: what goes beyond is dropped and reported, and what is held comes to its end", () => {
      const host = new TracerHost({ export: "transactional", maxHeld: 2 });
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      const spans = Array.from({ length: 4 }, () => guest.open(site));
      for (const span of spans) guest.close(span);
      host.commit(guest.events);
      expect(host.spans).toHaveLength(2);
      expect(host.errors).toEqual(["relay_failed"]);
    });

    it("maxHeldBytes bounds what open spans have been given, and what a held attempt keeps", () => {
      for (const mode of ["immediate", "transactional"] as const) {
        const host = new TracerHost({ export: mode, maxHeldBytes: 5000 });
        const guest = new Guest();
        const site = guest.callSite(callSite("work"));
        const event = guest.callSite(callSite("said", { kind: "event" }));
        const span = guest.open(site);
        for (let i = 0; i < 4; i++) guest.emit(event, { a: { string: "x".repeat(900) } }, span);
        guest.close(span);
        host.commit(guest.events);
        expect(host.span("work").events).toHaveLength(2);
        expect(new Set(host.errors)).toEqual(new Set(["relay_failed"]));
      }
    });

    it("tells no more than 16 open roots of a loss", () => {
      const host = new TracerHost();
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      const spans = Array.from({ length: 20 }, () => guest.open(site));
      const receiver = host.attempt(guest.events.splice(0));
      receiver.batch({ version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 3, droppedEvents: 0 });
      for (const span of spans) guest.close(span);
      for (const one of guest.events) receiver.tryReceive(one);
      expect(host.spans.filter(({ events }) => events.length > 0)).toHaveLength(16);
    });

    it("damaged state is refused with a code; state of the other relay is left to it", () => {
      const host = new TracerHost();
      const relay = host.relay.execution();
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      const state = host.commit(guest.events);
      const saved = state.spans[String(span)]?.relay as object;
      const restore = (value: unknown): unknown =>
        relay.restoreSpan?.({
          callSite: { data: callSite("work") } as never,
          id: 1,
          values: { fields: [], keys: [], kinds: [], raws: [], size: 0 } as never,
          local: undefined,
          saved: value,
        });
      expect(restore(saved)).toBeDefined();
      expect(restore({ ...saved, format: "spanduct.opentelemetry/1" })).toBeUndefined();
      for (const key of ["identity", "timings", "status", "start", "root"]) {
        expect(() => restore({ ...saved, [key]: "?" })).toThrow(expect.objectContaining({ code: "snapshot_mismatch" }));
      }
    });

    it("a tracer that throws is reported, and the execution goes on", () => {
      const tracer = {
        startSpan: () => {
          throw new Error("broken");
        },
        startActiveSpan: () => undefined,
      };
      const host = new TracerHost({ tracer: tracer as never });
      const guest = new Guest();
      guest.close(guest.open(guest.callSite(callSite("work"))));
      host.commit(guest.events);
      expect(new Set(host.errors)).toEqual(new Set(["relay_failed"]));
    });
  });
}
