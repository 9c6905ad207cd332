import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { batch } from "../../../../test/support/arbitrary-events.ts";
import { plain, replay, type SinkCall, sinkTo } from "../../../../test/support/sink-calls.ts";
import { vectorStreams } from "../../../../test/support/vector-streams.ts";
import { DecodeError } from "../errors.ts";
import type { Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import type { BatchHeader, EventTime } from "../sink.ts";
import { type ValueColumns, ValueKind } from "../values.ts";
import { msgpack } from "./index.ts";
import { MsgpackReader } from "./reader.ts";

type Bytes = readonly number[];
type Item = null | boolean | number | bigint | string | Uint8Array | readonly Item[];

const packr = new Packr({ useRecords: false, useBigIntExtension: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "bigint" });

const HEADER: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 };
const BATCH: SinkCall = ["batch", HEADER];
/** The header above, in seven bytes. */
const START: Bytes = [0x95, 1, 4, 0, 0, 0];
/** [5, nil, 7] */
const ENTERED: Bytes = [0x93, 5, 0xc0, 7];
const ENTERED_CALL: SinkCall = ["spanEntered", 7, undefined];

function encode(calls: readonly SinkCall[]): Uint8Array {
  const encoder = msgpack.createEncoder();
  replay(calls, encoder);
  return encoder.finish();
}

function decode(parts: readonly Bytes[], limits: Limits = DEFAULT_LIMITS): { calls: SinkCall[]; errors: DecodeError[] } {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  const sink = sinkTo((call) => calls.push(call));
  msgpack.createDecoder(limits).decode(Uint8Array.from(parts.flat()), sink, (error) => errors.push(error));
  return { calls, errors };
}

/** The items that an encoder has to write for these calls of one batch, by the description in proto/README.md. */
function toItems(calls: readonly SinkCall[]): Item[] {
  const items: Item[] = [];
  // msgpackr makes floats of integers beyond 32 bits, unless they are `bigint`.
  const optional = (id: Id | undefined): Item => (id === undefined ? null : BigInt(id));
  let base = 0n;
  let last = 0n;
  const add = (kind: number, time: EventTime, ...rest: readonly Item[]): void => {
    const at = time === undefined ? undefined : base + BigInt(time);
    items.push([kind, at === undefined ? null : at - last, ...rest]);
    last = at ?? last;
  };
  replay(calls, {
    batch(header) {
      base = last = header.baseTimeUnixNano;
      const clock = ["wall", "frozen", "logical", "none"].indexOf(header.clock) + 1;
      items.push([header.version, clock, header.baseTimeUnixNano, BigInt(header.sequence), BigInt(header.droppedEvents)]);
    },
    timeBase(unixNano) {
      base = unixNano;
    },
    newCallSite(id, data, time) {
      const kind = data.kind === "span" ? 1 : 2;
      const where = [data.module_path ?? null, data.file ?? null, data.line ?? null];
      add(2, time, BigInt(id), kind, LevelNumber[data.level], data.name, data.target, ...where, data.fields);
    },
    newSpan: (id, parentId, metadataId, values, time) =>
      add(3, time, BigInt(id), optional(parentId), BigInt(metadataId), flat(values)),
    followsFrom: (id, followsFrom, time) => add(4, time, BigInt(id), BigInt(followsFrom)),
    spanEntered: (id, time) => add(5, time, BigInt(id)),
    spanExited: (id, time) => add(6, time, BigInt(id)),
    spanCloned: (id, time) => add(7, time, BigInt(id)),
    spanDropped: (id, time) => add(8, time, BigInt(id)),
    valuesRecorded: (id, values, time) => add(9, time, BigInt(id), flat(values)),
    newEvent: (metadataId, parent, values, time) => add(10, time, BigInt(metadataId), optional(parent), flat(values)),
  });
  return items.map(wellFormed);
}

