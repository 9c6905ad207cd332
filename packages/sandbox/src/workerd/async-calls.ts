import { TunnelError } from "@spanduct/protocol";

/** Calls that may be on their way: each costs memory of its own, however small its batch is. */
const MAX_CALLS = 1024;

/** Batches through a function whose answer is a promise. */
export class AsyncCalls {
  readonly #call: (batch: Uint8Array) => unknown;
  readonly #onAnswer: (word: unknown) => void;
  readonly #maxBytes: number;
  readonly #onWay: Set<Promise<void>> = new Set();
  #bytes = 0;

  /**
   * @param call gets copies, and has to keep their order. A batch for which it throws or rejects is lost: the host learns of that
   *   by the number of the next one
   * @param onAnswer told what it resolved to
   */
  constructor(call: (batch: Uint8Array) => unknown, onAnswer: (word: unknown) => void, maxBytes: number) {
    this.#call = call;
    this.#onAnswer = onAnswer;
    this.#maxBytes = maxBytes;
  }

  /** @throws TunnelError "transport_failed": too much is on its way. One batch always goes when nothing is */
  send(batch: Uint8Array): void {
    const { size } = this.#onWay;
    const { length } = batch;
    if (size >= MAX_CALLS || (size > 0 && this.#bytes + length > this.#maxBytes)) {
      throw new TunnelError("transport_failed", `${this.#bytes} bytes in ${size} batches are on their way`);
    }
    this.#bytes += length;
    const call = this.#answer(batch.slice()).then(() => {
      this.#onWay.delete(call);
      this.#bytes -= length;
    });
    this.#onWay.add(call);
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    while (this.#onWay.size > 0) await Promise.all(this.#onWay);
  }

  async #answer(batch: Uint8Array): Promise<void> {
    try {
      this.#onAnswer(await this.#call(batch));
    } catch {
      // Lost.
    }
  }
}
