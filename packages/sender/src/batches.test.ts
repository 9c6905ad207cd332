import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bodyOf, kindOf, RecordingHost } from "../../../test/support/recording-host.ts";
import { tickingClock, work } from "../test/traced-work.ts";
import { type BatchOptions, batches } from "./batches.ts";
import { TracingEventSender } from "./sender.ts";
import type { Span } from "./span.ts";

function withHost(options: BatchOptions = {}): { host: RecordingHost; sender: TracingEventSender } {
  const host = new RecordingHost();
  return { host, sender: new TracingEventSender(batches(host.send, options)) };
}

describe("a batch goes out", () => {
  it("at every flush, when there is something in it", () => {
    const { host, sender } = withHost();
    const site = sender.event({ name: "e" });
    sender.flush();
    expect(host.batches).toHaveLength(0);
    site.emit();
    expect(host.batches).toHaveLength(0);
    sender.flush();
    sender.flush();
    expect(host.eventsByBatch.map((events) => events.map(kindOf))).toEqual([["new_call_site", "new_event"]]);
  });

  it("once it holds maxEvents events", () => {
    const { host, sender } = withHost({ maxEvents: 4 });
    const site = sender.event({ name: "e" });
    for (let i = 0; i < 10; i++) site.emit();
    expect(host.eventsByBatch.map((events) => events.length)).toEqual([4, 4]);
    sender.flush();
    expect(host.eventsByBatch.map((events) => events.length)).toEqual([4, 4, 3]);
  });

  it("at each event when maxEvents is 1, a call site together with the first", () => {
    const { host, sender } = withHost({ maxEvents: 1 });
    const site = sender.event({ name: "e" });
    const span = sender.span({ name: "s" }).enter();
    site.emit();
    span.close();
    expect(host.eventsByBatch.map((events) => events.map(kindOf))).toEqual([
      ["new_call_site", "new_span", "span_entered"],
      ["new_call_site", "new_event"],
      ["span_exited", "span_dropped"],
    ]);
  });

  it("once it holds maxBytes bytes, and is larger by no more than the last event", () => {
    const { host, sender } = withHost({ maxBytes: 1000 });
    const site = sender.event({ name: "e", fields: ["text"] });
    for (let i = 0; i < 100; i++) site.emit({ text: "x".repeat(90) });
    expect(host.batches.length).toBeGreaterThan(8);
    for (const { length } of host.batches) {
      expect(length).toBeGreaterThanOrEqual(1000);
      expect(length).toBeLessThan(1200);
    }
    site.emit({ text: "x".repeat(10_000) });
    expect(host.batches.at(-1)?.length).toBeGreaterThan(10_000);
    expect(host.events.filter((event) => "new_event" in event).length).toBe(101);
  });

  it("at 16 KiB and 512 events when nothing is said", () => {
    const { host, sender } = withHost();
    const site = sender.event({ name: "e", fields: ["text"] });
    for (let i = 0; i < 511; i++) site.emit();
    expect(host.eventsByBatch.map((events) => events.length)).toEqual([512]);
    for (let i = 0; i < 16; i++) site.emit({ text: "x".repeat(1024) });
    expect(host.batches).toHaveLength(2);
    expect(host.batches[1]?.length).toBeGreaterThanOrEqual(16_384);
  });
});

describe("a batch's header", () => {
  it("numbers the batches from 0", () => {
    const { host, sender } = withHost({ maxEvents: 1 });
    const site = sender.event({ name: "e" });
    for (let i = 0; i < 4; i++) site.emit();
    expect(host.headers.map(({ version, sequence }) => [version, sequence])).toEqual([0, 1, 2, 3].map((i) => [1, i]));
  });

  it("says when and by which clock, and that there is none", () => {
    const host = new RecordingHost();
    const sender = new TracingEventSender(batches(host.send), { clock: tickingClock(1_700_000_000_000_000_000n) });
    const site = sender.event({ name: "e" });
    site.emit();
    site.emit();
    sender.flush();
    site.emit();
    sender.flush();
    expect(host.headers.map(({ clock, baseTimeUnixNano }) => [clock, baseTimeUnixNano])).toEqual([
      ["logical", 1_700_000_000_000_000_000n],
      ["logical", 1_700_000_000_000_003_000n],
    ]);
    expect(host.events.map((event) => bodyOf(event)["time_unix_nano"])).toEqual(
      [1000n, 2000n, 3000n, 4000n].map((delta) => 1_700_000_000_000_000_000n + delta),
    );

    const timeless = withHost();
    timeless.sender.event({ name: "e" }).emit();
    timeless.sender.flush();
    expect(timeless.host.headers[0]).toMatchObject({ clock: "none", baseTimeUnixNano: 0n });
    expect(timeless.host.events.map((event) => "time_unix_nano" in bodyOf(event))).toEqual([false, false]);
  });

  it("tells how many events were lost so far, in batches that could not be sent too", () => {
    const host = new RecordingHost();
    let broken = false;
    const sender = new TracingEventSender(
      batches((batch) => {
        if (broken) throw new Error("host is gone");
        return host.send(batch);
      }),
    );
    const site = sender.event({ name: "e" });
    const send = () => {
      site.emit();
      sender.flush();
    };
    send();
    broken = true;
    site.emit();
    send();
    expect(sender.droppedEvents).toBe(2);
    broken = false;
    send();
    expect(host.headers.map(({ sequence, droppedEvents }) => [sequence, droppedEvents])).toEqual([
      [0, 0],
      [2, 2],
    ]);
    expect(host.eventsByBatch[1]?.map(kindOf)).toEqual(["new_call_site", "new_event"]);
  });

  it("of the batch after one that broke half-way is the next, and its loss is counted", () => {
    const host = new RecordingHost();
    const sender = new TracingEventSender(batches(host.send));
    const site = sender.event({ name: "e" });
    site.emit();
    // Cannot be written: what is in the batch by then goes with it.
    sender.event({ name: {} as string }).emit();
    site.emit();
    sender.flush();
    expect(host.headers).toMatchObject([{ sequence: 0, droppedEvents: sender.droppedEvents }]);
    expect(sender.droppedEvents).toBeGreaterThanOrEqual(3);
    expect(host.events.map(kindOf)).toEqual(["new_call_site", "new_event"]);
  });
});

