import { AsyncLocalStorage } from "node:async_hooks";
import type { Context, ContextManager, SpanContext } from "@opentelemetry/api";
import type { Sampler } from "@spanduct/opentelemetry";
import { describe, expect, it } from "vitest";
import { callSite, Guest } from "./guest.ts";
import { elsewhere, Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";

const SAMPLED: SpanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
const DROPPED: SpanContext = { ...SAMPLED, traceFlags: 0 };

/** Which spans are recorded, what their parent is, and when a guest is told to be silent. */
export function samplingContract(line: SdkLine): void {
  const { api, samplers } = line;

  /** A root with a child. */
  function family(): Guest {
    const guest = new Guest();
    const outer = guest.open(guest.callSite(callSite("outer")), { a: { int: 1 } });
    guest.enter(outer);
    guest.close(guest.open(guest.callSite(callSite("inner"))));
    guest.close(outer);
    return guest;
  }

  describe("sampling", () => {
    it.each([
      ["no sampler", undefined],
      ["a parent-based one", samplers.parentBased(samplers.on())],
    ])("with %s, a sampled parent is followed and an unsampled one too, which silences the guest", (_, sampler) => {
      const host = new Host(line, sampler && { sampler });
      const taken = host.attempt(family().events, undefined, { parent: SAMPLED });
      expect(taken.maxLevel).toBe(5);
      expect(host.spans.map(({ name }) => name)).toEqual(["inner", "outer"]);
      host.exporter.reset();
      const silent = host.attempt(family().events, undefined, { parent: DROPPED });
      expect(silent.maxLevel).toBe(0);
      expect(host.spans).toEqual([]);
      expect(host.errors).toEqual([]);
    });

    it("without a sampler, an unsampled parent silences the guest before its first span", () => {
      const host = new Host(line);
      expect(host.attempt([], undefined, { parent: DROPPED }).maxLevel).toBe(0);
      expect(host.attempt([], undefined, { parent: SAMPLED }).maxLevel).toBe(5);
    });

    it("a sampler that wants nothing silences the guest with the first root; one that wants some roots does not", () => {
      const off = new Host(line, { sampler: samplers.off() });
      const receiver = off.attempt(family().events, undefined, { parent: SAMPLED });
      expect(receiver.maxLevel).toBe(0);
      expect(off.spans).toEqual([]);

      let asked = 0;
      const everySecond: Sampler = {
        shouldSample: () => ({ decision: asked++ % 2 === 0 ? 0 : 2 }),
        toString: () => "everySecond",
      };
      const some = new Host(line, { sampler: everySecond });
      const guest = new Guest();
      const site = guest.callSite(callSite("root"));
      for (let i = 0; i < 4; i++) guest.close(guest.open(site));
      expect(some.attempt(guest.events, undefined, { parent: api.ROOT_CONTEXT }).maxLevel).toBe(5);
      expect(some.spans).toHaveLength(2);
    });

    it("a ratio sampler takes about its share of traces, each as a whole", () => {
      let seed = 0n;
      const sampler = samplers.parentBased(samplers.ratio(0.25));
      const host = new Host(line, { sampler, random: () => seed++ });
      for (let i = 0; i < 400; i++) host.commit(family().events, undefined, { parent: api.ROOT_CONTEXT });
      const traces = new Map<string, number>();
      for (const span of host.spans) {
        const { traceId } = span.spanContext();
        traces.set(traceId, (traces.get(traceId) ?? 0) + 1);
      }
      expect(traces.size).toBeGreaterThan(60);
      expect(traces.size).toBeLessThan(140);
      expect(new Set(traces.values())).toEqual(new Set([2]));
    });

    it("the sampler is asked as the SDK asks it, and its attributes and trace state are kept", () => {
      const asked: unknown[] = [];
      const sampler: Sampler = {
        shouldSample: (context, traceId, name, kind, attributes, links) => {
          asked.push([api.trace.getSpanContext(context)?.spanId, traceId, name, kind, { ...attributes }, links.length]);
          return { decision: 2, attributes: { "sampler.rule": name }, traceState: api.createTraceState("rule=1") };
        },
        toString: () => "asking",
      };
      const host = new Host(line, { sampler });
      host.commit(family().events, undefined, { parent: SAMPLED, links: [{ context: SAMPLED }] });
      const outer = host.span("outer").spanContext();
      expect(asked).toEqual([
        [SAMPLED.spanId, SAMPLED.traceId, "outer", api.SpanKind.INTERNAL, { level: "INFO", a: 1 }, 1],
        [outer.spanId, SAMPLED.traceId, "inner", api.SpanKind.INTERNAL, { level: "INFO" }, 0],
      ]);
      for (const span of host.spans) {
        expect(span.attributes).toMatchObject({ "sampler.rule": span.name });
        expect(span.spanContext().traceState?.serialize()).toBe("rule=1");
      }
    });

    it("a span that is recorded but not sampled reaches processors and not exporters", () => {
      const sampler: Sampler = { shouldSample: () => ({ decision: 1 }), toString: () => "record" };
      const exporter = line.memoryExporter();
      const ended: string[] = [];
      const host = new Host(line, {
        sampler,
        spanProcessors: [
          line.simple(exporter),
          {
            onStart: () => undefined,
            onEnd: (span) => ended.push(span.name),
            forceFlush: async () => undefined,
            shutdown: async () => undefined,
          },
        ],
      });
      host.commit(family().events);
      expect(ended).toEqual(["inner", "outer"]);
      expect(exporter.getFinishedSpans()).toEqual([]);
    });

    it("a sampler that throws is reported, and its spans are sampled as their parent", () => {
      const sampler: Sampler = {
        shouldSample: () => {
          throw new Error("broken");
        },
        toString: () => "broken",
      };
      const host = new Host(line, { sampler });
      host.commit(family().events, undefined, { parent: SAMPLED });
      expect(host.spans).toHaveLength(2);
      expect(host.errors.map(({ code }) => code)).toEqual(["relay_failed", "relay_failed"]);
    });

    it("an unsampled root that goes on in another process stays unsampled, and so do its children", () => {
      const sampler = samplers.parentBased(samplers.off());
      const first = new Host(line, { sampler });
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")));
      guest.enter(outer);
      const state = first.commit(guest.events.splice(0), undefined, { parent: api.ROOT_CONTEXT });
      const second = new Host(line, { sampler: samplers.parentBased(samplers.on()) });
      guest.close(guest.open(guest.callSite(callSite("inner"))));
      guest.close(outer);
      const receiver = second.attempt(guest.events, elsewhere(state), { parent: api.ROOT_CONTEXT });
      expect(receiver.maxLevel).toBe(0);
      receiver.persist();
      expect(second.spans).toEqual([]);
      expect(second.errors).toEqual([]);
    });

    it("nothing is made of a guest that runs where the host suppresses tracing", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider, sampler: samplers.on() });
      const suppressed = api.ROOT_CONTEXT.setValue(Symbol.for("OpenTelemetry SDK Context Key SUPPRESS_TRACING"), true);
      const guest = family();
      guest.emit(guest.callSite(callSite("said", { kind: "event" })));
      host.commit(guest.events, undefined, { parent: suppressed });
      expect(host.spans).toEqual([]);
      expect(finished()).toEqual([]);
    });
  });

  describe("placement", () => {
    it("execution: the default parent is the context that is active at the call", () => {
      const storage = new AsyncLocalStorage<Context>();
      const manager: ContextManager = {
        active: () => storage.getStore() ?? api.ROOT_CONTEXT,
        with: (context, fn, self, ...args) => storage.run(context, () => fn.apply(self as never, args)),
        bind: (_context, target) => target,
        enable: () => manager,
        disable: () => manager,
      };
      api.context.setGlobalContextManager(manager);
      try {
        const host = new Host(line);
        const provider = line.tracerProvider([line.simple(host.exporter)]);
        const outside = provider.getTracer("host").startSpan("outside");
        const receiver = api.context.with(api.trace.setSpan(api.context.active(), outside), () => host.attempt(family().events));
        receiver.persist();
        outside.end();
        expect(host.span("outer").parentSpanContext).toEqual(outside.spanContext());
        expect(host.span("outer").spanContext().traceId).toBe(outside.spanContext().traceId);
      } finally {
        api.context.disable();
      }
    });

    it("execution: a parent that is not valid counts as none", () => {
      const host = new Host(line);
      const parent = { traceId: "0".repeat(32), spanId: "0".repeat(16), traceFlags: 0 };
      host.commit(family().events, undefined, { parent });
      expect(host.span("outer").parentSpanContext).toBeUndefined();
      expect(host.span("outer").spanContext().traceId).not.toBe(parent.traceId);
    });
  });
}
