// Host half.
export type { Committed, Outcome, RolledBack } from "../outcome.ts";
// Guest half.
export type { FrameConnectOptions } from "./guest.ts";
export { connect, connected, disconnect } from "./guest.ts";
export type { TracedFrame, TraceIframeOptions } from "./host.ts";
export { traceIframe } from "./host.ts";
