import {
  type BatchHeader,
  type CallSiteData,
  type Codec,
  canonicalInteger,
  DEFAULT_LIMITS,
  type DecodeError,
  type Limits,
  type RawValue,
  TracedValues,
  ValueKind,
} from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch, EDGES, HOSTILE_NAMES } from "../support/arbitrary-events.ts";
import { errorChain, type PlainCall, plain, replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";

export interface CodecUnderTest {
  readonly name: string;
  readonly codec: Codec;
  /** How NaN and infinities arrive: as they are, or as their debug form, as the crate does it in JSON. */
  readonly nonFiniteFloats: "float" | "object";
}

const HEADER: BatchHeader = {
  version: 1,
  clock: "wall",
  baseTimeUnixNano: 1_700_000_000_000_000_000n,
  sequence: 7,
  droppedEvents: 2,
};
const SITE: CallSiteData = { kind: "span", name: "work", target: "app", level: "info", fields: ["a", "b"] };
const CODES = ["malformed", "limit_exceeded", "unsupported_version"];

/** What every codec must do. The codec's own test file calls this once. */
export function codecContract({ name, codec, nonFiniteFloats }: CodecUnderTest): void {
  describe(`${name}: codec contract`, () => {
    it("says its name", () => {
      expect(codec.name).toBe(name);
    });

    it("brings every batch of a sender across as it was, one encoder and one decoder for all of them", () => {
      const encoder = codec.createEncoder();
      const decoder = codec.createDecoder(DEFAULT_LIMITS);
      fc.assert(
        fc.property(batch, (calls) => {
          replay(calls, encoder);
          const { calls: read, errors } = decodeWith(decoder, encoder.finish());
          expect(errors).toEqual([]);
          expect(plain(read)).toEqual(expected(calls));
        }),
      );
    });

    it("counts events and bytes, and starts anew with every batch", () => {
      const encoder = codec.createEncoder();
      for (const count of [3, 0, 200]) {
        encoder.batch(HEADER);
        expect(encoder.eventCount).toBe(0);
        let bytes = encoder.byteLength;
        for (let i = 0; i < count; i++) {
          encoder.spanEntered(i, undefined);
          expect(encoder.byteLength).toBeGreaterThan(bytes);
          bytes = encoder.byteLength;
        }
        expect(encoder.eventCount).toBe(count);
        const batchBytes = encoder.finish();
        expect(batchBytes.length).toBe(bytes);
        expect(decode(batchBytes).calls).toHaveLength(1 + count);
      }
    });

    it("brings headers across: every clock, the ends of every range, no events", () => {
      for (const clock of ["wall", "frozen", "logical", "none"] as const) {
        for (const baseTimeUnixNano of [0n, 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
          for (const counter of [0, 1, 127, 128, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
            const header: BatchHeader = { version: 1, clock, baseTimeUnixNano, sequence: counter, droppedEvents: counter };
            expect(decode(encode([["batch", header]]))).toEqual({ calls: [["batch", header]], errors: [] });
          }
        }
      }
    });

    it("brings ids, int and u_int around every edge of their encodings across", () => {
      for (const edge of EDGES.flatMap((n) => [n - 1n, n, n + 1n, -n - 1n, -n, -n + 1n])) {
        const raw = canonicalInteger(edge);
        const calls: SinkCall[] = [["batch", HEADER]];
        const record = (kind: ValueKind): SinkCall => ["newEvent", 1, undefined, values(["v", kind, raw]), undefined];
        if (BigInt.asUintN(64, edge) === edge) calls.push(["followsFrom", raw, raw, undefined]);
        if (BigInt.asIntN(128, edge) === edge) calls.push(record(ValueKind.int));
        if (BigInt.asUintN(128, edge) === edge) calls.push(record(ValueKind.uInt));
        expect(plain(decode(encode(calls)).calls)).toEqual(plain(calls));
      }
    });

    it("brings times around every edge of their encodings across, forwards and back", () => {
      const calls: SinkCall[] = [["batch", { ...HEADER, baseTimeUnixNano: 2n ** 62n }]];
      for (const edge of EDGES.filter((n) => n < 2n ** 53n).map(Number)) {
        for (const time of [edge - 1, 0, edge, -edge, edge + 1, -edge - 1]) {
          if (Number.isSafeInteger(time)) calls.push(["spanEntered", 1, time]);
        }
      }
      expect(plain(decode(encode(calls)).calls)).toEqual(plain(calls));
    });

    it("brings text and lists of every length around the edges of their prefixes across", () => {
      for (const length of [0, 1, 5, 6, 10, 11, 14, 15, 16, 17, 31, 32, 33, 41, 42, 43, 63, 64, 85, 127, 128, 255, 256]) {
        const calls: SinkCall[] = [
          ["batch", HEADER],
          ["newCallSite", 1, { ...SITE, fields: Array.from({ length }, (_, i) => `f${i}`) }, undefined],
          ["newEvent", 2, undefined, values(...Array.from({ length }, (_, i) => [`v${i}`, ValueKind.bool, true] as const)), 0],
          ...["a", "é", "€", "🦀"].map(
            (character): SinkCall => ["newEvent", 2, undefined, values(["v", ValueKind.string, character.repeat(length)]), 0],
          ),
        ];
        expect(plain(decode(encode(calls)).calls)).toEqual(plain(calls));
      }
      for (const length of [16_383, 16_384, 21_845, 21_846, 65_535, 65_536]) {
        const calls: SinkCall[] = [
          ["batch", HEADER],
          ["newCallSite", 1, { ...SITE, file: "x".repeat(length) }, undefined],
        ];
        expect(plain(decode(encode(calls)).calls)).toEqual(plain(calls));
      }
    });

    it("keeps apart what is absent and what is zero or empty", () => {
      const calls: SinkCall[] = [
        ["batch", HEADER],
        ["newCallSite", 0, { ...SITE, name: "", target: "", fields: [] }, undefined],
        ["newCallSite", 1, { ...SITE, module_path: "", file: "", line: 0 }, 0],
        ["newSpan", 0, undefined, 0, values(), 0],
        ["newSpan", 1, 0, 1, values([0, ValueKind.string, ""], [1, ValueKind.bool, false]), undefined],
        ["valuesRecorded", 0, values(), undefined],
        ["newEvent", 0, undefined, values(["e", ValueKind.error, { message: "", source: null, type: "", stack: "" }]), 0],
        ["newEvent", 0, 0, values(["e", ValueKind.error, { message: "", source: null }]), undefined],
      ];
      expect(plain(decode(encode(calls)).calls)).toEqual(expected(calls));
    });

    it("treats hostile names as plain data, in every place where a name may stand", () => {
      for (const hostile of HOSTILE_NAMES) {
        const error = { message: hostile, source: null, type: hostile, stack: hostile };
        const calls: SinkCall[] = [
          ["batch", HEADER],
          [
            "newCallSite",
            1,
            { ...SITE, name: hostile, target: hostile, module_path: hostile, file: hostile, fields: [hostile] },
            0,
          ],
          ["newEvent", 1, undefined, values([hostile, ValueKind.string, hostile], ["other", ValueKind.error, error]), 0],
        ];
        expect(plain(decode(encode(calls)).calls)).toEqual(expected(calls));
      }
      expect(({} as { [key: string]: unknown })["message"]).toBeUndefined();
    });

    it("keeps the order of values whatever their names", () => {
      const names = ["b", "2", "a", "1", "__proto__", "0"];
      const calls: SinkCall[] = [
        ["batch", HEADER],
        ["newEvent", 1, undefined, values(...names.map((n) => [n, ValueKind.bool, true] as const)), 0],
      ];
      expect(plain(decode(encode(calls)).calls)).toEqual(plain(calls));
    });

    it("reads from the middle of a buffer and shares no memory with it", () => {
      const calls: SinkCall[] = [
        ["batch", HEADER],
        ["newCallSite", 1, { ...SITE, name: "a name of more than a few bytes, so that it may be read in another way" }, 5],
      ];
      const encoded = encode(calls);
      const buffer = new Uint8Array(encoded.length + 20).fill(0xff);
      buffer.set(encoded, 7);
      const { calls: read, errors } = decode(buffer.subarray(7, 7 + encoded.length));
      buffer.fill(0);
      expect(errors).toEqual([]);
      expect(plain(read)).toEqual(plain(calls));
    });

    it("refuses a batch of another version, and reads on with the next one", () => {
      const decoder = codec.createDecoder(DEFAULT_LIMITS);
      for (const version of [0, 2, 255, 2 ** 32 - 1]) {
        const bytes = encode([
          ["batch", { ...HEADER, version }],
          ["spanEntered", 1, 0],
        ]);
        const { calls, errors } = decodeWith(decoder, bytes);
        expect(calls).toEqual([]);
        expect(errors.map(({ code }) => code)).toEqual(["unsupported_version"]);
      }
      const good: SinkCall[] = [["batch", HEADER]];
      expect(decodeWith(decoder, encode(good)).calls).toEqual(good);
    });

    const limited: readonly [limit: keyof Limits, max: number, what: string, event: (size: number) => SinkCall][] = [
      ["maxStringBytes", 70, "a call site's name", (size) => ["newCallSite", 1, { ...SITE, name: "x".repeat(size) }, 0]],
      ["maxStringBytes", 70, "a target", (size) => ["newCallSite", 1, { ...SITE, target: "x".repeat(size) }, 0]],
      ["maxStringBytes", 70, "a module path", (size) => ["newCallSite", 1, { ...SITE, module_path: "x".repeat(size) }, 0]],
      ["maxStringBytes", 70, "a file", (size) => ["newCallSite", 1, { ...SITE, file: "x".repeat(size) }, 0]],
      ["maxStringBytes", 70, "a field's name", (size) => ["newCallSite", 1, { ...SITE, fields: ["x".repeat(size)] }, 0]],
      [
        "maxStringBytes",
        70,
        "a value's name",
        (size) => ["newEvent", 1, undefined, values(["x".repeat(size), ValueKind.bool, true]), 0],
      ],
      [
        "maxStringBytes",
        70,
        "a string",
        (size) => ["newEvent", 1, undefined, values(["v", ValueKind.string, "x".repeat(size)]), 0],
      ],
      [
        "maxStringBytes",
        71,
        "text of 2 bytes a character",
        (size) => [
          "newEvent",
          1,
          undefined,
          values(["v", ValueKind.string, `x${"é".repeat((size - 1) / 2)}${size % 2 === 0 ? "x" : ""}`]),
          0,
        ],
      ],
      [
        "maxStringBytes",
        70,
        "an object",
        (size) => ["newEvent", 1, undefined, values(["v", ValueKind.object, "x".repeat(size)]), 0],
      ],
      [
        "maxStringBytes",
        70,
        "an error's message",
        (size) => ["newEvent", 1, undefined, values(["v", ValueKind.error, { message: "x".repeat(size), source: null }]), 0],
      ],
      [
        "maxStringBytes",
        70,
        "an error's type",
        (size) => [
          "newEvent",
          1,
          undefined,
          values(["v", ValueKind.error, { message: "", source: null, type: "x".repeat(size) }]),
          0,
        ],
      ],
      [
        "maxStringBytes",
        70,
        "an error's stack",
        (size) => [
          "newEvent",
          1,
          undefined,
          values(["v", ValueKind.error, { message: "", source: null, stack: "x".repeat(size) }]),
          0,
        ],
      ],
      [
        "maxFieldsPerCallSite",
        5,
        "fields of a call site",
        (size) => ["newCallSite", 1, { ...SITE, fields: Array.from({ length: size }, (_, i) => `f${i}`) }, 0],
      ],
    ];
    it.each(limited)(
      "%s %d: %s at the limit pass, one more is refused, and the events around it arrive",
      (limit, max, _, event) => {
        const limits = { ...DEFAULT_LIMITS, [limit]: max };
        const at: SinkCall[] = [["batch", HEADER], event(max)];
        const passed = decode(encode(at), limits);
        expect(passed.errors).toEqual([]);
        expect(plain(passed.calls)).toEqual(plain(at));

        const before: SinkCall = ["spanEntered", 8, 100];
        const after: SinkCall = ["spanExited", 9, 300];
        const { calls, errors } = decode(encode([["batch", HEADER], before, event(max + 1), after]), limits);
        expect(errors.map(({ code }) => code)).toEqual(["limit_exceeded"]);
        expect(errors[0]?.reason).toContain(limit);
        expect(plain(calls)).toEqual(plain([["batch", HEADER], before, after]));
      },
    );

    it("maxItemsPerBatch: so many events of a batch arrive, and none beyond", () => {
      const limits = { ...DEFAULT_LIMITS, maxItemsPerBatch: 3 };
      const events: SinkCall[] = [1, 2, 3, 4, 5].map((span) => ["spanEntered", span, undefined]);
      const passed = decode(encode([["batch", HEADER], ...events.slice(0, 3)]), limits);
      expect(passed.errors).toEqual([]);
      expect(passed.calls).toEqual([["batch", HEADER], ...events.slice(0, 3)]);
      const cut = decode(encode([["batch", HEADER], ...events]), limits);
      expect(cut.calls).toEqual(passed.calls);
      expect(cut.errors.map(({ code, reason }) => [code, reason.split(",")[0]])).toEqual([
        ["limit_exceeded", "maxItemsPerBatch is 3"],
      ]);
    });

    it("maxItemsPerBatch: names that call sites declare and values count as events", () => {
      const site: SinkCall = ["newCallSite", 1, SITE, undefined];
      const event: SinkCall = ["newEvent", 1, undefined, values([0, ValueKind.bool, true], ["b", ValueKind.int, 1]), undefined];
      const after: SinkCall = ["spanEntered", 1, undefined];
      const batchOf = [["batch", HEADER], site, event, after] as const;
      const counted = 1 + SITE.fields.length + 1 + 2 + 1;
      const decoded = (max: number) => decode(encode(batchOf), { ...DEFAULT_LIMITS, maxItemsPerBatch: max });
      expect(decoded(counted).errors).toEqual([]);
      expect(plain(decoded(counted).calls)).toEqual(plain(batchOf));
      expect(decoded(counted - 1).errors.map(({ code }) => code)).toEqual(["limit_exceeded"]);
      expect(decoded(counted - 1).calls).toHaveLength(3);
      // Also where there was no room for all of its names.
      expect(decoded(1).calls).toHaveLength(2);
    });

    it("counts up to 1024 values of a record, or maxValuesPerRecord, and refuses one that has more", () => {
      const record = (count: number): SinkCall => {
        const many = Array.from({ length: count }, (_, i) => [`v${i}`, ValueKind.bool, true] as const);
        return ["newEvent", 1, undefined, values(...many), undefined];
      };
      for (const [max, maxValuesPerRecord] of [
        [1024, 32],
        [2000, 2000],
      ] as const) {
        const limits = { ...DEFAULT_LIMITS, maxValuesPerRecord };
        const passed = decode(encode([["batch", HEADER], record(max)]), limits);
        expect(passed.errors).toEqual([]);
        expect(plain(passed.calls)).toEqual(plain([["batch", HEADER], record(max)]));
        const { calls, errors } = decode(encode([["batch", HEADER], record(max + 1), ["spanEntered", 1, undefined]]), limits);
        expect(errors.map(({ code }) => code)).toEqual(["limit_exceeded"]);
        expect(calls).toEqual([
          ["batch", HEADER],
          ["spanEntered", 1, undefined],
        ]);
      }
    });

    it("keeps maxErrorDepth errors of a chain and counts the rest", () => {
      const limits = { ...DEFAULT_LIMITS, maxErrorDepth: 3 };
      const arrives = (depth: number): unknown => {
        const { calls, errors } = decode(
          encode([
            ["batch", HEADER],
            ["newEvent", 1, undefined, values(["e", ValueKind.error, errorChain(depth)]), 0],
          ]),
          limits,
        );
        expect(errors).toEqual([]);
        return (calls[1] as Extract<SinkCall, readonly ["newEvent", ...unknown[]]>)[3].raws[0];
      };
      expect(arrives(3)).toEqual(errorChain(3));
      expect(arrives(4)).toEqual({ message: "1", source: { message: "2", source: { message: "3", source: null, omitted: 1 } } });
      expect(arrives(100)).toMatchObject({ source: { source: { omitted: 97 } } });
    });

    it("throws what the sink throws, and reads the next batch all the same", () => {
      const decoder = codec.createDecoder(DEFAULT_LIMITS);
      const calls: SinkCall[] = [
        ["batch", HEADER],
        ["spanEntered", 1, 10],
        ["spanExited", 1, 20],
      ];
      const bytes = encode(calls);
      const failure = new RangeError("from the sink");
      for (let at = 0; at < calls.length; at++) {
        let count = 0;
        const sink = sinkTo(() => {
          if (count++ === at) throw failure;
        });
        expect(() => decoder.decode(bytes, sink, () => expect.unreachable())).toThrow(failure);
        const again = decodeWith(decoder, bytes);
        expect(again.errors).toEqual([]);
        expect(plain(again.calls)).toEqual(plain(calls));
      }
    });

    it("reads of a batch that was cut short the events before the cut, and says that it was", () => {
      const calls: SinkCall[] = [
        ["batch", HEADER],
        ["newCallSite", 300, { ...SITE, module_path: "m", file: "f", line: 1000 }, 1],
        [
          "newSpan",
          5,
          4,
          300,
          values([0, ValueKind.float, 1.5], [1, ValueKind.int, -(2n ** 100n)], ["c", ValueKind.uInt, 2n ** 127n]),
          200,
        ],
        ["spanEntered", 5, 300],
        ["valuesRecorded", 5, values([0, ValueKind.object, "{}"], [1, ValueKind.error, errorChain(3)]), -5000],
        ["followsFrom", 5, 2n ** 60n, undefined],
        ["newEvent", 300, 5, values([1, ValueKind.bool, true], ["é", ValueKind.string, "ü".repeat(70)]), 1_000_000],
        ["spanExited", 5, undefined],
      ];
      const encoder = codec.createEncoder();
      const boundaries: number[] = [];
      for (const call of calls) {
        replay([call], encoder);
        boundaries.push(encoder.byteLength);
      }
      const bytes = encoder.finish();
      const whole = plain(calls);
      for (let cut = 0; cut < bytes.length; cut++) {
        const { calls: read, errors } = decode(bytes.subarray(0, cut));
        expectCoded(errors, cut);
        // Nothing says how long a header is.
        if (cut < (boundaries[0] as number)) {
          expect(read.length).toBeLessThanOrEqual(1);
          continue;
        }
        const complete = boundaries.filter((boundary) => boundary <= cut).length;
        const got = plain(read);
        expect(got).toEqual(whole.slice(0, got.length));
        // A codec may know that an event is whole before its last byte, a line feed for instance.
        expect(got.length === complete || got.length === complete + 1, `cut at ${cut}`).toBe(true);
        if (!boundaries.includes(cut) && got.length === complete) expect(errors.length, `cut at ${cut}`).toBeGreaterThan(0);
      }
    });

    it("reads random bytes as events or coded errors, in bounded work", () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          surviveBytes(bytes);
        }),
        { numRuns: 500 },
      );
    });

    it("reads damaged batches as events or coded errors; what it accepts can be written and read again", () => {
      const damage = fc.array(
        fc.record({
          at: fc.nat(),
          action: fc.constantFrom("set", "insert", "delete", "cut", "repeat"),
          byte: fc.integer({ min: 0, max: 255 }),
        }),
        { minLength: 1, maxLength: 4 },
      );
      fc.assert(
        fc.property(batch, damage, (calls, changes) => {
          let bytes = [...encode(calls)];
          for (const { at, action, byte } of changes) {
            const position = at % (bytes.length + 1);
            if (action === "set" && position < bytes.length) bytes[position] = byte;
            else if (action === "insert") bytes.splice(position, 0, byte);
            else if (action === "delete") bytes.splice(position, 1);
            else if (action === "cut") bytes = bytes.slice(0, position);
            else bytes.splice(position, 0, ...bytes.slice(position, position + byte));
          }
          surviveBytes(Uint8Array.from(bytes));
        }),
        { numRuns: 300 },
      );
    });

    function surviveBytes(bytes: Uint8Array): void {
      const { calls, errors } = decode(bytes);
      expectCoded(errors, bytes.length);
      expect(calls.length + errors.length).toBeLessThanOrEqual(bytes.length + 2);
      if (calls.length === 0) return;
      const again = decode(encode(calls));
      expect(again.errors).toEqual([]);
      expect(plain(again.calls)).toEqual(expected(calls));
    }
  });

  function encode(calls: readonly SinkCall[]): Uint8Array {
    const encoder = codec.createEncoder();
    replay(calls, encoder);
    return encoder.finish();
  }

  function decode(bytes: Uint8Array, limits: Limits = DEFAULT_LIMITS): Decoded {
    return decodeWith(codec.createDecoder(limits), bytes);
  }

  function expected(calls: readonly SinkCall[]): PlainCall[] {
    const all = plain(calls);
    return nonFiniteFloats === "float" ? all : all.map((call) => ({ ...call, args: call.args.map(debugFloats) }));
  }
}

