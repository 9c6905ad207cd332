import { ROOT_CONTEXT } from "@opentelemetry/api";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { type Codec, DEFAULT_LIMITS } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { type Bytes, field, header, number, repeated, text, varint } from "./raw.ts";

const { maxBatchBytes } = DEFAULT_LIMITS;
/** Milliseconds of processor time, on whatever this runs on. A host that has to answer within 50 ms handles one batch at a time. */
const MAX_MS = 50;
const ROUNDS = 7;

/** A batch as long as the host takes it, of one unit after the other. */
function filled(before: Bytes, unit: Bytes, after: Bytes = []): Uint8Array {
  return repeated(unit, Math.floor((maxBatchBytes - before.length - after.length) / unit.length), before, after);
}

/** The same with units that differ. */
function distinct(before: Bytes, unit: (i: number) => Bytes): Uint8Array {
  const batch = new Uint8Array(maxBatchBytes);
  batch.set(before);
  let at = before.length;
  for (let i = 0; ; i++) {
    const bytes = unit(i);
    if (at + bytes.length > batch.length) return batch.subarray(0, at);
    batch.set(bytes, at);
    at += bytes.length;
  }
}

const SITE = field(6, field(2, [8, 1, 16, 1, 24, 3]));
const EVENT_SITE = field(6, field(2, [8, 2, 16, 2, 24, 3]));
const START = [...header(), ...SITE, ...EVENT_SITE];
const OPEN_AND_CLOSE = [...field(6, field(3, [8, 1, 24, 1])), ...field(6, number(8, 1))];
const SPAN = field(6, field(3, [8, 1, 24, 1]));
/** Something is recorded to the span. */
const recorded = (...values: readonly Bytes[]): Bytes => field(6, field(9, [8, 1], ...values));
const named = (name: string, value: Bytes): Bytes => field(2, field(2, text(name)), value);
const MSGPACK = [0x95, 1, 4, 0, 0, 0];

const BATCHES: readonly (readonly [what: string, codec: Codec, bytes: Uint8Array])[] = [
  ["spans that open and close", protobuf, filled(START, OPEN_AND_CLOSE)],
  ["spans that open", protobuf, distinct(START, (i) => field(6, field(3, [8, ...varint(i), 24, 1])))],
  ["events of a span", protobuf, filled([...START, ...SPAN], field(6, field(10, [8, 2, 16, 1])))],
  ["events outside of spans", protobuf, filled(START, field(6, field(10, [8, 2])))],
  ["links", protobuf, filled([...START, ...SPAN], field(6, field(4, [8, 1, 16, 1])))],
  ["spans entered and left", protobuf, filled([...START, ...SPAN], [...field(6, number(5, 1)), ...field(6, number(6, 1))])],
  ["events that are refused", protobuf, filled(header(), field(6, number(5, 1)))],
  ["events of unknown kinds", protobuf, filled(header(), field(6))],
  ["call sites", protobuf, distinct(header(), (i) => field(6, field(2, [8, ...varint(i), 16, 1, 24, 3])))],
  [
    "call sites of many names",
    protobuf,
    distinct(header(), (i) => {
      const names = Array.from({ length: 250 }, (_, k) => field(9, text(`${i} ${k}`)));
      return field(6, field(2, [8, ...varint(i), 16, 1, 24, 3], ...names));
    }),
  ],
  ["values", protobuf, filled([...START, ...SPAN], recorded(...Array.from({ length: 32 }, (_, i) => named(`${i}`, [24, 1]))))],
  ["long strings", protobuf, filled([...START, ...SPAN], recorded(named("a", field(7, text("x".repeat(60_000))))))],
  [
    "long strings that are not ASCII",
    protobuf,
    filled([...START, ...SPAN], recorded(named("a", field(7, text("é€🦀".repeat(6000)))))),
  ],
  [
    "errors with causes",
    protobuf,
    filled(
      [...START, ...SPAN],
      recorded(named("a", field(9, ...Array.from({ length: 16 }, () => field(1, field(1, text("m")), field(3, text("at x"))))))),
    ),
  ],
  ["unknown fields", protobuf, filled(header(), [0xf8, 1, 1])],
  ["the shortest of events", msgpack, filled(MSGPACK, [0x93, 5, 0xc0, 1])],
  [
    "nothing but nil",
    msgpack,
    filled(
      [
        ...MSGPACK,
        0xdd,
        ...[maxBatchBytes - 11].flatMap((n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]),
        0x7f,
        0xc0,
      ],
      [0xc0],
    ),
  ],
  ["arrays inside of each other", msgpack, filled([...MSGPACK, 0x93, 0x7f, 0xc0], [0x91], [0xc0])],
  ["the shortest of events", json, filled([], [...text('{"span_entered":{"id":1}}'), 0x0a])],
  ["escapes", json, filled(text('{"new_event":{"metadata_id":1,"values":{"'), text("\\u00e9\\n"), text('":{"bool":true}}}}'))],
  ["members that nobody knows", json, filled(text('{"span_entered":{'), text('"x":[{}],'), text('"id":1}}'))],
  ["empty lines", json, filled([], [0x0a])],
  ["lines of space", json, filled([], [0x20, 0x0a])],
  ["space", json, filled(text('{"span_entered":'), [0x20], text('{"id":1}}'))],
  ["digits", json, filled(text('{"new_event":{"metadata_id":1,"values":{"a":{"float":0.'), text("1"), text("}}}}"))],
  ["headers", json, distinct([], (i) => [...text(`{"batch":{"version":1,"sequence":${2 * i}}}`), 0x0a])],
];

function newRelay(): Relay<unknown> {
  return new OpenTelemetryRelay({ spanProcessors: [] }).execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
}

/** Milliseconds of processor time, that of other processes not counted. */
function cpu(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

describe(`the longest batch that a host takes is handled in ${MAX_MS} ms, whatever is in it:`, () => {
  it.each(BATCHES.map(([what, codec, bytes]) => [what, codec.name, codec, bytes] as const))(
    "%s, as %s",
    (_, __, codec, bytes) => {
      expect(bytes.length).toBeLessThanOrEqual(maxBatchBytes);
      expect(bytes.length).toBeGreaterThan(maxBatchBytes * 0.98);
      let quickest = Number.POSITIVE_INFINITY;
      for (let round = 0; round < ROUNDS && quickest > MAX_MS / 2; round++) {
        const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: newRelay(), codec });
        quickest = Math.min(
          quickest,
          cpu(() => receiver.receiveBatch(bytes)),
        );
        expect(receiver.stats.batches).toBe(1);
        receiver[Symbol.dispose]();
      }
      expect(quickest).toBeLessThan(MAX_MS);
    },
  );
});
