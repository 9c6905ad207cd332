import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SinkCall, sinkTo } from "../../../../test/support/sink-calls.ts";
import { DecodeError } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { recordEvents } from "../recorder.ts";
import { decodeEvent, JsonDecoder, parseEvent } from "./decode.ts";

const encoder = new TextEncoder();

interface Decoded {
  readonly calls: SinkCall[];
  readonly errors: DecodeError[];
}

function decode(input: string | Uint8Array, limits: Partial<Limits> = {}): Decoded {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  new JsonDecoder({ ...DEFAULT_LIMITS, ...limits }).decode(
    typeof input === "string" ? encoder.encode(input) : input,
    sinkTo((call) => calls.push(call)),
    (error) => errors.push(error),
  );
  return { calls, errors };
}

function refusal(text: string, limits: Partial<Limits> = {}): DecodeError {
  try {
    parseEvent(text, { ...DEFAULT_LIMITS, ...limits });
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
    return error as DecodeError;
  }
  throw new Error(`it was accepted: ${text}`);
}

const record = (values: string): string => `{"values_recorded":{"id":1,"values":${values}}}`;

describe("JsonDecoder reads lines", () => {
  it("of the crate without a header, and then tells of no batch", () => {
    expect(decode('{"span_entered":{"id":1}}\n{"span_exited":{"id":1}}')).toEqual({
      calls: [
        ["spanEntered", 1, undefined],
        ["spanExited", 1, undefined],
      ],
      errors: [],
    });
  });

  it("with blank ones and carriage returns between", () => {
    expect(decode('\n  \r\n{"span_entered":{"id":1}}\r\n\n{"span_exited":{"id":1}}\r\n\t').calls).toHaveLength(2);
  });

  it("of several batches behind one another", () => {
    const header = (sequence: number): string =>
      `{"batch":{"version":1,"clock":"wall","base_time_unix_nano":1000,"sequence":${sequence},"dropped_events":0}}\n`;
    const entered = '{"span_entered":{"id":1,"time_unix_nano":1007}}\n';
    const { calls, errors } = decode(header(4) + entered + header(5) + entered);
    expect(errors).toEqual([]);
    expect(calls.map(([method, argument]) => [method, (argument as { sequence?: number }).sequence])).toEqual([
      ["batch", 4],
      ["spanEntered", undefined],
      ["batch", 5],
      ["spanEntered", undefined],
    ]);
  });

  it("whose header says only the version", () => {
    expect(decode('{"batch":{"version":1,"later":[]}}').calls).toEqual([
      ["batch", { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 }],
    ]);
  });

  it("and skips bad ones, saying where in the input each is wrong", () => {
    const lines = ['{"span_entered":{"id":1}}', '{"span_entered":{"id":-1}}', "é", '{"span_exited":{"id":1}}'];
    const { calls, errors } = decode(lines.join("\n"));
    expect(calls.map(([method]) => method)).toEqual(["spanEntered", "spanExited"]);
    expect(errors.map(({ code, offset }) => [code, offset])).toEqual([
      ["malformed", 48],
      ["malformed", 53],
    ]);
  });

  it("up to 64 bad ones", () => {
    const { calls, errors } = decode(`${"nonsense\n".repeat(64)}{"span_entered":{"id":1}}`);
    expect(calls).toEqual([]);
    expect(errors).toHaveLength(65);
    expect(errors[64]?.message).toBe("[malformed] 64 bad lines, the rest of the batch is skipped at offset 575");
    expect(decode(`${"nonsense\n".repeat(63)}{"span_entered":{"id":1}}`).calls).toHaveLength(1);
  });

  it.each([
    ["an unknown clock", '{"batch":{"version":1,"clock":"sundial"}}'],
    ["no version", '{"batch":{}}'],
    ["a sequence beyond 2^53-1", '{"batch":{"version":1,"sequence":9007199254740992}}'],
    ["a base time beyond 64 bits", '{"batch":{"version":1,"base_time_unix_nano":18446744073709551616}}'],
  ])("but for a header with %s, of which it tells nothing", (_, header) => {
    const { calls, errors } = decode(`${header}\n{"span_entered":{"id":1}}`);
    expect(calls).toEqual([["spanEntered", 1, undefined]]);
    expect(errors.map(({ code }) => code)).toEqual(["malformed"]);
  });

  it("and lets through what the sink throws", () => {
    const boom = new Error("the sink's own");
    const sink = recordEvents(() => {
      throw boom;
    });
    const decoder = new JsonDecoder(DEFAULT_LIMITS);
    expect(() => decoder.decode(encoder.encode('{"span_entered":{"id":1}}'), sink, () => undefined)).toThrow(boom);
  });
});

