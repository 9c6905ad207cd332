import type * as OpenTelemetryApi from "@opentelemetry/api";
import type { LoggerProvider, ReadableSpan, Resource, Sampler, SpanProcessor } from "@spanduct/opentelemetry";

/** What the suites need of the API; its values are those of the line's own copy. */
export type Api = Pick<
  typeof OpenTelemetryApi,
  "context" | "createTraceState" | "propagation" | "ROOT_CONTEXT" | "SpanKind" | "SpanStatusCode" | "trace"
>;

/** Finished spans in memory: the SDK's own exporter. */
export interface MemoryExporter {
  getFinishedSpans(): readonly ReadableSpan[];
  reset(): void;
}

/** A log record as the SDK made it. */
export interface FinishedLog {
  readonly hrTime: readonly [number, number];
  readonly hrTimeObserved: readonly [number, number];
  readonly eventName?: string | undefined;
  readonly body?: unknown;
  readonly severityNumber?: number | undefined;
  readonly severityText?: string | undefined;
  readonly attributes: { readonly [name: string]: unknown };
  readonly spanContext?: { readonly traceId: string; readonly spanId: string } | undefined;
  readonly instrumentationScope: { readonly name: string };
}

/** One line of the OpenTelemetry SDK: its real parts, made the way that line makes them. */
export interface SdkLine {
  readonly name: string;
  readonly api: Api;
  /** Program that goes on with an execution in a process of its own; see `restart-child.ts`. */
  readonly restartChild: string;
  memoryExporter(): MemoryExporter;
  simple(exporter: MemoryExporter): SpanProcessor;
  batch(exporter: MemoryExporter): SpanProcessor;
  /** A batch processor in front of a real OTLP/HTTP exporter of the protobuf form. */
  otlp(url: string): SpanProcessor;
  resource(attributes: { readonly [name: string]: string | Promise<string> }): Resource;
  samplers: {
    readonly on: () => Sampler;
    readonly off: () => Sampler;
    readonly ratio: (ratio: number) => Sampler;
    readonly parentBased: (root: Sampler) => Sampler;
  };
  /** The propagator of `traceparent` and `tracestate`. */
  w3c(): OpenTelemetryApi.TextMapPropagator;
  /** The SDK's tracer provider, always sampling unless told otherwise. */
  tracerProvider(processors: readonly SpanProcessor[], sampler?: Sampler): OpenTelemetryApi.TracerProvider;
  /** The SDK's logger provider, and what it has made so far. */
  logs(): { readonly provider: LoggerProvider; readonly finished: () => readonly FinishedLog[] };
}
