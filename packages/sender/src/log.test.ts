import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { createLog } from "./log.ts";
import { TracingEventSender } from "./sender.ts";

function record(): { sender: TracingEventSender; events: TracingEvent[] } {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  return { sender, events };
}

const valuesIn = (events: readonly TracingEvent[]) =>
  events.flatMap((event) => ("new_event" in event ? [event.new_event.values] : []));
const sitesIn = (events: readonly TracingEvent[]) =>
  events.flatMap((event) => ("new_call_site" in event ? [event.new_call_site] : []));

describe("createLog", () => {
  it("emits by level, the message first", () => {
    const { sender, events } = record();
    const log = createLog(sender, "shop");
    log.error("no bread", { left: 0 });
    log.warn("little bread");
    log.info("bread");
    log.debug("flour");
    log.trace("atoms");
    expect(sitesIn(events).map(({ level, target, fields }) => [level, target, fields])).toEqual([
      ["error", "shop", ["message", "left"]],
      ["warn", "shop", ["message"]],
      ["info", "shop", ["message"]],
      ["debug", "shop", ["message"]],
      ["trace", "shop", ["message"]],
    ]);
    expect(valuesIn(events)[0]).toEqual({ message: { string: "no bread" }, left: { int: 0 } });
  });

  it("takes the sender's target and the contextual parent where it is told nothing, else the parent given", () => {
    const { sender, events } = record();
    const span = sender.span({ name: "s" }).start();
    const log = createLog(sender);
    log.info("a");
    log.info("b", {}, span);
    expect(sitesIn(events).at(-1)?.target).toBe("guest");
    expect(events.flatMap((event) => ("new_event" in event ? [event.new_event.parent] : []))).toEqual([undefined, 1]);
  });

  it("declares one call site for each level and set of names, in whatever order it is used", () => {
    const { sender, events } = record();
    const log = createLog(sender);
    for (let i = 0; i < 3; i++) {
      log.info(`a ${i}`, { n: i });
      log.info(`b ${i}`, { n: i, m: 1 });
      log.warn(`c ${i}`, { n: i });
    }
    expect(sitesIn(events)).toHaveLength(3);
    expect(valuesIn(events)).toHaveLength(9);
  });

  it("keeps names apart, also those that contain others", () => {
    const { sender, events } = record();
    const log = createLog(sender);
    log.info("one", { "a\nb": 1 });
    log.info("two", { a: 1, b: 2 });
    expect(valuesIn(events).map(Object.keys)).toEqual([
      ["message", "a\nb"],
      ["message", "a", "b"],
    ]);
  });

  it("declares no more than 1024 sets of names, and beyond them leaves the values out", () => {
    const { sender, events } = record();
    const log = createLog(sender);
    for (let i = 0; i < 3000; i++) log.info("text", { [`field${i}`]: i });
    log.warn("text", { other: 1 });
    expect(sitesIn(events)).toHaveLength(1026);
    expect(valuesIn(events)[1023]).toEqual({ message: { string: "text" }, field1023: { int: 1023 } });
    expect(valuesIn(events).slice(1024)).toEqual(Array(1977).fill({ message: { string: "text" } }));
  });

  it("sends no more values in an event than hosts take", () => {
    const { sender, events } = record();
    createLog(sender).info("many", Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, i])));
    expect(Object.keys(valuesIn(events)[0] ?? {})).toHaveLength(32);
  });

  it("has a message of its own even where the values name one", () => {
    const { sender, events } = record();
    createLog(sender).info("mine", { message: "theirs", n: 1 });
    expect(valuesIn(events)).toEqual([{ message: { string: "mine" }, n: { int: 1 } }]);
  });

  it("sends the message when the values cannot be read", () => {
    const { sender, events } = record();
    const values = {
      get n(): number {
        throw new Error("no n");
      },
    };
    createLog(sender).info("still here", values);
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    createLog(sender).info("here too", proxy);
    expect(valuesIn(events)).toEqual([{ message: { string: "still here" } }, { message: { string: "here too" } }]);
  });

  it("reads nothing when its level is not wanted", () => {
    const { sender, events } = record();
    sender.control(controlWord(2, false));
    const values = {
      get n(): number {
        throw new Error("was read");
      },
    };
    createLog(sender).info("unseen", values);
    expect(events).toEqual([]);
  });
});
