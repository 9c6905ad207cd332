// Host half.

// Guest half.
export type { ConnectOptions } from "../guest-sender.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export { connect } from "./guest.ts";
export type { TracedProcess, TraceProcessOptions } from "./host.ts";
export { traceProcess } from "./host.ts";
