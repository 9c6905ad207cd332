// For hosts.
export type { HostClock } from "./clock.ts";
export type { SpanLimits } from "./limits.ts";
export type { AttemptOptions, EventMapping, PlacementOptions } from "./attempt-options.ts";
export type { DeliverOptions, ExecutionOptions, OpenTelemetryRelayOptions, OutboxOptions } from "./relay.ts";
export { OpenTelemetryRelay } from "./relay.ts";
export type { TracerRelayOptions } from "./tracer-relay.ts";
export { TracerRelay, tracerRelay } from "./tracer-relay.ts";

// For hosts that store executions.
export type { ExportResult, SpanExporter } from "./flushed-span-processor.ts";
export { FlushedSpanProcessor } from "./flushed-span-processor.ts";
export type { LiveSpan } from "./live-spans.ts";
export { liveSpans } from "./live-spans.ts";
export type { LogEmitted, Outbox, OutboxRecord, SpanEnded, SpanStarted } from "./outbox.ts";
export type { OutboxExecution, SavedTrace } from "./outbox-execution.ts";
export type { SavedSpanContext } from "./saved-json.ts";
export type { SavedAttributes, SavedEvent, SavedLink, SavedScalar, SavedSpan } from "./saved-span.ts";

// What the relay takes from an SDK and gives to it.
export type { Logger, LoggerProvider, LogRecord, ReadableSpan, Resource, Sampler, SamplingResult, SpanProcessor } from "./sdk.ts";
export type { InstrumentationScope, TimedEvent } from "./sdk.ts";
export type { GuestSpan } from "./span.ts";