describe("JsonDecoder tells times", () => {
  const entered = (time: bigint | number): string => `{"span_entered":{"id":1,"time_unix_nano":${time}}}\n`;

  it("relative to the header's base", () => {
    const base = 1_700_000_000_123_456_789n;
    const header = `{"batch":{"version":1,"clock":"wall","base_time_unix_nano":${base}}}\n`;
    const { calls } = decode(header + entered(base) + entered(base - 1n) + entered(base + 9_876_543_211n));
    expect(calls.slice(1)).toEqual([
      ["spanEntered", 1, 0],
      ["spanEntered", 1, -1],
      ["spanEntered", 1, 9_876_543_211],
    ]);
  });

  it("relative to the first one where there is no header", () => {
    expect(decode(`{"span_entered":{"id":1}}\n${entered(5)}${entered(7)}`).calls).toEqual([
      ["spanEntered", 1, undefined],
      ["timeBase", 5n],
      ["spanEntered", 1, 0],
      ["spanEntered", 1, 2],
    ]);
  });

  it("relative to a new base where the last one is too far away", () => {
    const far = 2n ** 64n - 1n;
    expect(decode(entered(0) + entered(2n ** 53n - 1n) + entered(2n ** 53n) + entered(far)).calls).toEqual([
      ["timeBase", 0n],
      ["spanEntered", 1, 0],
      ["spanEntered", 1, 2 ** 53 - 1],
      ["timeBase", 2n ** 53n],
      ["spanEntered", 1, 0],
      ["timeBase", far],
      ["spanEntered", 1, 0],
    ]);
  });

  it("of none where the key is null", () => {
    expect(decode('{"span_entered":{"id":1,"time_unix_nano":null}}').calls).toEqual([["spanEntered", 1, undefined]]);
  });

  it("exactly, wherever they lie", () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })), (times) => {
        const seen: bigint[] = [];
        let base = 0n;
        for (const call of decode(times.map(entered).join("")).calls) {
          if (call[0] === "timeBase") base = call[1];
          else if (call[0] === "spanEntered") seen.push(base + BigInt(call[2] as number));
        }
        expect(seen).toEqual(times);
      }),
    );
  });
});

