import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../errors.ts";
import { UNLIMITED } from "../unlimited.ts";
import { JsonScanner } from "./scanner.ts";

const encoder = new TextEncoder();

function scanner(input: string | Uint8Array): JsonScanner {
  const bytes = typeof input === "string" ? encoder.encode(input) : input;
  const made = new JsonScanner(UNLIMITED);
  made.reset(bytes, 0, bytes.length);
  return made;
}

/** What `JSON.parse` would make of it, token by token. */
function readAll(text: string): unknown {
  const bytes = encoder.encode(text);
  const scan = scanner(bytes);
  const value = readValue(scan, bytes);
  scan.expectEnd();
  return value;
}

function readValue(scan: JsonScanner, bytes: Uint8Array): unknown {
  scan.atEnd();
  switch (String.fromCharCode(bytes[scan.offset] ?? 0)) {
    case "{": {
      const entries: [string, unknown][] = [];
      scan.open("the value");
      while (scan.more()) entries.push([scan.name(), readValue(scan, bytes)]);
      return Object.fromEntries(entries);
    }
    case "[": {
      const items: unknown[] = [];
      scan.openList("the value");
      while (scan.moreItems()) items.push(readValue(scan, bytes));
      return items;
    }
    case '"':
      return scan.text();
    case "t":
    case "f":
      return scan.boolean();
    case "n":
      scan.tryNull();
      return null;
    default:
      return scan.float();
  }
}

function attempt<T>(run: () => T): T | "refused" {
  try {
    return run();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof SyntaxError) return "refused";
    throw error;
  }
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** JSON of all shapes, with space between its tokens, and escapes where none are needed. */
const spacedJson = fc
  .tuple(fc.jsonValue({ maxDepth: 6 }), fc.infiniteStream(fc.constantFrom("", "", " ", "\n\t\r ")), fc.boolean())
  .map(([value, spaces, escaped]) =>
    JSON.stringify(value).replace(TOKEN, (token) => {
      const text = escaped && /^"[^\\]*"$/.test(token) ? token.replace(/[a-z]/g, (letter) => unicodeEscape(letter)) : token;
      return text + spaces.next().value;
    }),
  );

function unicodeEscape(letter: string): string {
  return `\\u00${letter.charCodeAt(0).toString(16)}`;
}

/** Such JSON with a few characters changed. */
const damagedJson = fc
  .tuple(
    spacedJson,
    fc.array(fc.tuple(fc.nat(), fc.nat(2), fc.constantFrom(...'{}[],:"\\0123456789-+.eEutrfn \n\u0000é')), { maxLength: 3 }),
  )
  .map(([text, edits]) =>
    edits.reduce((current, [position, removed, inserted]) => {
      const at = position % (current.length + 1);
      return current.slice(0, at) + inserted + current.slice(at + removed);
    }, text),
  );

