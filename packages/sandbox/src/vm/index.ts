// Host half. The guest half is a script that it loads.
export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { SpanductGlobal } from "../guest-script.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export type { TraceVmOptions, VmGuest } from "./host.ts";
export { traceVm } from "./host.ts";
export { VmRejections } from "./rejections.ts";
