import { controlWord, type TracingEvent } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bodyOf, kindOf, RecordingHost } from "../../../test/support/recording-host.ts";
import { batches } from "./batches.ts";
import type { SpanCallSite } from "./call-site.ts";
import type { OnEvent } from "./output.ts";
import { TracingEventSender } from "./sender.ts";
import type { Span } from "./span.ts";

function kinds(events: readonly TracingEvent[]): string[] {
  return events.map(kindOf);
}

/** Ids of the spans that were opened. */
function opened(events: readonly TracingEvent[]): unknown[] {
  return events.filter((event) => "new_span" in event).map((event) => bodyOf(event)["id"]);
}

describe("the control word", () => {
  it("changes the level as soon as it is returned, in the middle of a new span too", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
      return controlWord("span_entered" in event ? 1 : 3, false);
    });
    const site = sender.span({ name: "s" });
    expect(sender.maxLevel).toBe(5);
    site.start();
    expect(sender.maxLevel).toBe(3);
    const span = site.enter();
    expect(site.enabled).toBe(false);
    span.close();
    expect(kinds(events)).toEqual(["new_call_site", "new_span", "new_span", "span_entered", "span_exited", "span_dropped"]);
  });

  it("makes every call site be announced again before its next use, and only those used", () => {
    const host = new RecordingHost();
    const sender = new TracingEventSender(batches(host.send));
    const [a, b, c] = ["a", "b", "c"].map((name) => sender.event({ name }));
    a?.emit();
    b?.emit();
    c?.emit();
    host.answer = controlWord(5, true);
    sender.flush();
    host.answer = controlWord(5, false);
    b?.emit();
    a?.emit();
    b?.emit();
    sender.flush();
    expect(
      host.eventsByBatch[1]?.map((event) => `${kindOf(event)} ${bodyOf(event)["id"] ?? bodyOf(event)["metadata_id"]}`),
    ).toEqual(["new_call_site 2", "new_event 2", "new_call_site 1", "new_event 1", "new_event 2"]);
  });

  it("is obeyed though it is followed by another for the same call, as the answers to a call site and its span are", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
      return controlWord(5, "new_call_site" in event && events.length === 1);
    });
    const site = sender.span({ name: "s" });
    site.start();
    site.start();
    site.start();
    expect(kinds(events)).toEqual(["new_call_site", "new_span", "new_call_site", "new_span", "new_span"]);
  });

  it("is not asked for again by a flush", () => {
    let calls = 0;
    const sender = new TracingEventSender(() => {
      calls++;
      return controlWord(5, calls === 2);
    });
    const site = sender.event({ name: "e" });
    site.emit();
    site.emit();
    const before = calls;
    sender.flush();
    sender.flush();
    site.emit();
    expect(calls - before).toBe(1);
  });

  it("is nothing else than a control word", () => {
    const words = [undefined, null, 5, -1, Number.NaN, 0x5351_0005, "5", {}, 5n, controlWord(3, false) + 0.5];
    for (const word of words) {
      const sender = new TracingEventSender(() => word as number);
      sender.event({ name: "e" }).emit();
      sender.control(word);
      expect(sender.maxLevel).toBe(typeof word === "number" && Math.trunc(word) === controlWord(3, false) ? 3 : 5);
    }
  });
});

describe("a hook that traces itself", () => {
  it.each<[string, (hook: () => void) => TracingEventSender]>([
    ["with each event", (hook) => new TracingEventSender(() => hook())],
    ["with each batch", (hook) => new TracingEventSender(batches(() => hook(), { maxEvents: 1 }))],
  ])("%s is not sent what it traces; that is counted", (_, make) => {
    let site: SpanCallSite<"v"> | undefined;
    let calls = 0;
    const inner: (number | undefined)[] = [];
    const sender = make(() => {
      calls++;
      const span = site?.enter({ v: calls });
      inner.push(span?.id);
      span?.record({ v: 0 });
      span?.close();
      sender.flush();
    });
    site = sender.span({ name: "s", fields: ["v"] });
    const [first, second] = [site.start({ v: 1 }), site.start({ v: 2 })];
    expect([first.id, second.id]).toEqual([1, 2]);
    expect(inner).toEqual(Array(calls).fill(undefined));
    expect(sender.droppedEvents).toBe(calls);
  });

  it("does not get into what is being sent", () => {
    const host = new RecordingHost();
    const sender = new TracingEventSender(
      batches(
        (batch) => {
          note.emit({ text: "from the hook" });
          sender.flush();
          return host.send(batch);
        },
        { maxEvents: 3 },
      ),
    );
    const note = sender.event({ name: "note", fields: ["text"] });
    for (let i = 0; i < 6; i++) note.emit({ text: `${i}` });
    sender.flush();
    const texts = host.events.flatMap((event) => ("new_event" in event ? [event.new_event.values["text"]] : []));
    expect(texts).toEqual([0, 1, 2, 3, 4, 5].map((i) => ({ string: `${i}` })));
    expect(host.headers.map(({ sequence, droppedEvents }) => [sequence, droppedEvents])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      // Nothing but the news of what was lost.
      [3, 3],
    ]);
  });

  it("is another matter than a getter that traces, which is the application's: both are sent", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
    });
    const inner = sender.span({ name: "inner", fields: ["a"] });
    const outer = sender.span({ name: "outer", fields: ["x", "y", "z"] });
    outer.start({ z: 0 });
    outer.start({
      x: 1,
      get y() {
        inner.start({ a: "getter" }).close();
        return 2;
      },
      z: 3,
    });
    expect(events.filter((event) => "new_span" in event).slice(1)).toEqual([
      { new_span: { id: 2, metadata_id: 1, values: { a: { string: "getter" } } } },
      { new_span: { id: 3, metadata_id: 2, values: { x: { int: 1 }, y: { int: 2 }, z: { int: 3 } } } },
    ]);
    expect(sender.droppedEvents).toBe(0);
  });
});

