import { attemptKey, deriveKeys, SPAN_IDS, type TraceContext } from "@spanduct/protocol";

/** What is used of Temporal's `WorkflowInfo` by both sides: what follows from the history. */
export interface RunInfo {
  readonly runId: string;
  readonly memo?: { readonly [name: string]: unknown };
}

/** A span above the workflow's, as OpenTelemetry has it. */
export interface ParentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote: true;
}

/** What the ids of a run's spans follow from: 64 bits, FNV-1a of the run's id. */
export function seedOf({ runId }: RunInfo): bigint {
  let bits = FNV_OFFSET;
  for (let i = 0; i < runId.length; i++) bits = BigInt.asUintN(64, (bits ^ BigInt(runId.charCodeAt(i))) * FNV_PRIME);
  return bits;
}

const FNV_OFFSET = 0xcbf2_9ce4_8422_2325n;
const FNV_PRIME = 0x100_0000_01b3n;

/** The span that `traceparent` in the memo names. */
export function parentOf(info: RunInfo): ParentSpan | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparentOf(info)) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

/** What a host would tell its guest, worked out by the guest. */
export function traceContextOf(info: RunInfo): TraceContext | undefined {
  const traceparent = traceparentOf(info);
  if (!TRACEPARENT.test(traceparent)) return undefined;
  const keys = deriveKeys(attemptKey(seedOf(info), 0, 0), SPAN_IDS);
  return { traceparent, spanKey: keys.map((key) => (key >>> 0).toString(16).padStart(8, "0")).join("") };
}

const TRACEPARENT = /^00-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})$/;

function traceparentOf({ memo }: RunInfo): string {
  return String(memo?.["traceparent"]);
}
