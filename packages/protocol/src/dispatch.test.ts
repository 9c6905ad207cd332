import { describe, expect, test } from "vitest";
import { dispatchEvent } from "./dispatch.ts";
import { DecodeError } from "./errors.ts";
import type { TracedError, TracingEvent } from "./event.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import { recordEvents } from "./recorder.ts";

function through(event: unknown, limits: Partial<Limits> = {}): TracingEvent[] {
  const events: TracingEvent[] = [];
  dispatchEvent(
    event,
    recordEvents((made) => events.push(made)),
    { ...DEFAULT_LIMITS, ...limits },
  );
  return events;
}

function refusal(event: unknown, limits: Partial<Limits> = {}): DecodeError {
  try {
    through(event, limits);
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
    return error as DecodeError;
  }
  throw new Error("it was accepted");
}

const nameless = (entries: [string, unknown][]): object => {
  const map = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of entries) map[name] = value;
  return map;
};

const EVENTS: Record<string, TracingEvent> = {
  "a call site": {
    new_call_site: {
      id: 2n ** 64n - 1n,
      kind: "span",
      name: "n",
      target: "t",
      level: "info",
      module_path: "m",
      file: "f",
      line: 4294967295,
      fields: ["a", "a", "__proto__", ""],
    },
  },
  "a span with every type of value": {
    new_span: {
      id: 1,
      parent_id: 0,
      metadata_id: 3,
      values: nameless([
        ["b", { bool: false }],
        ["i", { int: -(2n ** 127n) }],
        ["u", { u_int: 2n ** 128n - 1n }],
        ["f", { float: -0 }],
        ["nan", { float: Number.NaN }],
        ["s", { string: "\ud800\0" }],
        ["__proto__", { object: "constructor" }],
        ["", { error: { message: "m", source: { message: "n", source: null, type: "T", stack: "S", omitted: 2 } } }],
      ]) as never,
      time_unix_nano: 1_700_000_000_000_000_001n,
    },
  },
  "a relation": { follows_from: { id: 1, follows_from: 2 } },
  "an enter": { span_entered: { id: 1 } },
  "an exit": { span_exited: { id: 1, time_unix_nano: 0 } },
  "a clone": { span_cloned: { id: 1 } },
  "a drop": { span_dropped: { id: 1 } },
  "a record": { values_recorded: { id: 1, values: nameless([]) as never } },
  "an event": { new_event: { metadata_id: 1, parent: 2n ** 63n, values: nameless([]) as never } },
};

describe("dispatchEvent() drives the sink with", () => {
  test.for(Object.entries(EVENTS))("%s", ([, event]) => {
    expect(through(event)).toStrictEqual([event]);
  });

  test("the same event after a structured clone", () => {
    for (const event of Object.values(EVENTS)) expect(through(structuredClone(event))).toEqual([event]);
  });

  test("canonical ids: a small bigint becomes a number, minus zero becomes zero", () => {
    expect(through({ span_entered: { id: 5n } })).toStrictEqual([{ span_entered: { id: 5 } }]);
    expect(through({ span_entered: { id: -0 } })).toStrictEqual([{ span_entered: { id: 0 } }]);
  });

  test("absent for null and undefined in optional places", () => {
    expect(through({ new_event: { metadata_id: 1, parent: null, values: {}, time_unix_nano: undefined } })).toEqual([
      { new_event: { metadata_id: 1, values: {} } },
    ]);
  });

  test("NaN for a float that JSON turned into null", () => {
    expect(through({ values_recorded: { id: 1, values: { a: { float: null } } } })).toEqual([
      { values_recorded: { id: 1, values: { a: { float: Number.NaN } } } },
    ]);
  });

  test("what is known, leaving out unknown keys", () => {
    expect(through({ span_entered: { id: 1, x: 2 } })).toStrictEqual([{ span_entered: { id: 1 } }]);
  });
});

