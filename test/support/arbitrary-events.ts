/** fast-check arbitraries for everything that goes through the tunnel, with a liking for edges and for hostile names. */
import {
  type BatchHeader,
  type CallSiteData,
  type ClockDomain,
  canonicalInteger,
  type EventTime,
  type Id,
  type RawValue,
  type TracedError,
  TracedValues,
  ValueKind,
} from "@spanduct/protocol";
import fc from "fast-check";
import type { SinkCall } from "./sink-calls.ts";

/** Names that trip up who keeps them in plain objects, in C strings, or believes that text is well-formed. */
export const HOSTILE_NAMES: readonly string[] = [
  "",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "__defineGetter__",
  "then",
  "toJSON",
  "0",
  "1",
  "-1",
  "01",
  "4294967295",
  "a\0b",
  "\0",
  "\ud800",
  "x\udc00y",
  "\udc00\ud800",
  "\ufeff",
  "\u2028\u2029",
  '"\\\n\r\t\b\f',
  "\x7f\x80\u07ff\u0800\uffff",
  "🦀",
  "message",
  "error",
];

const unit: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) },
  { weight: 1, arbitrary: fc.integer({ min: 0x10000, max: 0x10ffff }).map((code) => String.fromCodePoint(code)) },
);

/** Text, well-formed or not; lengths around those at which a length prefix grows. */
export const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.string({ unit, maxLength: 12 }) },
  { weight: 2, arbitrary: fc.constantFrom(...HOSTILE_NAMES) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom("a", "é", "€", "🦀"),
        fc.constantFrom(23, 24, 25, 31, 32, 42, 43, 63, 64, 127, 128, 255, 256, 5461, 5462),
      )
      .map(([character, count]) => character.repeat(count)),
  },
);

function integers(min: bigint, max: bigint, edges: readonly bigint[]): fc.Arbitrary<number | bigint> {
  return fc
    .oneof(
      fc.bigInt({ min: max < 1000n ? max : 0n, max: max < 1000n ? max : 1000n }),
      fc.bigInt({ min, max }),
      fc.constantFrom(
        ...edges.flatMap((edge) => [edge - 1n, edge, edge + 1n, -edge - 1n, -edge]).filter((n) => n >= min && n <= max),
      ),
    )
    .map(canonicalInteger);
}

/** Where encodings of integers change: powers of 2^7, and the widths of machines and of JavaScript. */
export const EDGES: readonly bigint[] = [5, 8, 15, 16, 30, 31, 32, 52, 53, 62, 63, 64, 127, 128]
  .concat(Array.from({ length: 18 }, (_, i) => 7 * (i + 1)))
  .map((bits) => 1n << BigInt(bits));

/** Number of a call site or span. */
export const id: fc.Arbitrary<Id> = integers(0n, 2n ** 64n - 1n, EDGES);

/** Everything that `int` holds, in canonical form. */
export const int: fc.Arbitrary<number | bigint> = integers(-(2n ** 127n), 2n ** 127n - 1n, EDGES);

/** Everything that `u_int` holds, in canonical form. */
export const uInt: fc.Arbitrary<number | bigint> = integers(0n, 2n ** 128n - 1n, EDGES);

/** Not a number, infinities and minus zero among them. */
export const float: fc.Arbitrary<number> = fc.oneof(
  fc.double(),
  fc.constantFrom(0, -0, 1, -1, 1e21, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53),
);

/** A chain of at most 16 errors, the default budget. */
export const tracedError: fc.Arbitrary<TracedError> = fc
  .tuple(
    fc.array(fc.record({ message: text, type: text, stack: text }, { requiredKeys: ["message"] }), {
      minLength: 1,
      maxLength: 16,
      size: "-1",
    }),
    fc.option(fc.constantFrom(1, 127, 128, 2 ** 32 - 1), { freq: 4 }),
  )
  .map(([links, omitted]) => {
    let error: TracedError | null = null;
    for (const link of links.toReversed()) {
      error = { ...link, source: error, ...(error === null && omitted !== null && { omitted }) };
    }
    return error as TracedError;
  });

/** A value with its type. */
export const value: fc.Arbitrary<readonly [kind: ValueKind, raw: RawValue]> = fc.oneof(
  fc.boolean().map((raw) => [ValueKind.bool, raw] as const),
  int.map((raw) => [ValueKind.int, raw] as const),
  uInt.map((raw) => [ValueKind.uInt, raw] as const),
  float.map((raw) => [ValueKind.float, raw] as const),
  text.map((raw) => [ValueKind.string, raw] as const),
  text.map((raw) => [ValueKind.object, raw] as const),
  tracedError.map((raw) => [ValueKind.error, raw] as const),
);

/** What a call site says; names of fields repeat now and then. */
export const callSiteData: fc.Arbitrary<CallSiteData> = fc.record(
  {
    kind: fc.constantFrom("span", "event"),
    name: text,
    target: text,
    level: fc.constantFrom("error", "warn", "info", "debug", "trace"),
    module_path: text,
    file: text,
    line: fc.constantFrom(0, 1, 127, 128, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1),
    fields: fc.array(text, { maxLength: 40, size: "-1" }),
  },
  { requiredKeys: ["kind", "name", "target", "level", "fields"] },
);

