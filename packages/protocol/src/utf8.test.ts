import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readByHand, readUtf8, writeUtf8 } from "./utf8.ts";

/** Strings of any UTF-16 units, lone surrogates among them. */
const anyText = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0x7f }),
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0xd800, max: 0xdfff }),
      fc.constantFrom(0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xffff),
    ),
    { maxLength: 80 },
  )
  .map((units) => String.fromCharCode(...units));

/** Bytes that are UTF-8 more often than random ones, and wrong in the ways that matter. */
const anyBytes = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: anyText.map((text) => [...new TextEncoder().encode(text.slice(0, 8))]) },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }).map((byte) => [byte]) },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          [0xc0, 0x80],
          [0xc1, 0xbf],
          [0xc2],
          [0xdf, 0xbf],
          [0xe0, 0x80, 0x80],
          [0xe0, 0x9f, 0xbf],
          [0xe0, 0xa0, 0x80],
          [0xe2, 0x82],
          [0xed, 0x9f, 0xbf],
          [0xed, 0xa0, 0x80],
          [0xed, 0xbf, 0xbf],
          [0xee, 0x80, 0x80],
          [0xef, 0xbb, 0xbf],
          [0xf0, 0x80, 0x80, 0x80],
          [0xf0, 0x8f, 0xbf, 0xbf],
          [0xf0, 0x90, 0x80, 0x80],
          [0xf0, 0x9f, 0xa6],
          [0xf4, 0x8f, 0xbf, 0xbf],
          [0xf4, 0x90, 0x80, 0x80],
          [0xf5, 0x80, 0x80, 0x80],
          [0xf8, 0x88, 0x80, 0x80, 0x80],
          [0xff],
        ),
      },
    ),
    { maxLength: 12 },
  )
  .map((parts) => Uint8Array.from(parts.flat()));

function platformRead(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

describe("writeUtf8", () => {
  it("writes what TextEncoder writes, and nothing beyond", () => {
    fc.assert(
      fc.property(anyText, fc.nat(5), (text, at) => {
        const bytes = new Uint8Array(at + text.length * 3 + 3).fill(0xaa);
        const end = writeUtf8(bytes, at, text);
        expect(bytes.slice(at, end)).toEqual(new TextEncoder().encode(text));
        expect(bytes.subarray(0, at).every((byte) => byte === 0xaa)).toBe(true);
        expect(bytes.subarray(end).every((byte) => byte === 0xaa)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ["a high surrogate at the end", "a\ud83e"],
    ["a high surrogate before a letter", "\ud83eb"],
    ["a low surrogate alone", "\udd80"],
    ["surrogates the wrong way round", "\udd80\ud83e"],
    ["two high surrogates before a low one", "\ud83e\ud83e\udd80"],
  ])("writes U+FFFD for %s", (_, text) => {
    const bytes = new Uint8Array(20);
    const end = writeUtf8(bytes, 0, text);
    expect(new TextDecoder().decode(bytes.subarray(0, end))).toBe(text.toWellFormed());
    expect(text.isWellFormed()).toBe(false);
  });

  it("needs three bytes a UTF-16 unit at most", () => {
    for (const text of ["\x7f", "\u07ff", "\uffff", "\ud800", "\u{10ffff}"]) {
      expect(writeUtf8(new Uint8Array(8), 0, text)).toBeLessThanOrEqual(3 * text.length);
    }
  });
});

describe.each([
  ["readUtf8", readUtf8],
  ["readByHand", readByHand],
])("%s", (_, read) => {
  it("reads what TextDecoder reads, and refuses what it refuses", () => {
    fc.assert(
      fc.property(anyBytes, fc.nat(3), (bytes, around) => {
        const larger = new Uint8Array(bytes.length + 2 * around).fill(0x80);
        larger.set(bytes, around);
        expect(read(larger, around, around + bytes.length)).toBe(platformRead(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it("reads or refuses every lead byte, with every kind of second byte, cut after each byte", () => {
    for (let lead = 0x80; lead <= 0xff; lead++) {
      for (const second of [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0]) {
        for (const tail of [
          [],
          [second],
          [second, 0x80],
          [second, 0x80, 0xbf],
          [second, 0x80, 0x7f],
          [second, 0xbf, 0xbf, 0xbf],
        ]) {
          const bytes = Uint8Array.from([lead, ...tail]);
          expect(read(bytes, 0, bytes.length)).toBe(platformRead(bytes));
        }
      }
    }
  });

  it("reads every code point that text may have, and a byte order mark as a character", () => {
    for (let code = 0; code <= 0x10ffff; code += code < 0x3000 ? 1 : 97) {
      const text = String.fromCodePoint(code).toWellFormed();
      const bytes = new TextEncoder().encode(text);
      expect(read(bytes, 0, bytes.length)).toBe(text);
    }
    expect(read(Uint8Array.of(0xef, 0xbb, 0xbf), 0, 3)).toBe("\ufeff");
  });

  it("reads text of every length around the change to the platform's decoder", () => {
    for (let length = 0; length <= 60; length++) {
      for (const last of ["", "é", "🦀"]) {
        const text = "a".repeat(length) + last;
        const bytes = new TextEncoder().encode(text);
        expect(read(bytes, 0, bytes.length)).toBe(text);
      }
    }
  });
});