function flat({ keys, kinds, raws, size }: ValueColumns): Item[] {
  return Array.from({ length: size }, (_, i) => {
    const raw = raws[i];
    let item = raw as Item;
    if (kinds[i] === ValueKind.error) {
      const links: Item[] = [];
      let omitted = 0;
      for (let link = raw as TracedError | null; link !== null; link = link.source) {
        links.push([link.message, link.type ?? null, link.stack ?? null]);
        omitted = link.omitted ?? 0;
      }
      item = [omitted, ...links];
    } else if (typeof raw === "bigint" && (raw < -(2n ** 63n) || raw >= 2n ** 64n)) {
      item = Buffer.from(Uint8Array.from({ length: 16 }, (__, byte) => Number(BigInt.asUintN(8, raw >> BigInt(8 * byte)))));
    }
    // What is left as a number here is a float.
    if (typeof raw === "number" && kinds[i] !== ValueKind.float) item = BigInt(raw);
    return [keys[i] as Item, kinds[i] as Item, item];
  }).flat() as Item[];
}

function wellFormed(item: Item): Item {
  if (typeof item === "string") return item.toWellFormed();
  return Array.isArray(item) ? item.map(wellFormed) : item;
}

/** Numbers and bytes as one type each, where msgpackr and we differ. */
function comparable(item: unknown): unknown {
  if (typeof item === "bigint") return item;
  if (typeof item === "number") return Number.isSafeInteger(item) ? BigInt(item) : item;
  if (item instanceof Uint8Array) return [...item];
  if (Array.isArray(item)) return item.map(comparable);
  if (typeof item !== "object" || item === null) return item;
  return Object.fromEntries(Object.entries(item).map(([key, value]) => [key, comparable(value)]));
}

describe("msgpack beside msgpackr", () => {
  function agree(calls: readonly SinkCall[]): void {
    const items = toItems(calls);
    expect(comparable(unpackr.unpackMultiple(encode(calls)))).toEqual(comparable(items));
    // msgpackr writes whole floats as integers, minus zero without its sign.
    const packed = Buffer.concat(items.map((item) => packr.pack(item)));
    const { calls: read, errors } = decode([[...packed]]);
    expect(errors).toEqual([]);
    expect(comparable(plain(read))).toEqual(comparable(plain(calls)));
  }

  it("agrees in both directions on random batches", () => {
    fc.assert(fc.property(batch, agree), { numRuns: 300 });
  });

  it.each(vectorStreams())("agrees in both directions on $name", ({ calls }) => {
    agree(calls);
  });
});

