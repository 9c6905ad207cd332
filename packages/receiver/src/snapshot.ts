import { type Id, type OpenSpan, type PersistedSpan, type PersistedSpans, toValueMap } from "@spanduct/protocol";
import { totalBytes } from "./named-values.ts";
import type { SequenceState } from "./sequence.ts";
import { type SpanStack, SpanState } from "./span-state.ts";

/** A persisted span as a receiver takes it over. */
export function readSpan<Span>(id: Id, { metadataId, parentId, refCount, values }: OpenSpan): SpanState<Span> {
  const state = new SpanState<Span>(id);
  state.alive = true;
  state.metadataId = metadataId;
  state.parentId = parentId;
  state.refCount = refCount;
  state.values = values;
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
    persisted[String(span.id)] = {
      metadata_id: span.metadataId,
      ...(span.parentId !== undefined && { parent_id: span.parentId }),
      ref_count: span.refCount,
      values: toValueMap(span.values),
      ...(entered !== undefined && { entered }),
      ...(unsaid !== undefined && { sequence: unsaid.next }),
      ...(unsaid !== undefined && unsaid.dropped > 0 && { dropped_events: unsaid.dropped }),
      ...(relay !== undefined && { relay }),
    };
    unsaid = undefined;
  }
  return persisted;
}
