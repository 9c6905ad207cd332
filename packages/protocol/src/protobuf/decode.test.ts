import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plain, replay, type SinkCall, sinkTo } from "../../../../test/support/sink-calls.ts";
import type { DecodeError } from "../errors.ts";
import type { TracedError } from "../event.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import type { BatchHeader } from "../sink.ts";
import { canonicalInteger, type RawValue, TracedValues, ValueKind } from "../values.ts";
import { protobuf } from "./index.ts";

type Bytes = readonly number[];

const HEADER: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 };
const BATCH: SinkCall = ["batch", HEADER];
/** A header that is all defaults: version 1. */
const START: Bytes = [0x08, 1];

function varint(value: number | bigint): Bytes {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
}

const number = (field: number, value: number | bigint): Bytes => [...varint(field * 8), ...varint(value)];
const nested = (field: number, ...parts: readonly Bytes[]): Bytes => {
  const content = parts.flat();
  return [...varint(field * 8 + 2), ...varint(content.length), ...content];
};
const text = (field: number, value: string): Bytes => nested(field, [...new TextEncoder().encode(value)]);
const event = (...parts: readonly Bytes[]): Bytes => nested(6, ...parts);
/** An event that a decoder has no reason to refuse. */
const entered = (id: number | bigint): Bytes => event(number(5, id));
const value = (...parts: readonly Bytes[]): Bytes => event(nested(10, nested(3, ...parts)));

function decode(parts: readonly Bytes[], limits: Limits = DEFAULT_LIMITS): { calls: SinkCall[]; errors: DecodeError[] } {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  const sink = sinkTo((call) => calls.push(call));
  protobuf.createDecoder(limits).decode(Uint8Array.from(parts.flat()), sink, (error) => errors.push(error));
  return { calls, errors };
}

function encode(calls: readonly SinkCall[]): Bytes {
  const encoder = protobuf.createEncoder();
  replay(calls, encoder);
  return [...encoder.finish()];
}

function values(...entries: (readonly [key: number | string, kind: ValueKind, raw: RawValue])[]): TracedValues {
  const result = new TracedValues();
  for (const entry of entries) result.push(...entry);
  return result;
}

describe("ProtobufDecoder: integers", () => {
  const edges = [0n, 1n, ...[31n, 32n, 53n, 63n].map((bits) => 1n << bits)];
  for (let bits = 7n; bits < 64n; bits += 7n) edges.push(1n << bits);
  const near = [...new Set(edges.flatMap((edge) => [edge - 1n, edge, edge + 1n]))].filter((n) => n >= 0n && n < 1n << 64n);
  near.push((1n << 64n) - 1n);

  it("reads ids around every edge, in as few bytes as it takes", () => {
    for (const id of near) {
      const { calls, errors } = decode([START, entered(id)]);
      expect(errors).toEqual([]);
      expect(calls[1]).toEqual(["spanEntered", canonicalInteger(id), undefined]);
      expect(encode(calls).slice(-varint(id).length)).toEqual(varint(id));
    }
  });

  it("refuses a varint beyond 64 bits, of eleven bytes, or without end", () => {
    const at = START.length + 3;
    const long = event([0x28, ...Array<number>(9).fill(0xff), 0x02]);
    expect(decode([START, long]).errors).toMatchObject([{ code: "malformed", offset: at }]);
    const eleven = event([0x28, ...Array<number>(10).fill(0x80), 0x00]);
    expect(decode([START, eleven]).errors).toMatchObject([{ code: "malformed", offset: at }]);
    const endless = [0x32, 5, 0x28, 0x80, 0x80, 0x80, 0x80];
    expect(decode([START, endless]).errors).toMatchObject([{ code: "malformed", offset: at }]);
  });

  it("reads varints with superfluous bytes", () => {
    expect(decode([START, event([0x28, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00])]).calls[1]).toEqual([
      "spanEntered",
      5,
      undefined,
    ]);
  });

  it("reads integers in canonical form however wide they were written", () => {
    const small = [3, ...Array<number>(15).fill(0)];
    const minusOne = Array<number>(16).fill(0xff);
    expect(raws(decode([START, value(nested(10, small)), value(nested(10, minusOne)), value(nested(11, small))]).calls)).toEqual([
      3, -1, 3,
    ]);
  });
});

