import {
  type BatchHeader,
  type Codec,
  DEFAULT_LIMITS,
  type EventSink,
  FieldResolver,
  recordEvents,
  type TracingEvent,
} from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";

/** The host's end of the narrow function: keeps what it is sent. */
export class RecordingHost {
  readonly batches: Uint8Array[] = [];
  /** Returned to the guest for every batch. */
  answer: number | undefined;
  readonly #codec: Codec;

  constructor(codec: Codec = protobuf) {
    this.#codec = codec;
  }

  readonly send = (batch: Uint8Array): number | undefined => {
    this.batches.push(batch.slice());
    return this.answer;
  };

  /** Headers of the batches. */
  get headers(): BatchHeader[] {
    return this.#decode().headers;
  }

  /** The events of each batch, as event objects. */
  get eventsByBatch(): TracingEvent[][] {
    return this.#decode().events;
  }

  /** The events of all batches. */
  get events(): TracingEvent[] {
    return this.eventsByBatch.flat();
  }

  /** Throws what a decoder refuses. */
  #decode(): { headers: BatchHeader[]; events: TracingEvent[][] } {
    const headers: BatchHeader[] = [];
    const events: TracingEvent[][] = [];
    const recorder: EventSink = recordEvents((event) => events.at(-1)?.push(event));
    const batch = recorder.batch.bind(recorder);
    recorder.batch = (header) => {
      headers.push({ ...header });
      events.push([]);
      batch(header);
    };
    const resolver = new FieldResolver(recorder, DEFAULT_LIMITS);
    const decoder = this.#codec.createDecoder(DEFAULT_LIMITS);
    for (const bytes of this.batches) {
      decoder.decode(bytes, resolver, (error) => {
        throw error;
      });
    }
    return { headers, events };
  }
}

/** Kind of an event, for instance `new_span`. */
export function kindOf(event: TracingEvent): string {
  return Object.keys(event)[0] as string;
}

/** What stands under the kind of an event. */
export function bodyOf(event: TracingEvent): Record<string, unknown> {
  return Object.values(event)[0] as Record<string, unknown>;
}
