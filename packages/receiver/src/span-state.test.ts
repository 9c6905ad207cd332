import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpanStack, SpanState } from "./span-state.ts";

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
