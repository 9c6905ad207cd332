import type { Id, TracingEvent, TracingEventKind } from "./event.ts";
import type { EventSink, EventTime } from "./sink.ts";
import { canonicalInteger, toValueMap } from "./values.ts";

/**
 * A sink that makes an event object of everything it is told, and hands each to `onEvent`, who owns them. Maps of values have no
 * prototype. Numeric value keys need `ValueColumns.fields` to have names: behind a decoder, put a `FieldResolver` in front.
 * Times before the epoch or beyond 64 bits are left out, so that the host stamps those events.
 */
export function recordEvents(onEvent: (event: TracingEvent) => void): EventSink {
  let base = 0n;

  function event(kind: TracingEventKind, body: object, time: EventTime): void {
    const unixNano = time === undefined ? -1n : base + BigInt(time);
    const timed = BigInt.asUintN(64, unixNano) === unixNano && { time_unix_nano: canonicalInteger(unixNano) };
    onEvent({ [kind]: { ...body, ...timed } } as unknown as TracingEvent);
  }
  const ofSpan = (kind: TracingEventKind) => (id: Id, time: EventTime) => event(kind, { id }, time);

  return {
    batch(header) {
      base = header.baseTimeUnixNano;
    },
    timeBase(unixNano) {
      base = unixNano;
    },
    newCallSite: (id, data, time) => event("new_call_site", { id, ...data }, time),
    newSpan(id, parentId, metadataId, values, time) {
      const parent = parentId !== undefined && { parent_id: parentId };
      event("new_span", { id, ...parent, metadata_id: metadataId, values: toValueMap(values) }, time);
    },
    followsFrom: (id, followsFrom, time) => event("follows_from", { id, follows_from: followsFrom }, time),
    spanEntered: ofSpan("span_entered"),
    spanExited: ofSpan("span_exited"),
    spanCloned: ofSpan("span_cloned"),
    spanDropped: ofSpan("span_dropped"),
    valuesRecorded: (id, values, time) => event("values_recorded", { id, values: toValueMap(values) }, time),
    newEvent(metadataId, parent, values, time) {
      const explicit = parent !== undefined && { parent };
      event("new_event", { metadata_id: metadataId, ...explicit, values: toValueMap(values) }, time);
    },
  };
}
