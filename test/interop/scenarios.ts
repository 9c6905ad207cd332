import type { TracingEvent } from "@spanduct/protocol";
import { type Clock, debug, float, TracingEventSender, uint } from "@spanduct/sender";

/** Guests of our sender, one per feature of the wire form. */
export const SCENARIOS = {
  nested(sender: TracingEventSender): void {
    const outer = sender.span({ name: "outer", fields: ["depth"], modulePath: "a::b", file: "a.ts", line: 7 });
    const inner = sender.span({ name: "inner", level: "trace", target: "elsewhere", fields: ["depth", "label"] });
    const said = sender.event({ name: "said", level: "warn", fields: ["message"] });
    outer.run({ depth: 0 }, () => {
      said.emit({ message: "in outer" });
      inner.run({ depth: 1, label: "mid" }, () => said.emit({ message: "in inner" }));
      said.emit({ message: "in outer again" });
    });
    said.emit({ message: "outside" });
  },

  explicitParents(sender: TracingEventSender): void {
    const site = sender.span({ name: "span", fields: ["n"] });
    const event = sender.event({ name: "event", fields: ["n"] });
    const a = site.start({ n: 1 });
    const b = site.enter({ n: 2 });
    const child = site.start({ n: 3 }, a);
    const contextual = site.start({ n: 4 });
    event.emit({ n: 5 }, a);
    event.emit({ n: 6 }, child);
    event.emit({ n: 7 });
    for (const span of [contextual, b, a, child]) span.close();
    event.emit({ n: 8 });
  },

  links(sender: TracingEventSender): void {
    const site = sender.span({ name: "span" });
    const [a, b, c] = [site.start(), site.start(), site.start()];
    b.followsFrom(a);
    c.followsFrom(a);
    c.followsFrom(b);
    c.followsFrom(b);
    for (const span of [a, b, c]) span.close();
  },

  records(sender: TracingEventSender): void {
    const site = sender.span({ name: "recorded", fields: ["a", "b", "c"] });
    const span = site.start({ b: uint(1) });
    span.record({ a: 5 });
    span.record({ b: "now text", a: null });
    span.record({});
    span.inScope(() => span.record({ c: true, a: float(1) }));
    span.record({ a: new Error("boom") });
    span.close();
  },

  errors(sender: TracingEventSender): void {
    const site = sender.event({ name: "failed", level: "error", fields: ["error", "shown"] });
    const root = new TypeError('root "cause" \n \0 🦀');
    site.emit({ error: new Error("outer", { cause: new RangeError("middle", { cause: root }) }) });
    site.emit({ error: root, shown: debug(root) });
    let chain: Error | undefined;
    for (let i = 0; i < 40; i++) chain = new Error(`link ${i}`, { cause: chain });
    site.emit({ error: chain });
    const work = sender.span({ name: "work" });
    try {
      work.run(undefined, () => {
        throw new Error("inside of a span");
      });
    } catch {
      // What matters is what the sender made of it.
    }
  },

  values(sender: TracingEventSender): void {
    const site = sender.event({ name: "values", fields: ["a", "b", "c", "d", "__proto__", "constructor", "", "é\0🦀"] });
    site.emit({ a: true, b: false, c: "", d: 'naïve 日本語 🦀 \0\u007f\ufeff\u2028 \\ " / \b\f\n\r\t' });
    site.emit({ a: 0, b: -1, c: Number.MAX_SAFE_INTEGER, d: Number.MIN_SAFE_INTEGER });
    site.emit({ a: 2n ** 63n, b: -(2n ** 127n), c: 2n ** 127n - 1n, d: 2n ** 128n - 1n });
    site.emit({ a: uint(0), b: uint(2 ** 53 - 1), c: uint(2n ** 64n - 1n), d: uint(2n ** 128n - 1n) });
    site.emit({ a: 0.1, b: float(5), c: -0, d: 5e-324 });
    site.emit({ a: Number.MAX_VALUE, b: 1e21, c: float(1e16), d: Math.PI });
    site.emit({ a: Number.NaN, b: Number.POSITIVE_INFINITY, c: Number.NEGATIVE_INFINITY });
    site.emit({ a: { nested: [1, "two"] }, b: debug("debug"), c: null, d: undefined });
    site.emit({ ["__proto__"]: 1, constructor: 2, "": 3, "é\0🦀": 4 });
    site.emit({ a: "lone \ud800 surrogate", b: "\udc00" });
    site.emit({});
    sender
      .span({ name: "", target: "", fields: ["a"] })
      .start({ a: 2n ** 100n })
      .close();
  },

  clones(sender: TracingEventSender): void {
    const site = sender.span({ name: "cloned" });
    const event = sender.event({ name: "event" });
    const span = site.start();
    const clones = [span.clone(), span.clone()];
    span.close();
    for (const clone of clones) clone.inScope(() => event.emit());
    for (const clone of clones) clone.close();
    event.emit();
  },

  /** Two tasks that one executor polls in turn: their spans enter and exit again and again and do not nest. */
  interleaved(sender: TracingEventSender): void {
    const site = sender.span({ name: "task", fields: ["id", "polls"] });
    const event = sender.event({ name: "polled", level: "debug", fields: ["poll"] });
    const tasks = [site.start({ id: 1 }), site.start({ id: 2 })];
    for (let poll = 0; poll < 3; poll++) {
      for (const task of tasks) {
        task.enter();
        event.emit({ poll });
        task.record({ polls: poll + 1 });
        task.exit();
      }
    }
    for (const task of tasks) task.close();
  },

  unfinished(sender: TracingEventSender): void {
    const site = sender.span({ name: "unfinished", fields: ["wide"] });
    site.enter({ wide: 2n ** 90n });
    site.enter();
    site.start();
  },

  announcedAgain(sender: TracingEventSender): void {
    const site = sender.event({ name: "event", fields: ["n"] });
    site.emit({ n: 1 });
    sender.control(0x5350_000d);
    site.emit({ n: 2 });
    site.emit({ n: 3 });
  },
} satisfies { readonly [name: string]: (sender: TracingEventSender) => void };

const TICKS: Clock = { domain: "wall", start: () => 1_800_000_000_123_456_789n, now: () => 42 };

/** What our sender makes of a scenario. */
export function ourEvents(scenario: (sender: TracingEventSender) => void): TracingEvent[] {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => void events.push(event), { clock: TICKS });
  scenario(sender);
  sender.flush();
  return events;
}
