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

export const RESOURCE = resourceFromAttributes({ "service.name": "bench" });

/** The OpenTelemetry SDK 3.1 as a host would set it up, without an exporter. */
export function sdk(collector: Collector): TracerProvider {
  return new TracerProvider({ resource: RESOURCE, sampler: new AlwaysOnSampler(), spanProcessors: [collector] });
}

/** The same with the SDK 2.12. */
export function sdk2(collector: Collector): BasicTracerProvider {
  return new BasicTracerProvider({ resource: RESOURCE, sampler: new AlwaysOnSampler(), spanProcessors: [collector] });
}
