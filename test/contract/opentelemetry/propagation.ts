import type { ReadableSpan, TracerRelay } from "@spanduct/opentelemetry";
import { tracerRelay } from "@spanduct/opentelemetry";
import type { PersistedMetadata, PersistedSpans } from "@spanduct/protocol";
import { type LocalSpans, type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { batches, propagate, type Span, TracingEventSender } from "@spanduct/sender";
import { TunnelTracerProvider } from "@spanduct/sender/otel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { elsewhere, Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = { traceId: TRACE, spanId: "b7ad6b7169203331", traceFlags: 1 };
const OTHER = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };

interface Kept {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly local: LocalSpans<unknown>;
}

/** A guest that outlives its receivers. */
class LivingGuest {
  readonly sender: TracingEventSender = new TracingEventSender(batches((batch) => this.#receiver?.receiveBatch(batch)));
  #receiver: TracingEventReceiver | undefined;
  #kept: Kept = { metadata: {}, spans: {}, local: [] };

  begin(relay: Relay): void {
    const { metadata, spans, local } = this.#kept;
    const receiver = new TracingEventReceiver(metadata, spans, local, { relay });
    this.#receiver = receiver;
    this.sender.control(receiver.control());
    // As it goes through a boundary.
    propagate(this.sender, structuredClone(receiver.traceContext));
  }

  /** @param moves whether the next receiver is in another process */
  commit(moves: boolean): void {
    const receiver = this.#end();
    const { spans, localSpans: local } = receiver.persist();
    const kept = { metadata: receiver.persistMetadata(), spans, local };
    this.#kept = moves ? (elsewhere(kept as never) as Kept) : kept;
  }

  rollBack(): void {
    this.#end()[Symbol.dispose]();
  }

  #end(): TracingEventReceiver {
    this.sender.flush();
    const receiver = this.#receiver as TracingEventReceiver;
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0 });
    return receiver;
  }
}

function header({ traceId, spanId, traceFlags }: ReturnType<ReadableSpan["spanContext"]>): string {
  return `00-${traceId}-${spanId}-0${traceFlags}`;
}

