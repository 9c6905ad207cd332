import type { TracedValue, TracingEvent } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { debug, float, thrown, uint, type Value } from "./convert.ts";
import { TracingEventSender } from "./sender.ts";

/** How `value` travels; `undefined` when it is left out. */
function sent(value: Value): TracedValue | undefined {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  sender.event({ name: "e", fields: ["value"] }).emit({ value });
  const event = events.at(-1);
  if (event === undefined || !("new_event" in event)) throw new Error("no event was sent");
  expect(sender.droppedEvents).toBe(0);
  return event.new_event.values["value"];
}

describe("a value travels", () => {
  const I128 = 2n ** 127n;
  const U128 = 2n ** 128n;

  it.each<[string, Value, TracedValue | undefined]>([
    ["true", true, { bool: true }],
    ["false", false, { bool: false }],
    ["zero", 0, { int: 0 }],
    ["the greatest safe integer", Number.MAX_SAFE_INTEGER, { int: Number.MAX_SAFE_INTEGER }],
    ["the least safe integer", Number.MIN_SAFE_INTEGER, { int: Number.MIN_SAFE_INTEGER }],
    ["a whole number that is not safe", 2 ** 53, { float: 2 ** 53 }],
    ["minus zero", -0, { float: -0 }],
    ["a fraction", 0.1, { float: 0.1 }],
    ["NaN", Number.NaN, { float: Number.NaN }],
    ["infinity", Number.NEGATIVE_INFINITY, { float: Number.NEGATIVE_INFINITY }],
    ["a small bigint as a number", 5n, { int: 5 }],
    ["a bigint beyond the safe integers", 2n ** 53n, { int: 2n ** 53n }],
    ["the greatest i128", I128 - 1n, { int: I128 - 1n }],
    ["the least i128", -I128, { int: -I128 }],
    ["what only u128 holds", I128, { u_int: I128 }],
    ["the greatest u128", U128 - 1n, { u_int: U128 - 1n }],
    ["a bigint beyond u128 as its digits", U128, { object: String(U128) }],
    ["a bigint below i128 as its digits", -I128 - 1n, { object: String(-I128 - 1n) }],
    ["text", "a\0🦀\ud800", { string: "a\0🦀\ud800" }],
    ["the empty text", "", { string: "" }],
    ["null: not at all", null, undefined],
    ["undefined: not at all", undefined, undefined],
    ["an object as JSON", { a: [1, "x", null] }, { object: '{"a":[1,"x",null]}' }],
    ["an array as JSON", [1, 2], { object: "[1,2]" }],
    ["a date as JSON", new Date(0), { object: '"1970-01-01T00:00:00.000Z"' }],
    [
      "what JSON has no form for as text",
      new (class {
        toJSON(): undefined {
          return undefined;
        }
      })(),
      { object: "[object Object]" },
    ],
    ["an object with a bigint inside as text", { a: 1n }, { object: "[object Object]" }],
    ["a symbol wrapped in an object as JSON", Object(Symbol("s")), { object: "{}" }],
    ["`float`: a whole number as a float", float(5), { float: 5 }],
    ["`float`: no number as if given plainly", float("5" as never), { string: "5" }],
    ["`uint`: unsigned", uint(5), { u_int: 5 }],
    ["`uint`: a wide bigint", uint(2n ** 70n), { u_int: 2n ** 70n }],
    ["`uint`: a narrow bigint as a number", uint(7n), { u_int: 7 }],
    ["`uint`: a negative number as if given plainly", uint(-1), { int: -1 }],
    ["`uint`: a fraction as if given plainly", uint(1.5), { float: 1.5 }],
    ["`uint`: more than 128 bits as if given plainly", uint(U128), { object: String(U128) }],
    ["`debug`: text without quotes", debug("x"), { object: "x" }],
    ["`debug`: a number", debug(1), { object: "1" }],
    ["`debug`: undefined", debug(undefined), { object: "undefined" }],
  ])("%s", (_, value, expected) => {
    expect(sent(value)).toEqual(expected);
  });

  it("so long that no host refuses it", () => {
    expect(sent("x".repeat(20_000))).toEqual({ string: "x".repeat(20_000) });
    expect(sent("\uffff".repeat(1_000_000))).toEqual({ string: `${"\uffff".repeat(20_000)}...` });
    expect(sent([`${"x".repeat(100_000)}`])).toEqual({ object: `["${"x".repeat(19_998)}...` });
    expect(sent(10n ** 50_000n)).toEqual({ object: `1${"0".repeat(19_999)}...` });
  });

  it("as [unreadable] when reading it throws", () => {
    const unreadable = { object: "[unreadable]" };
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(sent(proxy)).toEqual(unreadable);
    const hostile = {
      toJSON() {
        throw new Error("no JSON");
      },
      toString() {
        throw new Error("no text");
      },
    };
    expect(sent(hostile)).toEqual(unreadable);
    expect(sent(Object.assign(Object.create(null), { toJSON: hostile.toJSON }))).toEqual(unreadable);
  });
});

