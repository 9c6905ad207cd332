// Host half. Guest halves are libraries of other languages; packages/guests has ours.
export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export type { TraceWasmOptions, WasmGuest, WasmInstance, WasmMemory } from "./host.ts";
export { traceWasm } from "./host.ts";
