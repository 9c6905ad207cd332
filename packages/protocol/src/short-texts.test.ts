import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ShortTexts } from "./short-texts.ts";

const { WIDTH } = ShortTexts;
const after = fc.uint8Array({ minLength: WIDTH, maxLength: WIDTH });

/** `text` read from the middle of other bytes. */
function read(texts: ShortTexts, before: Uint8Array, text: Uint8Array, rest: Uint8Array): string | undefined {
  const bytes = Uint8Array.of(...before, ...text, ...rest);
  return texts.get(bytes, new DataView(bytes.buffer), before.length, text.length);
}

describe("ShortTexts", () => {
  it("gives the text that the bytes are, whatever came before and whatever stands around it", () => {
    const texts = new ShortTexts();
    const ascii = fc.uint8Array({ max: 0x7f, maxLength: WIDTH });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9 }), ascii, after, (before, text, rest) => {
        const expected = String.fromCharCode(...text);
        expect(read(texts, before, text, rest)).toBe(expected);
        expect(read(texts, before, text, rest)).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("tells texts apart that differ only in NULs at their end", () => {
    const texts = new ShortTexts();
    const rest = new Uint8Array(WIDTH);
    for (let length = 0; length <= WIDTH; length++) {
      expect(read(texts, rest, new Uint8Array(length), rest)).toBe("\0".repeat(length));
    }
  });

  it("leaves what is not ASCII to others", () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: WIDTH }).filter((text) => text.some((byte) => byte >= 0x80));
    fc.assert(
      fc.property(bytes, after, (text, rest) => {
        expect(read(new ShortTexts(), new Uint8Array(0), text, rest)).toBeUndefined();
      }),
    );
  });
});
