// Host half.
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { ConnectedGuest, TracedRemote, TraceRemoteOptions } from "../remote.ts";
export type { ConnectOptions } from "../worker/guest.ts";
export { connect } from "./guest.ts";
export { traceWebSocket } from "./host.ts";
