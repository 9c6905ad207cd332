import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceQuickJSWasi } from "@spanduct/sandbox/quickjs-wasi";
import { QuickJS } from "quickjs-wasi";

const [name, folder] = process.argv.slice(2);
process.chdir(folder as string);
const { spanProcessors, parent, end } = hostTracing(`${name} process`);
const relay = new OpenTelemetryRelay({ spanProcessors }).execution({ parent });
const wasm = readFileSync(fileURLToPath(import.meta.resolve("quickjs-wasi/quickjs.wasm")));
const script = readFileSync(new URL("order.js", import.meta.url), "utf8");

const isFirst = !existsSync("vm");
const metadata = isFirst ? {} : parseMetadata(readFileSync("metadata.json", "utf8"));
const spans = isFirst ? {} : parseSpans(readFileSync("spans.json", "utf8"));
const receiver = new TracingEventReceiver(metadata, spans, [], { relay });
const vm = isFirst
  ? await QuickJS.create({ wasm })
  : await QuickJS.restore(QuickJS.deserializeSnapshot(readFileSync("vm")), { wasm });

const outcome = traceQuickJSWasi(vm).run(receiver, () => {
  vm.evalCode(isFirst ? script : `approve("ada")`).dispose();
  vm.executePendingJobs();
});
if (outcome.kind === "rolled_back") throw outcome.error;

writeFileSync("vm", QuickJS.serializeSnapshot(vm.snapshot()));
writeFileSync("metadata.json", printState(receiver.persistMetadata()));
writeFileSync("spans.json", printState(outcome.spans));
console.log(`${name} process: ${Object.keys(outcome.spans).length} spans open`);
printTrace(end());