describe("MsgpackDecoder: what it reads beyond what the encoder writes", () => {
  it.each<[what: string, event: Bytes, call: SinkCall | undefined]>([
    ["an id in 8 bits", [0x93, 5, 0xc0, 0xcc, 7], ENTERED_CALL],
    ["an id in 16 bits", [0x93, 5, 0xc0, 0xcd, 0, 7], ENTERED_CALL],
    ["an id in 32 bits", [0x93, 5, 0xc0, 0xce, 0, 0, 0, 7], ENTERED_CALL],
    ["an id in 64 bits", [0x93, 5, 0xc0, 0xcf, 0, 0, 0, 0, 0, 0, 0, 7], ENTERED_CALL],
    ["an id in signed bits", [0x93, 5, 0xc0, 0xd3, 0, 0, 0, 0, 0, 0, 0, 7], ENTERED_CALL],
    ["an array with a long header", [0xdd, 0, 0, 0, 3, 5, 0xc0, 7], ENTERED_CALL],
    [
      "further items of any type",
      [
        0x9a,
        5,
        0xc0,
        7,
        0x81,
        0x01,
        0x92,
        1,
        2,
        0xc7,
        2,
        9,
        1,
        2,
        0xd8,
        1,
        ...Array<number>(16).fill(0),
        0xca,
        0,
        0,
        0,
        0,
        0xc6,
        0,
        0,
        0,
        1,
        0xff,
        0xd9,
        1,
        0xff,
        0xd1,
        0,
        0,
      ],
      ENTERED_CALL,
    ],
    ["an event of an unknown kind", [0x93, 11, 0xc0, 0x81, 0xa1, 0x61, 0xde, 0, 0], undefined],
    ["an event of a kind beyond 53 bits", [0x92, 0xcf, ...Array<number>(8).fill(0xff), 0xc0], undefined],
  ])("%s", (_, event, call) => {
    const { calls, errors } = decode([START, event, ENTERED]);
    expect(errors).toEqual([]);
    expect(calls).toEqual([BATCH, ...(call === undefined ? [] : [call]), ENTERED_CALL]);
  });

  it("further items in the header, of a cause, and floats of 32 bits or written as integers", () => {
    const header = [0x97, 1, 4, 0, 0, 0, 0xa1, 0x61, 0x80];
    const cause = [0x94, 0xa1, 0x6d, 0xc0, 0xc0, 0x01];
    const values = [
      0x9c,
      0,
      4,
      0xca,
      0x3f,
      0xc0,
      0,
      0,
      1,
      4,
      0xff,
      2,
      4,
      0xcf,
      ...Array<number>(8).fill(0xff),
      3,
      7,
      0x92,
      0,
      ...cause,
    ];
    const { calls, errors } = decode([header, [0x95, 10, 0xc0, 0, 0xc0], values]);
    expect(errors).toEqual([]);
    const read = (calls[1] as Extract<SinkCall, readonly ["newEvent", ...unknown[]]>)[3];
    expect(read.raws).toEqual([1.5, -1, 2 ** 64, { message: "m", source: null }]);
  });

  it("the time of an event that is refused or of an unknown kind counts", () => {
    const { calls } = decode([START, [0x93, 5, 10, 0xc3], [0x92, 99, 20], [0x93, 5, 3, 7]]);
    expect(calls).toEqual([BATCH, ["spanEntered", 7, 33]]);
  });
});

