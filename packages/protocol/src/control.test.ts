import { describe, expect, it } from "vitest";
import { controlAnnounce, controlLevel, controlWord, isControlWord } from "./control.ts";

describe("controlWord", () => {
  it("is a signed 32-bit integer that says level and announcement", () => {
    for (let level = 0; level <= 5; level++) {
      for (const announce of [false, true]) {
        const word = controlWord(level, announce);
        expect(word | 0).toBe(word);
        expect([isControlWord(word), controlLevel(word), controlAnnounce(word)]).toEqual([true, level, announce]);
      }
    }
  });

  it("is told from whatever else a function may return", () => {
    for (const other of [undefined, null, 0, 1, 5, -1, 0x5351_0005, 0xd350_0005 | 0, Number.NaN, 2 ** 53, "5", {}, 5n, true]) {
      expect(isControlWord(other)).toBe(false);
    }
  });

  it("is read with bits of later versions set, and a level beyond the last as the last", () => {
    const word = controlWord(3, true) | 0xff0;
    expect([isControlWord(word), controlLevel(word), controlAnnounce(word)]).toEqual([true, 3, true]);
    expect(controlLevel(0x5350_0006)).toBe(5);
    expect(controlLevel(0x5350_0007)).toBe(5);
  });
});
