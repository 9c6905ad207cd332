// The tracing API.
export type { CallSiteOptions } from "./call-site.ts";
export { EventCallSite, SpanCallSite } from "./call-site.ts";
export type { Value, Values } from "./convert.ts";
export { debug, float, uint } from "./convert.ts";
export type { Log } from "./log.ts";
export { createLog } from "./log.ts";
export type { SenderOptions } from "./sender.ts";
export { TracingEventSender } from "./sender.ts";
export { Span } from "./span.ts";

// How it is connected to a host.
export type { BatchOptions, SendBatch } from "./batches.ts";
export { batches } from "./batches.ts";
export type { NodeProcess, ThrownEvent, WebScope } from "./capture-errors.ts";
export { captureErrors, uncaughtErrors } from "./capture-errors.ts";
export type { Clock, PerformanceLike } from "./clock.ts";
export { millisecondClock, performanceClock } from "./clock.ts";
export type { GrowingBoundary } from "./growing-batches.ts";
export { growingBatches } from "./growing-batches.ts";
export type { ConsoleLike, ConsoleMethod } from "./console.ts";
export { captureConsole } from "./console.ts";
export type { OnEvent, SenderOutput } from "./output.ts";
export { propagate } from "./propagate.ts";
