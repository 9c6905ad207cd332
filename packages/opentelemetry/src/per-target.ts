/** Scope of what belongs to targets that have no scope of their own. */
const COMMON_SCOPE = "@spanduct/opentelemetry";

/** Targets that get something of their own. */
const MAX_TARGETS = 1024;

/**
 * Loggers or tracers, one per target. Providers keep what they once gave for ever and hostile guests make up targets without end,
 * so only the first 1024 targets get their own; the others share one, and what goes there carries the target as an attribute.
 */
export class PerTarget<T> {
  readonly #make: (scope: string) => T;
  readonly #own: Map<string, T> = new Map();
  #common: T | undefined;

  constructor(make: (scope: string) => T) {
    this.#make = make;
  }

  get(target: string): T {
    const known = this.#own.get(target);
    if (known !== undefined) return known;
    if (this.#own.size >= MAX_TARGETS) {
      this.#common ??= this.#make(COMMON_SCOPE);
      return this.#common;
    }
    const made = this.#make(target);
    this.#own.set(target, made);
    return made;
  }

  /** Whether `target` has none of its own; to be asked after `get`. */
  isCommon(target: string): boolean {
    return !this.#own.has(target);
  }
}
