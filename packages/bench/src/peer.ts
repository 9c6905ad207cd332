import type { Context } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AlwaysOnSampler, type ReadableSpan, type Span, type SpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

/** A real span processor that only collects; `take` empties it. */
export class Collector implements SpanProcessor {
  #spans: ReadableSpan[] = [];

  onStart(_span: Span, _context: Context): void {}

  onEnd(span: ReadableSpan): void {
    this.#spans.push(span);
  }

  take(): ReadableSpan[] {
    const spans = this.#spans;
    this.#spans = [];
    return spans;
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

/** Looks at all of a span when it ends, as an exporter does sooner or later. */
export class Reader extends Collector {
  read = 0;

  override onEnd(span: ReadableSpan): void {
    const { traceId, spanId } = span.spanContext();
    this.read += traceId.length + spanId.length + span.startTime[1] + span.endTime[1] + span.name.length;
    this.read += Object.keys(span.attributes).length;
    for (const event of span.events) this.read += event.name.length + event.time[1] + Object.keys(event.attributes ?? {}).length;
    super.onEnd(span);
  }
}

export const RESOURCE = resourceFromAttributes({ "service.name": "bench" });

/** The OpenTelemetry SDK 3.1 as a host would set it up, without an exporter. */
export function sdk(collector: Collector): TracerProvider {
  return new TracerProvider({ resource: RESOURCE, sampler: new AlwaysOnSampler(), spanProcessors: [collector] });
}

/** The same with the SDK 2.12. */
export function sdk2(collector: Collector): BasicTracerProvider {
  return new BasicTracerProvider({ resource: RESOURCE, sampler: new AlwaysOnSampler(), spanProcessors: [collector] });
}
