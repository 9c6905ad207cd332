import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch } from "../../../test/support/arbitrary-events.ts";
import { plain, replay, type SinkCall, sinkTo } from "../../../test/support/sink-calls.ts";
import { json } from "./json/index.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import { protobuf } from "./protobuf/index.ts";
import { FieldResolver } from "./resolve.ts";
import { TracedValues, ValueKind } from "./values.ts";

/** Values keyed by index, as a decoder hands them on: without names. */
function indexed(...keys: (number | string)[]): TracedValues {
  const values = new TracedValues();
  keys.forEach((key, position) => {
    values.push(key, ValueKind.int, position);
  });
  return values;
}

function resolved(calls: readonly SinkCall[], limits: Partial<Limits> = {}): (readonly (number | string)[])[] {
  const keys: (readonly (number | string)[])[] = [];
  const sink = sinkTo((call) => {
    for (const argument of call) if (typeof argument === "object" && "keys" in argument) keys.push(argument.keys);
  });
  replay(calls, new FieldResolver(sink, { ...DEFAULT_LIMITS, ...limits }));
  return keys;
}

const site = (id: number, ...fields: string[]): SinkCall => [
  "newCallSite",
  id,
  { kind: "span", name: "", target: "", level: "info", fields },
  undefined,
];

describe("FieldResolver names values", () => {
  it("of spans, events and records by the fields of their call site", () => {
    expect(
      resolved([
        site(1, "a", "b"),
        ["newSpan", 7, undefined, 1, indexed(1, "x", 0), undefined],
        ["newEvent", 1, undefined, indexed(0), undefined],
        ["valuesRecorded", 7, indexed(1), undefined],
      ]),
    ).toEqual([["b", "x", "a"], ["a"], ["b"]]);
  });

  it("of a span by the latest definition of its call site, as a receiver does", () => {
    expect(
      resolved([
        site(1, "old"),
        ["newSpan", 7, undefined, 1, indexed(), undefined],
        site(1, "new"),
        ["valuesRecorded", 7, indexed(0), undefined],
        ["newEvent", 1, undefined, indexed(0), undefined],
      ]),
    ).toEqual([[], ["new"], ["new"]]);
  });

  it("of a cloned span until its last handle is dropped", () => {
    const recorded: SinkCall = ["valuesRecorded", 7, indexed(0), undefined];
    const dropped: SinkCall = ["spanDropped", 7, undefined];
    const opened: SinkCall[] = [site(1, "a"), ["newSpan", 7, undefined, 1, indexed(), undefined], ["spanCloned", 7, undefined]];
    expect(resolved([...opened, dropped, recorded, dropped, recorded])).toEqual([[], ["a"], ["#0"]]);
  });

  it("that stand twice, by index and by name, once and with the last value", () => {
    expect(resolved([site(1, "a"), ["newEvent", 1, undefined, indexed(0, "b", "a"), undefined]])).toEqual([["a", "b"]]);
  });

  it("by their index where there is no such field or call site", () => {
    expect(
      resolved([
        site(1, "a"),
        ["newEvent", 1, undefined, indexed(5), undefined],
        ["newEvent", 2, undefined, indexed(0), undefined],
      ]),
    ).toEqual([["#5"], ["#0"]]);
  });

  it("of no more call sites and spans than the limits say", () => {
    const limits = { maxCallSites: 1, maxLiveSpans: 1 };
    expect(
      resolved(
        [
          site(1, "a"),
          site(2, "b"),
          ["newSpan", 7, undefined, 1, indexed(0), undefined],
          ["newSpan", 8, undefined, 2, indexed(0), undefined],
          ["valuesRecorded", 8, indexed(0), undefined],
          ["spanDropped", 7, undefined],
          ["newSpan", 9, undefined, 1, indexed(0), undefined],
          ["valuesRecorded", 9, indexed(0), undefined],
        ],
        limits,
      ),
    ).toEqual([["a"], ["#0"], ["#0"], ["a"], ["a"]]);
  });
});

describe("FieldResolver between two codecs", () => {
  it("makes JSON of protobuf that means the same", () => {
    /** JSON has no floats that are not finite. */
    const finite = (_key: string, item: unknown): unknown =>
      Array.isArray(item) && item[1] === "float" && !Number.isFinite(item[2])
        ? [item[0], "object", String(item[2]).replace("Infinity", "inf")]
        : typeof item === "bigint"
          ? String(item)
          : item;
    const meaning = (calls: readonly SinkCall[]): unknown => JSON.parse(JSON.stringify(plain(calls), finite));
    const fail = (error: Error): never => {
      throw error;
    };
    fc.assert(
      fc.property(batch, (calls) => {
        const source = protobuf.createEncoder();
        replay(calls, source);
        const target = json.createEncoder();
        protobuf.createDecoder(DEFAULT_LIMITS).decode(source.finish(), new FieldResolver(target, DEFAULT_LIMITS), fail);
        const read: SinkCall[] = [];
        json.createDecoder(DEFAULT_LIMITS).decode(
          target.finish(),
          sinkTo((call) => read.push(call)),
          fail,
        );
        expect(meaning(read)).toEqual(meaning(calls));
      }),
    );
  });
});
