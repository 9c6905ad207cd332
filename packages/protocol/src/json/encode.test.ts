import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch } from "../../../../test/support/arbitrary-events.ts";
import { replay } from "../../../../test/support/sink-calls.ts";
import type { TracingEvent } from "../event.ts";
import { recordEvents } from "../recorder.ts";
import { UNLIMITED } from "../unlimited.ts";
import { JsonDecoder, parseEvent } from "./decode.ts";
import { JsonEncoder, printEvent } from "./encode.ts";

const STREAMS = resolve(import.meta.dirname, "../../../../test/vectors/streams");
const decoder = new TextDecoder("utf-8", { fatal: true });

/** What is left of an event after JSON: well-formed text, and floats that are not finite in their debug form. */
function throughJson(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(throughJson);
  if (typeof value !== "object" || value === null) return value;
  const { float } = value as { float?: unknown };
  if (typeof float === "number" && !Number.isFinite(float)) return { object: String(float).replace("Infinity", "inf") };
  const copy = Object.create(Object.getPrototypeOf(value) as object | null) as { [key: string]: unknown };
  for (const [key, item] of Object.entries(value)) copy[key.toWellFormed()] = throughJson(item);
  return copy;
}

describe("printEvent()", () => {
  it("writes what parseEvent() reads back, for any event of a sender", () => {
    fc.assert(
      fc.property(batch, (calls) => {
        const events: TracingEvent[] = [];
        replay(
          calls,
          recordEvents((event) => events.push(event)),
        );
        for (const event of events) {
          const text = printEvent(event);
          expect(text).not.toContain("\n");
          expect(parseEvent(text, UNLIMITED)).toEqual(throughJson(event));
        }
      }),
    );
  });

  it("escapes what the crate escapes, and no more", () => {
    const text = Array.from({ length: 0x82 }, (_, code) => String.fromCharCode(code)).join("");
    // As serde_json does.
    expect(printEvent({ values_recorded: { id: 1, values: { "": { string: text } } } })).toBe(
      `{"values_recorded":{"id":1,"values":{"":{"string":${JSON.stringify(text)}}}}}`,
    );
  });

  it("puts our keys behind the crate's", () => {
    const error = { message: "m", source: null, type: "T", stack: "S", omitted: 1 };
    expect(printEvent({ new_event: { metadata_id: 1, parent: 2, values: { e: { error } }, time_unix_nano: 5 } })).toBe(
      '{"new_event":{"metadata_id":1,"parent":2,"values":{"e":{"error":' +
        '{"message":"m","type":"T","stack":"S","omitted":1,"source":null}}},"time_unix_nano":5}}',
    );
  });

  it("writes floats that are not finite as the debug form, which both ends read", () => {
    const values = {
      a: { float: Number.NaN },
      b: { float: Number.POSITIVE_INFINITY },
      c: { float: Number.NEGATIVE_INFINITY },
    };
    expect(printEvent({ values_recorded: { id: 1, values } })).toBe(
      '{"values_recorded":{"id":1,"values":{"a":{"object":"NaN"},"b":{"object":"inf"},"c":{"object":"-inf"}}}}',
    );
  });

  it("refuses what is no event", () => {
    expect(() => printEvent({ span_entered: { id: -1 } })).toThrow(expect.objectContaining({ code: "malformed" }));
  });
});

describe("JsonEncoder", () => {
  it("writes the header as a line of its own", () => {
    const encoder = new JsonEncoder();
    encoder.batch({ version: 1, clock: "frozen", baseTimeUnixNano: 2n ** 64n - 1n, sequence: 3, droppedEvents: 4 });
    encoder.spanEntered(1, undefined);
    expect(decoder.decode(encoder.finish())).toBe(
      '{"batch":{"version":1,"clock":"frozen","base_time_unix_nano":18446744073709551615,"sequence":3,"dropped_events":4}}\n' +
        '{"span_entered":{"id":1}}\n',
    );
  });

  it("writes times in full, and leaves out those no 64 bits hold", () => {
    const encoder = new JsonEncoder();
    const times = [
      [0n, 0],
      [0n, -1],
      [5n, -5],
      [999_999_999n, 1],
      [1_700_000_000_000_000_001n, -2],
      [1_700_000_000_999_999_999n, 9_007_199_254_740_991],
      [2n ** 64n - 1n, 0],
      [2n ** 64n - 1n, 1],
    ] as const;
    for (const [base, time] of times) {
      encoder.timeBase(base);
      encoder.spanEntered(1, time);
    }
    const written = decoder
      .decode(encoder.finish())
      .trimEnd()
      .split("\n")
      .map((line) => /"time_unix_nano":(\d+)/.exec(line)?.[1]);
    expect(written).toEqual(
      times.map(([base, time]) => {
        const sum = base + BigInt(time);
        return sum >= 0n && sum < 2n ** 64n ? String(sum) : undefined;
      }),
    );
  });

  it("writes every recorded line of the crate as it was, but for the floats that the crate cannot read", () => {
    for (const name of ["clone_drop", "errors", "explicit_parent", "fib-80", "nested", "threads-sync", "values"]) {
      const input = readFileSync(resolve(STREAMS, `${name}.jsonl`));
      const encoder = new JsonEncoder();
      new JsonDecoder(UNLIMITED).decode(input, encoder, (error) => {
        throw error;
      });
      expect(decoder.decode(encoder.finish())).toBe(decoder.decode(input).replaceAll('{"float":null}', '{"object":"NaN"}'));
    }
  });
});