describe("ProtobufDecoder: times", () => {
  const at = (calls: readonly SinkCall[]): unknown[] => calls.slice(1).map((call) => call.at(-1));

  it("adds deltas up, negative ones too, past events without a time", () => {
    const timed = (delta: bigint): Bytes => event(number(1, BigInt.asUintN(64, (delta << 1n) ^ (delta >> 63n))), number(5, 1));
    expect(at(decode([START, timed(10n), entered(1), timed(-30n), timed(0n), timed(1n << 40n)]).calls)).toEqual([
      10,
      undefined,
      -20,
      -20,
      2 ** 40 - 20,
    ]);
  });

  it("brings times at both ends of their range across, next to each other", () => {
    const times = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1, 0, Number.MIN_SAFE_INTEGER];
    const calls = times.map((time): SinkCall => ["spanEntered", 1, time]);
    expect(at(decode([encode([BATCH, ...calls])]).calls)).toEqual(times);
  });

  it("counts times from the last time base, and leaves out those too far from the batch's", () => {
    const base = 1_700_000_000_000_000_000n;
    const calls: SinkCall[] = [
      ["batch", { ...HEADER, baseTimeUnixNano: base }],
      ["spanEntered", 1, 5],
      ["timeBase", base + 100n],
      ["spanEntered", 2, -7],
      ["timeBase", base - 2n ** 52n],
      ["spanEntered", 3, 1],
      ["timeBase", 0n],
      ["spanEntered", 4, 1],
    ];
    const { calls: read, errors } = decode([encode(calls)]);
    expect(errors).toEqual([]);
    expect(at(read)).toEqual([5, 93, 1 - 2 ** 52, undefined]);
  });

  it("refuses a time beyond its range; the next ones count from the last one that was good", () => {
    const far = event(number(1, 1n << 54n), number(5, 1));
    const { calls, errors } = decode([START, far, event(number(1, 2), number(5, 2)), far, event(number(1, 2), number(5, 3))]);
    expect(errors.map(({ code, offset }) => [code, offset])).toEqual([
      ["malformed", START.length + 3],
      ["malformed", START.length + far.length + 6 + 3],
    ]);
    expect(at(calls)).toEqual([1, 2]);
  });

  it("counts the time of an event that is refused for something else", () => {
    const bad = event(number(1, 20), nested(10, nested(3, number(1, 0))));
    expect(at(decode([START, bad, event(number(1, 2), number(5, 2))]).calls)).toEqual([11]);
  });
});

describe("ProtobufDecoder: what it skips", () => {
  const unknown = [
    ["a varint", number(15, 2 ** 40)],
    ["eight bytes", [15 * 8 + 1, 1, 2, 3, 4, 5, 6, 7, 8]],
    ["a length and bytes", nested(15, [1, 2, 3])],
    ["four bytes", [15 * 8 + 5, 1, 2, 3, 4]],
    ["the highest field number", number(2 ** 29 - 1, 1)],
  ] as const;

  it.each(unknown)("unknown fields in every message: %s", (_, field) => {
    const { calls, errors } = decode([
      START,
      field,
      event(field, nested(2, number(2, 1), field, number(3, 3), field), field),
      field,
      event(nested(3, number(1, 9), field)),
      event(nested(4, field, number(1, 9))),
      event(nested(9, field, number(1, 9), nested(2, field, text(7, "x"), field))),
      event(nested(10, field, nested(3, nested(9, nested(1, field, text(1, "m")), field)))),
      field,
    ]);
    expect(errors).toEqual([]);
    expect(plain(calls)).toEqual(
      plain([
        BATCH,
        ["newCallSite", 0, { kind: "span", name: "", target: "", level: "info", fields: [] }, undefined],
        ["newSpan", 9, undefined, 0, values(), undefined],
        ["followsFrom", 9, 0, undefined],
        ["valuesRecorded", 9, values([0, ValueKind.string, "x"]), undefined],
        ["newEvent", 0, undefined, values([0, ValueKind.error, { message: "m", source: null }]), undefined],
      ]),
    );
  });

  it("known fields of another wire type", () => {
    const { calls, errors } = decode([START, event(nested(5, [1]), nested(1, [2]), number(5, 7)), [6 * 8, 1]]);
    expect(errors).toEqual([]);
    expect(calls).toEqual([BATCH, ["spanEntered", 7, undefined]]);
  });

  it("events of an unknown kind, or of none; their time counts", () => {
    const { calls, errors } = decode([
      START,
      event(),
      event(number(1, 8), nested(11, [1, 2])),
      event(number(1, 2), number(5, 3)),
    ]);
    expect(errors).toEqual([]);
    expect(calls).toEqual([BATCH, ["spanEntered", 3, 5]]);
  });
});

