import { describe, expect, it } from "vitest";
import { millisecondClock, performanceClock } from "./clock.ts";

describe("performanceClock", () => {
  it("is exact to the nanosecond where a float of nanoseconds would not be", () => {
    let now = 1234.567891;
    const clock = performanceClock({ timeOrigin: 1_700_000_000_000.25, now: () => now });
    expect(clock.domain).toBe("wall");
    expect(clock.start()).toBe(1_700_000_001_234_817_891n);
    expect(clock.now()).toBe(0);
    now += 0.000001;
    expect(clock.now()).toBe(1);
    now += 86_400_000;
    expect(clock.now()).toBe(86_400_000_000_001);
  });

  it("counts anew from each start, and goes on where it was", () => {
    let now = 5;
    const clock = performanceClock({ timeOrigin: 1000, now: () => now }, "frozen");
    const first = clock.start();
    now = 8;
    const elapsed = clock.now() as number;
    expect([clock.domain, clock.start(), clock.now()]).toEqual(["frozen", first + BigInt(elapsed), 0]);
  });

  it("works with the platform's own", () => {
    const clock = performanceClock(performance);
    const before = BigInt(Date.now()) * 1_000_000n;
    const now = clock.start() + BigInt(clock.now() as number);
    expect(Number(now - before)).toBeGreaterThan(-50e6);
    expect(Number(now - before)).toBeLessThan(5000e6);
  });
});

describe("millisecondClock", () => {
  it("counts whole nanoseconds from the last start", () => {
    let now = 1_700_000_000_000;
    const clock = millisecondClock(() => now, "logical");
    expect([clock.domain, clock.start(), clock.now()]).toEqual(["logical", 1_700_000_000_000_000_000n, 0]);
    now += 1500;
    expect(clock.now()).toBe(1_500_000_000);
    now -= 2000;
    expect(clock.now()).toBe(-500_000_000);
    expect([clock.start(), clock.now()]).toEqual([1_699_999_999_500_000_000n, 0]);
  });

  it("takes fractions of a millisecond", () => {
    const clock = millisecondClock(() => 10.5);
    expect([clock.start(), clock.now()]).toEqual([10_000_000n, 500_000]);
  });
});
