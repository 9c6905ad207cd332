import { DecodeError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import type { EventSink } from "./sink.ts";

/** Version of the wire forms that this build reads. */
export const WIRE_VERSION = 1;

/** After so many bad events the rest of a batch is not worth reading. */
export const MAX_BAD_EVENTS = 64;

/** Up to so many values of a record are read, so that a receiver can say how many too many they are. */
const COUNTED_VALUES = 1024;

/** A record of more values than this is not read: a decoder would have to keep all of them. */
export function maxReadValues({ maxValuesPerRecord }: Limits): number {
  return Math.max(maxValuesPerRecord, COUNTED_VALUES);
}

/** What a decoder reports of a batch that goes on after `Limits.maxItemsPerBatch`. */
export function tooManyItems({ maxItemsPerBatch }: Limits, offset: number): DecodeError {
  return new DecodeError("limit_exceeded", `maxItemsPerBatch is ${maxItemsPerBatch}, the rest of the batch is skipped`, offset);
}

/** Writes batches: `batch(header)`, events, `finish()`, again and again. */
export interface BatchEncoder extends EventSink {
  /** Bytes of the batch so far. */
  readonly byteLength: number;
  /** What begins with them: the encoder's own memory, another one when it has grown. */
  readonly memory: Uint8Array;
  /** Events in the batch so far. */
  readonly eventCount: number;
  /** What the time of the next event counts from, in nanoseconds since the header's base; 0 in forms that do not count so. */
  readonly lastTime: number;
  /**
   * The batch as it is. More events may follow, behind these bytes, which do not change. They are the encoder's own memory, valid
   * until the next event or `batch`; copy what you keep.
   */
  finish(): Uint8Array;
}

/** Reads batches. Keeps no state between them. */
export interface BatchDecoder {
  /**
   * Drive `sink` with the header and events of one batch. Borrows nothing: strings are copied out of `bytes`.
   *
   * A bad event is reported and skipped where its end is known, else the rest of the batch is; the sink never sees part of
   * an event. Nothing but what the sink itself throws is thrown.
   *
   * @param onError called with `malformed`, `limit_exceeded` or `unsupported_version`; `offset` counts bytes of `bytes`
   */
  decode(bytes: Uint8Array, sink: EventSink, onError: (error: DecodeError) => void): void;
}

/** A wire form. One per subpath of this package, so that those you do not import cost nothing. */
export interface Codec {
  /** Short lower-case name, as in the harness's `--codec`. */
  readonly name: string;
  createEncoder(): BatchEncoder;
  createDecoder(limits: Limits): BatchDecoder;
}