describe("ProtobufDecoder: what it refuses", () => {
  const site = (...parts: readonly Bytes[]): Bytes => event(nested(2, ...parts));
  const KIND = number(2, 1);
  const LEVEL = number(3, 3);
  const cause = nested(1, text(1, "m"));

  // Offsets count from the start of the batch: two bytes of header, two of tag and length of the event.
  it.each<[what: string, event: Bytes, code: string, offset: number, reason: RegExp]>([
    ["a call site without kind", site(LEVEL), "malformed", 6, /unknown kind 0/],
    ["a call site of an unknown kind", site(number(2, 3), LEVEL), "malformed", 6, /unknown kind 3/],
    ["a call site without level", site(KIND), "malformed", 6, /unknown level 0/],
    ["a call site of an unknown level", site(KIND, number(3, 6)), "malformed", 6, /unknown level 6/],
    ["a line beyond 32 bits", site(KIND, LEVEL, number(8, 2 ** 32)), "malformed", 11, /beyond 32 bits/],
    ["an index beyond 32 bits", value(number(1, 2 ** 32), number(3, 1)), "malformed", 9, /beyond 32 bits/],
    ["a value without a value", value(number(1, 1)), "malformed", 8, /without a value/],
    ["a value with a name only", value(text(2, "n")), "malformed", 8, /without a value/],
    ["an error without a cause", value(nested(9)), "malformed", 10, /without a cause/],
    ["an error that only says what it omits", value(nested(9, number(2, 1))), "malformed", 10, /without a cause/],
    ["omitted causes beyond 32 bits", value(nested(9, cause, number(2, 2 ** 32))), "malformed", 16, /beyond 32 bits/],
    ["a wide integer of 15 bytes", value(nested(10, Array<number>(15).fill(1))), "malformed", 9, /16 bytes/],
    ["a wide integer of 17 bytes", value(nested(11, Array<number>(17).fill(1))), "malformed", 9, /16 bytes/],
    ["a float that is cut", value([0x31, 1, 2, 3]), "malformed", 12, /truncated/],
    ["text that is not UTF-8", value(nested(7, [0xff])), "malformed", 9, /UTF-8/],
    ["a name with an encoded surrogate", value(nested(2, [0xed, 0xa0, 0x80]), number(3, 1)), "malformed", 9, /UTF-8/],
    ["long text that is not UTF-8", value(nested(8, [...Array<number>(60).fill(0x61), 0xc0, 0x80])), "malformed", 9, /UTF-8/],
    ["two kinds in one event", event(number(5, 1), number(6, 1)), "malformed", 6, /two kinds/],
    ["a kind twice in one event", event(number(5, 1), number(5, 1)), "malformed", 6, /two kinds/],
    ["field number 0", event([0x00, 0x00]), "malformed", 5, /field number 0/],
    ["a group", event([0x63, 0x64]), "malformed", 5, /wire type 3/],
    ["wire type 6", event([0x66]), "malformed", 5, /wire type 6/],
    ["wire type 7", event([0x67]), "malformed", 5, /wire type 7/],
    ["a tag beyond 32 bits", event(varint(2 ** 32)), "malformed", 4, /beyond 32 bits/],
    ["a message that runs past its event", event([0x1a, 5, 0x08]), "malformed", 5, /length 5 runs past the end/],
    ["text that runs past its value", value([0x3a, 4, 0x61]), "malformed", 9, /length 4 runs past the end/],
    ["a length of 4 GiB", value([0x3a, ...varint(2 ** 32 - 1)]), "malformed", 9, /runs past the end/],
    ["a length of 2^63", value([0x3a, ...varint(2n ** 63n)]), "malformed", 9, /beyond 32 bits/],
    ["a varint that runs past its message", event(nested(4, [0x08, 0x80]), number(12, 0)), "malformed", 8, /truncated/],
    ["four unknown bytes that run past", event([12 * 8 + 5, 1, 2, 3]), "malformed", 8, /truncated/],
    ["eight unknown bytes that run past", event([12 * 8 + 1, 1, 2, 3]), "malformed", 8, /truncated/],
  ])("%s, and reads on with the next event", (_, bad, code, offset, reason) => {
    const { calls, errors } = decode([START, bad, entered(7)]);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([[code, offset]]);
    expect(errors[0]?.reason).toMatch(reason);
    expect(calls).toEqual([BATCH, ["spanEntered", 7, undefined]]);
  });

  // Each ends in the middle of a varint that the bytes behind it would complete.
  it.each<[what: string, wrap: (cut: Bytes) => Bytes]>([
    ["an event", (cut) => event(number(5, 1), cut)],
    ["a call site", (cut) => event(nested(2, KIND, LEVEL, cut), number(12, 1))],
    ["a span", (cut) => event(nested(3, cut), number(12, 1))],
    ["a link", (cut) => event(nested(4, cut), number(12, 1))],
    ["a record", (cut) => event(nested(9, cut), number(12, 1))],
    ["an event in a span", (cut) => event(nested(10, cut), number(12, 1))],
    ["a value", (cut) => event(nested(10, nested(3, number(3, 1), cut), nested(3, number(3, 1))))],
    ["an error", (cut) => value(nested(9, cause, cut), number(3, 1))],
    ["a cause", (cut) => value(nested(9, nested(1, cut), cause))],
  ])("%s that ends inside a number", (_, wrap) => {
    for (const cut of [number(12, 2 ** 20).slice(0, -1), [12 * 8 + 5, 0, 0], [12 * 8 + 1, 0, 0, 0]]) {
      const { calls, errors } = decode([START, wrap(cut), entered(7)]);
      expect(errors.map(({ code, reason }) => [code, reason.replace(/ at.*/, "")])).toEqual([["malformed", "truncated"]]);
      expect(calls).toEqual([BATCH, ["spanEntered", 7, undefined]]);
    }
  });

  it.each<[what: string, header: Bytes, code: string, offset: number]>([
    ["no bytes at all", [], "unsupported_version", 0],
    ["a header without version", number(4, 1), "unsupported_version", 0],
    ["version 2", number(1, 2), "unsupported_version", 0],
    ["a version beyond 32 bits", number(1, 2 ** 32), "malformed", 1],
    ["an unknown clock", [...START, ...number(2, 5)], "malformed", 2],
    ["a sequence beyond 2^53-1", [...START, ...number(4, 2 ** 53)], "malformed", 3],
    ["a drop count beyond 2^53-1", [...START, ...number(5, 2 ** 53)], "malformed", 3],
    ["a base time that is cut", [...START, 0x19, 1, 2, 3, 4, 5, 6, 7], "malformed", 10],
    ["a tag that is cut", [...START, 0x80], "malformed", 3],
    ["field number 0", [...START, 0x02, 0x00], "malformed", 3],
  ])("a batch with %s", (_, header, code, offset) => {
    const { calls, errors } = decode([header]);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([[code, offset]]);
    expect(calls).toEqual([]);
  });

  it("the rest of a batch in which the header comes again, a length runs past the end, or bytes are no field", () => {
    for (const [rest, offset] of [
      [number(4, 1), 6],
      [[0x32, 100, 0x28], 7],
      [[0x00, 0x01], 7],
      [[0x06], 7],
      [[0x31, 1, 2], 9],
    ] as const) {
      const { calls, errors } = decode([START, entered(1), rest]);
      expect(errors.map((error) => [error.code, error.offset])).toEqual([["malformed", offset]]);
      expect(calls).toEqual([BATCH, ["spanEntered", 1, undefined]]);
    }
  });

  it("the rest of a batch after 64 bad events", () => {
    const bad = event([0x00]);
    const good = entered(1);
    const at63 = decode([START, Array<Bytes>(63).fill(bad).flat(), good]);
    expect(at63.errors).toHaveLength(63);
    expect(at63.calls).toHaveLength(2);
    const at64 = decode([START, Array<Bytes>(64).fill(bad).flat(), good]);
    expect(at64.errors).toHaveLength(65);
    expect(at64.errors.at(-1)).toMatchObject({ code: "malformed", offset: START.length + 64 * bad.length });
    expect(at64.calls).toEqual([BATCH]);
  });
});