describe("parseEvent()", () => {
  it("reads strings and bytes alike", () => {
    const text = record('{"ключ":{"string":"🦀 \\ud83e\\udd80 \\u0000"}}');
    const event = { values_recorded: { id: 1, values: { ключ: { string: "🦀 🦀 \0" } } } };
    expect(parseEvent(text)).toEqual(event);
    expect(parseEvent(encoder.encode(text))).toEqual(event);
  });

  it("makes maps of values without prototype", () => {
    const { values } = (parseEvent(record('{"__proto__":{"bool":true}}')) as { values_recorded: { values: object } })
      .values_recorded;
    expect(Object.getPrototypeOf(values)).toBe(null);
    expect(Object.keys(values)).toEqual(["__proto__"]);
  });

  it("knows keys by their meaning, not by their spelling", () => {
    expect(parseEvent('{"span_ent\\u0065red":{"\\u0069d":1}}')).toEqual({ span_entered: { id: 1 } });
    expect(refusal('{"span_entered":{"id":1,"\\u0069d":1}}').reason).toContain("id stands twice");
  });

  it("takes a level and a kind in their long form, as the crate does", () => {
    const text = '{"new_call_site":{"id":1,"kind":{"event":null},"name":"","target":"","level":{"warn":null},"fields":[]}}';
    expect(parseEvent(text)).toEqual({
      new_call_site: { id: 1, kind: "event", name: "", target: "", level: "warn", fields: [] },
    });
  });

  it("keeps the causes of an error that is given inside out", () => {
    const text =
      '{"error":{"stack":null,"source":{"source":{"message":"c","omitted":3},"message":"b"},"type":"T","message":"a"}}';
    expect(parseEvent(record(`{"e":${text}}`))).toEqual({
      values_recorded: {
        id: 1,
        values: {
          e: {
            error: {
              message: "a",
              type: "T",
              source: { message: "b", source: { message: "c", source: null, omitted: 3 } },
            },
          },
        },
      },
    });
  });

  it("reads 128 errors in a chain, and refuses one more", () => {
    const chain = (depth: number): string =>
      record(`{"e":{"error":${'{"message":"m","source":'.repeat(depth)}null${"}".repeat(depth)}}}`);
    const event = parseEvent(chain(128)) as unknown as { values_recorded: { values: { e: { error: unknown } } } };
    let link = event.values_recorded.values.e.error as { source: unknown; omitted?: number };
    let kept = 1;
    while (link.source !== null) {
      link = link.source as typeof link;
      kept++;
    }
    expect([kept, link.omitted]).toEqual([16, 112]);
    expect(refusal(chain(129)).code).toBe("limit_exceeded");
    expect(refusal(`${record('{"e":{"error":')}${'{"source":'.repeat(200_000)}`).code).toBe("malformed");
    expect(refusal(chain(200_000)).code).toBe("limit_exceeded");
  });

  it("takes a duplicate name of a value as its last value in its first place", () => {
    const calls: SinkCall[] = [];
    decodeEvent(
      record('{"a":{"int":1},"b":{"int":2},"a":{"bool":true}}'),
      sinkTo((call) => calls.push(call)),
      DEFAULT_LIMITS,
    );
    const values = calls[0]?.[2] as { keys: unknown; raws: unknown };
    expect(values.keys).toEqual(["a", "b"]);
    expect(values.raws).toEqual([true, 2]);
  });

  it.each([
    ["nothing", ""],
    ["white space", " \n "],
    ["a batch header", '{"batch":{"version":1}}'],
    ["two events", '{"span_entered":{"id":1}} {"span_entered":{"id":1}}'],
    ["text behind the end", '{"span_entered":{"id":1}}x'],
    ["a byte order mark", '\ufeff{"span_entered":{"id":1}}'],
    ["a string with a lone surrogate", '{"span_entered":{"id":1,"x":"\ud800"}}'],
    ["a name without value", record('{"a"}')],
    ["a value without type", record('{"a":{}}')],
    ["a variant that is two things", '{"new_call_site":{"id":1,"kind":{"span":null,"event":null}}}'],
    ["a variant with content", '{"new_call_site":{"id":1,"kind":{"span":1}}}'],
    ["a variant that is empty", '{"new_call_site":{"id":1,"kind":{}}}'],
    ["a level that is none", '{"new_call_site":{"id":1,"level":"off"}}'],
    ["a level from Object.prototype", '{"new_call_site":{"id":1,"level":"toString"}}'],
    ["a time before the epoch", '{"span_entered":{"id":1,"time_unix_nano":-1}}'],
    ["a time beyond 64 bits", '{"span_entered":{"id":1,"time_unix_nano":18446744073709551616}}'],
  ])("refuses %s as malformed", (_, text) => {
    expect(refusal(text)).toMatchObject({ name: "DecodeError", code: "malformed" });
  });

  it.each([
    ["events", '{"span_entered":[1]}'],
    ["errors", record('{"e":{"error":["m",null]}}')],
  ])("says what is wrong with the positional form of %s", (_, text) => {
    expect(refusal(text).reason).toContain("positional forms are not read");
  });

  it("counts bytes of UTF-8 where a string has a lone surrogate", () => {
    expect(refusal('"é\ud800"').offset).toBe(3);
  });

  it("counts the bytes of a string behind its escapes", () => {
    const text = record(`{"a":{"string":"${"\\u00e9".repeat(4)}"}}`);
    expect(parseEvent(text, { ...DEFAULT_LIMITS, maxStringBytes: 8 })).toBeDefined();
    expect(refusal(text, { maxStringBytes: 7 }).code).toBe("limit_exceeded");
  });
});

/** Counts the bytes that are looked at. */
function counting(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly visited: () => number } {
  let visited = 0;
  const proxy = new Proxy(bytes, {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/.test(key)) visited++;
      if (key === "subarray") {
        return (start: number, end: number) => {
          visited += end - start;
          return target.subarray(start, end);
        };
      }
      if (key === "indexOf") {
        return (byte: number, from: number) => {
          const found = target.indexOf(byte, from);
          visited += (found < 0 ? target.length : found) - from;
          return found;
        };
      }
      return Reflect.get(target, key, target) as unknown;
    },
  });
  return { bytes: proxy, visited: () => visited };
}

