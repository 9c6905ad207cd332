// For hosts.
export type { RetryOptions } from "./backoff.ts";
export type {
  AdoptedState,
  Attempt,
  ExecutionDetails,
  ExecutionsOptions,
  Finished,
  ListOptions,
  ProgramOptions,
  PruneOptions,
  RunOptions,
  RunResult,
  TracePolicy,
} from "./executions.ts";
export { Executions } from "./executions.ts";
export type { ExecutionStatus, ExecutionSummary, Pruned } from "./state-store.ts";

// For authors of stores, and for tests.
export type { Environment } from "./environment.ts";
export type { FaultHook, FaultPoint } from "./fault-point.ts";
export { revisionConflict } from "./revision-conflict.ts";
export type {
  Acquired,
  AcquireRequest,
  Claimed,
  Commit,
  ListQuery,
  OutboxRow,
  RollBack,
  StateStore,
  StoredExecution,
  StoredProgram,
  StoredState,
} from "./state-store.ts";
