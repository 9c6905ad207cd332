import type { LoggerProvider as ApiLoggerProvider, Span as ApiSpan, Context, SpanContext } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan, Sampler, SpanExporter, SpanLimits, SpanProcessor } from "@opentelemetry/sdk-trace";
import type {
  ExecutionOptions,
  GuestSpan,
  OpenTelemetryRelayOptions,
  SpanExporter as OurExporter,
  SpanProcessor as OurProcessor,
} from "@spanduct/opentelemetry";

// Nothing runs here: it holds that what the relay makes is what this line of the SDK takes, and the other way round.

declare const span: GuestSpan;
declare const processor: SpanProcessor;
declare const ourProcessor: OurProcessor;
declare const exporter: SpanExporter;
declare const sampler: Sampler;
declare const limits: SpanLimits;
declare const resource: Resource;
declare const loggerProvider: ApiLoggerProvider;
declare const parent: Context | SpanContext;

export const readable = span satisfies ReadableSpan;
export const writable = span satisfies ApiSpan;
export const theirs = ourProcessor satisfies SpanProcessor;
export const exports = exporter satisfies OurExporter;
export const options = {
  spanProcessors: [processor],
  sampler,
  spanLimits: limits,
  resource,
  loggerProvider,
} satisfies OpenTelemetryRelayOptions;
export const execution = { parent } satisfies ExecutionOptions;
