import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/worker";

const { spanProcessors, parent, end } = hostTracing("watch a worker");
const relay = new OpenTelemetryRelay({ spanProcessors });
const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });

const { worker, outcome } = traceWorker(new URL("guest.ts", import.meta.url), receiver, {
  workerData: { numbers: [6, 5] },
  ring: {},
});
// The worker will not answer any more: it is given half a second, then it is ended where it is.
worker.on("message", (state) => {
  console.log(`the guest is ${state}`);
  setTimeout(() => worker.terminate(), 500);
});
const settled = await outcome;

printTrace(end());
console.log(settled.kind === "rolled_back" ? String(settled.error) : settled.kind);
