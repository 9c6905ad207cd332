// Host half. The guest half is ./workflow.ts, which is bundled with the workflows.
export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export type { BundlerConfig, TemporalSinks, TemporalTracing, TraceTemporalOptions, WorkerConfig } from "./host.ts";
export { traceTemporal } from "./host.ts";
export type { SpanductSinks, WorkflowMark, WorkflowMessage } from "./link.ts";
export type { ParentSpan, RunInfo } from "./place.ts";
export type { AttemptOptions, ReceiverState, WorkflowInfo } from "./run.ts";