/** A line of a guest that means ill; `n` is about how many bytes it is long. */
const HOSTILE: readonly [name: string, line: (n: number) => string][] = [
  ["a long string", (n) => record(`{"a":{"string":"${"x".repeat(n)}"}}`)],
  ["escapes", (n) => record(`{"a":{"string":"${"\\u00e9".repeat(n / 6)}"}}`)],
  ["a string without end", (n) => record(`{"a":{"string":"${"\\\\".repeat(n / 2)}`)],
  ["non-ASCII", (n) => record(`{"a":{"string":"${"€".repeat(n / 3)}"}}`)],
  ["a long key", (n) => `{"span_entered":{"${"k".repeat(n)}":1,"id":1}}`],
  ["an integer of many digits", (n) => record(`{"a":{"int":${"1".repeat(n)}}}`)],
  ["a float of many digits", (n) => record(`{"a":{"float":0.${"1".repeat(n)}}}`)],
  ["an exponent of many digits", (n) => record(`{"a":{"float":1e-${"1".repeat(n)}}}`)],
  ["one value again and again", (n) => record(`{${'"a":{"int":1},'.repeat(n / 14)}"b":{"int":1}}`)],
  ["many values", (n) => record(`{${Array.from({ length: n / 20 }, (_, i) => `"v${i}":{"bool":true}`).join()}}`)],
  ["unknown keys", (n) => `{"span_entered":{${'"x":[{}],'.repeat(n / 9)}"id":1}}`],
  ["nesting", (n) => `{"span_entered":{"x":${"[".repeat(n)}}}`],
  ["many fields", (n) => `{"new_call_site":{"fields":[${'"f",'.repeat(n / 4)}"f"]}}`],
  ["white space", (n) => `{"span_entered":{${" ".repeat(n)}"id":1}}`],
  ["empty lines", (n) => "\n".repeat(n)],
  ["bad lines", (n) => '{"span_entered":{"id":1},\n'.repeat(n / 26)],
  ["good lines", (n) => '{"span_entered":{"id":1}}\n'.repeat(n / 26)],
];

describe("JsonDecoder takes time in proportion to the input for", () => {
  it.each(HOSTILE)("%s", (_, line) => {
    for (const limits of [{}, { maxStringBytes: 2 ** 30, maxFieldsPerCallSite: 2 ** 30 }]) {
      const { bytes, visited } = counting(encoder.encode(line(60_000)));
      decode(bytes, limits);
      expect(visited() / bytes.length).toBeLessThan(6);
    }
  });
});

const VALID = [
  '{"new_call_site":{"id":1,"kind":"span","name":"n","target":"t","level":"info","module_path":"m","file":"f","line":3,"fields":["a","b"]}}',
  '{"new_span":{"id":1,"parent_id":2,"metadata_id":3,"values":{"a":{"int":-5},"b":{"u_int":18446744073709551616},"c":{"float":1.5e-7}}}}',
  '{"follows_from":{"id":1,"follows_from":2,"time_unix_nano":1700000000000000000}}',
  '{"values_recorded":{"id":1,"values":{"e":{"error":{"message":"é\\n","source":{"message":"\\ud83e\\udd80","source":null}}}}}}',
  '{"new_event":{"metadata_id":1,"parent":2,"values":{"s":{"string":"x"},"o":{"object":"y"},"b":{"bool":true}}}}',
  '{"batch":{"version":1,"clock":"frozen","base_time_unix_nano":1,"sequence":2,"dropped_events":3}}',
];

describe("JsonDecoder gives events or DecodeErrors, and nothing else, for", () => {
  const check = (input: Uint8Array): void => {
    const { errors } = decode(input);
    for (const error of errors) {
      expect(error).toBeInstanceOf(DecodeError);
      expect(["malformed", "limit_exceeded", "unsupported_version"]).toContain(error.code);
      expect(error.offset).toBeGreaterThanOrEqual(0);
      expect(error.offset).toBeLessThanOrEqual(input.length);
    }
  };

  it("random bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check), { numRuns: 2000 });
  });

  it("lines with random changes", () => {
    const edit = fc.tuple(
      fc.nat(),
      fc.nat(3),
      fc.oneof(
        fc.uint8Array({ maxLength: 2 }),
        fc.constantFrom(...'{}[],:"\\0-.e ').map((token) => encoder.encode(token)),
      ),
    );
    fc.assert(
      fc.property(fc.shuffledSubarray(VALID, { minLength: 1 }), fc.array(edit, { maxLength: 6 }), (lines, edits) => {
        let bytes = [...encoder.encode(lines.join("\n"))];
        for (const [position, removed, inserted] of edits) {
          const at = position % bytes.length;
          bytes = [...bytes.slice(0, at), ...inserted, ...bytes.slice(at + removed)];
          if (bytes.length === 0) return;
        }
        check(Uint8Array.from(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it("lines cut anywhere", () => {
    const bytes = encoder.encode(VALID.join("\n"));
    for (let end = 0; end <= bytes.length; end++) check(bytes.subarray(0, end));
  });
});
