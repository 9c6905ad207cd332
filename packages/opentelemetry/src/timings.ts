/** What `Timings` is made of, as plain data. */
export interface TimingState {
  /** Nanoseconds inside the span so far. */
  readonly busy: number;
  /** Nanoseconds outside of it so far. */
  readonly idle: number;
  /** How often it is entered at the moment. */
  readonly entered: number;
  /** Seconds and nanoseconds up to which `busy` and `idle` count. */
  readonly since: readonly [number, number];
}

/**
 * How long the guest was inside a span and how long outside. Every stretch of time between two calls counts for one of the two,
 * so that together they give the span's duration; where the guest's clock steps back, the step counts for nothing.
 */
export class Timings {
  #busy: number;
  #idle: number;
  #entered: number;
  #seconds: number;
  #nanos: number;

  constructor(seconds: number, nanos: number) {
    this.#busy = 0;
    this.#idle = 0;
    this.#entered = 0;
    this.#seconds = seconds;
    this.#nanos = nanos;
  }

  get busyNanos(): number {
    return this.#busy;
  }

  get idleNanos(): number {
    return this.#idle;
  }

  enter(seconds: number, nanos: number): void {
    if (this.#entered++ === 0) this.#idle += this.#advance(seconds, nanos);
  }

  /** Leaving a span that is not entered counts for nothing. */
  exit(seconds: number, nanos: number): void {
    if (this.#entered > 0 && --this.#entered === 0) this.#busy += this.#advance(seconds, nanos);
  }

  /** The last stretch, up to the end of the span. */
  finish(seconds: number, nanos: number): void {
    const passed = this.#advance(seconds, nanos);
    if (this.#entered > 0) this.#busy += passed;
    else this.#idle += passed;
  }

  get state(): TimingState {
    return { busy: this.#busy, idle: this.#idle, entered: this.#entered, since: [this.#seconds, this.#nanos] };
  }

  set state({ busy, idle, entered, since }: TimingState) {
    this.#busy = busy;
    this.#idle = idle;
    this.#entered = entered;
    [this.#seconds, this.#nanos] = since;
  }

  #advance(seconds: number, nanos: number): number {
    const passed = (seconds - this.#seconds) * 1e9 + (nanos - this.#nanos);
    this.#seconds = seconds;
    this.#nanos = nanos;
    return Math.max(passed, 0);
  }
}
