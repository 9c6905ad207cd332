import { TunnelError } from "@spanduct/protocol";

/** What a relay keeps in memory because of one attempt, bounded: what waits for the commit, in order, and events of open spans. */
export class Held<T> {
  readonly #max: number;
  readonly #maxBytes: number;
  #items: T[] = [];
  /** About what is kept takes; who lets go of something subtracts it. */
  bytes = 0;
  // The same again and again, because a guest can ask for it with every event.
  #tooMany: TunnelError | undefined;
  #tooLarge: TunnelError | undefined;

  constructor(max: number, maxBytes: number) {
    this.#max = max;
    this.#maxBytes = maxBytes;
  }

  /** Why there is no room for one more item of so many bytes; `undefined` when there is. */
  refusal(bytes: number): TunnelError | undefined {
    if (this.#items.length >= this.#max) {
      this.#tooMany ??= full(`the attempt holds ${this.#max} spans and records already (maxHeld)`);
      return this.#tooMany;
    }
    return this.#bytesRefusal(bytes);
  }

  /** Count bytes of something that is kept elsewhere. @returns why there is no room for it; `undefined` when there is */
  keep(bytes: number): TunnelError | undefined {
    const refusal = this.#bytesRefusal(bytes);
    if (refusal === undefined) this.bytes += bytes;
    return refusal;
  }

  /** Add an item, whether there is room or not. */
  push(item: T, bytes: number): void {
    this.#items.push(item);
    this.bytes += bytes;
  }

  /** All items, which are forgotten here. */
  take(): T[] {
    const items = this.#items;
    this.#items = [];
    this.bytes = 0;
    return items;
  }

  #bytesRefusal(bytes: number): TunnelError | undefined {
    if (this.bytes + bytes <= this.#maxBytes) return undefined;
    this.#tooLarge ??= full(`the attempt makes the host keep ${this.#maxBytes} bytes already (maxHeldBytes)`);
    return this.#tooLarge;
  }
}

function full(reason: string): TunnelError {
  return new TunnelError("limit_exceeded", reason);
}
