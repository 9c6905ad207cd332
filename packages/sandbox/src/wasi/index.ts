// Host half for modules that use WASI. Guest halves are libraries of other languages; packages/guests has ours.
export type { GuestOptions, GuestStats } from "../guest-runs.ts";
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
export type { TraceWasmOptions, WasmInstance, WasmMemory } from "../wasm/host.ts";
export type { TraceWasiOptions, WasiGuest, WasiHost } from "./host.ts";
export { traceWasi } from "./host.ts";
