import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { DEFAULT_LIMITS, type DecodeError } from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch } from "../support/arbitrary-events.ts";
import { plain, replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { vectorStreams } from "../support/vector-streams.ts";
import { BatchSchema } from "./gen/spanduct/v1/tunnel_pb.js";
import { fromMessage, toMessage } from "./protobuf-es.ts";
import { writeWild } from "./wild-protobuf.ts";

/** Fields of a Batch that come before its events. */
const HEADER_FIELDS = 5;

function encode(calls: readonly SinkCall[]): Uint8Array {
  const encoder = protobuf.createEncoder();
  replay(calls, encoder);
  return encoder.finish();
}

function decode(bytes: Uint8Array): SinkCall[] {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  const sink = sinkTo((call) => calls.push(call));
  protobuf.createDecoder(DEFAULT_LIMITS).decode(bytes, sink, (error) => errors.push(error));
  expect(errors).toEqual([]);
  return calls;
}

function agree(calls: readonly SinkCall[]): void {
  const message = toMessage(calls);
  const bytes = encode(calls);
  expect(fromBinary(BatchSchema, bytes)).toEqual(message);
  expect(plain(decode(toBinary(BatchSchema, message)))).toEqual(plain(calls));
  expect(decode(bytes)).toEqual(fromMessage(message));
}

describe("protobuf beside the code that protobuf-es generates", () => {
  it("agrees in both directions on random batches", () => {
    fc.assert(fc.property(batch, agree), { numRuns: 300 });
  });

  it.each(vectorStreams())("agrees in both directions on $name", ({ calls }) => {
    agree(calls);
  });

  it("reads every legal way to write a message: order, unknown fields, written defaults, repetitions, long varints", () => {
    fc.assert(
      fc.property(batch, fc.array(fc.nat(), { minLength: 1, maxLength: 1000, size: "max" }), (calls, choices) => {
        let next = 0;
        const message = toMessage(calls);
        const bytes = writeWild(
          BatchSchema,
          message,
          (below) => (choices[next++ % choices.length] as number) % below,
          HEADER_FIELDS,
        );
        // Is it legal? Unknown fields are kept by the oracle and do not count.
        expect(withoutUnknown(fromBinary(BatchSchema, bytes))).toEqual(message);
        expect(decode(bytes)).toEqual(fromMessage(message));
      }),
      { numRuns: 500 },
    );
  });
});

function withoutUnknown<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutUnknown) as T;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const copy = Object.create(Object.getPrototypeOf(value)) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value)) if (key !== "$unknown") copy[key] = withoutUnknown(item);
  return copy as T;
}
