import { describe, expect, it } from "vitest";
import { Pump } from "./pump.ts";

/** An event loop that turns by hand, on a clock that steps move. */
class Loop {
  nowMs = 0;
  readonly waiting: (() => void)[] = [];
  readonly pump = new Pump({ turnMs: 10, now: () => this.nowMs, schedule: (turn) => this.waiting.push(turn) });

  turn(): void {
    for (const turn of this.waiting.splice(0)) turn();
  }
}

describe("Pump", () => {
  it("does nothing before the next turn, and nothing for a source that was not woken", () => {
    const loop = new Loop();
    const log: string[] = [];
    const wake = loop.pump.source(() => log.push("one") < 0);
    loop.pump.source(() => log.push("two") < 0);
    wake();
    wake();
    expect([log, loop.waiting.length]).toEqual([[], 1]);
    loop.turn();
    loop.turn();
    expect([log, loop.waiting.length]).toEqual([["one"], 0]);
  });

  it("ends its turn when the time is up, and goes on in the next one", () => {
    const loop = new Loop();
    let left = 25;
    loop.pump.source(() => {
      loop.nowMs += 1;
      return --left > 0;
    })();
    const seen: number[] = [];
    while (loop.waiting.length > 0) {
      loop.turn();
      seen.push(left);
    }
    expect(seen).toEqual([15, 5, 0]);
  });

  it("takes one step even where a step takes longer than a turn", () => {
    const loop = new Loop();
    let left = 2;
    loop.pump.source(() => {
      loop.nowMs += 1000;
      return --left > 0;
    })();
    loop.turn();
    expect(left).toBe(1);
    loop.turn();
    expect([left, loop.waiting.length]).toEqual([0, 0]);
  });

  it("takes sources in turn, across turns, so that one that never ends does not keep the others waiting", () => {
    const loop = new Loop();
    const log: string[] = [];
    const source = (name: string, steps: number): (() => void) =>
      loop.pump.source(() => {
        loop.nowMs += 4;
        log.push(name);
        return --steps > 0;
      });
    source("storm", Number.POSITIVE_INFINITY)();
    source("a", 2)();
    source("b", 1)();
    for (let i = 0; i < 3; i++) loop.turn();
    expect(log.join(" ")).toBe("storm a b storm a storm storm storm storm");
  });

  it("goes on with a source whose step throws, and the error goes to the event loop", () => {
    const loop = new Loop();
    const log: number[] = [];
    loop.pump.source(() => {
      if (log.push(log.length) === 2) throw new Error("step");
      return log.length < 4;
    })();
    expect(() => loop.turn()).toThrow("step");
    loop.turn();
    expect([log, loop.waiting.length]).toEqual([[0, 1, 2, 3], 0]);
  });

  it("runs a source again that is woken while it is at work", () => {
    const loop = new Loop();
    let steps = 0;
    const wake = loop.pump.source(() => {
      if (++steps === 1) wake();
      return false;
    });
    wake();
    loop.turn();
    loop.turn();
    expect([steps, loop.waiting.length]).toEqual([2, 0]);
  });

  it("answers timers under a storm, with the platform's clock and event loop", async () => {
    const pump = new Pump();
    let over = false;
    let steps = 0;
    pump.source(() => {
      for (const end = performance.now() + 1; performance.now() < end; );
      steps++;
      return !over;
    })();
    const late: number[] = [];
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
      late.push(performance.now() - start - 5);
    }
    over = true;
    expect(steps).toBeGreaterThan(10);
    // The median, because machines under load answer now and then late by themselves.
    expect(late.sort((a, b) => a - b)[5]).toBeLessThan(50);
  });
});
