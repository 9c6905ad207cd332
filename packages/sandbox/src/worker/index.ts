// Host half.
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { ConnectOptions } from "./guest.ts";
export { connect } from "./guest.ts";
export type { TracedWorker, TraceWorkerOptions } from "./host.ts";
export { traceWorker } from "./host.ts";
export type { WorkerRingOptions } from "./ring.ts";
