import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { bodyOf, kindOf } from "../../../test/support/recording-host.ts";
import { TracingEventSender } from "./sender.ts";

function record(): { sender: TracingEventSender; events: TracingEvent[] } {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  return { sender, events };
}

/** Kinds of the events, with the number of the span where there is one. */
function outline(events: readonly TracingEvent[]): string[] {
  return events.map((event) => {
    const { id, parent_id, parent } = bodyOf(event);
    const under = parent_id ?? parent;
    const text = kindOf(event) === "new_event" ? kindOf(event) : `${kindOf(event)} ${id}`;
    return under === undefined ? text : `${text} in ${under}`;
  });
}

describe("TracingEventSender.span and event", () => {
  it("announce a call site with what is known of it, once, before its first use", () => {
    const { sender, events } = record();
    const site = sender.span({
      name: "render",
      level: "debug",
      target: "shop::pages",
      fields: ["page", "size"],
      modulePath: "shop::pages::render",
      file: "src/render.js",
      line: 12,
    });
    const plain = sender.event({ name: "rendered" });
    expect(events).toEqual([]);
    site.start();
    site.start();
    plain.emit();
    expect(events.filter((event) => "new_call_site" in event)).toEqual([
      {
        new_call_site: {
          id: 1,
          kind: "span",
          name: "render",
          target: "shop::pages",
          level: "debug",
          module_path: "shop::pages::render",
          file: "src/render.js",
          line: 12,
          fields: ["page", "size"],
        },
      },
      { new_call_site: { id: 2, kind: "event", name: "rendered", target: "guest", level: "info", fields: [] } },
    ]);
    expect(kindOf(events[0] as TracingEvent)).toBe("new_call_site");
  });

  it("take the sender's target where they have none", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender(
      (event) => {
        events.push(event);
      },
      { target: "plugin" },
    );
    sender.event({ name: "a" }).emit();
    sender.event({ name: "b", target: "own" }).emit();
    expect(events.flatMap((event) => ("new_call_site" in event ? [event.new_call_site.target] : []))).toEqual(["plugin", "own"]);
  });

  it("send declared values, in the order of the fields, and no others", () => {
    const { sender, events } = record();
    const values = { extra: true, size: 3, page: "index" };
    sender.span({ name: "render", fields: ["page", "size"] }).start(values);
    expect(Object.entries(bodyOf(events[1] as TracingEvent)["values"] as object)).toEqual([
      ["page", { string: "index" }],
      ["size", { int: 3 }],
    ]);
  });
});

describe("Span", () => {
  it("has the contextual parent unless it is told another", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    const note = sender.event({ name: "e" });
    const outer = site.enter();
    const other = site.start(undefined, outer);
    site.start();
    note.emit();
    note.emit(undefined, other);
    expect(outline(events)).toEqual([
      "new_call_site 1",
      "new_span 1",
      "span_entered 1",
      "new_span 2 in 1",
      "new_span 3",
      "new_call_site 2",
      "new_event",
      "new_event in 2",
    ]);
  });

  it("that is closed is the parent of nothing", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    const closed = site.start();
    closed.close();
    site.start(undefined, closed);
    expect(outline(events).at(-1)).toBe("new_span 2");
  });

  it("is entered, exited, recorded to, linked, cloned and closed as told", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s", fields: ["n"] });
    const cause = site.start();
    const span = site.start();
    span.enter();
    span.exit();
    span.record({ n: 1 });
    span.followsFrom(cause);
    span.clone().close();
    span.close();
    expect(outline(events)).toEqual([
      "new_call_site 1",
      "new_span 1",
      "new_span 2",
      "span_entered 2",
      "span_exited 2",
      "values_recorded 2",
      "follows_from 2",
      "span_cloned 2",
      "span_dropped 2",
      "span_dropped 2",
    ]);
    expect(events[5]).toEqual({ values_recorded: { id: 2, values: { n: { int: 1 } } } });
    expect(events[6]).toEqual({ follows_from: { id: 2, follows_from: 1 } });
  });

  it("that is entered is exited when it is closed, and only then", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    const span = site.enter();
    const clone = span.clone();
    clone.close();
    span.exit();
    span.enter();
    span.close();
    expect(outline(events).slice(1)).toEqual([
      "new_span 1",
      "span_entered 1",
      "span_cloned 1",
      "span_dropped 1",
      "span_exited 1",
      "span_entered 1",
      "span_exited 1",
      "span_dropped 1",
    ]);
  });

  it("that is closed does nothing more", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s", fields: ["n"] });
    const [span, open] = [site.start(), site.start()];
    span.close();
    const before = events.length;
    span.enter();
    span.exit();
    span.record({ n: 1 });
    span.followsFrom(open);
    open.followsFrom(span);
    span.clone().close();
    span.close();
    expect(events.length).toBe(before);
    expect(span.id).toBeUndefined();
  });

  it("closes at the end of a `using` block, whatever happens in it", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    expect(() => {
      using _outer = site.enter();
      using _inner = site.enter();
      throw new Error("on purpose");
    }).toThrow("on purpose");
    expect(outline(events).slice(-4)).toEqual(["span_exited 2", "span_dropped 2", "span_exited 1", "span_dropped 1"]);
  });

  it("inScope: is entered around the call and stays open, also when that throws", () => {
    const { sender, events } = record();
    const note = sender.event({ name: "e" });
    const span = sender.span({ name: "s" }).start();
    const emitted = span.inScope(() => {
      note.emit();
      return 5;
    });
    expect(emitted).toBe(5);
    expect(() =>
      span.inScope(() => {
        throw new Error("on purpose");
      }),
    ).toThrow("on purpose");
    expect(outline(events).slice(2)).toEqual([
      "span_entered 1",
      "new_call_site 1",
      "new_event",
      "span_exited 1",
      "span_entered 1",
      "span_exited 1",
    ]);
    expect(span.id).toBe(1);
  });
});

