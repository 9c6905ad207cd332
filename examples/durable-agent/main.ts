import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printTrace } from "@spanduct/example-support";
import { readSpans } from "./file-exporter.ts";

// The step in which the first host is killed: `example durable-agent 2`.
const [dieIn = "3"] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "durable-agent-"));
const host = (name: string, ...more: string[]): void => {
  const { signal } = spawnSync(process.execPath, ["--no-warnings", "host.ts", name, folder, ...more], { stdio: "inherit" });
  if (signal !== null) console.log(`${name}: ${signal} in step ${dieIn}`);
};
host("first host", dieIn);
host("second host");

const spans = readSpans(join(folder, "spans.jsonl"));
const identities = new Set(spans.map((span) => span.spanContext().spanId));
const traces = new Set(spans.map((span) => span.spanContext().traceId));
console.log(`${traces.size} trace, ${identities.size} spans, exported ${spans.length} times`);
printTrace(spans, { times: true });
rmSync(folder, { recursive: true });