describe("ProtobufDecoder: hostile sizes", () => {
  it("keeps maxErrorDepth of a million causes, and counts at most 2^32-1", () => {
    const causes = Array<Bytes>(100_000).fill(nested(1)).flat();
    const { calls, errors } = decode([START, value(nested(9, causes, number(2, 2 ** 32 - 1)))]);
    expect(errors).toEqual([]);
    let depth = 0;
    let last: TracedError | undefined;
    for (let link = raws(calls)[0] as TracedError | null; link !== null; link = link.source) {
      depth++;
      last = link;
    }
    expect(depth).toBe(DEFAULT_LIMITS.maxErrorDepth);
    expect(last?.omitted).toBe(2 ** 32 - 1);
  });

  it("reads a record of 100,000 values, all under one name or each under its own, in linear time", () => {
    const count = 100_000;
    const same = decode([START, event(nested(10, ...Array<Bytes>(count).fill(nested(3, number(1, 5), number(3, 1)))))]);
    expect(same.errors).toEqual([]);
    expect((same.calls[1] as Extract<SinkCall, readonly ["newEvent", ...unknown[]]>)[3].size).toBe(1);
    const own = Array.from({ length: count }, (_, i) => nested(3, number(1, i), number(3, 1)));
    const each = decode([START, event(nested(10, ...own))], { ...DEFAULT_LIMITS, maxValuesPerRecord: count });
    expect((each.calls[1] as Extract<SinkCall, readonly ["newEvent", ...unknown[]]>)[3].size).toBe(count);
  });

  it("gives the last value when a name comes twice in a record, at the place of the first", () => {
    const twice = event(
      nested(
        10,
        nested(3, text(2, "a"), number(4, 2)),
        nested(3, text(2, "b"), number(3, 1)),
        nested(3, text(2, "a"), text(7, "x")),
      ),
    );
    expect(plain(decode([START, twice]).calls)[1]?.args[2]).toEqual([
      ["a", "string", "x"],
      ["b", "bool", true],
    ]);
  });

  it("reads random bytes in the place of every message as events or coded errors", () => {
    const around: readonly ((bytes: Bytes) => Bytes)[] = [
      (bytes) => bytes,
      (bytes) => event(bytes),
      ...[2, 3, 4, 9, 10].map((kind) => (bytes: Bytes) => event(nested(kind, bytes))),
      (bytes) => value(bytes),
      (bytes) => value(nested(9, bytes)),
      (bytes) => value(nested(9, nested(1, bytes))),
    ];
    fc.assert(
      fc.property(fc.constantFrom(...around), fc.uint8Array({ maxLength: 60 }), (wrap, bytes) => {
        const { calls, errors } = decode([START, wrap([...bytes]), entered(3)]);
        for (const error of errors) expect(error.name).toBe("DecodeError");
        expect(calls.length + errors.length).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});

function raws(calls: readonly SinkCall[]): unknown[] {
  return calls.flatMap((call) => (call[0] === "newEvent" ? call[3].raws.slice(0, call[3].size) : []));
}
