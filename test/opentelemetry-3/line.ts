import { join } from "node:path";
import { context, createTraceState, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { SdkLine } from "../contract/opentelemetry/sdk-line.ts";

export const line: SdkLine = {
  name: "sdk-trace 3.x",
  api: { context, createTraceState, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace },
  restartChild: join(import.meta.dirname, "restart-child.ts"),
  memoryExporter: () => new InMemorySpanExporter(),
  simple: (exporter) => new SimpleSpanProcessor({ exporter: exporter as InMemorySpanExporter }),
  batch: (exporter) => new BatchSpanProcessor({ exporter: exporter as InMemorySpanExporter }),
  otlp: (url) => new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) }),
  resource: resourceFromAttributes,
  samplers: {
    on: () => new AlwaysOnSampler(),
    off: () => new AlwaysOffSampler(),
    ratio: (ratio) => new TraceIdRatioBasedSampler(ratio),
    parentBased: (root) => new ParentBasedSampler({ root }),
  },
  w3c: () => new W3CTraceContextPropagator(),
  tracerProvider: (processors, sampler = new AlwaysOnSampler()) =>
    new TracerProvider({ spanProcessors: [...processors], sampler }),
  logs: () => {
    const exporter = new InMemoryLogRecordExporter();
    const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
    return { provider, finished: () => exporter.getFinishedLogRecords() };
  },
};
