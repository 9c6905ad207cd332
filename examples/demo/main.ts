/**
 * The host: one process, guests in three sandboxes, one trace through the real OpenTelemetry SDK. Prints it as a tree and writes
 * it to files.
 *
 *     node main.ts [output directory]
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { runScript } from "./hosts/quickjs.ts";
import { hashFiles } from "./hosts/wasm.ts";
import { renderDocs } from "./hosts/worker.ts";
import { otlpJsonLines } from "./output/otlp-json-lines.ts";
import { perfettoTrace } from "./output/perfetto-trace.ts";
import { report } from "./output/report.ts";

const root = resolve(import.meta.dirname, "../..");
const outDir = resolve(process.argv[2] ?? join(root, "out"));
const script = join(import.meta.dirname, "guests/check-links.js");
const wasm = new URL("dist/hash-files.wasm", import.meta.url);

// What the guests work on.
const read = (path: string): Buffer => readFileSync(join(root, path));
const markdown = ["CONTRIBUTING.md", "CHANGELOG.md", "examples/demo/README.md", "README.md"];
const documents = markdown.map((path) => ({ path, text: read(path).toString() }));
const files = ["LICENSE", "pnpm-lock.yaml", "proto/spanduct/v1/tunnel.proto"].map((path) => ({ path, content: read(path) }));

// The host's own tracing, as any host has it.
const exporter = new InMemorySpanExporter();
const spanProcessors = [new SimpleSpanProcessor({ exporter })];
const resource = resourceFromAttributes({ "service.name": "spanduct-demo" });
const provider = new TracerProvider({ resource, spanProcessors });

// The tunnel ends in the same span processors. Each guest gets a receiver of its own, under the host's span.
const relay = new OpenTelemetryRelay({ resource, spanProcessors });
const demo = provider.getTracer("host").startSpan("demo");
const receiver = (): TracingEventReceiver =>
  new TracingEventReceiver({}, {}, new Map(), { relay: relay.execution({ parent: trace.setSpan(ROOT_CONTEXT, demo) }) });

const receivers = { worker: receiver(), quickjs: receiver(), wasm: receiver() };
const rendering = renderDocs(receivers.worker, root, markdown, join(outDir, "html"));
const checked = await runScript(receivers.quickjs, script, documents);
const hashed = await hashFiles(receivers.wasm, wasm, files);
const rendered = await rendering;
demo.end();

if (hashed.kind === "committed") {
  files.forEach(({ path, content }, i) => {
    if (createHash("sha256").update(content).digest("hex") !== hashed.value[i]) throw new Error(`wrong digest of ${path}`);
  });
}

const spans = exporter.getFinishedSpans();
mkdirSync(outDir, { recursive: true });
writeFileSync(join(outDir, "trace.otlp.jsonl"), otlpJsonLines(spans));
writeFileSync(join(outDir, "trace.json"), perfettoTrace(spans));

const here = (path: string): string => relative(process.cwd(), path);
report(process.stdout, {
  spans,
  guests: [
    { name: "render docs", sandbox: "node:worker_threads", outcome: rendered, receiver: receivers.worker },
    { name: "check links", sandbox: "QuickJS", outcome: checked, receiver: receivers.quickjs, onPurpose: here(script) },
    { name: "hash files", sandbox: "WebAssembly", outcome: hashed, receiver: receivers.wasm },
  ],
  perfetto: here(join(outDir, "trace.json")),
  otlp: here(join(outDir, "trace.otlp.jsonl")),
});
if (rendered.kind === "rolled_back" || hashed.kind === "rolled_back") process.exitCode = 1;
