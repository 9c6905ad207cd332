import type { Clock } from "../src/clock.ts";
import { debug, float, uint } from "../src/convert.ts";
import type { TracingEventSender } from "../src/sender.ts";

/** A clock that goes on by 1 µs at every look. */
export function tickingClock(unixNano: bigint): Clock {
  let now = 0;
  let started = 0;
  return {
    domain: "logical",
    start() {
      started = now;
      return unixNano + BigInt(now);
    },
    now() {
      now += 1000;
      return now - started;
    },
  };
}

/** Something of everything a sender can do. */
export function work(sender: TracingEventSender): void {
  const site = sender.span({ name: "work", target: "t", level: "debug", fields: ["i", "text", "big", "f", "u", "d", "none"] });
  const note = sender.event({ name: "note", fields: ["message", "error"] });
  const outer = site.enter({
    i: -1,
    text: "é🦀",
    big: 2n ** 100n,
    f: float(1),
    u: uint(2n ** 127n),
    d: debug({ a: 1 }),
    none: null,
  });
  for (let i = 0; i < 10; i++) {
    const inner = site.start({ i, text: "x".repeat(i * 50) }, i % 2 ? outer : undefined);
    inner.followsFrom(outer);
    inner.record({ f: i / 3 });
    note.emit({ message: `step ${i}` }, inner);
    const clone = inner.clone();
    inner.close();
    clone.close();
  }
  const error = new TypeError("failed", { cause: new Error("because") });
  error.stack = "TypeError: failed\n    at work";
  note.emit({ message: "done", error });
  outer.close();
  sender.flush();
}
