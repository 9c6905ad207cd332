import { deserialize, serialize } from "node:v8";
import type { ExecutionOptions } from "@spanduct/opentelemetry";
import { parseEvent, parseMetadata, parseSpans } from "@spanduct/protocol/json";
import { Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";
import { type SpanData, spanData } from "./span-data.ts";

/** What a child process gets on its standard input, by `v8.serialize`. State and events are text, as a store keeps them. */
export interface RestartTask {
  readonly metadata: string;
  readonly spans: string;
  readonly events: readonly string[];
  readonly options: ExecutionOptions;
}

/** What it says on its standard output, likewise. */
export interface RestartResult {
  readonly spans: readonly SpanData[];
  readonly errors: readonly string[];
}

/** Go on with an execution and commit: the whole of a child process. */
export async function runRestartChild(line: SdkLine): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const task = deserialize(Buffer.concat(chunks)) as RestartTask;
  const host = new Host(line);
  host.commit(
    task.events.map((text) => parseEvent(text)),
    { metadata: parseMetadata(task.metadata), spans: parseSpans(task.spans), local: new Map() },
    task.options,
  );
  const result: RestartResult = { spans: host.spans.map(spanData), errors: host.errors.map(String) };
  process.stdout.write(serialize(result));
}