describe("a hook that throws", () => {
  const failing = (fails: (event: TracingEvent) => boolean) => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
      if (fails(event)) throw new Error("host is gone");
    });
    return { events, sender };
  };

  it("costs the event, which is counted, and never a number twice", () => {
    let broken = true;
    const { events, sender } = failing((event) => broken && "new_span" in event);
    const site = sender.span({ name: "s" });
    const lost = site.enter();
    expect([lost.id, sender.droppedEvents]).toEqual([undefined, 1]);
    lost.close();
    broken = false;
    expect(site.start().id).toBe(2);
    expect(opened(events)).toEqual([1, 2]);
  });

  it("is told of call sites again, because it may not have got them", () => {
    let broken = true;
    const { events, sender } = failing((event) => broken && "new_call_site" in event);
    const site = sender.event({ name: "e" });
    site.emit();
    broken = false;
    site.emit();
    site.emit();
    expect(kinds(events)).toEqual(["new_call_site", "new_call_site", "new_event", "new_event"]);
    expect(sender.droppedEvents).toBe(1);
  });
});

/** Makes things that throw wherever they are touched, or that are nonsense. Made late, because fast-check touches values too. */
const hostile: fc.Arbitrary<() => unknown> = fc.oneof(
  fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, withMap: true }).map((value) => () => value),
  fc.constantFrom<() => unknown>(
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
    () => {
      const trap = () => {
        throw new Error("trap");
      };
      return new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap });
    },
    () => ({
      get v() {
        throw new Error("getter");
      },
    }),
    () => Object.assign(new Error("e"), { toString: null, stack: 1n, cause: Symbol("s") }),
    () => ({ toJSON: () => 1n, [Symbol.toPrimitive]: () => ({}) }),
  ),
);

const step = fc.record({
  action: fc.constantFrom(
    "start",
    "enter",
    "event",
    "record",
    "exit",
    "clone",
    "follows",
    "close",
    "flush",
    "control",
    "run",
    "instrument",
  ),
  a: fc.nat(9),
  b: fc.nat(9),
  values: hostile,
  hook: fc.constantFrom("accept", "throw", "trace", "nonsense"),
});

describe("a sender", () => {
  it.each(["each event", "batches"])("never throws into the application, whatever values and hooks do (%s)", (mode) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let now: (typeof steps)[number] | undefined;
        const hook: OnEvent = () => {
          if (now?.hook === "throw") throw now.values();
          if (now?.hook === "trace") site.enter(now.values() as never).close();
          return now?.hook === "nonsense" ? (now.values() as number) : undefined;
        };
        const output = mode === "batches" ? batches(hook as never, { maxEvents: 3 }) : hook;
        const sender = new TracingEventSender(output);
        const site = sender.span({ name: "s", fields: ["v", "constructor", "__proto__"] });
        const event = sender.event({ name: "e", fields: ["v"] });
        const spans: Span[] = [];
        for (const each of steps) {
          now = each;
          const values = each.values() as never;
          const [a, b] = [spans[each.a % (spans.length || 1)], spans[each.b % (spans.length || 1)]];
          if (each.action === "start") spans.push(site.start(values, a));
          else if (each.action === "enter") spans.push(site.enter({ v: values }, b));
          else if (each.action === "event") event.emit(each.a > 4 ? values : { v: values }, a);
          else if (each.action === "record") a?.record({ v: values } as never);
          else if (each.action === "exit") a?.exit();
          else if (each.action === "clone") a && spans.push(a.clone());
          else if (each.action === "follows") b && a?.followsFrom(b);
          else if (each.action === "close") a?.close();
          else if (each.action === "flush") sender.flush();
          else if (each.action === "control") sender.control(values);
          else if (each.action === "run")
            expect(() =>
              site.run(values, () => {
                throw new Error("own");
              }),
            ).toThrow("own");
          else
            expect(
              site.instrument(
                () => "ran",
                () => values,
              )(),
            ).toBe("ran");
        }
        expect(Number.isSafeInteger(sender.droppedEvents)).toBe(true);
        if (steps.every(({ hook }) => hook === "accept")) expect(sender.droppedEvents).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
