// Host half. Guest halves are libraries of the plug-in's language; packages/guests has ours.
export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export type { ExtismContext, ExtismGuest, ExtismPlugin } from "./host.ts";
export { traceExtism } from "./host.ts";
