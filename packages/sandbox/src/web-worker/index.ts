// Host half.
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { ConnectOptions } from "../worker/guest.ts";
export type { WorkerRingOptions } from "../worker/ring.ts";
export { connect, disconnect } from "./guest.ts";
export type { TracedWorker, TraceWorkerOptions } from "./host.ts";
export { traceWorker } from "./host.ts";
