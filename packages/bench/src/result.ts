/** One line of the report. */
export interface Result {
  readonly name: string;
  readonly unit: "ns/span" | "bytes/span" | "bytes";
  readonly ours: number;
  readonly peer: number;
  /** Ours by the peer's. */
  readonly ratio: number;
  /** How far the ratio moved, 25th to 75th percentile of the rounds; [ratio, ratio] where nothing is timed. */
  readonly spread: readonly [low: number, high: number];
  /** The ratio (or for `bytes/span` and `bytes` without a ratio target: our own number) should not be above this. */
  readonly target: number | undefined;
  readonly targetOf: "ratio" | "ours";
}

/** Whether the target is met, by the median. */
export function met({ target, targetOf, ratio, ours }: Result): boolean {
  return target === undefined || (targetOf === "ratio" ? ratio : ours) <= target;
}

/** Whether the target is missed by more than the rounds differ. */
export function clearlyMissed({ target, targetOf, spread, ours }: Result): boolean {
  return target !== undefined && (targetOf === "ratio" ? spread[0] : ours) > target;
}