describe("MsgpackDecoder: what it refuses", () => {
  const site = (...items: readonly (number | Bytes)[]): Bytes => [0x9b, 2, 0xc0, 1, ...items.flat()];
  const rest: Bytes = [0xa1, 0x6e, 0xa1, 0x74, 0xc0, 0xc0, 0xc0, 0x90];
  const value = (...items: readonly number[]): Bytes => [0x95, 10, 0xc0, 1, 0xc0, 0x93, ...items];
  const text = (length: number): Bytes => [0xda, length >> 8, length & 0xff, ...Array<number>(length).fill(0x61)];

  // Offsets count from the start of the batch; the header takes six bytes.
  it.each<[what: string, event: Bytes, offset: number, reason: RegExp]>([
    ["nil", [0xc0], 6, /event is not an array/],
    ["a map", [0x81, 5, 7], 6, /event is not an array/],
    ["no items", [0x90], 6, /0 items instead of 2/],
    ["a kind alone", [0x91, 5], 6, /1 items instead of 2/],
    ["a kind that is text", [0x93, 0xa1, 0x61, 0xc0, 7], 7, /not an integer/],
    ["a kind of 0xc1", [0x93, 0xc2, 0xc0, 7], 7, /not an integer/],
    ["a time that is a float", [0x93, 5, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 7], 8, /not an integer/],
    ["a time beyond its range", [0x93, 5, 0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0, 7], 8, /time beyond/],
    ["too few items", [0x92, 5, 0xc0], 6, /2 items instead of 3/],
    ["a negative id", [0x93, 5, 0xc0, 0xff], 9, /negative/],
    ["an id that is nil", [0x93, 5, 0xc0, 0xc0], 9, /not an integer/],
    ["an id that is a float", [0x93, 5, 0xc0, 0xca, 0, 0, 0, 0], 9, /not an integer/],
    ["a call site of an unknown kind", site(3, 1, rest), 10, /unknown kind of a call site/],
    ["a call site of an unknown level", site(1, 6, rest), 11, /unknown level/],
    ["a call site whose name is bytes", site(1, 1, 0xc4, 1, 0x6e, rest.slice(2)), 12, /not text/],
    ["a call site with a line beyond 32 bits", site(1, 1, rest.slice(0, 6), 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0x90), 18, /32 bits/],
    ["a call site with fields in a map", site(1, 1, rest.slice(0, 7), 0x80), 19, /list of fields is not an array/],
    ["a call site with a field that is a number", site(1, 1, rest.slice(0, 7), 0x91, 1), 20, /not text/],
    ["values in a map", [0x95, 10, 0xc0, 1, 0xc0, 0x81, 0, 0xc3], 11, /list of values is not an array/],
    ["values that are not triples", [0x95, 10, 0xc0, 1, 0xc0, 0x92, 0, 1], 11, /multiple of 3/],
    ["values that are more than triples", [0x95, 10, 0xc0, 1, 0xc0, 0x94, 0, 1, 0xc3, 1], 11, /multiple of 3/],
    ["a key that is negative", value(0xff, 1, 0xc3), 12, /32 bits/],
    ["a key that is nil", value(0xc0, 1, 0xc3), 12, /not an integer/],
    ["a value of kind 0", value(0, 0, 0xc3), 13, /unknown kind 0/],
    ["a value of kind 8", value(0, 8, 0xc3), 13, /unknown kind 8/],
    ["a bool that is a number", value(0, 1, 1), 14, /not a boolean/],
    ["an int that is a float", value(0, 2, 0xca, 0, 0, 0, 0), 14, /neither an integer nor 16 bytes/],
    ["an int of 15 bytes", value(0, 2, 0xc4, 15, ...Array<number>(15).fill(0)), 14, /neither an integer nor 16 bytes/],
    ["a u_int that is negative", value(0, 3, 0xff), 14, /negative/],
    ["a float that is text", value(0, 4, 0xa0), 14, /not a number/],
    ["a string that is bytes", value(0, 5, 0xc4, 0), 14, /not text/],
    ["text that is not UTF-8", value(0, 5, 0xa2, 0xc0, 0x80), 14, /UTF-8/],
    ["an encoded surrogate", value(0, 6, 0xa3, 0xed, 0xa0, 0x80), 14, /UTF-8/],
    ["an error that is text", value(0, 7, 0xa0), 14, /error is not an array/],
    ["an error without a cause", value(0, 7, 0x91, 0), 14, /1 items instead of 2/],
    ["an error whose cause is text", value(0, 7, 0x92, 0, 0xa0), 16, /cause is not an array/],
    ["a cause of two items", value(0, 7, 0x92, 0, 0x92, 0xa0, 0xc0), 16, /2 items instead of 3/],
    ["a cause without a message", value(0, 7, 0x92, 0, 0x93, 0xc0, 0xc0, 0xc0), 17, /not text/],
  ])("%s, and reads on with the next event", (_, bad, offset, reason) => {
    const { calls, errors } = decode([START, bad, ENTERED]);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([["malformed", offset]]);
    expect(errors[0]?.reason).toMatch(reason);
    expect(calls).toEqual([BATCH, ENTERED_CALL]);
  });

  it.each<[what: string, header: Bytes, code: string, offset: number]>([
    ["no bytes at all", [], "malformed", 0],
    ["a header that is a map", [0x80], "malformed", 0],
    ["an empty header", [0x90], "malformed", 0],
    ["a header that is cut", [0x95, 1, 4], "malformed", 0],
    ["four items in the header", [0x94, 1, 4, 0, 0], "malformed", 0],
    ["version 2, whatever follows it", [0x91, 2], "unsupported_version", 0],
    ["a version that is nil", [0x95, 0xc0, 4, 0, 0, 0], "malformed", 1],
    ["clock 0", [0x95, 1, 0, 0, 0, 0], "malformed", 2],
    ["clock 5", [0x95, 1, 5, 0, 0, 0], "malformed", 2],
    ["a negative base time", [0x95, 1, 4, 0xff, 0, 0], "malformed", 3],
    ["a sequence beyond 2^53-1", [0x95, 1, 4, 0, 0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0, 0], "malformed", 4],
    ["a negative drop count", [0x95, 1, 4, 0, 0, 0xff], "malformed", 5],
  ])("a batch with %s", (_, header, code, offset) => {
    const { calls, errors } = decode([header]);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([[code, offset]]);
    expect(calls).toEqual([]);
  });

  it("the rest of a batch behind bytes that are no MessagePack", () => {
    const { calls, errors } = decode([START, ENTERED, [0xc1], ENTERED]);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([["malformed", 10]]);
    expect(calls).toEqual([BATCH, ENTERED_CALL]);
  });

  it("the rest of a batch after 64 bad events", () => {
    const { calls, errors } = decode([START, Array<number>(64).fill(0xc0), ENTERED]);
    expect(errors).toHaveLength(65);
    expect(calls).toEqual([BATCH]);
    expect(decode([START, Array<number>(63).fill(0xc0), ENTERED]).calls).toEqual([BATCH, ENTERED_CALL]);
  });

  it("text above maxStringBytes, and reads on", () => {
    const limits = { ...DEFAULT_LIMITS, maxStringBytes: 300 };
    const { calls, errors } = decode([START, value(0, 5, ...text(300)), value(0, 5, ...text(301)), ENTERED], limits);
    expect(errors.map((error) => [error.code, error.offset])).toEqual([["limit_exceeded", 6 + 8 + 303 + 8]]);
    expect(calls.map(([method]) => method)).toEqual(["batch", "newEvent", "spanEntered"]);
  });
});

