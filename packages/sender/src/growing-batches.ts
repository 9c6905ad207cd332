import type { ClockDomain } from "@spanduct/protocol";
import { createProtobufEncoder } from "@spanduct/protocol/protobuf";
import type { BatchOptions } from "./batches.ts";
import type { SenderOutput } from "./output.ts";

/** A boundary where the batch that was sent last can grow for as long as the host has not taken it, such as a ring. */
export interface GrowingBoundary {
  /** Borrows `batch` for the call. @returns the host's control word, if there is one yet */
  send(batch: Uint8Array): number | undefined;
  /**
   * Add the bytes `from` to `to` of `memory`, which begins with the batch that was sent last.
   *
   * @returns `false`: nothing was added, for the host has taken that batch or there is no room; else as `send`
   */
  grow(memory: Uint8Array, from: number, to: number): number | undefined | false;
  /** The host's control word as of now. */
  control(): number | undefined;
}

/**
 * As `batches`, with every event handed over at once: the host sees it when the call that made it returns. Batches grow on the
 * other side of the boundary until they have the size that the options say, or the host takes them.
 */
export function growingBatches(boundary: GrowingBoundary, options: BatchOptions = {}): SenderOutput {
  const { maxBytes = 16_384, maxEvents = 512, encoder = createProtobufEncoder() } = options;
  let begun = false;
  let sequence = 0;
  /** Drops that the host has been told of. */
  let told = 0;
  let clockDomain: ClockDomain = "none";
  let base = 0n;
  /** What the time of the event at hand counts from. */
  let time = 0;
  /** Of the batch at hand, what the host can see. */
  let sentBytes = 0;
  let sentEvents = 0;

  const begin = (baseTimeUnixNano: bigint): void => {
    base = baseTimeUnixNano;
    encoder.batch({ version: 1, clock: clockDomain, baseTimeUnixNano, sequence, droppedEvents: told });
    begun = true;
    sentBytes = 0;
    sentEvents = 0;
  };

  const open: SenderOutput["open"] = (clock, dropped) => {
    if (!begun || dropped > told) {
      told = dropped;
      clockDomain = clock?.domain ?? "none";
      begin(clock?.start() ?? 0n);
    }
    time = encoder.lastTime;
    return encoder;
  };

  const send = (batch: Uint8Array): number | undefined => {
    // Whether a batch whose `send` throws was received nobody knows; its number is not given to another.
    sequence++;
    return boundary.send(batch);
  };

  /** The host has taken the batch: what it did not get goes into a batch whose times count from where those events' times do. */
  const sendRest = (rest: Uint8Array, events: number): number | undefined => {
    begin(base + BigInt(time));
    sentEvents = -events;
    const header = encoder.finish();
    const batch = new Uint8Array(header.length + rest.length);
    batch.set(header);
    batch.set(rest, header.length);
    const answer = send(batch);
    begun = false;
    return answer;
  };

  return {
    open,
    delivered() {
      const { memory, byteLength, eventCount } = encoder;
      let answer: number | undefined | false;
      if (sentBytes === 0) {
        answer = send(encoder.finish());
      } else {
        answer = boundary.grow(memory, sentBytes, byteLength);
        if (answer === false) return sendRest(memory.slice(sentBytes, byteLength), eventCount - sentEvents);
      }
      sentBytes = byteLength;
      sentEvents = eventCount;
      begun = byteLength < maxBytes && eventCount < maxEvents;
      return answer;
    },
    discard() {
      if (!begun) return 1;
      begun = false;
      return encoder.eventCount - sentEvents;
    },
    flush(clock, dropped) {
      begun = false;
      if (dropped === told) return boundary.control();
      open(clock, dropped);
      begun = false;
      return send(encoder.finish());
    },
    control: () => boundary.control(),
  };
}
