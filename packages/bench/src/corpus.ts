import { ROOT_CONTEXT, type SpanContext, type Tracer, trace } from "@opentelemetry/api";
import type { TracingEventSender } from "@spanduct/sender";

/** Spans in one unit of work. */
export const SPANS = 256;

/** The host's own span, under which all spans hang: the way a host embeds a guest, and the same for both sides. */
export const HOST_SPAN: SpanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

const KINDS = ["page", "image", "script", "style"];

/** Span `i` of the corpus: a string, an integer and a float; its event: a message and an integer. */
function values(i: number): { kind: string; size: number; ratio: number } {
  return { kind: KINDS[i & 3] as string, size: 1000 + i, ratio: i / 7 + 0.5 };
}

/** The corpus through our sender: open, event, close, as `startSpan`, `addEvent`, `end` below. */
export function tunnelWork(sender: TracingEventSender): () => void {
  const span = sender.span({ name: "render", target: "bench", fields: ["kind", "size", "ratio"] });
  const event = sender.event({ name: "rendered", target: "bench", fields: ["message", "bytes"] });
  return () => {
    for (let i = 0; i < SPANS; i++) {
      const open = span.start(values(i));
      event.emit({ message: "rendered", bytes: i }, open);
      open.close();
    }
  };
}

/** As `tunnelWork`, inside of each span: what happens belongs to it without being told. */
export function enteredTunnelWork(sender: TracingEventSender): () => void {
  const span = sender.span({ name: "render", target: "bench", fields: ["kind", "size", "ratio"] });
  const event = sender.event({ name: "rendered", target: "bench", fields: ["message", "bytes"] });
  return () => {
    for (let i = 0; i < SPANS; i++) {
      const open = span.enter(values(i));
      event.emit({ message: "rendered", bytes: i });
      open.close();
    }
  };
}

/** What `tunnelWork` does, through an OpenTelemetry tracer. */
export function tracerWork(tracer: Tracer): () => void {
  const context = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);
  return () => {
    for (let i = 0; i < SPANS; i++) {
      const span = tracer.startSpan("render", { attributes: values(i) }, context);
      span.addEvent("rendered", { bytes: i });
      span.end();
    }
  };
}

/** What `enteredTunnelWork` does, through an OpenTelemetry tracer; needs a context manager. */
export function activeTracerWork(tracer: Tracer): () => void {
  const context = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);
  return () => {
    for (let i = 0; i < SPANS; i++) {
      tracer.startActiveSpan("render", { attributes: values(i) }, context, (span) => {
        trace.getActiveSpan()?.addEvent("rendered", { bytes: i });
        span.end();
      });
    }
  };
}
