import { ROOT_CONTEXT } from "@opentelemetry/api";
import { OpenTelemetryRelay, TracerRelay } from "@spanduct/opentelemetry";
import { type CallSiteData, type Codec, DEFAULT_LIMITS, type Limits, TracedValues, ValueKind } from "@spanduct/protocol";
import { json, parseSpans, printState } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { errorChain, type SinkCall } from "../support/sink-calls.ts";
import { field, header, inBatches, repeated, text, varint } from "./raw.ts";

/** No budget ends the work before it is long enough to be measured. */
const LIMITS: Limits = {
  ...(Object.fromEntries(Object.keys(DEFAULT_LIMITS).map((limit) => [limit, Number.POSITIVE_INFINITY])) as unknown as Limits),
  maxErrorDepth: DEFAULT_LIMITS.maxErrorDepth,
};
const SITE: CallSiteData = { kind: "span", name: "work", target: "guest", level: "info", fields: ["a", "b"] };
const NONE = new TracedValues();

/** Work of a size: prepared first, and then done, which is what is measured. */
type Family = (size: number) => () => void;

function newRelay(): Relay<unknown> {
  const relay = new OpenTelemetryRelay({ spanProcessors: [], maxHeldBytes: Number.POSITIVE_INFINITY });
  return relay.execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
}

/** A receiver is given these batches, and then rolled back. */
function received(codec: Codec, batches: readonly Uint8Array[], relay: () => Relay<unknown> = newRelay): () => void {
  return () => {
    const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: relay(), codec, limits: LIMITS });
    for (const batch of batches) receiver.receiveBatch(batch);
    receiver[Symbol.dispose]();
  };
}

/** The calls in one batch, or in batches of `size`. */
function calls(make: (size: number) => Iterable<SinkCall>, size = Number.POSITIVE_INFINITY, codec: Codec = protobuf): Family {
  return (count) => received(codec, [...inBatches(codec, withSite(make(count)), size)]);
}

