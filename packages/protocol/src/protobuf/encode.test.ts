import { expect, it } from "vitest";
import type { BatchEncoder } from "../codec.ts";
import { type ValueColumns, ValueKind } from "../values.ts";
import { createProtobufEncoder } from "./encode.ts";

function record(length: number): ValueColumns {
  const text = "é".repeat(length);
  return {
    fields: [],
    keys: [text, 7, 300],
    kinds: [ValueKind.float, ValueKind.string, ValueKind.object],
    raws: [0.5, text, text],
    size: 3,
  };
}

function encode(encoder: BatchEncoder, values: ValueColumns): string {
  encoder.batch({ version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 });
  encoder.newEvent(1, undefined, values, undefined);
  return Buffer.from(encoder.finish()).toString("hex");
}

it.each([1, 20, 21, 41, 42, 43, 63, 64, 127, 128, 1000, 1500, 5000, 20_000])(
  "a record with names and texts of %d characters is the same bytes whether or not memory grows on the way",
  (length) => {
    const roomy = createProtobufEncoder();
    encode(roomy, record(40_000));
    expect(encode(createProtobufEncoder(), record(length))).toBe(encode(roomy, record(length)));
  },
);
