import type { Attributes, HrTime, Link } from "@opentelemetry/api";
import type { ReadableSpan, TimedEvent } from "@opentelemetry/sdk-trace";

/** Of the protocol's 64 bits. */
const MAX_INTEGER = 2 ** 63;

/** Spans of one line; readers take a line at a time. */
const SPANS_PER_LINE = 512;

/**
 * Spans in the form of OpenTelemetry's file exporters, one `TracesData` a line: ids in hexadecimal, 64-bit integers as decimal
 * strings, enumerations as numbers. Each line ends in a line feed.
 *
 * @see https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
 */
export function otlpJsonLines(spans: readonly ReadableSpan[]): string {
  let lines = "";
  for (let i = 0; i < spans.length; i += SPANS_PER_LINE) {
    lines += `${JSON.stringify(tracesData(spans.slice(i, i + SPANS_PER_LINE)))}\n`;
  }
  return lines;
}

function tracesData(spans: readonly ReadableSpan[]): object {
  const byResource = Map.groupBy(spans, ({ resource }) => resource);
  return {
    resourceSpans: [...byResource].map(([resource, spans]) => ({
      resource: { attributes: keyValues(resource.attributes), droppedAttributesCount: 0 },
      scopeSpans: [...Map.groupBy(spans, ({ instrumentationScope: { name, version } }) => `${name}@${version}`).values()].map(
        scopeSpans,
      ),
      ...(resource.schemaUrl !== undefined && { schemaUrl: resource.schemaUrl }),
    })),
  };
}

/** @param spans of one instrumentation scope, at least one */
function scopeSpans(spans: readonly ReadableSpan[]): object {
  const { name, version, schemaUrl } = (spans[0] as ReadableSpan).instrumentationScope;
  return {
    scope: { name, ...(version !== undefined && { version }) },
    spans: spans.map(otlpSpan),
    ...(schemaUrl !== undefined && { schemaUrl }),
  };
}

function otlpSpan(span: ReadableSpan): object {
  const { traceId, spanId, traceState, traceFlags } = span.spanContext();
  const { parentSpanContext: parent, status } = span;
  return {
    traceId,
    spanId,
    ...(traceState !== undefined && { traceState: traceState.serialize() }),
    ...(parent !== undefined && { parentSpanId: parent.spanId }),
    flags: flags(traceFlags, parent?.isRemote),
    name: span.name,
    // The API counts kinds from 0, the protocol from 1.
    kind: span.kind + 1,
    startTimeUnixNano: unixNano(span.startTime),
    endTimeUnixNano: unixNano(span.endTime),
    attributes: keyValues(span.attributes),
    droppedAttributesCount: span.droppedAttributesCount,
    events: span.events.map(otlpEvent),
    droppedEventsCount: span.droppedEventsCount,
    links: span.links.map(otlpLink),
    droppedLinksCount: span.droppedLinksCount,
    status: { code: status.code, ...(status.message !== undefined && { message: status.message }) },
  };
}

function otlpEvent({ name, time, attributes = {}, droppedAttributesCount = 0 }: TimedEvent): object {
  return { timeUnixNano: unixNano(time), name, attributes: keyValues(attributes), droppedAttributesCount };
}

function otlpLink({ context, attributes = {}, droppedAttributesCount = 0 }: Link): object {
  const { traceId, spanId, traceState, traceFlags, isRemote } = context;
  return {
    traceId,
    spanId,
    ...(traceState !== undefined && { traceState: traceState.serialize() }),
    attributes: keyValues(attributes),
    droppedAttributesCount,
    flags: flags(traceFlags, isRemote),
  };
}

/** The flags of W3C trace context, that it is known whether the other side is remote, and whether it is. */
function flags(traceFlags: number, isRemote: boolean = false): number {
  return (traceFlags & 0xff) | 0x100 | (isRemote ? 0x200 : 0);
}

function keyValues(attributes: Attributes): object[] {
  return Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: anyValue(value) }]));
}

function anyValue(value: unknown): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < MAX_INTEGER) return { intValue: String(BigInt(value)) };
    return { doubleValue: Number.isFinite(value) ? value : String(value) };
  }
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  return {};
}

function unixNano([seconds, nanos]: HrTime): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
}