describe("SpanCallSite.run", () => {
  it("runs inside of a new span and returns what comes back", () => {
    const { sender, events } = record();
    const note = sender.event({ name: "e" });
    const site = sender.span({ name: "s", fields: ["n", "late"] });
    const result = site.run({ n: 1 }, (span) => {
      note.emit();
      span.record({ late: true });
      return "done";
    });
    expect(result).toBe("done");
    expect(outline(events)).toEqual([
      "new_call_site 2",
      "new_span 1",
      "span_entered 1",
      "new_call_site 1",
      "new_event",
      "values_recorded 1",
      "span_exited 1",
      "span_dropped 1",
    ]);
  });

  it("records what is thrown as an error event of the span, and throws it on", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s", target: "t" });
    const error = new TypeError("on purpose");
    expect(() =>
      site.run(undefined, () => {
        throw error;
      }),
    ).toThrow(error);
    expect(events.slice(3)).toEqual([
      { new_call_site: { id: 2, kind: "event", name: "exception", target: "t", level: "error", fields: ["error"] } },
      {
        new_event: {
          metadata_id: 2,
          parent: 1,
          values: { error: { error: { message: "on purpose", type: "TypeError", stack: error.stack, source: null } } },
        },
      },
      { span_exited: { id: 1 } },
      { span_dropped: { id: 1 } },
    ]);
  });

  it("declares the event for errors once", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    for (const thrown of ["text", undefined]) {
      expect(() =>
        site.run(undefined, () => {
          throw thrown;
        }),
      ).toThrow();
    }
    expect(events.filter((event) => "new_call_site" in event)).toHaveLength(2);
    expect(events.filter((event) => "new_event" in event)).toHaveLength(2);
  });

  it("closes the span of a promise when that is settled, and leaves it before", async () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    let finish: (value: number) => void = () => undefined;
    const running = site.run(undefined, () => new Promise<number>((resolve) => (finish = resolve)));
    expect(outline(events).slice(1)).toEqual(["new_span 1", "span_entered 1", "span_exited 1"]);
    finish(7);
    expect(await running).toBe(7);
    expect(outline(events).at(-1)).toBe("span_dropped 1");
  });

  it("records why a promise was rejected, and rejects", async () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s" });
    const error = new Error("late");
    await expect(site.run(undefined, () => Promise.reject(error))).rejects.toBe(error);
    expect(outline(events).slice(-3)).toEqual(["new_call_site 2", "new_event in 1", "span_dropped 1"]);
  });

  it("keeps concurrent spans apart when children name their parents", async () => {
    const { sender, events } = record();
    const job = sender.span({ name: "job" });
    const step = sender.span({ name: "step" });
    const work = (ticks: number) =>
      job.run(undefined, async (span) => {
        for (let i = 0; i < ticks; i++) {
          await Promise.resolve();
          step.start(undefined, span).close();
        }
      });
    await Promise.all([work(2), work(1)]);
    const opened = events.flatMap((event) => ("new_span" in event ? [event.new_span] : []));
    expect(opened.map(({ id, parent_id }) => [id, parent_id])).toEqual([
      [1, undefined],
      [2, undefined],
      [3, 1],
      [4, 2],
      [5, 1],
    ]);
  });

  it("hands through objects whose `then` throws", () => {
    const { sender, events } = record();
    const odd = new Proxy(
      {},
      {
        get() {
          throw new Error("no then");
        },
      },
    );
    expect(sender.span({ name: "s" }).run(undefined, () => odd)).toBe(odd);
    expect(outline(events).at(-1)).toBe("span_dropped 1");
  });
});

