import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Timings } from "./timings.ts";

describe("Timings", () => {
  it("busy and idle add up to the time that passed, however often the span is entered, and a copy goes on the same", () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 3_000_000_000 })), { maxLength: 20 });
    fc.assert(
      fc.property(steps, fc.nat({ max: 20 }), (moves, cut) => {
        let now = 1_700_000_000_123_456_789n;
        const at = (): [number, number] => [Number(now / 1_000_000_000n), Number(now % 1_000_000_000n)];
        let timings = new Timings(...at());
        const start = now;
        let depth = 0;
        let busy = 0n;
        moves.forEach(([enters, passed], i) => {
          now += BigInt(passed);
          if (depth > 0) busy += BigInt(passed);
          if (enters) {
            timings.enter(...at());
            depth++;
          } else {
            timings.exit(...at());
            if (depth > 0) depth--;
          }
          if (i === cut) {
            const copy = new Timings(0, 0);
            copy.state = JSON.parse(JSON.stringify(timings.state)) as typeof timings.state;
            timings = copy;
          }
        });
        timings.finish(...at());
        expect([timings.busyNanos, timings.idleNanos]).toEqual([Number(busy), Number(now - start - busy)]);
      }),
    );
  });

  it("a step back of the guest's clock counts for nothing", () => {
    const timings = new Timings(100, 0);
    timings.enter(50, 0);
    timings.exit(50, 7);
    timings.finish(60, 0);
    expect([timings.busyNanos, timings.idleNanos]).toEqual([7, 9_999_999_993]);
  });
});