describe("JsonScanner reads what JSON.parse reads", () => {
  it("any JSON, to the same value", () => {
    fc.assert(
      fc.property(spacedJson, (text) => {
        const expected: unknown = JSON.parse(text);
        // Text with lone surrogates is refused as a whole.
        fc.pre(JSON.stringify(expected).isWellFormed() && !/\\ud[89a-f]/i.test(JSON.stringify(expected)));
        expect(readAll(text)).toEqual(expected);
      }),
    );
  });

  it("damaged JSON, to the same value or to none", () => {
    fc.assert(
      fc.property(damagedJson, (text) => {
        fc.pre(!/\\ud[89a-f]/i.test(text));
        const expected = attempt(() => JSON.parse(text) as unknown);
        // What overflows is infinite for the one and out of range for the other.
        fc.pre(!JSON.stringify(expected)?.includes("null") || !/\d[eE]\+?\d{3}/.test(text));
        expect(attempt(() => readAll(text))).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("and skips it, or refuses to", () => {
    fc.assert(
      fc.property(damagedJson, (text) => {
        const expected = attempt(() => JSON.parse(text) as unknown) !== "refused";
        const skip = attempt(() => {
          const scan = scanner(text);
          scan.skip();
          scan.expectEnd();
        });
        expect(skip !== "refused").toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("numbers, to the bit", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
          fc
            .tuple(fc.constantFrom("", "-"), fc.bigInt({ min: 0n, max: 10n ** 25n }), fc.constantFrom("", ".0", ".000123", ".5"))
            .map((parts) => parts.join("")),
          fc.tuple(fc.nat(), fc.nat(10 ** 9), fc.integer({ min: -320, max: 290 })).map(([a, b, e]) => `${a}.${b}e${e}`),
        ),
        (text) => {
          expect(scanner(text).float()).toBe(Number(text));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("JsonScanner reads integers exactly", () => {
  it.each<[string, number | bigint]>([
    ["0", 0],
    ["-0", 0],
    ["999999999999999", 999999999999999],
    ["9007199254740991", 9007199254740991],
    ["9007199254740992", 9007199254740992n],
    ["-9007199254740991", -9007199254740991],
    ["-9007199254740992", -9007199254740992n],
    [`${2n ** 127n - 1n}`, 2n ** 127n - 1n],
    [`${-(2n ** 127n)}`, -(2n ** 127n)],
  ])("signed %s", (text, value) => {
    expect(scanner(text).i128()).toBe(value);
  });

  it.each([`${2n ** 127n}`, `${-(2n ** 127n) - 1n}`, "1.0", "1e2", '"5"', "01", "-", "+1", "1".repeat(1000)])(
    "signed, but not %s",
    (text) => {
      expect(attempt(() => scanner(text).i128())).toBe("refused");
    },
  );

  it("unsigned, within the width asked for", () => {
    expect(scanner(`${2n ** 128n - 1n}`).u128()).toBe(2n ** 128n - 1n);
    expect(scanner(`${2n ** 64n - 1n}`).u64()).toBe(2n ** 64n - 1n);
    expect(scanner(`${2 ** 53 - 1}`).safe()).toBe(2 ** 53 - 1);
    expect(scanner(`${2 ** 32 - 1}`).u32()).toBe(2 ** 32 - 1);
    expect(attempt(() => scanner(`${2n ** 128n}`).u128())).toBe("refused");
    expect(attempt(() => scanner(`${2n ** 64n}`).u64())).toBe("refused");
    expect(attempt(() => scanner(`${2 ** 53}`).safe())).toBe("refused");
    expect(attempt(() => scanner(`${2 ** 32}`).u32())).toBe("refused");
    expect(attempt(() => scanner("-1").u64())).toBe("refused");
    expect(attempt(() => scanner("-0").u64())).toBe("refused");
  });

  it("times, as seconds and nanoseconds", () => {
    const time = (text: string): unknown => {
      const scan = scanner(text);
      scan.time();
      return [scan.seconds, scan.nanos];
    };
    expect(time("0")).toEqual([0, 0]);
    expect(time("999999999")).toEqual([0, 999_999_999]);
    expect(time("1000000000")).toEqual([1, 0]);
    expect(time(`${2n ** 64n - 1n}`)).toEqual([18_446_744_073, 709_551_615]);
    for (const text of [`${2n ** 64n}`, "100000000000000000000", "-1", "1.0", "1e9", "null"]) {
      expect(attempt(() => time(text))).toBe("refused");
    }
  });
});

describe("JsonScanner refuses strings", () => {
  it.each([
    ["with a lone high surrogate", '"\\ud800"'],
    ["with a lone high surrogate before text", '"\\ud800x"'],
    ["with a lone high surrogate before another escape", '"\\ud800\\n"'],
    ["with two high surrogates", '"\\ud800\\ud800"'],
    ["with a lone low surrogate", '"\\udc00"'],
    ["with an unknown escape", '"\\x41"'],
    ["with too few digits", '"\\u004"'],
    ["with digits that are none", '"\\u00g0"'],
    ["with a line feed", '"a\nb"'],
    ["without end", '"abc'],
    ["that end in a backslash", '"abc\\'],
    ["that end in an escaped quote", '"abc\\"'],
  ])("%s", (_, text) => {
    expect(attempt(() => scanner(text).text())).toBe("refused");
  });

  it.each([
    ["a byte that begins nothing", [0xff]],
    ["a character cut short", [0xe2, 0x82]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["an overlong form", [0xc0, 0xaf]],
    ["a character beyond Unicode", [0xf4, 0x90, 0x80, 0x80]],
  ])("of invalid UTF-8: %s, plain, behind an escape, and where it is skipped", (_, invalid) => {
    for (const lead of ["", "\\n", "x".repeat(64)]) {
      const bytes = Uint8Array.from([0x22, ...encoder.encode(lead), ...invalid, 0x22]);
      expect(attempt(() => scanner(bytes).text())).toBe("refused");
      expect(attempt(() => scanner(bytes).skip())).toBe("refused");
    }
  });
});

describe("JsonScanner skips", () => {
  it("128 levels of nesting, and refuses one more without using up the stack", () => {
    const nested = (depth: number): string => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    scanner(nested(128)).skip();
    expect(() => scanner(nested(129)).skip()).toThrow(expect.objectContaining({ code: "limit_exceeded", offset: 128 }));
    expect(() => scanner('{"a":'.repeat(200_000)).skip()).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
  });

  it("lone surrogates, as the crate does", () => {
    const scan = scanner('["\\ud800",{"\\udc00":1}]');
    scan.skip();
    scan.expectEnd();
  });
});
