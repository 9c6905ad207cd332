import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { type BatchHeader, type ClockDomain, DEFAULT_LIMITS, type DecodeError, dispatchEvent } from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import { plain, replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { indexing, parseJson } from "../support/vector-streams.ts";
import { BatchSchema } from "./gen/spanduct/v1/tunnel_pb.js";
import { fromMessage } from "./protobuf-es.ts";

interface Vector {
  readonly name: string;
  readonly header: {
    readonly version: number;
    readonly clock: ClockDomain;
    readonly base_time_unix_nano: number | bigint;
    readonly sequence: number;
    readonly dropped_events: number;
  };
  /** In the crate's JSON form. Declared values travel by index, others by name. */
  readonly events: readonly unknown[];
  readonly hex: string;
}

interface Refusal {
  readonly name: string;
  readonly hex: string;
  readonly errors: readonly { readonly code: string; readonly offset: number }[];
  /** What is read all the same; absent when the whole batch is refused. */
  readonly events?: readonly unknown[];
}

const { both, read, refused } = parseJson(readFileSync(resolve(import.meta.dirname, "../vectors/protobuf.json"), "utf8")) as {
  readonly both: readonly Vector[];
  readonly read: readonly Vector[];
  readonly refused: readonly Refusal[];
};

function callsOf(events: readonly unknown[]): SinkCall[] {
  const calls: SinkCall[] = [];
  const sink = sinkTo(indexing((call) => calls.push(call)));
  for (const event of events) dispatchEvent(event, sink, DEFAULT_LIMITS);
  return calls;
}

function callsOfVector({ header, events }: Vector): SinkCall[] {
  const sinkHeader: BatchHeader = {
    version: header.version,
    clock: header.clock,
    baseTimeUnixNano: BigInt(header.base_time_unix_nano),
    sequence: header.sequence,
    droppedEvents: header.dropped_events,
  };
  return [["batch", sinkHeader], ...callsOf(events)];
}

function decode(hex: string): { readonly calls: readonly SinkCall[]; readonly errors: readonly DecodeError[] } {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  const sink = sinkTo((call) => calls.push(call));
  protobuf.createDecoder(DEFAULT_LIMITS).decode(Buffer.from(hex, "hex"), sink, (error) => errors.push(error));
  return { calls, errors };
}

describe("test/vectors/protobuf.json", () => {
  it.each(both)("is written as there: $name", (vector) => {
    const encoder = protobuf.createEncoder();
    replay(callsOfVector(vector), encoder);
    expect(Buffer.from(encoder.finish()).toString("hex")).toBe(vector.hex);
  });

  it.each([...both, ...read])("is read as there, by the generated code too: $name", (vector) => {
    const { calls, errors } = decode(vector.hex);
    expect(errors).toEqual([]);
    expect(plain(calls)).toEqual(plain(callsOfVector(vector)));
    const oracle = fromBinary(BatchSchema, Buffer.from(vector.hex, "hex"));
    expect(plain(fromMessage(oracle))).toEqual(plain(callsOfVector(vector)));
  });

  it.each(refused)("is refused as there: $name", ({ hex, errors: expected, events }) => {
    const { calls, errors } = decode(hex);
    expect(errors.map(({ code, offset }) => ({ code, offset }))).toEqual(expected);
    expect(calls[0]?.[0]).toBe(events === undefined ? undefined : "batch");
    expect(plain(calls.slice(1))).toEqual(plain(callsOf(events ?? [])));
  });
});
