import type { TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, traceWorker } from "@spanduct/sandbox/worker";

/** Render Markdown files to HTML in a worker. */
export function renderDocs(
  receiver: TracingEventReceiver,
  root: string,
  documents: readonly string[],
  outDir: string,
): Promise<Outcome<unknown>> {
  const { outcome } = traceWorker(new URL("../guests/render-docs.ts", import.meta.url), receiver, {
    workerData: { root, documents, outDir },
    // What it prints is in the trace.
    stdout: true,
  });
  return outcome;
}
