import { context, TraceFlags } from "@opentelemetry/api";
import { suppressTracing } from "./parent-context.ts";
import type { ReadableSpan, SpanProcessor } from "./sdk.ts";

/** What an exporter says in the end. */
export interface ExportResult {
  /** 0 when it worked. */
  readonly code: number;
  readonly error?: Error;
}

/** An exporter of the SDK: `OTLPTraceExporter`, `ConsoleSpanExporter`, … */
export interface SpanExporter {
  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void;
  forceFlush?(): Promise<void>;
  shutdown(): Promise<void>;
}

/**
 * Exports spans when it is flushed and not before, in one batch, and rejects when that fails: what delivers from an outbox has to
 * know. The SDK's batch processor exports in the background as well, does not wait for that when it is flushed, and forgets what it
 * could not export.
 */
export class FlushedSpanProcessor implements SpanProcessor {
  readonly #exporter: SpanExporter;
  readonly #timeoutMs: number;
  #ended: ReadableSpan[] = [];

  /** @param options `timeoutMs`: after how long an export counts as failed; default 30000 */
  constructor(exporter: SpanExporter, options: { readonly timeoutMs?: number } = {}) {
    this.#exporter = exporter;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) this.#ended.push(span);
  }

  /** @throws what the exporter failed with; the spans are forgotten then, for who has them to deliver them again */
  async forceFlush(): Promise<void> {
    const spans = this.#ended;
    this.#ended = [];
    if (spans.length === 0) return;
    await Promise.all([...new Set(spans.map(({ resource }) => resource))].map((resource) => resource.waitForAsyncAttributes?.()));
    await this.#export(spans);
    await this.#exporter.forceFlush?.();
  }

  async shutdown(): Promise<void> {
    await this.forceFlush();
    await this.#exporter.shutdown();
  }

  #export(spans: ReadableSpan[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer of the exporter in ${this.#timeoutMs} ms`)), this.#timeoutMs);
      // What the exporter does over the network is not to be traced.
      context.with(suppressTracing(context.active()), () => {
        this.#exporter.export(spans, ({ code, error }) => {
          clearTimeout(timer);
          if (code === 0) resolve();
          else reject(error ?? new Error(`the exporter failed with code ${code}`));
        });
      });
    });
  }
}

// In every host, but not in the language.
declare function setTimeout(callback: () => void, ms: number): unknown;
declare function clearTimeout(timer: unknown): void;
