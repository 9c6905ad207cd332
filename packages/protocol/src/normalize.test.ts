import { describe, expect, it } from "vitest";
import type { CallSiteData, TracingEvent } from "./event.ts";
import { normalize } from "./normalize.ts";

const data: CallSiteData = { kind: "span", name: "work", target: "t", level: "info", file: "src\\a.rs", line: 7, fields: ["a"] };

describe("normalize()", () => {
  it("numbers call sites by first appearance, whether announced or used", () => {
    const events: TracingEvent[] = [
      { new_event: { metadata_id: 2n ** 63n, values: {} } },
      { new_call_site: { id: 500, ...data } },
      { new_span: { id: 1, metadata_id: 500, values: {} } },
      { new_event: { metadata_id: 2n ** 63n, parent: 1, values: {} } },
    ];
    expect(normalize(events).map((event) => Object.values(event)[0])).toMatchObject([
      { metadata_id: 0 },
      { id: 1 },
      { id: 1, metadata_id: 1 },
      { metadata_id: 0, parent: 1 },
    ]);
  });

  it("gives a call site that is announced again the next number, as the crate does", () => {
    const announced = (id: number): TracingEvent => ({ new_call_site: { id, ...data } });
    const used = (id: number): TracingEvent => ({ new_event: { metadata_id: id, values: {} } });
    const numbers = normalize([announced(5), announced(6), announced(5), announced(7), used(5), used(6), used(7)]).map((event) =>
      "new_call_site" in event ? event.new_call_site.id : "new_event" in event ? event.new_event.metadata_id : undefined,
    );
    expect(numbers).toEqual([0, 1, 2, 2, 2, 1, 2]);
  });

  it("leaves out lines, times, and the names of events' call sites, and nothing else", () => {
    expect(
      normalize([
        { new_call_site: { id: 9, ...data, time_unix_nano: 5 } },
        { new_call_site: { id: 8, ...data, kind: "event", name: "event src/a.rs:7", module_path: "m" } },
        { values_recorded: { id: 3, values: { a: { float: 0.5 } }, time_unix_nano: 6n } },
        { span_entered: { id: 3, time_unix_nano: 7 } },
      ]),
    ).toEqual([
      { new_call_site: { id: 0, kind: "span", name: "work", target: "t", level: "info", file: "src\\a.rs", fields: ["a"] } },
      {
        new_call_site: {
          id: 1,
          kind: "event",
          name: "event",
          target: "t",
          level: "info",
          module_path: "m",
          file: "src\\a.rs",
          fields: ["a"],
        },
      },
      { values_recorded: { id: 3, values: { a: { float: 0.5 } } } },
      { span_entered: { id: 3 } },
    ]);
  });

  it("changes nothing of what it is given", () => {
    const events: TracingEvent[] = [
      { new_call_site: { id: 500, ...data, kind: "event", time_unix_nano: 1 } },
      { new_span: { id: 1, metadata_id: 500, values: {}, time_unix_nano: 2 } },
    ];
    const before = structuredClone(events);
    normalize(events);
    expect(events).toEqual(before);
  });
});
