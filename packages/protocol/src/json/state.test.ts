import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callSiteData, id, value } from "../../../../test/support/arbitrary-events.ts";
import { TunnelError } from "../errors.ts";
import type { PersistedMetadata, PersistedSpans, TracedValueMap } from "../index.ts";
import { tagged } from "../values.ts";
import { parseMetadata, parseSpans, printState } from "./state.ts";

const SITE = '{"kind":"span","name":"n","target":"t","level":"info","fields":["a"]}';
const SPAN = '{"metadata_id":1,"ref_count":1,"values":{}}';

function nameless<T>(entries: Iterable<readonly [string, T]>): { [name: string]: T } {
  const map = Object.create(null) as { [name: string]: T };
  for (const [name, item] of entries) map[name] = item;
  return map;
}

function refusal(run: () => unknown): TunnelError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(TunnelError);
    return error as TunnelError;
  }
  throw new Error("it was accepted");
}

/** Text is well-formed and floats are finite, so that it is the same behind JSON. */
function isPlain(item: unknown): boolean {
  if (typeof item === "string") return item.isWellFormed();
  if (typeof item === "number") return Number.isFinite(item);
  if (typeof item !== "object" || item === null) return true;
  return Object.entries(item).every(([name, member]) => name.isWellFormed() && isPlain(member));
}

const values: fc.Arbitrary<TracedValueMap> = fc
  .array(fc.tuple(fc.string({ unit: "binary" }), value), { maxLength: 6 })
  .map((entries) => nameless(entries.map(([name, [kind, raw]]) => [name, tagged(kind, raw)] as const)));

const spans: fc.Arbitrary<PersistedSpans> = fc
  .array(
    fc.tuple(
      id,
      fc.record(
        {
          metadata_id: id,
          parent_id: id,
          ref_count: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
          values,
          entered: fc.integer({ min: 1 }),
          relay: fc.jsonValue(),
        },
        { requiredKeys: ["metadata_id", "ref_count", "values"] },
      ),
    ),
  )
  .map((entries) => nameless(entries.map(([number, span]) => [String(number), span] as const)))
  .filter(isPlain);

const metadata: fc.Arbitrary<PersistedMetadata> = fc
  .array(fc.tuple(id, callSiteData))
  .map((entries) => nameless(entries.map(([number, data]) => [String(number), data] as const)))
  .filter(isPlain);

describe("printState()", () => {
  it("writes spans that parseSpans() reads back, our extra keys included", () => {
    fc.assert(
      fc.property(spans, (state) => {
        // `relay` comes back as JSON makes it: minus zero is zero.
        expect(parseSpans(printState(state))).toEqual(
          nameless(
            Object.entries(state).map(([number, span]) => [
              number,
              "relay" in span ? { ...span, relay: JSON.parse(JSON.stringify(span.relay)) as unknown } : span,
            ]),
          ),
        );
      }),
    );
  });

  it("writes call sites that parseMetadata() reads back", () => {
    fc.assert(
      fc.property(metadata, (state) => {
        expect(parseMetadata(printState(state))).toEqual(state);
      }),
    );
  });

  it("orders by id, and writes what the crate writes", () => {
    const spansText = `{"2":${SPAN},"10":${SPAN},"18446744073709551615":${SPAN}}`;
    expect(printState(parseSpans(`{"18446744073709551615":${SPAN},"10":${SPAN},"2":${SPAN}}`))).toBe(spansText);
    expect(printState(parseMetadata(`{"7":${SITE}}`))).toBe(`{"7":${SITE}}`);
    expect(printState({})).toBe("{}");
  });

  it.each<[string, unknown]>([
    ["a key that is no id", { x: JSON.parse(SPAN) as unknown }],
    ["an entry that is nothing", { 1: null }],
    ["a span without values", { 1: { metadata_id: 1, ref_count: 1 } }],
    ["a fractional ref_count", { 1: { metadata_id: 1, ref_count: 1.5, values: {} } }],
    ["what JSON cannot say", { 1: { metadata_id: 1, ref_count: 1, values: {}, relay: 1n } }],
    ["a call site without level", { 1: { kind: "span", name: "", target: "", fields: [] } }],
  ])("refuses %s", (_, state) => {
    expect(refusal(() => printState(state as PersistedSpans)).code).toBe("snapshot_mismatch");
  });
});

describe("parseSpans()", () => {
  it("keeps every digit and every name", () => {
    const text =
      '{"18446744073709551615":{"metadata_id":9007199254740993,"parent_id":0,"ref_count":2,' +
      '"values":{"__proto__":{"u_int":340282366920938463463374607431768211455}},"entered":1,"relay":{"__proto__":{"a":1}}}}';
    const state = parseSpans(text);
    expect(Object.getPrototypeOf(state)).toBe(null);
    const span = state["18446744073709551615"];
    expect(span?.metadata_id).toBe(9007199254740993n);
    expect(Object.entries(span?.values ?? {})).toEqual([["__proto__", { u_int: 2n ** 128n - 1n }]]);
    expect(Object.getPrototypeOf(span?.values)).toBe(null);
    expect(printState(state)).toBe(text);
  });

  it("reads optional keys that are null, and skips keys it does not know", () => {
    expect(parseSpans('{"1":{"metadata_id":1,"parent_id":null,"entered":null,"x":[],"ref_count":1,"values":{}}}')).toEqual(
      nameless([["1", { metadata_id: 1, ref_count: 1, values: nameless([]) }]]),
    );
  });

  it.each([
    ["nothing", ""],
    ["a list", "[]"],
    ["text behind the end", "{} {}"],
    ["an id with a leading zero", `{"01":${SPAN}}`],
    ["an id beyond 64 bits", `{"18446744073709551616":${SPAN}}`],
    ["a negative id", `{"-1":${SPAN}}`],
    ["a span that nobody holds", '{"1":{"metadata_id":1,"ref_count":0,"values":{}}}'],
    ["a negative ref_count", '{"1":{"metadata_id":1,"ref_count":-1,"values":{}}}'],
    ["a missing metadata_id", '{"1":{"ref_count":1,"values":{}}}'],
    ["a key that stands twice", '{"1":{"metadata_id":1,"metadata_id":1,"ref_count":1,"values":{}}}'],
    ["entered at place 0", '{"1":{"metadata_id":1,"ref_count":1,"values":{},"entered":0}}'],
    ["a lone surrogate", '{"1":{"metadata_id":1,"ref_count":1,"values":{"\ud800":{"bool":true}}}}'],
  ])("refuses %s as snapshot_mismatch", (_, text) => {
    expect(refusal(() => parseSpans(text)).code).toBe("snapshot_mismatch");
  });

  it("says which span is wrong, and where", () => {
    expect(refusal(() => parseSpans(`{"1":${SPAN},"7":{"metadata_id":1,"ref_count":0,"values":{}}}`)).message).toBe(
      "[snapshot_mismatch] persisted span 7: ref_count is below 1 at offset 83",
    );
  });
});

describe("parseMetadata()", () => {
  it.each([
    ["a call site without fields", '{"1":{"kind":"span","name":"n","target":"t","level":"info"}}'],
    ["a positional call site", '{"1":["span","n","t","info",[]]}'],
    ["a line beyond 32 bits", `{"1":${SITE.replace("{", '{"line":4294967296,')}}`],
  ])("refuses %s as snapshot_mismatch", (_, text) => {
    expect(refusal(() => parseMetadata(text)).code).toBe("snapshot_mismatch");
  });
});
