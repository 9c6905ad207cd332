import type { ExecutionSummary } from "./state-store.ts";

/** Whether an attempt may begin: the execution can be run, and nobody else works on it. */
export function isFree({ status, lease }: ExecutionSummary, nowMs: number): boolean {
  return status === "open" && (lease === undefined || lease.untilMs <= nowMs);
}
