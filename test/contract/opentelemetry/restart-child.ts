import { deserialize, serialize } from "node:v8";
import type { ExecutionOptions } from "@spanduct/opentelemetry";
import type { TracingEvent } from "@spanduct/protocol";
import { parseMetadata, parseSpans } from "@spanduct/protocol/json";
import { Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";
import { type SpanData, spanData } from "./span-data.ts";

/** One execution to go on with. State is text, as a store keeps it. */
export interface RestartTask {
  readonly metadata: string;
  readonly spans: string;
  readonly events: readonly TracingEvent[];
  readonly options: ExecutionOptions;
}

/** What came of it. */
export interface RestartResult {
  readonly spans: readonly SpanData[];
  readonly errors: readonly string[];
}

/**
 * Go on with executions and commit them: the whole of a child process. A list of `RestartTask` comes in on standard input and a list of
 * `RestartResult` goes out on standard output, both by `v8.serialize`.
 */
export async function runRestartChild(line: SdkLine): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const tasks = deserialize(Buffer.concat(chunks)) as RestartTask[];
  process.stdout.write(serialize(tasks.map((task) => restart(line, task))));
}

function restart(line: SdkLine, { metadata, spans, events, options }: RestartTask): RestartResult {
  const host = new Host(line);
  const state = { metadata: parseMetadata(metadata), spans: parseSpans(spans), local: new Map() };
  host.commit(events, state, options);
  return { spans: host.spans.map(spanData), errors: host.errors.map(String) };
}
