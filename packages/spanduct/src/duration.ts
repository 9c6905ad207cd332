import { UsageError } from "./usage-error.ts";

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/** Milliseconds of `500ms`, `30s`, `5m`, `12h`, `7d`. @throws UsageError */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(d|h|m|s|ms)$/.exec(text) ?? [];
  const ms = UNITS.find(([name]) => name === unit)?.[1];
  if (number === undefined || ms === undefined) throw new UsageError(`${text} is no duration; say 500ms, 30s, 5m, 12h or 7d`);
  return Number(number) * ms;
}

/** A duration in its largest unit, rounded: `7d`, `3m`, `0ms`. */
export function formatDuration(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms >= size) ?? ["ms", 1];
  return `${Math.round(ms / size)}${unit}`;
}
