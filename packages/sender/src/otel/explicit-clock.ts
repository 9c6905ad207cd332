import type { Clock } from "../clock.ts";
import type { Emitter } from "../emitter.ts";

/**
 * The sender's clock, except for events that happened at a time of their own. Those are wall time, so that is the domain of a
 * sender without a clock; the host stamps what has no time.
 */
export class ExplicitClock implements Clock {
  readonly #emitter: Emitter;
  readonly #inner: Clock | undefined;
  /** What times count from at present; `undefined` until this clock was started. */
  #base: bigint | undefined;
  #at: bigint | undefined;

  private constructor(emitter: Emitter) {
    this.#emitter = emitter;
    this.#inner = emitter.clock;
  }

  /** The one of this emitter, which from now on runs on it. */
  static of(emitter: Emitter): ExplicitClock {
    if (!(emitter.clock instanceof ExplicitClock)) emitter.clock = new ExplicitClock(emitter);
    return emitter.clock as ExplicitClock;
  }

  get domain(): Clock["domain"] {
    return this.#inner?.domain ?? "wall";
  }

  start(): bigint {
    const base = this.#inner?.start() ?? this.#base ?? 0n;
    this.#base = this.#at === undefined || isNear(this.#at, base) ? base : this.#at;
    return this.#base;
  }

  now(): number | undefined {
    return this.#at === undefined ? this.#inner?.now() : Number(this.#at - (this.#base as bigint));
  }

  /** Do `emit`; what it sends happened at `unixNano`, without it now. */
  at<T>(unixNano: bigint | undefined, emit: () => T): T {
    if (unixNano === undefined) return emit();
    // Times too far from each other do not fit in one batch.
    const isFar = this.#base === undefined || !isNear(unixNano, this.#base);
    if (isFar) this.#emitter.flush();
    this.#at = unixNano;
    try {
      return emit();
    } finally {
      this.#at = undefined;
      if (isFar && this.#inner !== undefined && this.#base === unixNano) this.#emitter.flush();
    }
  }
}

/** Whether the difference fits the sink's `EventTime`. */
function isNear(unixNano: bigint, base: bigint): boolean {
  return Number.isSafeInteger(Number(unixNano - base));
}
