import { controlAnnounce, controlLevel, controlWord, TunnelError } from "@spanduct/protocol";
import { Fifo } from "./fifo.ts";

/** Bytes that may be on their way when nothing else is said. */
export const DEFAULT_MAX_IN_FLIGHT_BYTES: number = 16 * 1024 * 1024;

/** Batches that may be on their way: each costs memory of its own on both sides, however small it is. */
export const MAX_IN_FLIGHT_BATCHES = 16_384;

/** What a guest has sent and its host has not answered, and what the host said last. */
export class InFlight {
  readonly #maxBytes: number;
  readonly #sizes = new Fifo<number>();
  #bytes = 0;
  #word: number | undefined;

  constructor(maxBytes: number = DEFAULT_MAX_IN_FLIGHT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get batches(): number {
    return this.#sizes.length;
  }

  /**
   * Whether a batch may follow. One always may when nothing is on its way.
   *
   * @throws TunnelError "transport_failed": that would be more than the bounds
   */
  check(length: number): void {
    const { batches } = this;
    if (batches === 0) return;
    if (this.#bytes + length <= this.#maxBytes && batches < MAX_IN_FLIGHT_BATCHES) return;
    throw new TunnelError(
      "transport_failed",
      `${length} bytes refused: ${this.#bytes} of ${this.#maxBytes}, in ${batches} batches, are on their way and the host has not answered`,
    );
  }

  sent(length: number): void {
    this.#sizes.push(length);
    this.#bytes += length;
  }

  /** The host has handled the oldest `batches`. More than are on their way do no harm. */
  answered(batches: number, word: number): void {
    for (let left = Math.min(batches, this.#sizes.length); left > 0; left--) this.#bytes -= this.#sizes.shift() as number;
    this.told(word);
  }

  /** The host said something. A request to announce stands until `takeWord` has passed it on, whatever follows. */
  told(word: number): void {
    this.#word = this.#word === undefined ? word : laterWord(this.#word, word);
  }

  /** The control word to follow, if the host has said one; a request to announce is in one of them only. */
  takeWord(): number | undefined {
    const word = this.#word;
    if (word !== undefined) this.#word = controlWord(controlLevel(word), false);
    return word;
  }
}

/** One control word that says what two say, one after the other. */
export function laterWord(earlier: number, later: number): number {
  return controlAnnounce(earlier) ? controlWord(controlLevel(later), true) : later;
}