interface Decoded {
  readonly calls: SinkCall[];
  readonly errors: DecodeError[];
}

function decodeWith(decoder: ReturnType<Codec["createDecoder"]>, bytes: Uint8Array): Decoded {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  decoder.decode(
    bytes,
    sinkTo((call) => calls.push(call)),
    (error) => errors.push(error),
  );
  return { calls, errors };
}

function expectCoded(errors: readonly DecodeError[], length: number): void {
  for (const error of errors) {
    expect(error.name).toBe("DecodeError");
    expect(CODES).toContain(error.code);
    expect(error.offset).toBeGreaterThanOrEqual(0);
    expect(error.offset).toBeLessThanOrEqual(length);
  }
}

function values(...entries: (readonly [key: number | string, kind: ValueKind, raw: RawValue])[]): TracedValues {
  const result = new TracedValues();
  result.clear(SITE.fields);
  for (const entry of entries) result.push(...entry);
  return result;
}

/** Values `[name, "float", NaN]` of a plain call as the crate's JSON has them. */
function debugFloats(arg: unknown): unknown {
  if (!Array.isArray(arg)) return arg;
  return arg.map((value: unknown) => {
    if (!Array.isArray(value) || value[1] !== "float" || Number.isFinite(value[2])) return value;
    return [value[0], "object", Number.isNaN(value[2]) ? "NaN" : value[2] > 0 ? "inf" : "-inf"];
  });
}
