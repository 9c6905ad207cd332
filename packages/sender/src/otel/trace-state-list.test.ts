import { createTraceState } from "@opentelemetry/api";
import fc from "fast-check";
import { expect, it } from "vitest";
import { TraceStateList } from "./trace-state-list.ts";

it("TraceStateList: does what the API's own trace state does", () => {
  const key = fc.constantFrom("a", "b", "c", "vendor");
  const value = fc.stringMatching(/^[a-z0-9]{1,5}$/);
  const change = fc.record({ key, value: fc.option(value, { nil: undefined }) });
  const members = fc.uniqueArray(fc.tuple(key, value), { minLength: 1, selector: ([key]) => key });
  fc.assert(
    fc.property(members, fc.constantFrom(",", ", ", " ,\t"), fc.array(change), (members, comma, changes) => {
      const text = members.map((member) => member.join("=")).join(comma);
      let ours: ReturnType<typeof createTraceState> = new TraceStateList(text);
      let theirs = createTraceState(text);
      for (const { key, value } of changes) {
        const before = ours.serialize();
        const changed = value === undefined ? ours.unset(key) : ours.set(key, value);
        expect(ours.serialize()).toBe(before);
        ours = changed;
        theirs = value === undefined ? theirs.unset(key) : theirs.set(key, value);
        expect(ours.serialize()).toBe(theirs.serialize());
        expect(["a", "b", "c", "vendor"].map((key) => ours.get(key))).toEqual(
          ["a", "b", "c", "vendor"].map((key) => theirs.get(key)),
        );
      }
    }),
    {
      examples: [
        [
          [["vendor", "0"]],
          ",",
          [
            { key: "vendor", value: undefined },
            { key: "a", value: "0" },
          ],
        ],
      ],
    },
  );
});