describe("MsgpackDecoder: hostile sizes", () => {
  const GIGA: Bytes = [0x40, 0, 0, 0];
  const MAX: Bytes = [0xff, 0xff, 0xff, 0xff];

  it.each<[what: string, event: Bytes]>([
    ["an array of 2^30 items", [0xdd, ...GIGA, 5]],
    ["an array of 2^32-1 items", [0xdd, ...MAX, 5]],
    ["a list of 2^30 fields", [0x9b, 2, 0xc0, 1, 1, 1, 0xa0, 0xa0, 0xc0, 0xc0, 0xc0, 0xdd, ...GIGA, 0xa0]],
    ["a list of 2^30 values", [0x94, 9, 0xc0, 1, 0xdd, ...GIGA, 0]],
    ["an error of 2^30 causes", [0x94, 9, 0xc0, 1, 0x93, 0, 7, 0xdd, ...GIGA, 0]],
    ["text of 1 GiB", [0x94, 9, 0xc0, 1, 0x93, 0, 5, 0xdb, ...GIGA, 0x61]],
    ["unknown bytes of 1 GiB", [0x93, 11, 0xc0, 0xc6, ...GIGA, 1]],
    ["an unknown extension of 1 GiB", [0x93, 11, 0xc0, 0xc9, ...GIGA, 1, 1]],
    ["an unknown map of 2^32-1 entries", [0x93, 11, 0xc0, 0xdf, ...MAX, 1]],
    [
      "unknown arrays of 2^32-1 items in one another",
      [
        0x93,
        11,
        0xc0,
        ...Array<Bytes>(2000)
          .fill([0xdd, ...MAX])
          .flat(),
      ],
    ],
  ])("refuses %s that are not there, at once", (_, event) => {
    const { calls, errors } = decode([START, event]);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.code).toBe("malformed");
    expect(calls).toEqual([BATCH]);
  });

  it.each<[what: string, open: number]>([
    ["arrays", 0x91],
    ["maps", 0x81],
  ])("passes over unknown %s nested a million deep", (_, open) => {
    const nested = Array<number>(1_000_000).fill(open);
    // In each map the first item is a key of nil.
    const inside = open === 0x81 ? nested.flatMap((head) => [head, 0xc0]) : nested;
    const { calls, errors } = decode([START, [0x93, 11, 0xc0], inside, [0xc0], ENTERED]);
    expect(errors).toEqual([]);
    expect(calls).toEqual([BATCH, ENTERED_CALL]);
  });

  it("refuses arrays nested ten thousand deep in the place of an event, and reads on", () => {
    const { calls, errors } = decode([START, Array<number>(10_000).fill(0x91), [0xc0], ENTERED]);
    expect(errors.map(({ code }) => code)).toEqual(["malformed"]);
    expect(calls).toEqual([BATCH, ENTERED_CALL]);
  });

  it("keeps maxErrorDepth of 20,000 causes and counts the rest, at most 2^32-1", () => {
    const causes = Array<Bytes>(20_000).fill([0x93, 0xa0, 0xc0, 0xc0]).flat();
    const { calls, errors } = decode([START, [0x94, 9, 0xc0, 1, 0x93, 0, 7, 0xdc, 0x4e, 0x21, 0xce, ...MAX, ...causes]]);
    expect(errors).toEqual([]);
    let last = (calls[1] as Extract<SinkCall, readonly ["valuesRecorded", ...unknown[]]>)[2].raws[0] as TracedError;
    let depth = 1;
    for (; last.source !== null; last = last.source) depth++;
    expect([depth, last.omitted]).toEqual([DEFAULT_LIMITS.maxErrorDepth, 2 ** 32 - 1]);
  });

  it("reads random bytes behind a good header as events or coded errors", () => {
    const start = fc.constantFrom<Bytes>(
      [],
      [0x9b, 2, 0xc0, 1],
      [0x96, 3, 0xc0],
      [0x95, 10, 0xc0, 1, 0xc0],
      [0x94, 9, 1, 2, 0x93, 0, 7],
    );
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 80 }), (open, bytes) => {
        const { calls, errors } = decode([START, open, [...bytes]]);
        expect(calls[0]).toEqual(BATCH);
        for (const error of errors) expect(error.name).toBe("DecodeError");
      }),
      { numRuns: 2000 },
    );
  });
});

