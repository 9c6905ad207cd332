import { type Id, type OpenSpan, type PersistedSpan, type PersistedSpans, toValueMap } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";
import { totalBytes } from "./named-values.ts";
import type { SequenceState } from "./sequence.ts";
import { type SpanStack, SpanState } from "./span-state.ts";

/** A persisted span as a receiver takes it over. */
export function readSpan<Span>(
  id: Id,
  { metadataId, parentId, refCount, values }: OpenSpan,
  callSite: CallSite | undefined,
): SpanState<Span> {
  const state = new SpanState<Span>(id);
  state.metadataId = metadataId;
  state.parentId = parentId;
  state.refCount = refCount;
  state.columns = callSite?.shapeOf(values) ?? values;
  state.raws = values.raws;
  state.valueBytes = totalBytes(values);
  return state;
}

/** What the spans of an execution say of its guest's batches. */
export function readSequence(opened: readonly (readonly [id: Id, span: OpenSpan])[]): SequenceState | undefined {
  for (const [, { sequence, droppedEvents = 0 }] of opened) {
    if (sequence !== undefined) return { next: sequence, dropped: droppedEvents };
  }
  return undefined;
}

/** The open spans as they are persisted. @param sequence goes with the first of them: the crate's form has no other place */
export function writeSpans<Span>(
  spans: Iterable<SpanState<Span>>,
  stack: SpanStack<Span>,
  sequence: SequenceState | undefined,
  save: (span: Span) => unknown,
): PersistedSpans {
  const positions = new Map<SpanState<Span>, number>();
  for (const span of [...stack].reverse()) positions.set(span, positions.size + 1);
  let unsaid = sequence;
  const persisted = Object.create(null) as { [id: string]: PersistedSpan };
  for (const span of spans) {
    if (!span.alive) continue;
    const entered = positions.get(span);
    const relay = span.local === undefined ? undefined : save(span.local);
    const entry: { -readonly [key in keyof PersistedSpan]: PersistedSpan[key] } = {
      metadata_id: span.metadataId,
      ref_count: span.refCount,
      values: toValueMap(span.values),
    };
    // One by one: spreading what may be there would cost as much as all the rest, and there may be very many spans.
    if (span.parentId !== undefined) entry.parent_id = span.parentId;
    if (entered !== undefined) entry.entered = entered;
    if (unsaid !== undefined) entry.sequence = unsaid.next;
    if (unsaid !== undefined && unsaid.dropped > 0) entry.dropped_events = unsaid.dropped;
    if (relay !== undefined) entry.relay = relay;
    persisted[String(span.id)] = entry;
    unsaid = undefined;
  }
  return persisted;
}
