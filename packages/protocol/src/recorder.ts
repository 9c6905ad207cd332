import type { CallSiteData, Id, TracingEvent, TracingEventKind } from "./event.ts";
import type { BatchHeader, EventSink, EventTime } from "./sink.ts";
import { canonicalInteger, toValueMap, type ValueColumns } from "./values.ts";

/**
 * Makes an event object of everything it is told, and hands each to a callback; the objects belong to who receives them.
 * Maps of values have no prototype. Numeric value keys need `ValueColumns.fields` to have names: behind a decoder, put a
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
    this.#event("new_call_site", { id, ...data }, time);
  }

  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    const parent = parentId !== undefined && { parent_id: parentId };
    this.#event("new_span", { id, ...parent, metadata_id: metadataId, values: toValueMap(values) }, time);
  }

  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    this.#event("follows_from", { id, follows_from: followsFrom }, time);
  }

  spanEntered(id: Id, time: EventTime): void {
    this.#event("span_entered", { id }, time);
  }

  spanExited(id: Id, time: EventTime): void {
    this.#event("span_exited", { id }, time);
  }

  spanCloned(id: Id, time: EventTime): void {
    this.#event("span_cloned", { id }, time);
  }

  spanDropped(id: Id, time: EventTime): void {
    this.#event("span_dropped", { id }, time);
  }

  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void {
    this.#event("values_recorded", { id, values: toValueMap(values) }, time);
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    const explicit = parent !== undefined && { parent };
    this.#event("new_event", { metadata_id: metadataId, ...explicit, values: toValueMap(values) }, time);
  }

  #event(kind: TracingEventKind, body: { [key: string]: unknown }, time: EventTime): void {
    if (time !== undefined) {
      const unixNano = this.#base + BigInt(time);
      if (unixNano >= 0n && unixNano >> 64n === 0n) body["time_unix_nano"] = canonicalInteger(unixNano);
    }
    this.#onEvent({ [kind]: body } as unknown as TracingEvent);
  }
}
