import type { BatchEncoder, EventSink } from "@spanduct/protocol";
import { createProtobufEncoder } from "@spanduct/protocol/protobuf";
import type { Clock } from "./clock.ts";
import type { SenderOutput } from "./output.ts";

/**
 * The narrow function. Borrows `batch` for the call and copies what it keeps.
 *
 * @returns the host's control word, if there is one yet
 */
// biome-ignore lint/suspicious/noConfusingVoidType: functions without an answer return nothing
export type SendBatch = (batch: Uint8Array) => number | undefined | void;

/** When a batch goes out, besides at every `flush()`. */
export interface BatchOptions {
  /** Once it holds this many bytes. Default 16384. */
  readonly maxBytes?: number;
  /** Once it holds this many events; 1 sends each event at once. Default 512. */
  readonly maxEvents?: number;
  /** What writes it. Default protobuf. */
  readonly encoder?: BatchEncoder;
}

/** Events as batches of bytes. What `send` throws costs that batch, which is counted and reported with the next one. */
export function batches(send: SendBatch, options: BatchOptions = {}): SenderOutput {
  return new Batches(send, options);
}

class Batches implements SenderOutput {
  readonly #send: SendBatch;
  readonly #encoder: BatchEncoder;
  readonly #maxBytes: number;
  readonly #maxEvents: number;
  #begun = false;
  #sequence = 0;
  #lost = 0;

  constructor(send: SendBatch, options: BatchOptions) {
    this.#send = send;
    this.#encoder = options.encoder ?? createProtobufEncoder();
    this.#maxBytes = options.maxBytes ?? 16_384;
    this.#maxEvents = options.maxEvents ?? 512;
  }

  open(clock: Clock | undefined, dropped: number): EventSink {
    const encoder = this.#encoder;
    if (!this.#begun) {
      encoder.batch({
        version: 1,
        clock: clock?.domain ?? "none",
        baseTimeUnixNano: clock?.start() ?? 0n,
        sequence: this.#sequence,
        droppedEvents: dropped + this.#lost,
      });
      this.#begun = true;
    }
    return encoder;
  }

  delivered(): number | undefined {
    const encoder = this.#encoder;
    if (encoder.byteLength >= this.#maxBytes || encoder.eventCount >= this.#maxEvents) return this.flush();
    return undefined;
  }

  discard(): number {
    const lost = this.#begun ? this.#encoder.eventCount : 1;
    this.#begun = false;
    return lost;
  }

  flush(): number | undefined {
    const encoder = this.#encoder;
    if (!this.#begun || encoder.eventCount === 0) return undefined;
    this.#begun = false;
    try {
      const answer = this.#send(encoder.finish());
      this.#sequence++;
      return answer ?? undefined;
    } catch {
      this.#lost += encoder.eventCount;
      return undefined;
    }
  }
}