/** What a guest says of itself to what it calls is what the host exports. */
export function propagationContract(line: SdkLine): void {
  const { api } = line;

  describe("trace context", () => {
    it("whatever a guest opens in whatever attempts and processes: what it propagates is the span that is exported", () => {
      const action = fc.oneof(
        fc.record({ open: fc.constantFrom("contextual", "explicit"), enter: fc.boolean() }),
        fc.record({ close: fc.nat() }),
      );
      const attempt = fc.record({
        actions: fc.array(action, { maxLength: 8 }),
        seed: fc.option(fc.bigInt({ min: 0n, max: 3n }), { nil: undefined }),
        isTransactional: fc.boolean(),
        moves: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(attempt, { maxLength: 6 }), (attempts) => {
          const guest = new LivingGuest();
          const exported: ReadableSpan[] = [];
          const said = new Map<string, string>();
          const open: Span[] = [];
          let host = new Host(line);
          attempts.forEach(({ actions, seed, isTransactional, moves }, number) => {
            guest.begin(
              host.relay.execution({
                parent: { ...PARENT, spanId: `${number + 1}`.padStart(16, "0") },
                ...(seed !== undefined && { seed, attempt: number }),
                export: isTransactional ? "transactional" : "immediate",
              }) as Relay,
            );
            for (const each of actions) {
              if ("close" in each) {
                open.splice(each.close % (open.length + 1), 1)[0]?.close();
                continue;
              }
              const site = guest.sender.span({ name: `span ${said.size}` });
              const parent = each.open === "explicit" ? open[said.size % (open.length + 1)] : undefined;
              const span = each.enter ? site.enter({}, parent) : site.start({}, parent);
              said.set(`span ${said.size}`, guest.sender.traceparent(span) as string);
              open.push(span);
            }
            guest.commit(moves);
            if (!moves) return;
            exported.push(...host.spans);
            host = new Host(line);
          });
          guest.begin(host.relay.execution({ parent: PARENT }));
          // What was opened earlier goes by the same as ever.
          const names = [...said.values()];
          for (const span of open) expect(names).toContain(guest.sender.traceparent(span));
          for (const span of open) span.close();
          guest.commit(true);
          exported.push(...host.spans);
          expect(new Map(exported.map((span) => [span.name, header(span.spanContext())]))).toEqual(said);
        }),
        { numRuns: 100 },
      );
    });

    it("an attempt with the seed of one that was rolled back has what the host exports of each", () => {
      const host = new Host(line);
      const said = [false, true].map((isCommitted) => {
        const guest = new LivingGuest();
        guest.begin(host.relay.execution({ parent: PARENT, seed: 7n }));
        const span = guest.sender.span({ name: "work" }).start();
        const text = guest.sender.traceparent(span);
        span.close();
        if (isCommitted) guest.commit(true);
        else guest.rollBack();
        return text;
      });
      expect(host.spans.map((span) => header(span.spanContext()))).toEqual(said);
      expect(said[0]).not.toBe(said[1]);
    });

    it("the host's flags and state travel, and a guest that is not sampled says so", () => {
      const traceState = api.createTraceState("vendor=1,other=two");
      for (const traceFlags of [0, 1]) {
        const guest = new LivingGuest();
        const relay = new Host(line).relay.execution({ parent: { ...PARENT, traceFlags, traceState } });
        expect(relay.traceContext).toMatchObject({
          traceparent: header({ ...PARENT, traceFlags }),
          tracestate: "vendor=1,other=two",
        });
        guest.begin(relay);
        expect(guest.sender.traceparent(guest.sender.span({ name: "work" }).start())?.slice(-2)).toBe(`0${traceFlags}`);
      }
    });

    it("there is none where the host has no span, and where tracing is suppressed", () => {
      const { relay } = new Host(line);
      const overTracer = tracerRelay({ tracerProvider: line.tracerProvider([]) });
      const suppressed = api.trace
        .setSpanContext(api.ROOT_CONTEXT, PARENT)
        .setValue(Symbol.for("OpenTelemetry SDK Context Key SUPPRESS_TRACING"), true);
      expect(relay.execution({ parent: api.ROOT_CONTEXT }).traceContext).toBeUndefined();
      expect(relay.execution({ parent: suppressed }).traceContext).toBeUndefined();
      expect(overTracer.execution({ parent: suppressed }).traceContext).toBeUndefined();
      expect(relay.execution({ parent: { ...PARENT, spanId: "0".repeat(16) } }).traceContext).toBeUndefined();
    });

    it("a guest that goes on with spans of another trace gives out the host's span in place of new ones", () => {
      const guest = new LivingGuest();
      const host = new Host(line);
      guest.begin(host.relay.execution({ parent: PARENT }));
      const old = guest.sender.span({ name: "old" }).enter();
      const said = guest.sender.traceparent(old);
      guest.commit(true);
      const next = new Host(line);
      guest.begin(next.relay.execution({ parent: OTHER }));
      const fresh = guest.sender.span({ name: "new" }).start();
      expect(guest.sender.traceparent(fresh)).toBe(header(OTHER));
      expect(guest.sender.traceparent(old)).toBe(said);
      fresh.close();
      old.close();
      guest.commit(true);
      expect(header(next.span("old").spanContext())).toBe(said);
      expect(next.span("new").spanContext().traceId).toBe(TRACE);
    });

    it.each(["continuous", "linked"] as const)(
      "attempts that are delivered later, %s: also without a span of the host's",
      async (traces) => {
        const guest = new LivingGuest();
        const said = new Map<string, string | undefined>();
        const outboxes: unknown[] = [];
        let previous: unknown;
        let outer: Span | undefined;
        for (let run = 0; run < 3; run++) {
          const execution = new Host(line).relay.outboxExecution({
            seed: 5n,
            attempt: run,
            traces,
            ...(run > 0 && { previous }),
          });
          guest.begin(execution);
          expect(guest.sender.traceparent() === undefined).toBe(traces === "continuous");
          if (outer === undefined) {
            outer = guest.sender.span({ name: "outer" }).enter();
            said.set("outer", guest.sender.traceparent(outer));
          }
          const inner = guest.sender.span({ name: `inner ${run}` }).start();
          said.set(`inner ${run}`, guest.sender.traceparent(inner));
          inner.close();
          if (run === 2) outer.close();
          guest.commit(true);
          outboxes.push(execution.outbox());
          previous = execution.trace;
        }
        const host = new Host(line);
        await host.relay.deliver(outboxes);
        const exported = host.spans.filter(({ name }) => said.has(name));
        expect(new Map(exported.map((span) => [span.name, header(span.spanContext())]))).toEqual(said);
      },
    );

    it("a relay over a tracer, which makes the ids itself, has the host's span given out", () => {
      const exporter = line.memoryExporter();
      const relay: TracerRelay = tracerRelay({ tracerProvider: line.tracerProvider([line.simple(exporter)]) });
      const guest = new LivingGuest();
      guest.begin(relay.execution({ parent: PARENT }));
      const span = guest.sender.span({ name: "work" }).start();
      expect([guest.sender.traceparent(), guest.sender.traceparent(span)]).toEqual([header(PARENT), header(PARENT)]);
      expect(relay.execution({ parent: api.ROOT_CONTEXT }).traceContext).toBeUndefined();
    });

    it("a W3C propagator in the guest, registered by whoever is instrumented, injects the span that is exported", () => {
      const propagator = line.w3c();
      const inject = (span: Parameters<typeof api.trace.setSpan>[1]): { [name: string]: string } => {
        const carrier: { [name: string]: string } = {};
        propagator.inject(api.trace.setSpan(api.ROOT_CONTEXT, span), carrier, {
          set: (headers, key, value) => {
            (headers as { [name: string]: string })[key] = value;
          },
        });
        return carrier;
      };
      const guest = new LivingGuest();
      const host = new Host(line);
      const tracer = new TunnelTracerProvider(guest.sender).getTracer("lib");
      const traceState = api.createTraceState("vendor=1,other=two");
      guest.begin(host.relay.execution({ parent: { ...PARENT, traceState } }));
      const outer = tracer.startSpan("outer");
      const inner = tracer.startSpan("inner", {}, api.trace.setSpan(api.ROOT_CONTEXT, outer));
      const said = [inner, outer].map(inject);
      inner.end();
      guest.commit(true);
      const next = new Host(line);
      guest.begin(next.relay.execution({ parent: PARENT }));
      expect(inject(outer)).toEqual(said[1]);
      // Links are found by what they say, not by who made them.
      tracer.startSpan("linked", { links: [{ context: { ...outer.spanContext() } }] }).end();
      outer.end();
      guest.commit(true);
      const exported = [host.span("inner"), next.span("outer")];
      expect(said).toEqual(
        exported.map((span) => ({ traceparent: header(span.spanContext()), tracestate: "vendor=1,other=two" })),
      );
      expect(next.span("linked").links.map(({ context }) => context.spanId)).toEqual([outer.spanContext().spanId]);
      // Off, nobody is told to record what hangs under a span that is not there.
      guest.begin(new Host(line).relay.execution({ parent: { ...PARENT, traceFlags: 0 } }));
      expect(inject(tracer.startSpan("unsent"))).toEqual({ traceparent: header({ ...PARENT, traceFlags: 0 }) });
    });
  });
}
