import { appendFileSync, readFileSync } from "node:fs";
import type { ExportResult, ReadableSpan, SpanExporter } from "@spanduct/opentelemetry";

/** Stands for a backend: keeps spans in a file. */
export class FileExporter implements SpanExporter {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    for (const span of spans) {
      const { duration } = span;
      appendFileSync(this.#path, `${JSON.stringify({ ...span, duration, context: span.spanContext() })}\n`);
    }
    done({ code: 0 });
  }

  async shutdown(): Promise<void> {}
}

/** The spans that are in the file. */
export function readSpans(path: string): ReadableSpan[] {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  return lines.map((line) => {
    const { context, ...span } = JSON.parse(line);
    return { ...span, spanContext: () => context };
  });
}
