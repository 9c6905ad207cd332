import type { CallSiteData, Id, TracedValueMap, TracingEvent } from "./event.ts";
import type { BatchHeader, EventSink, EventTime } from "./sink.ts";
import { canonicalInteger, type TracedValues } from "./values.ts";

interface Time {
  readonly time_unix_nano?: number | bigint;
}

const NO_TIME: Time = {};
const MAX_U64 = 0xffff_ffff_ffff_ffffn;

/**
 * Makes an event object of everything it is told, and hands each to a callback; the objects belong to who receives them.
 * Maps of values have no prototype. Numeric value keys need `TracedValues.fields` to have names: behind a decoder, put a
 * `FieldResolver` in front. Times before the epoch or beyond 64 bits are left out, so that the host stamps those events.
 */
export class EventRecorder implements EventSink {
  readonly #onEvent: (event: TracingEvent) => void;
  #base = 0n;

  constructor(onEvent: (event: TracingEvent) => void) {
    this.#onEvent = onEvent;
  }

  batch(header: BatchHeader): void {
    this.#base = header.baseTimeUnixNano;
  }

  timeBase(unixNano: bigint): void {
    this.#base = unixNano;
  }

  newCallSite(id: Id, data: CallSiteData, time: EventTime): void {
    this.#onEvent({ new_call_site: { id, ...data, ...this.#time(time) } });
  }

  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: TracedValues, time: EventTime): void {
    const parent = parentId === undefined ? undefined : { parent_id: parentId };
    this.#onEvent({ new_span: { id, ...parent, metadata_id: metadataId, values: values.toMap(), ...this.#time(time) } });
  }

  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    this.#onEvent({ follows_from: { id, follows_from: followsFrom, ...this.#time(time) } });
  }

  spanEntered(id: Id, time: EventTime): void {
    this.#onEvent({ span_entered: { id, ...this.#time(time) } });
  }

  spanExited(id: Id, time: EventTime): void {
    this.#onEvent({ span_exited: { id, ...this.#time(time) } });
  }

  spanCloned(id: Id, time: EventTime): void {
    this.#onEvent({ span_cloned: { id, ...this.#time(time) } });
  }

  spanDropped(id: Id, time: EventTime): void {
    this.#onEvent({ span_dropped: { id, ...this.#time(time) } });
  }

  valuesRecorded(id: Id, values: TracedValues, time: EventTime): void {
    this.#onEvent({ values_recorded: { id, values: values.toMap(), ...this.#time(time) } });
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: TracedValues, time: EventTime): void {
    const map: TracedValueMap = values.toMap();
    const explicit = parent === undefined ? undefined : { parent };
    this.#onEvent({ new_event: { metadata_id: metadataId, ...explicit, values: map, ...this.#time(time) } });
  }

  #time(time: EventTime): Time {
    if (time === undefined) return NO_TIME;
    const unixNano = this.#base + BigInt(time);
    return unixNano < 0n || unixNano > MAX_U64 ? NO_TIME : { time_unix_nano: canonicalInteger(unixNano) };
  }
}