function* withSite(more: Iterable<SinkCall>): Generator<SinkCall> {
  yield ["newCallSite", 1, SITE, undefined];
  yield* more;
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function values(...entries: (readonly [key: number | string, kind: ValueKind, raw: never])[]): TracedValues {
  const list = new TracedValues();
  for (const entry of entries) list.push(...entry);
  return list;
}

function one(key: number | string, raw: string): TracedValues {
  return values([key, ValueKind.string, raw as never]);
}

const open = (id: number, parent?: number): SinkCall => ["newSpan", id, parent, 1, NONE, undefined];

function line(content: string): () => void {
  return received(json, [Buffer.from(content)]);
}

const CODECS = [protobuf, msgpack, json];

/** Families of input in which something grows, with a size that takes a few milliseconds. */
const FAMILIES: readonly (readonly [what: string, size: number, family: Family])[] = [
  ...CODECS.flatMap((codec): [string, number, Family][] => [
    [
      `one long string, as ${codec.name}`,
      8_000_000,
      calls((n) => [["newEvent", 1, undefined, one(0, "x".repeat(n)), undefined]], 1e9, codec),
    ],
    [
      `one long string that is not ASCII, as ${codec.name}`,
      1_000_000,
      calls((n) => [["newEvent", 1, undefined, one(0, "é🦀".repeat(n / 2)), undefined]], 1e9, codec),
    ],
    [
      `a call site of many fields, as ${codec.name}`,
      10_000,
      calls((n) => [["newCallSite", 2, { ...SITE, fields: times(n, (i) => `f${i}`) }, undefined]], 1e9, codec),
    ],
    [
      `a record of many values, as ${codec.name}`,
      10_000,
      calls(
        (n) => [
          ["newEvent", 1, undefined, values(...times(n, (i) => [`v${i}`, ValueKind.bool, true as never] as const)), undefined],
        ],
        1e9,
        codec,
      ),
    ],
    [`many spans, as ${codec.name}`, 4_000, calls((n) => times(n, (i) => open(i)), 1e9, codec)],
    [`many batches of one event, as ${codec.name}`, 3_000, calls((n) => times(n, (i) => open(i)), 1, codec)],
    [
      `many bad events, as ${codec.name}`,
      30_000,
      calls((n) => times(n, (i): SinkCall => ["spanEntered", i, undefined]), 1e9, codec),
    ],
  ]),
  [
    "a deep chain of errors, as protobuf",
    10_000,
    calls((n) => [["newEvent", 1, undefined, values(["a", ValueKind.error, errorChain(n) as never]), undefined]]),
  ],
  [
    "a deep chain of errors, as msgpack",
    10_000,
    calls((n) => [["newEvent", 1, undefined, values(["a", ValueKind.error, errorChain(n) as never]), undefined]], 1e9, msgpack),
  ],
  [
    "one value again and again in a record",
    30_000,
    (n) =>
      received(protobuf, [Uint8Array.from([...header(), ...field(6, field(10, ...times(n, () => field(3, [8, 1, 0x18, 1]))))])]),
  ],
  ["unknown fields, as protobuf", 500_000, (n) => received(protobuf, [repeated([0xf8, 1, 1], n, header())])],
  [
    "unknown fields in an event, as protobuf",
    300_000,
    (n) => received(protobuf, [repeated([0xf8, 1, 1], n, [...header(), 0x32, ...varint(3 * n)])]),
  ],
  [
    "arrays inside of each other, as msgpack",
    2_000_000,
    (n) => received(msgpack, [repeated([0x91], n, [0x95, 1, 4, 0, 0, 0, 0x93, 0x7f, 0xc0], [0xc0])]),
  ],
  [
    "a long array to skip, as msgpack",
    2_000_000,
    (n) =>
      received(msgpack, [
        repeated([0xc0], n, [0x95, 1, 4, 0, 0, 0, 0x93, 0x7f, 0xc0, 0xdd, n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]),
      ]),
  ],
  [
    "escapes in JSON",
    300_000,
    (n) => line(`{"new_event":{"metadata_id":1,"values":{"a":{"string":"${"\\u00e9\\n".repeat(n)}"}}}}`),
  ],
  ["escapes in a key of JSON", 300_000, (n) => line(`{"${"\\u00e9\\n".repeat(n)}":1}`)],
  ["unknown members in JSON", 100_000, (n) => line(`{"span_entered":{${'"x":[1,{"y":"z"}],'.repeat(n)}"id":1}}`)],
  ["digits in JSON", 1_000_000, (n) => line(`{"new_event":{"metadata_id":1,"values":{"a":{"float":0.${"1".repeat(n)}}}}}`)],
  [
    "an integer of many digits in JSON",
    1_000_000,
    (n) => line(`{"new_event":{"metadata_id":1,"values":{"a":{"int":${"1".repeat(n)}}}}}`),
  ],
  ["space in JSON", 4_000_000, (n) => line(`{"span_entered":${" ".repeat(n)}{"id":1}}`)],
  ["empty lines of JSON", 1_000_000, (n) => line("\n".repeat(n))],
  ["lines of nothing but space", 300_000, (n) => line(" \n".repeat(n))],
  [
    "headers in the middle of JSON, each after a loss",
    10_000,
    (n) => line(times(n, (i) => `{"batch":{"version":1,"sequence":${2 * i}}}\n`).join("")),
  ],
  [
    "spans inside of each other, all entered, left from the outside",
    4_000,
    calls((n) => [
      ...times(n, (i) => open(i, i === 0 ? undefined : i - 1)),
      ...times(n, (i): SinkCall => ["spanEntered", i, undefined]),
      ...times(n, (i): SinkCall => ["spanExited", i, undefined]),
    ]),
  ],
  [
    "many open roots, each batch after a loss",
    2_000,
    (n) =>
      received(protobuf, [
        ...inBatches(protobuf, withSite(times(n, (i) => open(i))), 1e9),
        ...times(n, (i) => [...inBatches(protobuf, [["spanEntered", i, undefined] as SinkCall], 1, 2 * i + 2)]).flat(),
      ]),
  ],
  [
    "a span that is recorded to, a new name each time",
    10_000,
    calls((n) => [open(1), ...times(n, (i): SinkCall => ["valuesRecorded", 1, one(`n${i}`, ""), undefined])]),
  ],
  [
    "a span that is recorded to, the same names each time",
    10_000,
    calls((n) => [open(1), ...times(n, (i): SinkCall => ["valuesRecorded", 1, one(i % 2, "x"), undefined])]),
  ],
  ["events of one span", 20_000, calls((n) => [open(1), ...times(n, (): SinkCall => ["newEvent", 1, 1, NONE, undefined])])],
  ["links of one span", 20_000, calls((n) => [open(1), ...times(n, (): SinkCall => ["followsFrom", 1, 1, undefined])])],
  [
    "a span that is cloned and dropped",
    20_000,
    calls((n) => [
      open(1),
      ...times(n, (): SinkCall => ["spanCloned", 1, undefined]),
      ...times(n, (): SinkCall => ["spanDropped", 1, undefined]),
    ]),
  ],
  ["a span that is opened again and again", 10_000, calls((n) => times(n, () => open(1)))],
  [
    "a call site that is defined again and again",
    10_000,
    calls((n) => times(n, (i): SinkCall => ["newCallSite", 1, { ...SITE, name: `${i}` }, undefined])),
  ],
  [
    "ids that are multiples of a large power of two",
    5_000,
    calls((n) => times(n, (i): SinkCall => ["newSpan", i * 2 ** 32, undefined, 1, NONE, undefined])),
  ],
  [
    "ids beyond 2^53",
    5_000,
    calls((n) => times(n, (i): SinkCall => ["newSpan", 2n ** 63n + (BigInt(i) << 40n), undefined, 1, NONE, undefined])),
  ],
  [
    "names that look like indices of arrays",
    5_000,
    calls((n) => [open(1), ...times(n, (i): SinkCall => ["valuesRecorded", 1, one(`${2 ** 30 + i * 2 ** 12}`, ""), undefined])]),
  ],
  [
    "a held attempt, rolled back",
    3_000,
    (n) => {
      const relay = () =>
        new OpenTelemetryRelay({ spanProcessors: [], export: "transactional", maxHeld: 1e9, maxHeldBytes: 1e12 }).execution({
          parent: ROOT_CONTEXT,
        }) as Relay<unknown>;
      return received(
        protobuf,
        [
          ...inBatches(
            protobuf,
            withSite(
              times(n, (i): SinkCall[] => [open(i), ["newEvent", 1, i, NONE, undefined], ["spanDropped", i, undefined]]).flat(),
            ),
            1e9,
          ),
        ],
        relay,
      );
    },
  ],
  [
    "many spans, by way of a tracer, each after a loss",
    2_000,
    (n) =>
      received(
        protobuf,
        times(n, (i) => [...inBatches(protobuf, withSite([open(i)]), 1e9, 2 * i)]).flat(),
        () => new TracerRelay().execution({ parent: ROOT_CONTEXT }) as Relay<unknown>,
      ),
  ],
  [
    "state that is persisted, printed, parsed and restored",
    2_000,
    (n) => {
      const batches = [
        ...inBatches(
          protobuf,
          withSite(
            times(n, (i): SinkCall[] => [
              ["newSpan", i, undefined, 1, one(0, "value"), undefined],
              ["spanEntered", i, undefined],
            ]).flat(),
          ),
          1e9,
        ),
      ];
      return () => {
        const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: newRelay(), limits: LIMITS });
        for (const batch of batches) receiver.receiveBatch(batch);
        const metadata = receiver.persistMetadata();
        const spans = parseSpans(printState(receiver.persist().spans));
        new TracingEventReceiver<unknown>(metadata, spans, [], { relay: newRelay(), limits: LIMITS })[Symbol.dispose]();
      };
    },
  ],
  [
    "an event object of many values",
    10_000,
    (n) => {
      const event = { new_event: { metadata_id: 1, values: Object.fromEntries(times(n, (i) => [`v${i}`, { bool: true }])) } };
      return () => void new TracingEventReceiver<unknown>({}, {}, [], { relay: newRelay(), limits: LIMITS }).tryReceive(event);
    },
  ],
  ["bytes of text at the end of nothing", 2_000_000, (n) => received(json, [Uint8Array.from(text("x".repeat(n)))])],
];

/** Microseconds of processor time, that of other processes not counted. */
function cpu(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

const ROUNDS = 5;
const ATTEMPTS = 4;
/** Twice the input may take so much longer. */
const MAX_RATIO = 3;

describe("twice the input takes at most three times as long", () => {
  it.each(FAMILIES)(
    "%s",
    (_, size, family) => {
      const small = family(size);
      const large = family(2 * size);
      // Warm.
      small();
      let ratio = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < ATTEMPTS && ratio > MAX_RATIO; attempt++) {
        let [quickest, quickestLarge] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
        for (let round = 0; round < ROUNDS; round++) {
          quickest = Math.min(quickest, cpu(small));
          quickestLarge = Math.min(quickestLarge, cpu(large));
        }
        ratio = quickestLarge / quickest;
      }
      expect(ratio).toBeLessThanOrEqual(MAX_RATIO);
    },
    120_000,
  );
});
