import type { ReadableSpan } from "@spanduct/opentelemetry";

/** A finished span as plain data, to compare. */
export interface SpanData {
  readonly traceId: string;
  readonly spanId: string;
  readonly [more: string]: unknown;
}

/** All that exporters read of a span. */
export function spanData(span: ReadableSpan): SpanData {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const { parentSpanContext: parent } = span;
  return {
    traceId,
    spanId,
    traceFlags,
    traceState: traceState?.serialize(),
    parent: parent && [parent.traceId, parent.spanId, parent.traceFlags, parent.traceState?.serialize()],
    name: span.name,
    kind: span.kind,
    startTime: span.startTime,
    endTime: span.endTime,
    duration: span.duration,
    ended: span.ended,
    status: span.status,
    attributes: span.attributes,
    events: span.events,
    links: span.links.map(({ context, attributes, droppedAttributesCount }) => ({
      to: [context.traceId, context.spanId, context.traceFlags, context.traceState?.serialize()],
      attributes,
      droppedAttributesCount,
    })),
    dropped: [span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount],
    scope: span.instrumentationScope.name,
    resource: span.resource.attributes,
  };
}

/** Spans by their identity; throws when two have the same. */
export function byIdentity(spans: readonly ReadableSpan[]): { [identity: string]: SpanData } {
  const found: { [identity: string]: SpanData } = {};
  for (const span of spans) {
    const data = spanData(span);
    const identity = `${data.traceId}/${data.spanId}`;
    if (Object.hasOwn(found, identity)) throw new Error(`two spans have the identity ${identity}`);
    found[identity] = data;
  }
  return found;
}