const clock: fc.Arbitrary<ClockDomain> = fc.constantFrom("wall", "frozen", "logical", "none");

const counter: fc.Arbitrary<number> = fc.oneof(fc.nat(300), fc.constantFrom(2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER));

/** Half the range of u64 away from its ends, so that no time of an event leaves it. */
const baseTime: fc.Arbitrary<bigint> = fc.bigInt({ min: 2n ** 60n, max: 2n ** 63n });

/** Header of a batch. */
export const header: fc.Arbitrary<BatchHeader> = fc.record({
  version: fc.constant(1),
  clock,
  baseTimeUnixNano: baseTime,
  sequence: counter,
  droppedEvents: counter,
});

/** Relative to the base. Sums of a few of these stay safe integers. */
const time: fc.Arbitrary<EventTime> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 100_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: -(2 ** 50), max: 2 ** 50 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, -1, 63, 64, -64, -65, 2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 30) - 1, 2 ** 31, 2 ** 32),
  },
);

interface RawCall {
  readonly action: "newSpan" | "followsFrom" | "entered" | "exited" | "cloned" | "dropped" | "recorded" | "newEvent" | "timeBase";
  readonly site: number;
  readonly span: number;
  readonly id: Id;
  readonly other: Id | undefined;
  readonly values: readonly { readonly index: number; readonly name: string; readonly value: readonly [ValueKind, RawValue] }[];
  readonly time: EventTime;
  readonly shift: number;
}

const rawCall: fc.Arbitrary<RawCall> = fc.record({
  action: fc.constantFrom(
    "newSpan",
    "newSpan",
    "followsFrom",
    "entered",
    "exited",
    "cloned",
    "dropped",
    "recorded",
    "newEvent",
    "timeBase",
  ),
  site: fc.nat(),
  span: fc.nat(),
  id,
  other: fc.option(id, { nil: undefined }),
  values: fc.array(fc.record({ index: fc.nat(60), name: text, value }), { maxLength: 32, size: "-1" }),
  time,
  shift: fc.integer({ min: -(2 ** 50), max: 2 ** 50 }),
});

/**
 * What a well-behaved sender does in one batch, with the header first: call sites are announced before they are used, values
 * keyed by index (`TracedValues.fields` says of what) or by an undeclared name, no name twice.
 */
export const batch: fc.Arbitrary<readonly SinkCall[]> = fc
  .tuple(
    header,
    fc.uniqueArray(fc.tuple(id, callSiteData), { selector: ([siteId]) => siteId, minLength: 1, maxLength: 4, size: "max" }),
    fc.array(rawCall, { maxLength: 24, size: "max" }),
  )
  .map(([batchHeader, sites, raws]) => {
    const calls: SinkCall[] = [["batch", batchHeader]];
    for (const [siteId, data] of sites) calls.push(["newCallSite", siteId, data, undefined]);
    const spans = new Map<Id, (typeof sites)[number]>();
    for (const raw of raws) {
      const site = sites[raw.site % sites.length] as (typeof sites)[number];
      const [spanId, spanSite] = [...spans][raw.span % Math.max(spans.size, 1)] ?? [undefined, site];
      switch (raw.action) {
        case "newSpan":
          spans.set(raw.id, site);
          calls.push(["newSpan", raw.id, raw.other, site[0], valuesOf(site[1].fields, raw.values), raw.time]);
          break;
        case "recorded":
          if (spanId === undefined) continue;
          calls.push(["valuesRecorded", spanId, valuesOf(spanSite[1].fields, raw.values), raw.time]);
          break;
        case "newEvent":
          calls.push(["newEvent", site[0], raw.other, valuesOf(site[1].fields, raw.values), raw.time]);
          break;
        case "timeBase":
          calls.push(["timeBase", batchHeader.baseTimeUnixNano + BigInt(raw.shift)]);
          break;
        case "followsFrom":
          calls.push(["followsFrom", raw.id, raw.other ?? raw.id, raw.time]);
          break;
        case "entered":
          calls.push(["spanEntered", raw.id, raw.time]);
          break;
        case "exited":
          calls.push(["spanExited", raw.id, raw.time]);
          break;
        case "cloned":
          calls.push(["spanCloned", raw.id, raw.time]);
          break;
        case "dropped":
          calls.push(["spanDropped", raw.id, raw.time]);
      }
    }
    return calls;
  });

function valuesOf(fields: readonly string[], entries: RawCall["values"]): TracedValues {
  const values = new TracedValues();
  values.clear(fields);
  const names = new Set<string>();
  for (const { index, name, value: typed } of entries) {
    const declared = fields[index];
    // Text on the wire is well-formed, so names that differ only in lone surrogates are one name.
    const wireName = (declared ?? name).toWellFormed();
    if (names.has(wireName)) continue;
    names.add(wireName);
    values.push(declared === undefined ? name : index, ...typed);
  }
  return values;
}
