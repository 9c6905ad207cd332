import type { BatchEncoder } from "@spanduct/protocol";
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

/** Events as batches of bytes. What `send` throws costs that batch; its events are counted, and reported with the next one. */
export function batches(send: SendBatch, options: BatchOptions = {}): SenderOutput {
  const { maxBytes = 16_384, maxEvents = 512, encoder = createProtobufEncoder() } = options;
  let begun = false;
  let sequence = 0;
  /** Drops that the host has been told of. */
  let told = 0;

  const begin = (clock: Clock | undefined, dropped: number): void => {
    encoder.batch({
      version: 1,
      clock: clock?.domain ?? "none",
      baseTimeUnixNano: clock?.start() ?? 0n,
      sequence,
      droppedEvents: dropped,
    });
    begun = true;
    told = dropped;
  };

  const deliver = () => {
    // Whether a batch whose `send` throws was received nobody knows; its number is not given to another.
    sequence++;
    const answer = send(encoder.finish());
    begun = false;
    return answer;
  };

  return {
    open(clock, dropped) {
      if (!begun) begin(clock, dropped);
      return encoder;
    },
    delivered: () => (encoder.byteLength >= maxBytes || encoder.eventCount >= maxEvents ? deliver() : undefined),
    discard() {
      if (!begun) return 1;
      begun = false;
      return encoder.eventCount;
    },
    flush(clock, dropped) {
      if (!begun && dropped > told) begin(clock, dropped);
      return begun ? deliver() : undefined;
    },
  };
}
