import { describe, expect, it } from "vitest";
import { isTimeInput, unixNano } from "./time.ts";

describe("unixNano", () => {
  it.each<[string, unknown, bigint | undefined]>([
    ["seconds and nanoseconds", [1_700_000_000, 123_456_789], 1_700_000_000_123_456_789n],
    ["seconds and nanoseconds at the epoch", [0, 1], 1n],
    ["milliseconds", 1_700_000_000_123, 1_700_000_000_123_000_000n],
    ["milliseconds with a fraction", 1_700_000_000_123.5, 1_700_000_000_123_500_000n],
    ["the epoch", 0, 0n],
    ["a date", new Date(1_700_000_000_123), 1_700_000_000_123_000_000n],
    ["the last moment that 64 bits hold", [18_446_744_073, 709_551_615], 2n ** 64n - 1n],
    ["the moment after it", [18_446_744_073, 709_551_616], undefined],
    ["a time before the epoch", -1, undefined],
    ["nothing", undefined, undefined],
    ["NaN", Number.NaN, undefined],
    ["infinity", Number.POSITIVE_INFINITY, undefined],
    ["an invalid date", new Date(Number.NaN), undefined],
    ["half a pair", [5], undefined],
    ["a pair with a fraction", [1, 0.5], undefined],
    ["a pair of texts", ["x", "y"], undefined],
    ["something else", { seconds: 5 }, undefined],
    ["null", null, undefined],
  ])("reads %s", (_, time, expected) => {
    expect(unixNano(time as never)).toBe(expected);
  });

  it("reads dates of other realms, and survives hostile ones", () => {
    expect(unixNano({ getTime: () => 5 } as never)).toBe(5_000_000n);
    const bad = {
      getTime() {
        throw new Error("no time");
      },
    };
    expect(unixNano(bad as never)).toBeUndefined();
  });
});

describe("isTimeInput", () => {
  it("tells times from attributes", () => {
    expect([0, [1, 2], new Date()].map(isTimeInput)).toEqual([true, true, true]);
    expect([undefined, {}, { time: 5 }, "x"].map(isTimeInput)).toEqual([false, false, false, false]);
  });
});
