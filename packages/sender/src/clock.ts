import type { ClockDomain } from "@spanduct/protocol";

/** A guest's time. Only what is given here is ever read: without a clock events carry no time and the host stamps them. */
export interface Clock {
  readonly domain: ClockDomain;
  /** Begin to count anew: the time now, in nanoseconds since the Unix epoch. */
  start(): bigint;
  /** Whole nanoseconds since `start`; `undefined` leaves the time to the host. */
  now(): number | undefined;
}

/** What `performanceClock` needs of `globalThis.performance`. */
export interface PerformanceLike {
  /** Milliseconds since the Unix epoch. */
  readonly timeOrigin: number;
  /** Milliseconds since `timeOrigin`. */
  now(): number;
}

/** Real time from `performance`. @param domain `frozen` where the runtime stops its clock between I/O */
export function performanceClock(performance: PerformanceLike, domain: ClockDomain = "wall"): Clock {
  let started = 0;
  return {
    domain,
    start() {
      started = performance.now();
      // Apart, because nanoseconds since the epoch do not fit a double.
      return BigInt(Math.round(performance.timeOrigin * 1000)) * 1000n + BigInt(Math.round(started * 1e6));
    },
    now: () => whole((performance.now() - started) * 1e6),
  };
}

/** Time from a function like `Date.now`. @param milliseconds milliseconds since the Unix epoch */
export function millisecondClock(milliseconds: () => number, domain: ClockDomain = "wall"): Clock {
  let started = 0;
  return {
    domain,
    start() {
      started = milliseconds();
      return BigInt(Math.floor(started)) * 1_000_000n;
    },
    now: () => whole((milliseconds() - Math.floor(started)) * 1e6),
  };
}

/** Rounded. What is less than a second becomes an integer at once; `Math.round` and what engines do with its result take longer. */
function whole(nanos: number): number {
  return nanos >= 0 && nanos < 1e9 ? (nanos + 0.5) | 0 : Math.round(nanos);
}
