/** Event objects in few words, and batches of them. */
import {
  type BatchHeader,
  type CallSiteData,
  type Codec,
  DEFAULT_LIMITS,
  dispatchEvent,
  type Id,
  type TracedValue,
  type TracedValueMap,
  type TracingEvent,
} from "@spanduct/protocol";

/** The call site `site <id>` with fields `a` and `b`, unless `data` says otherwise. */
export function callSite(id: Id, data: Partial<CallSiteData> = {}): TracingEvent {
  return {
    new_call_site: { id, kind: "span", name: `site ${id}`, target: "app", level: "info", fields: ["a", "b"], ...data },
  };
}

/** A span of call site 1. */
export function newSpan(id: Id, values: TracedValueMap = {}, parent?: Id, site: Id = 1): TracingEvent {
  return { new_span: { id, ...(parent !== undefined && { parent_id: parent }), metadata_id: site, values } };
}

export function followsFrom(id: Id, followed: Id): TracingEvent {
  return { follows_from: { id, follows_from: followed } };
}

export function enter(id: Id): TracingEvent {
  return { span_entered: { id } };
}

export function exit(id: Id): TracingEvent {
  return { span_exited: { id } };
}

export function clone(id: Id): TracingEvent {
  return { span_cloned: { id } };
}

export function drop(id: Id): TracingEvent {
  return { span_dropped: { id } };
}

export function record(id: Id, values: TracedValueMap): TracingEvent {
  return { values_recorded: { id, values } };
}

/** An event of call site 1. */
export function event(values: TracedValueMap = {}, parent?: Id, site: Id = 1): TracingEvent {
  return { new_event: { metadata_id: site, ...(parent !== undefined && { parent }), values } };
}

/** A map of values without prototype, so that every name is a name. */
export function valueMap(entries: Iterable<readonly [name: string, value: TracedValue]>): TracedValueMap {
  const map = Object.create(null) as { [name: string]: TracedValue };
  for (const [name, value] of entries) map[name] = value;
  return map;
}

/** `count` values `<prefix>0`, `<prefix>1`…, all `true`. */
export function manyValues(count: number, prefix = "n"): TracedValueMap {
  return valueMap(Array.from({ length: count }, (_, i) => [`${prefix}${i}`, { bool: true }]));
}

/** The events as one batch of a guest without clock, unless `header` says otherwise. */
export function batchOf(codec: Codec, events: readonly TracingEvent[], header: Partial<BatchHeader> = {}): Uint8Array {
  const encoder = codec.createEncoder();
  encoder.batch({ version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0, ...header });
  for (const one of events) dispatchEvent(one, encoder, UNBOUNDED);
  return encoder.finish().slice();
}

/** What a hostile guest holds itself to. */
const UNBOUNDED = { ...DEFAULT_LIMITS, maxStringBytes: Number.POSITIVE_INFINITY, maxFieldsPerCallSite: Number.POSITIVE_INFINITY };
