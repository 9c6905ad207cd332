import type { TraceContext } from "@spanduct/protocol";

/** A form that guests in any language can take apart, in ASCII: `traceparent`, a line feed, the span key, a line feed, `tracestate`. */
export function traceContextText({ traceparent, tracestate = "", spanKey = "" }: TraceContext): string {
  // It came from who knows where.
  const isPlain = /^[ -~]*$/.test(tracestate);
  return `${traceparent}\n${spanKey}\n${isPlain ? tracestate : ""}`;
}
