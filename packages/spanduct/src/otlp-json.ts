import type { Attributes, HrTime } from "@opentelemetry/api";
import type { LogRecord, ReadableSpan } from "@spanduct/opentelemetry";

// OTLP as JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Ids are hexadecimal, 64-bit integers are text.

/** A log record with what it belongs to. */
export interface ScopedLog {
  readonly scope: string;
  readonly record: LogRecord;
  readonly span: { readonly traceId: string; readonly spanId: string; readonly traceFlags: number } | undefined;
}

/** An `ExportTraceServiceRequest`, of spans of one resource. */
export function traceRequest(spans: readonly ReadableSpan[]): object {
  const resource = { attributes: attributes(spans[0]?.resource.attributes ?? {}) };
  const scopes = Map.groupBy(spans, ({ instrumentationScope }) => instrumentationScope.name);
  const scopeSpans = [...scopes].map(([name, spans]) => ({ scope: { name }, spans: spans.map(spanOf) }));
  return { resourceSpans: [{ resource, scopeSpans }] };
}

/** An `ExportLogsServiceRequest`. */
export function logsRequest(logs: readonly ScopedLog[], resource: Attributes): object {
  const scopes = Map.groupBy(logs, ({ scope }) => scope);
  const scopeLogs = [...scopes].map(([name, logs]) => ({ scope: { name }, logRecords: logs.map(logOf) }));
  return { resourceLogs: [{ resource: { attributes: attributes(resource) }, scopeLogs }] };
}

function spanOf(span: ReadableSpan): object {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const { parentSpanContext: parent, status } = span;
  return {
    traceId,
    spanId,
    ...(traceState !== undefined && { traceState: traceState.serialize() }),
    ...(parent !== undefined && { parentSpanId: parent.spanId }),
    flags: flags(traceFlags, parent?.isRemote),
    name: span.name,
    kind: span.kind + 1,
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: attributes(span.attributes),
    droppedAttributesCount: span.droppedAttributesCount,
    events: span.events.map(({ name, time, attributes: given = {}, droppedAttributesCount = 0 }) => ({
      name,
      timeUnixNano: nanos(time),
      attributes: attributes(given),
      droppedAttributesCount,
    })),
    droppedEventsCount: span.droppedEventsCount,
    links: span.links.map(({ context, attributes: given = {}, droppedAttributesCount = 0 }) => ({
      traceId: context.traceId,
      spanId: context.spanId,
      ...(context.traceState !== undefined && { traceState: context.traceState.serialize() }),
      attributes: attributes(given),
      droppedAttributesCount,
      flags: flags(context.traceFlags, context.isRemote),
    })),
    droppedLinksCount: span.droppedLinksCount,
    status: { code: status.code, ...(status.message !== undefined && { message: status.message }) },
  };
}

function logOf({ record, span }: ScopedLog): object {
  const { timestamp, observedTimestamp, severityNumber, severityText, body, eventName } = record;
  return {
    ...(timestamp !== undefined && { timeUnixNano: nanos(timestamp) }),
    ...(observedTimestamp !== undefined && { observedTimeUnixNano: nanos(observedTimestamp) }),
    ...(severityNumber !== undefined && { severityNumber }),
    ...(severityText !== undefined && { severityText }),
    ...(eventName !== undefined && { eventName }),
    ...(body !== undefined && { body: anyValue(body) }),
    attributes: attributes(record.attributes ?? {}),
    droppedAttributesCount: 0,
    ...(span !== undefined && { traceId: span.traceId, spanId: span.spanId, flags: span.traceFlags }),
  };
}

/** The lowest byte is the W3C's; bit 8 says that bit 9 is known, bit 9 that the parent is remote. */
function flags(traceFlags: number, isRemote: boolean | undefined): number {
  return (traceFlags & 0xff) | 0x100 | (isRemote === true ? 0x200 : 0);
}

function nanos([seconds, nanos]: HrTime): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
}

function attributes(given: Attributes): object[] {
  return Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: anyValue(value) }]));
}

function anyValue(value: unknown): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "number") {
    if (Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63) return { intValue: String(BigInt(value)) };
    // What JSON has no number for is a name in protobuf's JSON.
    return { doubleValue: Number.isFinite(value) ? value : String(value) };
  }
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  return {};
}