describe("dispatchEvent() refuses as malformed", () => {
  const span = (id: unknown): unknown => ({ span_entered: { id } });
  const value = (tagged: unknown): unknown => ({ values_recorded: { id: 1, values: { a: tagged } } });
  const site = (change: object): unknown => ({
    new_call_site: { id: 1, kind: "span", name: "n", target: "t", level: "info", fields: [], ...change },
  });
  const hostile = new Proxy({}, { ownKeys: () => ["id", "id"] });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();

  test.for<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["a string", "span_entered"],
    ["an array", [1]],
    ["no kind", {}],
    ["two kinds", { span_entered: { id: 1 }, span_exited: { id: 1 } }],
    ["an unknown kind", { constructor: { id: 1 } }],
    ["an inherited kind", Object.create({ span_entered: { id: 1 } })],
    ["an inherited id", { span_entered: Object.create({ id: 1 }) }],
    ["an id that cannot be enumerated", { span_entered: Object.defineProperty({}, "id", { value: 1, enumerable: false }) }],
    ["a kind without body", { span_entered: null }],
    ["a positional body", { span_entered: [1] }],
    ["a missing id", span(undefined)],
    ["a negative id", span(-1)],
    ["a fractional id", span(1.5)],
    ["an id beyond what a number holds", span(2 ** 53)],
    ["an id beyond 64 bits", span(2n ** 64n)],
    ["an id as text", span("1")],
    ["a boxed id", span(Object(1))],
    ["values that are missing", { new_event: { metadata_id: 1 } }],
    ["values in an array", { new_event: { metadata_id: 1, values: [] } }],
    ["an untagged value", value(5)],
    ["a value of two types", value({ int: 1, bool: true })],
    ["a value of unknown type", value({ bytes: [1] })],
    ["a bool as a number", value({ bool: 1 })],
    ["an int as text", value({ int: "5" })],
    ["an int beyond 128 bits", value({ int: 2n ** 127n })],
    ["an unsigned int below zero", value({ u_int: -1 })],
    ["a float as text", value({ float: "NaN" })],
    ["an error without message", value({ error: { source: null } })],
    ["an error as text", value({ error: "m" })],
    ["an unknown call-site kind", site({ kind: "Span" })],
    ["an unknown level", site({ level: "off" })],
    ["a line beyond 32 bits", site({ line: 2 ** 32 })],
    ["fields that are null", site({ fields: null })],
    ["a field without name", site({ fields: [undefined] })],
    ["a time before the epoch", { span_entered: { id: 1, time_unix_nano: -1 } }],
    [
      "a getter that throws",
      {
        get span_entered() {
          throw new Error("gotcha");
        },
      },
    ],
    ["a proxy that lies", hostile],
    ["a revoked proxy", { span_entered: revoked.proxy }],
  ])("%s", ([, event]) => {
    expect(refusal(event)).toMatchObject({ code: "malformed", offset: 0 });
  });
});

describe("dispatchEvent() holds", () => {
  test("a string to maxStringBytes of UTF-8", () => {
    const event = (text: string): unknown => ({ values_recorded: { id: 1, values: { a: { string: text } } } });
    expect(through(event("é€😀"), { maxStringBytes: 9 })).toHaveLength(1);
    expect(refusal(event("é€😀"), { maxStringBytes: 8 }).code).toBe("limit_exceeded");
    expect(refusal(event("123456789"), { maxStringBytes: 8 }).code).toBe("limit_exceeded");
  });

  test("a call site to maxFieldsPerCallSite", () => {
    const event = { new_call_site: { id: 1, kind: "span", name: "", target: "", level: "info", fields: ["a", "b"] } };
    expect(through(event, { maxFieldsPerCallSite: 2 })).toHaveLength(1);
    expect(refusal(event, { maxFieldsPerCallSite: 1 }).code).toBe("limit_exceeded");
  });

  test("an error chain to maxErrorDepth, counting the rest, and refuses one without end", () => {
    const event = (error: TracedError): unknown => ({ values_recorded: { id: 1, values: { a: { error } } } });
    const chain = (links: number): TracedError => ({ message: `${links}`, source: links > 1 ? chain(links - 1) : null });
    expect(through(event({ ...chain(4), omitted: 9 }), { maxErrorDepth: 2 })).toEqual([
      event({ message: "4", source: { message: "3", source: null, omitted: 2 } }),
    ]);
    expect(through(event(chain(128)))).toHaveLength(1);
    expect(refusal(event(chain(129))).code).toBe("limit_exceeded");
    const cycle = { message: "again", source: null as unknown };
    cycle.source = cycle;
    expect(refusal(event(cycle as TracedError)).code).toBe("limit_exceeded");
  });

  test("nothing of an event back from the sink's own errors", () => {
    const boom = new Error("the sink's own");
    const sink = recordEvents(() => {
      throw boom;
    });
    expect(() => dispatchEvent({ span_entered: { id: 1 } }, sink, DEFAULT_LIMITS)).toThrow(boom);
  });
});
