import type { BatchHeader, CallSiteData, EventTime, Id, RawValue, TracedError, ValueColumns } from "@spanduct/protocol";
import { TracedValues, ValueKind } from "@spanduct/protocol";
import { HOSTILE_NAMES } from "../support/arbitrary-events.ts";
import { errorChain, type SinkCall } from "../support/sink-calls.ts";
import type { Random } from "./random.ts";

const IDS: readonly Id[] = [
  0,
  1,
  2,
  3,
  127,
  128,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const TIMES: readonly EventTime[] = [undefined, 0, -1, 1, -(2 ** 31), 2 ** 31, 1e9, 2 ** 53 - 1, -(2 ** 53) + 1];
const BASES = [0n, 1n, 10n ** 9n - 1n, 2n ** 63n, 2n ** 64n - 1n];
const COUNTERS = [0, 1, 2, 2 ** 32, 2 ** 53 - 1];
const INTEGERS = [
  0,
  -1,
  2 ** 53 - 1,
  -(2 ** 53) + 1,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 64n,
  2n ** 127n - 1n,
];
const FLOATS = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324, 1.7976931348623157e308, 2 ** 53];
const OTEL_FIELDS = [
  "otel.name",
  "otel.kind",
  "otel.status_code",
  "otel.status_description",
  "exception.message",
  "level",
  "busy_ns",
];
/** In bytes or units; most are around what the limits of a case are. */
const LENGTHS = [0, 1, 19, 20, 21, 63, 64, 65, 127, 128, 199, 200, 201, 1000, 5000];

/** Calls that a hostile sender could make instead of `calls`, which an honest one made. */
export function mutateCalls(random: Random, calls: readonly SinkCall[], streams: readonly (readonly SinkCall[])[]): SinkCall[] {
  let result = [...calls];
  for (let times = random.between(0, 6); times > 0; times--) result = mutateOnce(random, result, streams);
  return result;
}

function mutateOnce(random: Random, calls: SinkCall[], streams: readonly (readonly SinkCall[])[]): SinkCall[] {
  const at = random.below(calls.length + 1);
  const call = calls[at];
  if (call === undefined) return [...calls, ...slice(random, random.pick(streams))];
  switch (random.below(12)) {
    case 0:
      return calls.toSpliced(at, random.between(1, 4));
    case 1:
      return calls.toSpliced(at, 0, ...Array.from({ length: random.pick([1, 1, 2, 40]) }, () => call));
    case 2:
      return calls.toSpliced(at, 1).toSpliced(random.below(calls.length), 0, call);
    case 3:
      return calls.toSpliced(at, 0, ...slice(random, random.pick(streams)));
    case 4:
      return calls.toSpliced(at, 0, ...flood(random, calls));
    default:
      return calls.with(at, mutateCall(random, call, calls));
  }
}

function slice(random: Random, calls: readonly SinkCall[]): readonly SinkCall[] {
  const start = random.below(calls.length);
  return calls.slice(start, start + random.between(1, 20));
}

/** Something again and again, each time a little different. */
function flood(random: Random, calls: readonly SinkCall[]): SinkCall[] {
  const site = anyId(random, calls);
  const span = anyId(random, calls);
  const first = random.below(2 ** 20);
  const kind = random.below(6);
  return Array.from({ length: random.between(2, 40) }, (_, i): SinkCall => {
    const values = anyValues(random, kind === 4 ? 1 : 0);
    if (kind === 0) return ["newCallSite", first + i, { ...anySite(random), name: `site ${i}` }, undefined];
    if (kind === 1) return ["newSpan", first + i, undefined, site, values, undefined];
    if (kind === 2) return ["newEvent", site, random.oneIn(2) ? span : undefined, values, undefined];
    if (kind === 3) return ["followsFrom", span, anyId(random, calls), undefined];
    if (kind === 4) return ["valuesRecorded", span, values, undefined];
    return [random.pick(["spanCloned", "spanEntered", "spanDropped"]), span, undefined];
  });
}

function mutateCall(random: Random, call: SinkCall, calls: readonly SinkCall[]): SinkCall {
  const id = anyId(random, calls);
  switch (call[0]) {
    case "batch":
      return ["batch", anyHeader(random, call[1])];
    case "timeBase":
      return ["timeBase", random.pick(BASES)];
    case "newCallSite":
      if (random.oneIn(3)) return ["newCallSite", id, call[2], call[3]];
      return ["newCallSite", call[1], mutateSite(random, call[2]), anyTime(random, call[3])];
    case "newSpan": {
      const [, span, parent, site, values, time] = call;
      if (random.oneIn(5)) return ["newSpan", id, parent, site, values, time];
      if (random.oneIn(4)) return ["newSpan", span, random.oneIn(4) ? undefined : id, site, values, time];
      if (random.oneIn(3)) return ["newSpan", span, parent, id, values, time];
      return ["newSpan", span, parent, site, mutateValues(random, values), anyTime(random, time)];
    }
    case "valuesRecorded":
      if (random.oneIn(3)) return ["valuesRecorded", id, call[2], call[3]];
      return ["valuesRecorded", call[1], mutateValues(random, call[2]), anyTime(random, call[3])];
    case "newEvent": {
      const [, site, parent, values, time] = call;
      if (random.oneIn(4)) return ["newEvent", id, parent, values, time];
      if (random.oneIn(3)) return ["newEvent", site, random.oneIn(4) ? undefined : id, values, time];
      return ["newEvent", site, parent, mutateValues(random, values), anyTime(random, time)];
    }
    case "followsFrom":
      return random.oneIn(2) ? ["followsFrom", id, call[2], call[3]] : ["followsFrom", call[1], id, call[3]];
    default:
      if (random.oneIn(3)) return [call[0], call[1], anyTime(random, call[2])];
      if (random.oneIn(2)) return [call[0], id, call[2]];
      return [random.pick(["spanEntered", "spanExited", "spanCloned", "spanDropped"]), call[1], call[2]];
  }
}