describe("SpanCallSite.instrument", () => {
  it("makes a function that takes, returns and throws as before, each call in a span of its own", () => {
    const { sender, events } = record();
    const shop = {
      name: "corner",
      sell(this: { name: string }, what: string, count: number): string {
        if (count === 0) throw new RangeError("nothing");
        return `${this.name}: ${count} ${what}`;
      },
    };
    shop.sell = sender.span({ name: "sell", fields: ["what"] }).instrument(shop.sell, (what) => ({ what }));
    expect(shop.sell("apples", 2)).toBe("corner: 2 apples");
    expect(() => shop.sell("pears", 0)).toThrow(RangeError);
    const values = events.flatMap((event) => ("new_span" in event ? [event.new_span.values] : []));
    expect(values).toEqual([{ what: { string: "apples" } }, { what: { string: "pears" } }]);
    expect(outline(events).slice(-2)).toEqual(["span_exited 2", "span_dropped 2"]);
  });

  it("works on async functions", async () => {
    const { sender, events } = record();
    const double = sender.span({ name: "double" }).instrument(async (n: number) => {
      await Promise.resolve();
      return n * 2;
    });
    expect(await Promise.all([double(1), double(2)])).toEqual([2, 4]);
    expect(outline(events).slice(-2)).toEqual(["span_dropped 1", "span_dropped 2"]);
  });

  it("calls the function all the same when the values cannot be had", () => {
    const { sender, events } = record();
    const site = sender.span({ name: "s", fields: ["n"] });
    const run = site.instrument(
      () => "ran",
      () => {
        throw new Error("no values");
      },
    );
    expect(run()).toBe("ran");
    expect(bodyOf(events[1] as TracingEvent)).toEqual({ id: 1, metadata_id: 1, values: {} });
  });
});

describe("a level that the host does not want", () => {
  it("sends nothing and reads no values, at the call sites that have it", () => {
    const { sender, events } = record();
    sender.control(controlWord(2, false));
    const values = {
      get v(): number {
        throw new Error("was read");
      },
    };
    let asked = 0;
    const debug = sender.span({ name: "debug", level: "debug", fields: ["v"] });
    const info = sender.event({ name: "info", fields: ["v"] });
    const warn = sender.event({ name: "warn", level: "warn" });
    expect([debug.enabled, info.enabled, warn.enabled]).toEqual([false, false, true]);
    const span = debug.enter(values);
    span.record(values);
    span.enter();
    span.clone().close();
    span.close();
    info.emit(values);
    debug.instrument(
      () => undefined,
      () => {
        asked++;
        return {};
      },
    )();
    expect(asked).toBe(0);
    expect(() =>
      debug.run(values, () => {
        throw new Error("on purpose");
      }),
    ).toThrow("on purpose");
    expect(events).toEqual([]);
    expect(span.id).toBeUndefined();
    warn.emit(undefined, span);
    expect(outline(events)).toEqual(["new_call_site 3", "new_event"]);
    expect(sender.droppedEvents).toBe(0);
  });

  it("lets spans that are open be left and closed", () => {
    const { sender, events } = record();
    const span = sender.span({ name: "s" }).enter();
    sender.control(controlWord(0, false));
    span.close();
    expect(outline(events).slice(-2)).toEqual(["span_exited 1", "span_dropped 1"]);
  });

  it("is what SenderOptions.maxLevel says until the host says otherwise", () => {
    const sender = new TracingEventSender(() => undefined, { maxLevel: "off" });
    const site = sender.event({ name: "e", level: "error" });
    expect([sender.maxLevel, site.enabled]).toEqual([0, false]);
    sender.control(controlWord(1, false));
    expect([sender.maxLevel, site.enabled]).toEqual([1, true]);
  });
});
