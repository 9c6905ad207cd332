/**
 * Guest of the case `worker`: the OpenTelemetry SDK in the worker, and each span posted when it is finished, as a plain object,
 * the way Temporal's workflow isolate hands spans to its host.
 */
import { parentPort } from "node:worker_threads";
import { SimpleSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import { three } from "../corpus.ts";

const exporter: SpanExporter = {
  export(spans, done) {
    for (const span of spans) {
      const { name, kind, startTime, endTime, status, attributes, links, events, duration, ended } = span;
      const { instrumentationScope, droppedAttributesCount, droppedEventsCount, droppedLinksCount, parentSpanContext } = span;
      parentPort?.postMessage({
        span: {
          name,
          kind,
          spanContext: span.spanContext(),
          parentSpanContext,
          startTime,
          endTime,
          status,
          attributes,
          links,
          events,
          duration,
          ended,
          instrumentationScope,
          droppedAttributesCount,
          droppedEventsCount,
          droppedLinksCount,
        },
      });
    }
    done({ code: 0 });
  },
  async shutdown() {},
};
const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer("bench");

const units = new Map<number, () => void>();
parentPort?.on("message", (count: number) => {
  const unit = units.get(count) ?? three(count).tracer(tracer);
  units.set(count, unit);
  const begin = performance.now();
  unit();
  parentPort?.postMessage({ busy: performance.now() - begin });
});
