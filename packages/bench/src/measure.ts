/** One side of a comparison. */
export interface Contender {
  /** One unit of work. @returns something that depends on all of it */
  readonly run: () => number;
}

export interface Comparison {
  /** Nanoseconds per operation, medians over the rounds. */
  readonly ours: number;
  readonly peer: number;
  /** Median of the ratios ours/peer, round by round. */
  readonly ratio: number;
  /** Ratios of the quieter half of the rounds: 25th and 75th percentile. */
  readonly spread: readonly [low: number, high: number];
}

const ROUNDS = 21;
const WARM_UP_ROUNDS = 3;
const ROUND_NANOSECONDS = 40e6;

/**
 * Time two contenders in turn, ours, peer, ours, peer …, so that a machine that speeds up or slows down does so for both. The
 * first rounds only warm up. tinybench measures one task after the other, which on shared machines moves ratios by a third.
 *
 * @param operations what one unit of work counts as
 */
export function compare(operations: number, ours: Contender, peer: Contender): Comparison {
  const repeats = [repeatsFor(ours), repeatsFor(peer)] as const;
  const rounds = Array.from(
    { length: ROUNDS },
    () => [time(ours, repeats[0]) / operations, time(peer, repeats[1]) / operations] as const,
  );
  return summary(rounds.slice(WARM_UP_ROUNDS));
}

/**
 * As `compare`, for work that ends later and for any number of contenders: what each measured, round by round.
 *
 * @param warmUp rounds before those, which are not returned
 */
export async function inTurn<T>(rounds: number, warmUp: number, contenders: readonly (() => Promise<T>)[]): Promise<T[][]> {
  const all: T[][] = [];
  for (let i = 0; i < warmUp + rounds; i++) {
    const measured: T[] = [];
    for (const contender of contenders) measured.push(await contender());
    all.push(measured);
  }
  return all.slice(warmUp);
}

/** @param rounds nanoseconds per operation, ours and the peer's */
export function summary(rounds: readonly (readonly [ours: number, peer: number])[]): Comparison {
  const ratios = rounds.map(([a, b]) => a / b);
  return {
    ours: quantile(
      rounds.map(([a]) => a),
      0.5,
    ),
    peer: quantile(
      rounds.map(([, b]) => b),
      0.5,
    ),
    ratio: quantile(ratios, 0.5),
    spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
  };
}

/** How often a contender runs in one round, found while it warms up. */
function repeatsFor(contender: Contender): number {
  for (let i = 0; i < 20; i++) contender.run();
  let repeats = 1;
  for (;;) {
    const elapsed = time(contender, repeats) * repeats;
    if (elapsed >= ROUND_NANOSECONDS) return repeats;
    repeats = Math.max(repeats + 1, Math.ceil((repeats * ROUND_NANOSECONDS) / Math.max(elapsed, 1)));
  }
}

let consumed = 0;

/** Nanoseconds per run. */
function time(contender: Contender, repeats: number): number {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) consumed = (consumed + contender.run()) % 1_000_003;
  return ((performance.now() - start) * 1e6) / repeats;
}

/** What the runs returned, so that no compiler may leave them out. */
export function checksum(): number {
  return consumed;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * q)] as number;
}
