import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { anySpans, sampleSpans } from "@spanduct/example-support/sample-spans";
import fc from "fast-check";
import { expect, it } from "vitest";
import { perfettoTrace } from "./perfetto-trace.ts";

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args: { readonly [name: string]: unknown };
}

function eventsOf(spans: readonly ReadableSpan[]): TraceEvent[] {
  return (JSON.parse(perfettoTrace(spans)) as { traceEvents: TraceEvent[] }).traceEvents;
}

/** As Perfetto reads it. */
function nanos(micros: number): number {
  return Math.trunc(micros * 1000);
}

it("perfettoTrace: slices of a track lie right inside of their parent's slice, or where nothing is", () => {
  fc.assert(
    fc.property(anySpans, (samples) => {
      const spans = sampleSpans(samples);
      const slices = eventsOf(spans).filter(({ ph }) => ph === "X");
      expect(slices.map(({ args }) => args["span_id"]).sort()).toEqual(spans.map((span) => span.spanContext().spanId).sort());
      for (const track of Map.groupBy(slices, ({ tid }) => tid).values()) {
        const open: TraceEvent[] = [];
        for (const slice of track) {
          while (open.length > 0 && endOf(open.at(-1)) <= nanos(slice.ts)) open.pop();
          const around = open.at(-1);
          if (around !== undefined) {
            expect(slice.args["parent_span_id"]).toBe(around.args["span_id"]);
            expect(endOf(slice)).toBeLessThanOrEqual(endOf(around));
          }
          open.push(slice);
        }
      }
    }),
  );
});

it("perfettoTrace: every span and every event is there at its nanosecond", () => {
  fc.assert(
    fc.property(anySpans, (samples) => {
      const spans = sampleSpans(samples);
      const begin = Math.min(...spans.map(({ startTime }) => startTime[1]));
      const events = eventsOf(spans);
      const slices = events.filter(({ ph }) => ph === "X");
      const actual = slices.map(({ name, ts, dur }) => [name, nanos(ts), nanos(dur)]);
      expect(actual.sort()).toEqual(
        spans.map(({ name, startTime, duration }) => [name, startTime[1] - begin, duration[1]]).sort(),
      );
      const instants = events.filter(({ ph }) => ph === "i").map(({ name, ts }) => [name, Math.floor(ts * 1000)]);
      const expected = spans.flatMap((span) => span.events.map(({ name, time }) => [name, time[1] - begin]));
      expect(instants.sort()).toEqual(expected.sort());
    }),
  );
});

it("perfettoTrace: a track for each scope, named for it; more for what overlaps", () => {
  const spans = sampleSpans([
    {
      name: "root",
      begin: 0,
      end: 100,
      children: [
        { name: "one", begin: 10, end: 50, scope: "guest", children: [{ name: "in one", begin: 20, end: 30, scope: "guest" }] },
        { name: "two", begin: 15, end: 60, scope: "guest", children: [{ name: "in two", begin: 21, end: 29, scope: "guest" }] },
        { name: "three", begin: 60, end: 70, scope: "guest" },
      ],
    },
  ]);
  const events = eventsOf(spans);
  const tracks = new Map(events.filter(({ name }) => name === "thread_name").map(({ tid, args }) => [tid, args["name"]]));
  const placed = events.filter(({ ph }) => ph === "X").map(({ name, tid }) => [name, tracks.get(tid)]);
  expect(placed).toEqual([
    ["root", "host"],
    ["one", "guest"],
    ["two", "guest 2"],
    ["in one", "guest"],
    ["in two", "guest 2"],
    ["three", "guest"],
  ]);
  expect(events[0]).toEqual({ ph: "M", name: "process_name", pid: 1, args: { name: "sample" } });
});

function endOf(slice: TraceEvent | undefined): number {
  return slice === undefined ? 0 : nanos(slice.ts) + nanos(slice.dur);
}