/** Mostly one that the stream knows, of a span or of a call site; else one at an edge, or foreign. */
function anyId(random: Random, calls: readonly SinkCall[]): Id {
  if (random.oneIn(3)) return random.oneIn(2) ? random.pick(IDS) : random.below(1000);
  const call = random.pick(calls);
  if (call[0] === "batch" || call[0] === "timeBase") return random.below(20);
  return (call[0] === "newSpan" && random.oneIn(2) ? call[3] : call[1]) as Id;
}

function anyTime(random: Random, time: EventTime): EventTime {
  return random.oneIn(2) ? time : random.pick(TIMES);
}

/** A header that may follow `header`, or not. */
export function anyHeader(random: Random, header: BatchHeader): BatchHeader {
  switch (random.below(5)) {
    case 0:
      return { ...header, sequence: header.sequence + random.below(4) };
    case 1:
      return { ...header, sequence: random.pick(COUNTERS) };
    case 2:
      return { ...header, droppedEvents: random.oneIn(2) ? header.droppedEvents + random.below(9) : random.pick(COUNTERS) };
    case 3:
      return { ...header, clock: random.pick(["wall", "frozen", "logical", "none"]), baseTimeUnixNano: random.pick(BASES) };
    default:
      return { ...header, version: random.pick([0, 1, 2, 2 ** 32 - 1]) };
  }
}

function anySite(random: Random): CallSiteData {
  return {
    kind: random.pick(["span", "event"]),
    name: anyText(random),
    target: random.pick(HOSTILE_NAMES),
    level: random.pick(["error", "warn", "info", "debug", "trace"]),
    fields: Array.from({ length: random.pick([0, 1, 2, 3, 8, 33, 257]) }, (_, i) => (i < 4 ? anyName(random) : `f${i}`)),
  };
}

function mutateSite(random: Random, data: CallSiteData): CallSiteData {
  const other = anySite(random);
  return random.oneIn(3) ? { ...data, fields: other.fields } : { ...data, ...(random.oneIn(2) ? other : { name: other.name }) };
}

function anyName(random: Random): string {
  const list = random.oneIn(4) ? OTEL_FIELDS : HOSTILE_NAMES;
  return random.pick(list);
}

function anyText(random: Random): string {
  if (random.oneIn(2)) return random.pick(HOSTILE_NAMES);
  const unit = random.pick(["x", "é", "€", "🦀", "\0", '"', "\ud800"]);
  return unit.repeat(random.oneIn(400) ? 70_000 : random.pick(LENGTHS));
}

function anyError(random: Random): TracedError {
  if (random.oneIn(2)) return errorChain(random.pick([1, 2, 3, 4, 16, 17, 127, 128, 129, 200]));
  const source = random.oneIn(3) ? errorChain(random.between(1, 5)) : null;
  return { message: anyText(random), source, type: anyText(random), ...(random.oneIn(2) && { stack: anyText(random) }) };
}

function anyValue(random: Random): readonly [ValueKind, RawValue] {
  switch (random.below(7)) {
    case 0:
      return [ValueKind.bool, random.oneIn(2)];
    case 1:
      return [ValueKind.int, random.pick([...INTEGERS, -(2n ** 127n), -(2n ** 64n), -(2n ** 63n)])];
    case 2:
      return [ValueKind.uInt, random.pick([...INTEGERS.filter((n) => n >= 0), 2n ** 127n, 2n ** 128n - 1n])];
    case 3:
      return [ValueKind.float, random.pick(FLOATS)];
    case 4:
      return [ValueKind.error, anyError(random)];
    default:
      return [random.pick([ValueKind.string, ValueKind.object]), anyText(random)];
  }
}

function anyValues(random: Random, atLeast: number): TracedValues {
  const values = new TracedValues();
  const count = random.pick([0, 1, 1, 2, 3, 4]);
  for (let i = Math.min(atLeast, 1); i < count + atLeast; i++) {
    values.push(random.oneIn(2) ? random.below(3) : anyName(random), ...anyValue(random));
  }
  return values;
}

