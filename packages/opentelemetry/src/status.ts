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

/** The status of a span that was rolled back: an error, with the message that it had when it was one. */
export function rolledBackStatus({ code, message }: SpanStatus): SpanStatus {
  return { code: SpanStatusCode.ERROR, message: (code === SpanStatusCode.ERROR ? message : undefined) ?? "rolled back" };
}
