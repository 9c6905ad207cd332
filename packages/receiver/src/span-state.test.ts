import { type RawValue, TracedValues, toValueMap, ValueKind } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallSite } from "./arena.ts";
import { NamedValues } from "./named-values.ts";
import { SpanStack, SpanState } from "./span-state.ts";

/** Integers and strings by name. */
function values(record: Record<string, number | string>): TracedValues {
  const columns = new TracedValues();
  for (const [name, raw] of Object.entries(record)) {
    columns.push(name, typeof raw === "number" ? ValueKind.int : ValueKind.string, raw as RawValue);
  }
  return columns;
}

/** A span of `callSite` with `record`. */
function kept(callSite: CallSite, record: Record<string, number | string>): SpanState<number> {
  const span = new SpanState<number>(1);
  const given = values(record);
  const named = new NamedValues();
  const shape = callSite.shapeOf(given);
  if (shape === undefined) named.fill(given, callSite);
  else named.show(shape, given.raws, 0);
  span.open(0, undefined, named);
  // What was lent is used again.
  named.clear();
  return span;
}

function callSite(...fields: string[]): CallSite {
  return new CallSite(0, { kind: "span", name: "s", target: "t", level: "info", fields });
}

describe("SpanState", () => {
  it("shares names and types with spans of its call site that have the same, and nothing else", () => {
    const site = callSite("a", "b");
    const first = kept(site, { a: 1, b: "x" });
    const second = kept(site, { a: 2, b: "y" });
    expect(second.columns).toBe(first.columns);
    expect(kept(site, { a: "1", b: "x" }).columns).not.toBe(first.columns);
    expect(kept(site, { b: "x" }).columns).not.toBe(first.columns);
    expect(toValueMap(first.values)).toEqual({ a: { int: 1 }, b: { string: "x" } });
    expect(toValueMap(second.values)).toEqual({ a: { int: 2 }, b: { string: "y" } });
  });

  it("writes to columns of its own", () => {
    const site = callSite("a", "b");
    const first = kept(site, { a: 1 });
    const second = kept(site, { a: 2 });
    first.ownValues().set("b", ValueKind.string, "more");
    first.ownValues().set("a", ValueKind.string, "other");
    expect(toValueMap(first.values)).toEqual({ a: { string: "other" }, b: { string: "more" } });
    expect(first.valueCount).toBe(2);
    expect(toValueMap(second.values)).toEqual({ a: { int: 2 } });
    expect(second.valueCount).toBe(1);
  });

  it("keeps what it is given, whatever names and types a guest makes up", () => {
    const site = callSite("a", "b", "c");
    const record = fc.dictionary(fc.constantFrom("a", "b", "c", "undeclared", "__proto__"), fc.oneof(fc.nat(), fc.string()));
    fc.assert(
      fc.property(fc.array(record, { maxLength: 30 }), (records) => {
        const spans = records.map((one) => kept(site, one));
        expect(spans.map((span) => toValueMap(span.values))).toEqual(records.map((one) => toValueMap(values(one))));
      }),
    );
  });

  it("lets a call site keep eight combinations of names and types, none of them with undeclared names", () => {
    const site = callSite("a", "b", "c");
    const isShared = (record: Record<string, number | string>): boolean => {
      const { columns } = kept(site, record);
      return columns === kept(site, record).columns;
    };
    for (let i = 0; i < 20; i++) expect(isShared({ [`made up ${i}`]: i })).toBe(false);
    const types = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({ a: bits & 1 ? 1 : "", b: bits & 2 ? 1 : "", c: bits & 4 ? 1 : "" }));
    for (const record of types) expect(isShared(record)).toBe(true);
    expect(isShared({ a: 1 })).toBe(false);
    expect(types.every(isShared)).toBe(true);
  });
});

describe("SpanStack", () => {
  it("does what a list without duplicates does", () => {
    const step = fc.tuple(fc.constantFrom("push", "push", "remove"), fc.nat(6));
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const spans = Array.from({ length: 7 }, (_, id) => new SpanState<number>(id));
        const stack = new SpanStack<number>();
        let model: SpanState<number>[] = [];
        for (const [action, id] of steps) {
          const span = spans[id] as SpanState<number>;
          stack[action](span);
          if (action === "remove") model = model.filter((one) => one !== span);
          else if (!model.includes(span)) model.push(span);
          expect([...stack]).toEqual(model.toReversed());
          expect(stack.innermost).toBe(model.at(-1));
        }
      }),
    );
  });

  it("takes the same few steps for a span, however deep it stands", () => {
    const count = 1000;
    for (const isBottomFirst of [true, false]) {
      let steps = 0;
      const counted = Array.from({ length: count }, (_, id) => {
        return new Proxy(new SpanState<number>(id), {
          get(span, name) {
            steps++;
            return Reflect.get(span, name) as unknown;
          },
          set(span, name, value) {
            steps++;
            return Reflect.set(span, name, value);
          },
        });
      });
      const stack = new SpanStack<number>();
      for (const span of counted) stack.push(span);
      for (const span of isBottomFirst ? counted : counted.toReversed()) stack.remove(span);
      expect(stack.innermost).toBeUndefined();
      expect(steps).toBeLessThan(20 * count);
    }
  });
});
