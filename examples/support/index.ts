import { type Context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { traceTree } from "./trace-tree.ts";

/** What a host has for its own tracing, with spans that stay in memory. */
export interface HostTracing {
  readonly spanProcessors: readonly SpanProcessor[];
  /** A context with the host's span in it, which is named after the example. */
  readonly parent: Context;
  /** End the host's span. @returns every span that has ended */
  end(): readonly ReadableSpan[];
}

/** The OpenTelemetry SDK, set up as hosts do, and a span of the host's. */
export function hostTracing(name: string): HostTracing {
  const exporter = new InMemorySpanExporter();
  const spanProcessors = [new SimpleSpanProcessor({ exporter })];
  const span = new TracerProvider({ spanProcessors }).getTracer("host").startSpan(name);
  return {
    spanProcessors,
    parent: trace.setSpan(ROOT_CONTEXT, span),
    end() {
      span.end();
      return exporter.getFinishedSpans();
    },
  };
}

/** Print spans as a tree, the same at every run: without times, unless you want them. */
export function printTrace(spans: readonly ReadableSpan[], { times = false }: { readonly times?: boolean } = {}): void {
  const tree = traceTree(spans, { color: false, timelineWidth: 0, maxWidth: 130, maxAlike: 4, details: times });
  console.log(tree.replaceAll(/ +$/gm, ""));
}

/** End the process as an example that cannot run on this machine. */
export function skipExample(reason: string): never {
  console.error(`skipped: ${reason}`);
  process.exit(77);
}
