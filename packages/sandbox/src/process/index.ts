// Host half.
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { ConnectOptions } from "../worker/guest.ts";
export { connect } from "./guest.ts";
export type { TracedProcess, TraceProcessOptions } from "./host.ts";
export { traceProcess } from "./host.ts";
