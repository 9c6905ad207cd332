import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RawValue, TracedValues, ValueKind } from "./values.ts";

describe("TracedValues", () => {
  it("keeps one value of each key, the last, at the place of the first, however they are added and however many they are", () => {
    const key = fc.oneof(
      fc.nat(60),
      fc.nat(60).map((n) => String(n)),
    );
    const add = fc.record({ key, value: fc.integer(), pushIfNew: fc.boolean() });
    fc.assert(
      fc.property(fc.array(add, { maxLength: 200, size: "max" }), (adds) => {
        const values = new TracedValues();
        const model = new Map<number | string, RawValue>();
        for (const { key, value, pushIfNew } of adds) {
          if (pushIfNew && !model.has(key)) values.push(key, ValueKind.int, value);
          else values.set(key, ValueKind.int, value);
          model.set(key, value);
        }
        expect(values.keys.slice(0, values.size)).toEqual([...model.keys()]);
        expect(values.raws.slice(0, values.size)).toEqual([...model.values()]);
        for (const [at, key] of [...model.keys()].entries()) expect(values.indexOf(key)).toBe(at);
      }),
    );
  });
});