/** Keys may come twice, and mean nothing to the call site: so much for writers that do as they should. */
function mutateValues(random: Random, values: ValueColumns): TracedValues {
  const result = new TracedValues(
    values.keys.slice(0, values.size),
    values.kinds.slice(0, values.size),
    values.raws.slice(0, values.size),
  );
  result.clear(values.fields);
  result.size = result.keys.length;
  const at = random.below(result.size + 1);
  const action = at === result.size ? "add" : random.pick(["replace", "replace", "rename", "add"]);
  if (action === "replace") {
    const [kind, raw] = anyValue(random);
    result.kinds[at] = kind;
    result.raws[at] = raw;
  } else if (action === "rename") {
    result.keys[at] = random.oneIn(3) ? random.pick([0, 1, 31, 32, 255, 2 ** 32 - 1]) : anyName(random);
  } else {
    const count = random.pick([1, 1, 2, 4, 33]);
    for (let i = 0; i < count; i++) {
      const key = random.oneIn(3) ? anyName(random) : random.oneIn(2) ? random.below(40) : `n${i}`;
      result.push(key, ...anyValue(random));
    }
  }
  return result;
}

/** Pieces of each wire form that say something where they do not belong. */
const PIECES: { readonly [codec: string]: readonly (readonly number[])[] } = {
  protobuf: [
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    // A string, a message and an event of 4 GiB, and of one byte more than is there.
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    [0x22, 0x80, 0x80, 0x80, 0x80, 0x04],
    [0x32, 0xff, 0xff, 0xff, 0x7f],
    [0x32, 0x01],
    // Groups, fields of number 0 and of the highest number.
    [0x0b, 0x0b, 0x0b, 0x0c],
    [0x00, 0x00],
    [0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00],
    // Header fields behind events, another event inside.
    [0x08, 0x01],
    [0x32, 0x02, 0x28, 0x01],
    [0x32, 0x04, 0x28, 0x01, 0x30, 0x01],
  ],
  msgpack: [
    // Text, lists, maps, binaries and extensions of 4 GiB.
    [0xdb, 0xff, 0xff, 0xff, 0xff],
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0xff, 0xff, 0xff, 0xff],
    [0xc6, 0xff, 0xff, 0xff, 0xff],
    [0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
    [0xdd, 0x00, 0x00, 0x00, 0x02],
    [0xc1],
    [0xc0],
    [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
    [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
    Array.from({ length: 200 }, () => 0x91),
    [0x93, 0x05, 0xc0, 0x01],
  ],
  json: [
    "1e999",
    "9007199254740991",
    "-0",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1".repeat(400),
    "0.1e-400",
    '"__proto__":{"bool":true},',
    '"bool":true,',
    '"id":7,',
    '"values":{},',
    '"\\u0069d":7,',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    "\\ud800\\u0041",
    "\\ud83e\\udd80",
    "\\",
    '"',
    "\n",
    "}}\n",
    "null",
    "[".repeat(200),
    '{"source":'.repeat(130),
    '{"x":'.repeat(200),
    '\n{"batch":{"version":1,"sequence":9}}\n',
    '{"span_entered":{"id":1}}\n',
    "\ufeff",
  ].map((text) => [...Buffer.from(text)]),
};

const BYTES = [0, 1, 0x7f, 0x80, 0xff, 0x20, 0x7b, 0x91, 0xc0];

/** Bytes that a hostile guest could send instead of `bytes`. @param others batches to take pieces from */
export function mutateBytes(random: Random, codec: string, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let result = bytes;
  for (let times = random.pick([1, 1, 2, 4]); times > 0; times--) result = damage(random, codec, result, others);
  return result;
}

function damage(random: Random, codec: string, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const at = place(random, codec, bytes);
  const end = Math.min(bytes.length, at + random.between(1, random.pick([1, 4, 64])));
  const before = bytes.subarray(0, at);
  switch (random.below(9)) {
    case 0: {
      const copy = bytes.slice();
      if (at < copy.length) copy[at] = (copy[at] as number) ^ (1 << random.below(8));
      return copy;
    }
    case 1: {
      const copy = bytes.slice();
      if (at < copy.length) copy[at] = random.oneIn(2) ? random.pick(BYTES) : random.below(256);
      return copy;
    }
    case 2:
      return before.slice();
    case 3:
      return join(before, bytes.subarray(end));
    case 4:
      return join(bytes.subarray(0, end), bytes.subarray(at));
    case 5: {
      const other = random.pick(others);
      return join(before, other.subarray(random.below(other.length + 1)));
    }
    case 6:
      return join(
        before,
        Uint8Array.from({ length: random.between(1, 8) }, () => random.below(256)),
        bytes.subarray(at),
      );
    case 7:
      return join(before, Uint8Array.from(random.pick(PIECES[codec] ?? [[]])), bytes.subarray(end));
    default:
      return join(before, Uint8Array.from(random.pick(PIECES[codec] ?? [[]])), bytes.subarray(at));
  }
}

/** Anywhere; in text often where something begins, because little of it means anything elsewhere. */
function place(random: Random, codec: string, bytes: Uint8Array): number {
  const at = random.below(bytes.length + 1);
  if (codec !== "json" || random.oneIn(2)) return at;
  return bytes.indexOf(random.pick([0x7b, 0x2c, 0x22]), at) + 1 || at;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