describe("an error travels", () => {
  it("with its class, message, stack and causes", () => {
    const cause = new RangeError("too far");
    const error = new TypeError("no page", { cause });
    expect(sent(error)).toEqual({
      error: {
        message: "no page",
        type: "TypeError",
        stack: error.stack,
        source: { message: "too far", type: "RangeError", source: null },
      },
    });
  });

  it("with a cause that is no error as its debug form", () => {
    expect(sent(new Error("e", { cause: "because" }))).toMatchObject({ error: { source: { message: "because", source: null } } });
    expect(sent(new Error("e", { cause: { code: 5 } }))).toMatchObject({ error: { source: { message: '{"code":5}' } } });
    expect(sent(new Error("e", { cause: 0 }))).toMatchObject({ error: { source: { message: "0" } } });
    expect(sent(new Error("e", { cause: null }))).toMatchObject({ error: { source: null } });
  });

  it("without end to its causes as 16 of them, and says that there are more", () => {
    const error = new Error("loop");
    error.cause = error;
    const chain: { message: string; omitted?: number; source: unknown }[] = [];
    for (let link = (sent(error) as { error: never }).error as (typeof chain)[0] | null; link; link = link.source as never) {
      chain.push(link);
    }
    expect(chain).toHaveLength(16);
    expect(chain.map(({ omitted }) => omitted)).toEqual([...Array(15).fill(undefined), 1]);
  });

  it("when its own properties are hostile", () => {
    const unreadable = Object.defineProperty(new Error("e"), "message", {
      get() {
        throw new Error("in the getter");
      },
    });
    expect(sent(unreadable)).toEqual({ error: { message: "[unreadable]", source: null } });
    const badCause = new Error("fine", { cause: unreadable });
    expect(sent(badCause)).toMatchObject({ error: { message: "fine", source: { message: "[unreadable]", source: null } } });
    const odd = Object.assign(new Error("e"), { message: 5, name: 7, stack: {} });
    expect(sent(odd)).toEqual({ error: { message: "5", source: null } });
    expect(sent(Object.assign(new Error("x".repeat(30_000)), { stack: "y".repeat(30_000) }))).toEqual({
      error: { message: `${"x".repeat(20_000)}...`, type: "Error", stack: `${"y".repeat(20_000)}...`, source: null },
    });
  });

  it("when it was thrown and is none, as what it says", () => {
    expect(sent(thrown("text"))).toEqual({ error: { message: "text", source: null } });
    expect(sent(thrown(undefined))).toEqual({ error: { message: "undefined", source: null } });
    expect(sent(thrown({ code: 5 }))).toEqual({ error: { message: '{"code":5}', source: null } });
    const foreign = { name: "SyntaxError", message: "of another realm", stack: "at x" };
    expect(sent(thrown(foreign))).toEqual({
      error: { message: "of another realm", type: "SyntaxError", stack: "at x", source: null },
    });
  });
});

describe("a call site's values", () => {
  it("are its own fields and nothing that objects inherit", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
    });
    const fields = ["constructor", "toString", "__proto__", "own"] as const;
    const site = sender.event({ name: "e", fields });
    site.emit({ own: 1 } as never);
    site.emit(JSON.parse('{"__proto__": 1, "constructor": 2, "toString": 3, "other": 4}'));
    site.emit(
      new (class {
        own = 5;
        method(): void {}
      })() as never,
    );
    const values = events.flatMap((event) => ("new_event" in event ? [Object.entries(event.new_event.values)] : []));
    expect(values).toEqual([
      [["own", { int: 1 }]],
      [
        ["constructor", { int: 2 }],
        ["toString", { int: 3 }],
        ["__proto__", { int: 1 }],
      ],
      [["own", { int: 5 }]],
    ]);
  });

  it("never throw, whatever they are", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true }), (value) => {
        const traced = sent(value as Value);
        if (traced !== undefined) expect(Object.keys(traced)).toHaveLength(1);
      }),
    );
  });
});
