import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { GuestClock, hostTime, systemClock } from "./clock.ts";

const LAST = 2n ** 64n - 1n;

function clamped(nanos: bigint): [number, number] {
  const within = nanos < 0n ? 0n : nanos > LAST ? LAST : nanos;
  return [Number(within / 1_000_000_000n), Number(within % 1_000_000_000n)];
}

describe("GuestClock", () => {
  const never = (): [number, number] => {
    throw new Error("asked the host");
  };

  it("read: base plus delta to the nanosecond, within what OTLP can carry", () => {
    const delta = fc.oneof(
      fc.maxSafeInteger(),
      fc
        .integer({ min: -9_007_199, max: 9_007_199 })
        .chain((seconds) => fc.integer({ min: -2, max: 2 }).map((more) => seconds * 1_000_000_000 + more)),
      fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0, -0, -1),
    );
    const base = fc.oneof(
      fc.bigInt({ min: 0n, max: LAST }),
      fc.bigInt({ min: 0n, max: 18_446_744_073n }).map((seconds) => seconds * 1_000_000_000n),
    );
    fc.assert(
      fc.property(base, delta, (from, after) => {
        const clock = new GuestClock(never);
        clock.timeBase(from, "wall");
        clock.read(after);
        expect([clock.seconds, clock.nanos]).toEqual(clamped(from + BigInt(after)));
      }),
      { numRuns: 1000 },
    );
  });

  it("read: what has no time, or comes before a time base, or from a guest without clock, is stamped by the host", () => {
    let now = 0;
    const clock = new GuestClock(() => [++now, 5]);
    const read = (time: number | undefined): number[] => {
      clock.read(time);
      return [clock.seconds, clock.nanos];
    };
    expect(read(7)).toEqual([1, 5]);
    clock.timeBase(3_000_000_000n, "wall");
    expect(read(undefined)).toEqual([2, 5]);
    expect(read(7)).toEqual([3, 7]);
    clock.timeBase(3_000_000_000n, "frozen");
    expect(read(undefined)).toEqual([3, 5]);
    clock.timeBase(3_000_000_000n, "none");
    expect(read(7)).toEqual([4, 5]);
  });

  it("read: in logical time, what has no time happens at the latest moment known", () => {
    const clock = new GuestClock(never);
    clock.timeBase(3_000_000_000n, "logical");
    clock.read(undefined);
    expect([clock.seconds, clock.nanos]).toEqual([3, 0]);
    clock.read(25);
    clock.read(undefined);
    expect([clock.seconds, clock.nanos]).toEqual([3, 25]);
  });
});

describe("systemClock", () => {
  it("follows the system's time of day with nanoseconds that never go back", () => {
    const clock = systemClock();
    const before = Date.now();
    const times = Array.from({ length: 1000 }, clock);
    const after = Date.now();
    let last = 0n;
    for (const [seconds, nanos] of times) {
      expect(Number.isInteger(seconds) && Number.isInteger(nanos) && nanos >= 0 && nanos < 1_000_000_000).toBe(true);
      const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
      expect(total).toBeGreaterThanOrEqual(last);
      last = total;
      const millis = Number(total / 1_000_000n);
      expect(millis).toBeGreaterThanOrEqual(before - 25);
      expect(millis).toBeLessThanOrEqual(after + 25);
    }
    expect(new Set(times.map(String)).size).toBeGreaterThan(500);
  });

  it("catches up when the system's clock has been set or the machine has slept", () => {
    vi.useFakeTimers({ now: 1_700_000_000_000, toFake: ["Date", "performance"] });
    try {
      const clock = systemClock();
      expect(clock()[0]).toBe(1_700_000_000);
      vi.setSystemTime(1_700_003_600_000);
      vi.advanceTimersByTime(1500);
      expect(clock()[0]).toBeGreaterThanOrEqual(1_700_003_600);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("hostTime", () => {
  it("reads what code of the host gives as the SDK does", () => {
    const clock = (): [number, number] => [9, 9];
    expect(hostTime([5, 6], clock)).toEqual([5, 6]);
    expect(hostTime(new Date(1_700_000_000_123), clock)).toEqual([1_700_000_000, 123_000_000]);
    expect(hostTime(1_700_000_000_123.5, clock)).toEqual([1_700_000_000, 123_500_000]);
    expect(hostTime(undefined, clock)).toEqual([9, 9]);
    const relative = hostTime(0, clock);
    expect(relative[0]).toBe(Math.floor(performance.timeOrigin / 1000));
  });
});
