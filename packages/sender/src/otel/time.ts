import type { TimeInput } from "@opentelemetry/api";

/** Whether the argument that may also be attributes is a time. */
export function isTimeInput(value: unknown): value is TimeInput {
  return typeof value === "number" || Array.isArray(value) || typeof (value as Partial<Date> | undefined)?.getTime === "function";
}

/**
 * Nanoseconds since the Unix epoch, exactly what was given: seconds and nanoseconds, a `Date`, or milliseconds since the epoch.
 * `undefined`, which means now, for anything that is not a time between 1970 and 2554.
 */
export function unixNano(time: TimeInput | undefined): bigint | undefined {
  let nanos: bigint;
  try {
    if (!isTimeInput(time)) return undefined;
    if (Array.isArray(time)) {
      nanos = BigInt(time[0]) * 1_000_000_000n + BigInt(time[1]);
    } else {
      const milliseconds = typeof time === "number" ? time : time.getTime();
      const whole = Math.floor(milliseconds);
      nanos = BigInt(whole) * 1_000_000n + BigInt(Math.round((milliseconds - whole) * 1e6));
    }
  } catch {
    return undefined;
  }
  return nanos >> 64n === 0n ? nanos : undefined;
}
