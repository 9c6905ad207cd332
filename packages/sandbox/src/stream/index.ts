// Host half.

export type { ConnectOptions } from "../guest-sender.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { ConnectedGuest, TracedRemote, TraceRemoteOptions } from "../remote.ts";
export { connect } from "./guest.ts";
export { traceStream } from "./host.ts";
