import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { floatText } from "./float.ts";

describe("floatText() writes as the crate does", () => {
  // Printed by serde_json 1.0.154.
  it.each([
    [0, "0.0"],
    [-0, "-0.0"],
    [5, "5.0"],
    [-1.5, "-1.5"],
    [0.1, "0.1"],
    [1 / 3, "0.3333333333333333"],
    [0.00001, "0.00001"],
    [0.000015, "0.000015"],
    [9.999999e-6, "9.999999e-6"],
    [1e-6, "1e-6"],
    [1.25e-7, "1.25e-7"],
    [5e-324, "5e-324"],
    [1e15, "1000000000000000.0"],
    [2 ** 53, "9007199254740992.0"],
    [9999999999999998, "9999999999999998.0"],
    [1e16, "1e+16"],
    [123456789012345680, "1.2345678901234568e+17"],
    [1e21, "1e+21"],
    [1.7976931348623157e308, "1.7976931348623157e+308"],
  ])("%d as %s", (value, text) => {
    expect(floatText(value)).toBe(text);
  });

  it("so that every finite number comes back, and never looks like an integer", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(Number(floatText(value))).toBe(value);
        expect(floatText(value)).toMatch(/[.e]/);
      }),
    );
  });
});