describe("what a host is sent in batches", () => {
  it.each(["protobuf", "json"] as const)("is what a hook is told event by event (%s)", (name) => {
    const codec = name === "json" ? json : undefined;
    const host = new RecordingHost(codec);
    const encoder = codec?.createEncoder();
    work(new TracingEventSender(batches(host.send, { maxBytes: 300, ...(encoder && { encoder }) })));
    const events: TracingEvent[] = [];
    const hook = new TracingEventSender((event) => {
      events.push(event);
    });
    work(hook);
    expect(host.batches.length).toBeGreaterThan(5);
    expect(host.events).toEqual(events);
    expect(new Set(events.map(kindOf)).size).toBe(9);
  });

  it("has the same times as what a hook is told", () => {
    const host = new RecordingHost();
    work(new TracingEventSender(batches(host.send, { maxBytes: 300 }), { clock: tickingClock(5n) }));
    const events: TracingEvent[] = [];
    work(
      new TracingEventSender(
        (event) => {
          events.push(event);
        },
        { clock: tickingClock(5n) },
      ),
    );
    expect(host.events).toEqual(events);
    expect(events.every((event) => "time_unix_nano" in bodyOf(event))).toBe(true);
  });

  it("is the same bytes at every run with the same clock", () => {
    const run = () => {
      const host = new RecordingHost();
      work(new TracingEventSender(batches(host.send, { maxBytes: 500 }), { clock: tickingClock(1_700_000_000_000_000_000n) }));
      return host.batches.map((batch) => Buffer.from(batch).toString("hex"));
    };
    expect(run()).toEqual(run());
  });

  it("is one trace whatever the sizes of the batches", () => {
    const action = fc.record({ kind: fc.nat(6), a: fc.nat(9), n: fc.integer(), text: fc.string({ unit: "binary" }) });
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 500 }),
        (actions, maxEvents, maxBytes) => {
          const run = (sender: TracingEventSender) => {
            const site = sender.span({ name: "s", fields: ["n", "text"] });
            const note = sender.event({ name: "e", fields: ["n", "text"] });
            const spans: Span[] = [];
            for (const { kind, a, n, text } of actions) {
              const span = spans[a % (spans.length || 1)];
              if (kind === 0) spans.push(site.start({ n, text }, span));
              else if (kind === 1) spans.push(site.enter({ text }));
              else if (kind === 2) note.emit({ n, text }, span);
              else if (kind === 3) span?.exit();
              else if (kind === 4) span?.close();
              else if (kind === 5 && span) spans.push(span.clone());
              else sender.flush();
            }
            sender.flush();
          };
          const events: TracingEvent[] = [];
          run(
            new TracingEventSender((event) => {
              events.push(event);
            }),
          );
          const { host, sender } = withHost({ maxEvents, maxBytes });
          run(sender);
          expect(host.events).toEqual(onTheWire(events));
        },
      ),
    );
  });

  it("obeys the word that comes back, within the same call", () => {
    const { host, sender } = withHost({ maxEvents: 2 });
    host.answer = controlWord(2, false);
    const site = sender.event({ name: "e" });
    expect(site.enabled).toBe(true);
    site.emit();
    expect(site.enabled).toBe(false);
  });
});

/** Events as UTF-8 lets them be: without lone surrogates. */
function onTheWire(events: readonly TracingEvent[]): TracingEvent[] {
  const wellFormed = (value: unknown): unknown => {
    if (typeof value === "string") return value.toWellFormed();
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map(wellFormed);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wellFormed(item)]));
  };
  return events.map((event) => wellFormed(event) as TracingEvent);
}
