import type { SpanContext } from "@opentelemetry/api";
import type { TraceContext } from "@spanduct/protocol";

/** The host's span as the W3C has it. @param host a valid one */
export function hostContext({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const flags = (traceFlags & 0xff).toString(16).padStart(2, "0");
  const tracestate = traceState?.serialize();
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, ...(tracestate && { tracestate }) };
}
