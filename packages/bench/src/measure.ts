/** One side of a comparison: `run` does `operations` units of work and returns something that depends on all of it. */
export interface Contender {
  readonly run: () => number;
}

export interface Comparison {
  /** Nanoseconds per operation, medians over the rounds. */
  readonly ours: number;
  readonly peer: number;
  /** Median of the ratios ours/peer, round by round. */
  readonly ratio: number;
  /** Ratios of the quieter half of the rounds: 25th and 75th percentile. */
  readonly low: number;
  readonly high: number;
}

const ROUNDS = 21;
const ROUND_NANOSECONDS = 40e6;

/**
 * Time two contenders in turn, ours, peer, ours, peer …, so that a machine that speeds up or slows down does so for both. The
 * first rounds only warm up. tinybench measures one task after the other, which on shared machines moves ratios by a third.
 */
export function compare(operations: number, ours: Contender, peer: Contender): Comparison {
  const repeats = [repeatsFor(ours), repeatsFor(peer)] as const;
  const nanoseconds: [number[], number[]] = [[], []];
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const a = time(ours, repeats[0]) / operations;
    const b = time(peer, repeats[1]) / operations;
    if (round < 3) continue;
    nanoseconds[0].push(a);
    nanoseconds[1].push(b);
    ratios.push(a / b);
  }
  return {
    ours: quantile(nanoseconds[0], 0.5),
    peer: quantile(nanoseconds[1], 0.5),
    ratio: quantile(ratios, 0.5),
    low: quantile(ratios, 0.25),
    high: quantile(ratios, 0.75),
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
