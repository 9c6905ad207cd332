/** One line of the report. */
export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  /** What it is compared with; NaN where there is nothing. */
  readonly peer: number;
  /** Ours by the peer's; NaN without a peer. */
  readonly ratio: number;
  /** How far the ratio moved, 25th to 75th percentile of the rounds; [ratio, ratio] where nothing is timed. */
  readonly spread: readonly [low: number, high: number];
  /** What is not to be exceeded, by the ratio where there is a peer, else by our own number; `undefined`: for information. */
  readonly target: number | undefined;
}

/** What is held against the target. */
export function measured({ peer, ratio, ours }: Result): number {
  return Number.isNaN(peer) ? ours : ratio;
}

/** Whether the target is met, by the median. */
export function met(result: Result): boolean {
  return result.target === undefined || measured(result) <= result.target;
}

/** Whether the target is missed by more than the rounds differ. */
export function clearlyMissed(result: Result): boolean {
  const { target, peer, spread, ours } = result;
  return target !== undefined && (Number.isNaN(peer) ? ours : spread[0]) > target;
}

/** A result without a peer. */
export function alone(name: string, unit: string, ours: number, target?: number): Result {
  return { name, unit, ours, peer: Number.NaN, ratio: Number.NaN, spread: [Number.NaN, Number.NaN], target };
}

/** A result of counting, where rounds do not differ. */
export function counted(name: string, unit: string, ours: number, peer: number, target?: number): Result {
  const ratio = ours / peer;
  return { name, unit, ours, peer, ratio, spread: [ratio, ratio], target };
}
