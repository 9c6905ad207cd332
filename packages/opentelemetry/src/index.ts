// For hosts.
export type { HostClock } from "./clock.ts";
export type { SpanLimits } from "./limits.ts";
export type { AttemptOptions, EventMapping, PlacementOptions } from "./attempt-options.ts";
export type { ExecutionOptions, OpenTelemetryRelayOptions } from "./relay.ts";
export { OpenTelemetryRelay } from "./relay.ts";
export type { TracerRelayOptions } from "./tracer-relay.ts";
export { TracerRelay, tracerRelay } from "./tracer-relay.ts";

// What the relay takes from an SDK and gives to it.
export type { Logger, LoggerProvider, LogRecord, ReadableSpan, Resource, Sampler, SamplingResult, SpanProcessor } from "./sdk.ts";
export type { InstrumentationScope, TimedEvent } from "./sdk.ts";
export type { GuestSpan } from "./span.ts";
