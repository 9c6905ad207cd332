/** How a pump shares the event loop with whatever else runs on it. */
export interface PumpOptions {
  /** Milliseconds of one turn of the event loop that all sources of this pump may take together. Default 8. */
  readonly turnMs?: number;
  /** Milliseconds, of any origin. Default `performance.now`. */
  readonly now?: () => number;
  /** Runs `turn` once timers and I/O had their turn. Default `setImmediate`, or where there is none `setTimeout`. */
  readonly schedule?: (turn: () => void) => void;
}

/**
 * Does a little of what there is to do, such as one batch.
 *
 * @returns whether there may be more; `false` also when that has to be waited for, and `false` for good when the source is closed
 */
export type PumpStep = () => boolean;

interface Globals {
  readonly performance: { now(): number };
  readonly setTimeout: (run: () => void, ms: number) => unknown;
  readonly setImmediate?: (run: () => void) => unknown;
}

/** Run something once timers and I/O had their turn. */
export function afterIo(run: () => void): void {
  const globals = globalThis as unknown as Globals;
  if (globals.setImmediate === undefined) globals.setTimeout(run, 0);
  else globals.setImmediate(run);
}

/**
 * Handles what guests send without blocking the host's event loop, however fast they are: step by step, the sources in turn, for
 * at most `turnMs` (and the step that was begun), then the loop goes round. One pump for all guests of a thread keeps that bound
 * for all of them together.
 */
export class Pump {
  /** Steps of the sources that have something to do, the next one first. */
  readonly #awake = new Set<PumpStep>();
  readonly #turnMs: number;
  readonly #now: () => number;
  readonly #schedule: (turn: () => void) => void;
  #scheduled = false;

  constructor(options: PumpOptions = {}) {
    this.#turnMs = options.turnMs ?? 8;
    this.#now = options.now ?? (() => (globalThis as unknown as Globals).performance.now());
    this.#schedule = options.schedule ?? afterIo;
  }

  /**
   * Add a source.
   *
   * @param step what it throws goes to the event loop, and the source goes on
   * @returns to be called when there may be something to do: `step` then runs in a turn to come until it returns `false`
   */
  source(step: PumpStep): () => void {
    return () => {
      this.#awake.add(step);
      this.#next();
    };
  }

  #next(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    const end = this.#now() + this.#turnMs;
    try {
      for (const step of this.#awake) {
        this.#awake.delete(step);
        let more = true;
        try {
          more = step();
        } finally {
          // Behind the others.
          if (more) this.#awake.add(step);
        }
        if (this.#now() >= end) break;
      }
    } finally {
      if (this.#awake.size > 0) this.#next();
    }
  };
}
