import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch } from "../../../test/support/arbitrary-events.ts";
import { plain, replay, type SinkCall, sinkTo } from "../../../test/support/sink-calls.ts";
import { dispatchEvent } from "./dispatch.ts";
import type { TracingEvent } from "./event.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { recordEvents } from "./recorder.ts";
import { TracedValues, ValueKind } from "./values.ts";

function recorded(calls: readonly SinkCall[]): TracingEvent[] {
  const events: TracingEvent[] = [];
  replay(
    calls,
    recordEvents((event) => events.push(event)),
  );
  return events;
}

describe("recordEvents() makes events", () => {
  it("that dispatchEvent() takes apart again, for any batch of a sender", () => {
    fc.assert(
      fc.property(batch, (calls) => {
        const again: SinkCall[] = [];
        for (const event of recorded(calls))
          dispatchEvent(
            event,
            sinkTo((call) => again.push(call)),
            DEFAULT_LIMITS,
          );
        // Objects put names that look like array indices first.
        const unordered = (made: readonly SinkCall[]): unknown =>
          plain(made)
            .filter(({ method }) => method !== "batch")
            .map((call) => ({
              ...call,
              args: call.args.map((item) => (Array.isArray(item) ? new Map(item.map((entry) => [entry[0], entry])) : item)),
            }));
        expect(unordered(again)).toEqual(unordered(calls));
      }),
    );
  });

  it("with times since the epoch, exact to the nanosecond, and none where 64 bits do not hold it", () => {
    const header = { version: 1, clock: "wall", baseTimeUnixNano: 5n, sequence: 0, droppedEvents: 0 } as const;
    expect(
      recorded([
        ["spanEntered", 1, 7],
        ["batch", header],
        ["spanEntered", 1, -5],
        ["spanEntered", 1, -6],
        ["spanEntered", 1, undefined],
        ["timeBase", 2n ** 64n - 2n],
        ["spanEntered", 1, 1],
        ["spanEntered", 1, 2],
      ]),
    ).toEqual([
      { span_entered: { id: 1, time_unix_nano: 7 } },
      { span_entered: { id: 1, time_unix_nano: 0 } },
      { span_entered: { id: 1 } },
      { span_entered: { id: 1 } },
      { span_entered: { id: 1, time_unix_nano: 2n ** 64n - 1n } },
      { span_entered: { id: 1 } },
    ]);
  });

  it("whose maps of values have no prototype and are not the sender's own columns", () => {
    const values = new TracedValues();
    values.clear(["__proto__"]);
    values.push(0, ValueKind.bool, true);
    values.push(9, ValueKind.int, 1);
    const [event] = recorded([["newEvent", 1, undefined, values, undefined]]);
    values.clear();
    const map = (event as { new_event: { values: object } }).new_event.values;
    expect(Object.getPrototypeOf(map)).toBe(null);
    expect(Object.entries(map)).toEqual([
      ["__proto__", { bool: true }],
      ["#9", { int: 1 }],
    ]);
  });
});
