import { type SpanStatus, SpanStatusCode } from "@opentelemetry/api";
import type { AttributeMap } from "./attribute-value.ts";

/** A status after another one was said. Ok is final, as in the SDK; an error without a message keeps the message that is there. */
export function mergeStatus(current: SpanStatus, code: SpanStatusCode, message: string | undefined): SpanStatus {
  if (current.code === SpanStatusCode.OK || code === SpanStatusCode.UNSET) return current;
  const kept = code === SpanStatusCode.ERROR ? (message ?? current.message) : undefined;
  return kept === undefined ? { code } : { code, message: kept };
}

/** Flag something as work that was rolled back, whatever the limits say. */
export function flagRolledBack(attributes: AttributeMap): void {
  attributes["spanduct.rolled_back"] = true;
}

/** Why the relay ended a span that the guest holds open. */
export type ForcedClose = "max_span_age" | "execution_finished";

/** Say of a span that the relay ended it, whatever the limits say. */
export function flagForcedClose(attributes: AttributeMap, reason: ForcedClose): void {
  attributes["spanduct.forced_close"] = reason;
}

/** The status of a span that was rolled back: an error, with the message that it had when it was one. */
export function rolledBackStatus({ code, message }: SpanStatus): SpanStatus {
  return { code: SpanStatusCode.ERROR, message: (code === SpanStatusCode.ERROR ? message : undefined) ?? "rolled back" };
}
