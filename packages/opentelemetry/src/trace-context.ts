import type { SpanContext } from "@opentelemetry/api";
import type { TraceContext } from "@spanduct/protocol";

/** The place of what hangs under `above`, as the W3C has it. */
export function traceContextOf({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const flags = (traceFlags & 0xff).toString(16).padStart(2, "0");
  const tracestate = traceState?.serialize();
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, ...(tracestate && { tracestate }) };
}
