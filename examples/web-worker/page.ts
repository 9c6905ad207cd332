import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/web-worker";

const { spanProcessors, parent, end } = hostTracing("page");
const relay = new OpenTelemetryRelay({ spanProcessors });
const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });

const { worker, outcome } = traceWorker(new URL("./guest.js", import.meta.url), receiver, { name: "factors" });
worker.addEventListener("message", ({ data }) => console.log(`the worker says ${data}`));
for (const job of [360360, 1000003, "end"]) worker.postMessage(job);
const { kind } = await outcome;

printTrace(end());
console.log(kind);
document.title = "done";
