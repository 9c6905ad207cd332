// Host half.

// Guest half.
export type { ConnectOptions } from "../guest-sender.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export { connect } from "./guest.ts";
export type { TracedWorker, TraceWorkerOptions } from "./host.ts";
export { traceWorker } from "./host.ts";
export type { WorkerRingOptions } from "./ring.ts";
