import {
  createTraceState,
  type HrTime,
  isSpanContextValid,
  type SpanContext,
  type SpanStatus,
  SpanStatusCode,
} from "@opentelemetry/api";
import { TunnelError } from "@spanduct/protocol";
import type { TimingState } from "./timings.ts";

// Reading what comes back from a store. Every reader throws TunnelError "snapshot_mismatch" for what no relay can have written.

/** The identity of a span as plain JSON. */
export interface SavedSpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  /** As in the `tracestate` header. */
  readonly traceState?: string;
  readonly isRemote?: boolean;
}

/** The identity of a span as plain JSON. */
export function writeContext({ traceId, spanId, traceFlags, traceState, isRemote }: SpanContext): SavedSpanContext {
  const list = traceState?.serialize();
  return {
    traceId,
    spanId,
    traceFlags,
    ...(list !== undefined && list !== "" && { traceState: list }),
    ...(isRemote !== undefined && { isRemote }),
  };
}

/** @throws TunnelError "snapshot_mismatch" */
export function readContext(saved: unknown): SpanContext {
  const { traceId, spanId, traceFlags, traceState, isRemote } = record(saved, "identity");
  const context: SpanContext = {
    traceId: string(traceId, "identity"),
    spanId: string(spanId, "identity"),
    traceFlags: integer(traceFlags, "identity"),
  };
  if (!isSpanContextValid(context) || context.traceFlags > 255) mismatch("identity");
  if (isRemote !== undefined) context.isRemote = boolean(isRemote, "identity");
  if (traceState !== undefined) context.traceState = createTraceState(string(traceState, "identity"));
  return context;
}

/** @param saved a `SpanStatus` */
export function readStatus(saved: unknown): SpanStatus {
  const { code, message } = record(saved, "status");
  const known = oneOf(code, [SpanStatusCode.UNSET, SpanStatusCode.OK, SpanStatusCode.ERROR], "status");
  return message === undefined ? { code: known } : { code: known, message: string(message, "status") };
}

export function readTimings(saved: unknown): TimingState {
  const { busy, idle, entered, since } = record(saved, "timings");
  return {
    busy: nanos(busy, "busy"),
    idle: nanos(idle, "idle"),
    entered: integer(entered, "entered"),
    since: readTime(since),
  };
}

export function readTime(saved: unknown): HrTime {
  const [seconds, nanos, ...more] = array(saved, "time");
  if (!isCount(seconds) || !isCount(nanos) || nanos > 999_999_999 || more.length > 0) mismatch("time");
  return [seconds, nanos];
}

/** A duration; one of more than 104 days has lost its last digits and is no safe integer. */
function nanos(saved: unknown, what: string): number {
  if (typeof saved !== "number" || !Number.isInteger(saved) || saved < 0) mismatch(what);
  return saved;
}

export function integer(saved: unknown, what: string): number {
  if (!isCount(saved)) mismatch(what);
  return saved;
}

function isCount(saved: unknown): saved is number {
  return typeof saved === "number" && Number.isSafeInteger(saved) && saved >= 0;
}

export function oneOf<T extends number>(saved: unknown, values: readonly T[], what: string): T {
  const value = values.find((candidate) => candidate === saved);
  if (value === undefined) mismatch(what);
  return value;
}

export function string(saved: unknown, what: string): string {
  if (typeof saved !== "string") mismatch(what);
  return saved;
}

export function boolean(saved: unknown, what: string): boolean {
  if (typeof saved !== "boolean") mismatch(what);
  return saved;
}

export function array(saved: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(saved)) mismatch(what);
  return saved;
}

export function record(saved: unknown, what: string): { readonly [name: string]: unknown } {
  if (!isRecord(saved)) mismatch(what);
  return saved;
}

export function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function mismatch(what: string): never {
  throw new TunnelError("snapshot_mismatch", `what was saved of spans has no proper ${what}; the state is damaged`);
}
