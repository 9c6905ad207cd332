import type { HrTime, TimeInput } from "@opentelemetry/api";
import type { ClockDomain, EventTime } from "@spanduct/protocol";

/** The host's time of day: whole seconds since the Unix epoch and whole nanoseconds, 0 to 999999999. */
export type HostClock = () => HrTime;

// In every host, but not in the language.
declare const performance: { readonly timeOrigin: number; now(): number };

const NANOS_PER_SECOND = 1_000_000_000;

/** The last moment that OTLP can carry: 2^64-1 nanoseconds. */
const LAST_SECOND = 18_446_744_073;
const LAST_NANOS = 709_551_615;

/** How far (ms) the steady clock may be off the system's before it is set right, and how often (ms) that is looked at. */
const MAX_DRIFT = 20;
const CHECK_INTERVAL = 1000;

/**
 * The system's time of day with the resolution of `performance.now()`. It runs steadily; once a second it is compared with
 * `Date.now()` and follows where the two have come apart by more than 20 ms (the machine slept, or its clock was set).
 */
export function systemClock(): HostClock {
  let origin = performance.timeOrigin;
  let nextCheck = 0;
  return () => {
    const now = performance.now();
    if (now >= nextCheck) {
      nextCheck = now + CHECK_INTERVAL;
      const date = Date.now();
      if (Math.abs(origin + now - date) > MAX_DRIFT) origin = date - now;
    }
    return sum(origin, now);
  };
}

/** The sum of two numbers of milliseconds, rounded to nanoseconds; adding them as floats would keep only 256 ns. */
function sum(a: number, b: number): HrTime {
  let seconds = Math.floor(a / 1000) + Math.floor(b / 1000);
  let nanos = Math.round((a - Math.floor(a / 1000) * 1000) * 1e6) + Math.round((b - Math.floor(b / 1000) * 1000) * 1e6);
  while (nanos >= NANOS_PER_SECOND) {
    nanos -= NANOS_PER_SECOND;
    seconds++;
  }
  return [seconds, nanos];
}

/** A time that code of the host gives through `api.Span`, read as the SDK reads it. */
export function hostTime(time: TimeInput | undefined, clock: HostClock): HrTime {
  if (Array.isArray(time)) return time;
  if (time instanceof Date) return sum(time.getTime(), 0);
  if (typeof time !== "number") return clock();
  // Small numbers count from the start of the process.
  return time <= performance.now() ? sum(performance.timeOrigin, time) : sum(time, 0);
}

/**
 * The one place where guest time becomes host time. `wall`, `frozen` and `logical` times are taken as they are; what has no time,
 * or comes from a guest without clock, is stamped by the host's clock. In the `logical` domain the host's clock would be of
 * another world: there, what has no time happens at the latest logical time seen.
 *
 * Times beyond what OTLP can carry are moved to its ends (1970 and 2554).
 */
export class GuestClock {
  readonly #host: HostClock;
  #baseSeconds = 0;
  #baseNanos = 0;
  #timed = false;
  #logical = false;
  /** What `read` read last. */
  seconds = 0;
  nanos = 0;

  constructor(host: HostClock) {
    this.#host = host;
  }

  /** Times count from `baseUnixNano` from now on and mean `domain`. */
  timeBase(baseUnixNano: bigint, domain: ClockDomain): void {
    this.#timed = domain !== "none";
    this.#logical = domain === "logical";
    this.#baseSeconds = Number(baseUnixNano / 1_000_000_000n);
    this.#baseNanos = Number(baseUnixNano % 1_000_000_000n);
    if (this.#logical) this.#set(0);
  }

  /** The time of an event. */
  at(time: EventTime): HrTime {
    this.read(time);
    return [this.seconds, this.nanos];
  }

  /** Put the time of an event into `seconds` and `nanos`. */
  read(time: EventTime): void {
    if (time !== undefined && this.#timed) {
      this.#set(time);
    } else if (!this.#logical) {
      const now = this.#host();
      this.seconds = now[0];
      this.nanos = now[1];
    }
  }

  #set(delta: number): void {
    const near = this.#baseNanos + delta;
    if (near >= 0 && near < NANOS_PER_SECOND) {
      this.seconds = this.#baseSeconds;
      this.nanos = near;
    } else {
      this.#setFar(delta);
    }
    if (this.seconds >= LAST_SECOND && (this.seconds > LAST_SECOND || this.nanos > LAST_NANOS)) {
      this.seconds = LAST_SECOND;
      this.nanos = LAST_NANOS;
    }
  }

  /** Another second than that of the base. */
  #setFar(delta: number): void {
    const whole = Math.floor(delta / NANOS_PER_SECOND);
    let seconds = this.#baseSeconds + whole;
    let nanos = this.#baseNanos + (delta - whole * NANOS_PER_SECOND);
    if (nanos >= NANOS_PER_SECOND) {
      nanos -= NANOS_PER_SECOND;
      seconds++;
    } else if (nanos < 0) {
      // The division rounded up to the next whole second.
      nanos += NANOS_PER_SECOND;
      seconds--;
    }
    this.seconds = Math.max(seconds, 0);
    this.nanos = seconds < 0 ? 0 : nanos;
  }
}
