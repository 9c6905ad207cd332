import type { Span } from "@opentelemetry/api";
import { OpenTelemetryRelay, type ReadableSpan, type SpanProcessor } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches } from "@spanduct/sender";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Random } from "../fuzz/random.ts";
import { runProgram } from "../fuzz/streams.ts";

/** All that exporters may look at, as data of its own. */
function read(span: ReadableSpan): unknown {
  const { name, kind, status, startTime, endTime, duration, ended, attributes, events, links, parentSpanContext } = span;
  const { droppedAttributesCount, droppedEventsCount, droppedLinksCount } = span;
  const counts = { droppedAttributesCount, droppedEventsCount, droppedLinksCount };
  const identity = { ...span.spanContext() };
  return structuredClone({
    ...{ name, kind, status, startTime, endTime, duration, ended, counts, identity, events, links, parentSpanContext },
    attributes: Object.entries(attributes),
  });
}

/** Reads spans as soon as they begin and after every batch, or not before all is over. */
class Reader implements SpanProcessor {
  readonly spans: ReadableSpan[] = [];
  readonly #isEager: boolean;

  constructor(isEager: boolean) {
    this.#isEager = isEager;
  }

  onStart(span: Span): void {
    this.spans.push(span as unknown as ReadableSpan);
    this.look();
  }

  onEnd(): void {
    this.look();
  }

  look(): void {
    if (this.#isEager) this.readAll();
  }

  readAll(): unknown[] {
    return this.spans.map(read);
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

const limits = fc.record({
  attributeCountLimit: fc.constantFrom(128, 6, 1),
  attributeValueLengthLimit: fc.constantFrom(Number.POSITIVE_INFINITY, 4),
  eventCountLimit: fc.constantFrom(128, 2, 0),
  attributePerEventCountLimit: fc.constantFrom(128, 3),
});

it("GuestSpan: reads the same, whether somebody has looked at it all the time or looks when all is over", () => {
  const setup = fc.record({
    seed: fc.nat().map(String),
    spanLimits: limits,
    export: fc.constantFrom("immediate" as const, "transactional" as const),
    end: fc.constantFrom("commit" as const, "roll back" as const),
  });
  let attributes = 0;
  fc.assert(
    fc.property(setup, ({ seed, spanLimits, export: mode, end }) => {
      const sent: Uint8Array[] = [];
      runProgram(
        new Random(seed),
        batches((batch) => void sent.push(batch.slice()), { maxEvents: 5 }),
      );
      const [late, early] = [false, true].map((isEager) => {
        let now = 0;
        const reader = new Reader(isEager);
        const clock = (): [number, number] => [1_700_000_000, now++];
        const relay = new OpenTelemetryRelay({ spanProcessors: [reader], spanLimits, clock, random: () => 2n });
        const options = { relay: relay.execution({ seed: 1n, export: mode }) };
        const receiver = new TracingEventReceiver({}, {}, [], options);
        for (const batch of sent) {
          receiver.receiveBatch(batch);
          reader.look();
        }
        if (end === "commit") receiver.persist();
        else receiver[Symbol.dispose]();
        return reader.readAll();
      });
      expect(late).toEqual(early);
      for (const span of late as { attributes: unknown[] }[]) attributes += span.attributes.length;
    }),
    { numRuns: 300 },
  );
  expect(attributes).toBeGreaterThan(1000);
});