describe("MsgpackReader.skip", () => {
  it.each<[what: string, item: Bytes]>([
    ["an array of 16-bit length", [0xdc, 0, 1, 1]],
    ["an array of 32-bit length", [0xdd, 0, 0, 0, 1, 1]],
    ["a map of 16-bit length", [0xde, 0, 2, 1, 1, 1, 1]],
    ["a map of 32-bit length", [0xdf, 0, 0, 0, 2, 1, 1, 1, 1]],
    ["bytes of 32-bit length", [0xc6, 0, 0, 0, 1, 1]],
    ["text of 32-bit length", [0xdb, 0, 0, 0, 1, 1]],
    ["an extension of 8-bit length", [0xc7, 1, 1, 1]],
    ["an extension of 16-bit length", [0xc8, 0, 1, 1, 1]],
    ["an extension of 32-bit length", [0xc9, 0, 0, 0, 1, 1, 1]],
  ])("ends behind %s", (_, item) => {
    const reader = new MsgpackReader(DEFAULT_LIMITS);
    reader.reset(Uint8Array.from([...item, 1, 1, 1]));
    reader.skip(1);
    expect(reader.pos).toBe(item.length);
  });

  it("ends where msgpackr ends, on random items", () => {
    const item: fc.Arbitrary<unknown> = fc.letrec<{ item: unknown }>((tie) => ({
      item: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
        fc.double(),
        fc.string({ maxLength: 40 }),
        fc.string({ minLength: 256, maxLength: 300 }),
        fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        fc.date({ noInvalidDate: true }),
        fc.array(tie("item"), { maxLength: 20 }),
        fc.dictionary(fc.string({ maxLength: 5 }), tie("item"), { maxKeys: 20 }),
      ),
    })).item;
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 3 }), (items) => {
        const bytes = Buffer.concat([...items.map((each) => packr.pack(each)), Buffer.of(0xc1)]);
        const reader = new MsgpackReader(DEFAULT_LIMITS);
        reader.reset(bytes);
        reader.skip(items.length);
        expect(reader.pos).toBe(bytes.length - 1);
        expect(() => reader.skip(1)).toThrow(DecodeError);
      }),
      { numRuns: 500 },
    );
  });
});
