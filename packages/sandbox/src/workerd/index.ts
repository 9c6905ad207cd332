export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { AsyncStorage, CallScope, TracedMethod, TracedMethods, TracedOptions, TracedWorker } from "./guest.ts";
export { traced } from "./guest.ts";
export type { GuestCallOptions } from "./guest-call.ts";
// Host half in a Worker.
export type { WorkerdGuest, WorkerdRun, WorkerdRunOptions } from "./host.ts";
export { traceWorkerd } from "./host.ts";
// Host half elsewhere.
export type { TraceWorkerdOverHttpOptions, WorkerdOverHttp } from "./http-host.ts";
export { traceWorkerdOverHttp } from "./http-host.ts";
// What goes between them.
export type { Greeting, HttpGreeting, Tell, TracedAnswer, TracedCall } from "./link.ts";
