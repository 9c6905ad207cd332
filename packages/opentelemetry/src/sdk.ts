import type { Attributes, Context, HrTime, Link, Span, SpanContext, SpanKind, SpanStatus, TraceState } from "@opentelemetry/api";
import type { AttributeMap } from "./attribute-value.ts";

// The parts of the OpenTelemetry SDK that the relay speaks to, as both lines have them (`sdk-trace-base` 2.x, `sdk-trace` 3.x,
// `sdk-logs` of either). Copies, so that this package depends on no SDK; tests check them against both.

/** What a span says about its instrumentation. */
export interface InstrumentationScope {
  readonly name: string;
  readonly version?: string;
  readonly schemaUrl?: string;
}

/** What telemetry is about. Take the SDK's own: `resourceFromAttributes(…)`, `defaultResource()`. */
export interface Resource {
  readonly asyncAttributesPending?: boolean;
  readonly attributes: Attributes;
  readonly schemaUrl?: string;
  waitForAsyncAttributes?(): Promise<void>;
  merge(other: Resource | null): Resource;
  getRawAttributes(): [string, Attributes[string] | Promise<Attributes[string]>][];
}

/** An event of a span. */
export interface TimedEvent {
  time: HrTime;
  name: string;
  attributes?: Attributes;
  droppedAttributesCount?: number;
}

/** A span as exporters read it. */
export interface ReadableSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly spanContext: () => SpanContext;
  readonly parentSpanContext?: SpanContext;
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  readonly status: SpanStatus;
  readonly attributes: Attributes;
  readonly links: Link[];
  readonly events: TimedEvent[];
  readonly duration: HrTime;
  readonly ended: boolean;
  readonly resource: Resource;
  readonly instrumentationScope: InstrumentationScope;
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
}

/** What a relay drives: `SimpleSpanProcessor`, `BatchSpanProcessor` or one of the host's own. */
export interface SpanProcessor {
  onStart(span: Span & ReadableSpan, parentContext: Context): void;
  onEnding?(span: Span & ReadableSpan): void;
  onEnd(span: ReadableSpan): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** What a sampler says: 0 not recorded, 1 recorded, 2 recorded and sampled. */
export interface SamplingResult {
  decision: 0 | 1 | 2;
  attributes?: Readonly<Attributes>;
  traceState?: TraceState;
}

/** Decides about each span before it starts. */
export interface Sampler {
  shouldSample(
    context: Context,
    traceId: string,
    spanName: string,
    spanKind: SpanKind,
    attributes: Attributes,
    links: Link[],
  ): SamplingResult;
  toString(): string;
}

/** A log record as it is handed in. */
export interface LogRecord {
  eventName?: string;
  timestamp?: HrTime;
  observedTimestamp?: HrTime;
  severityNumber?: number;
  severityText?: string;
  body?: string | number | boolean;
  attributes?: AttributeMap;
  context?: Context;
}

/** Where log records of one instrumentation scope go. */
export interface Logger {
  emit(record: LogRecord): void;
}

/** `LoggerProvider` of `sdk-logs`, or what `logs.getLoggerProvider()` returns. */
export interface LoggerProvider {
  getLogger(name: string): Logger;
  /** That of the SDK has it. */
  forceFlush?(): Promise<void>;
}
