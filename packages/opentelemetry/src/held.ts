import { TunnelError } from "@spanduct/protocol";

/** What waits for the commit of an attempt, in order and bounded. */
export class Held<T> {
  readonly #max: number;
  #items: T[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** `undefined` when there is room for one more. */
  get full(): TunnelError | undefined {
    if (this.#items.length < this.#max) return undefined;
    return new TunnelError("limit_exceeded", `the attempt holds ${this.#max} spans and records already (maxHeld)`);
  }

  /** Add one, whether there is room or not. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** All of them, which are forgotten here. */
  take(): T[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}
