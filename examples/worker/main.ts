import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/worker";

const { spanProcessors, parent, end } = hostTracing("resize images");
const relay = new OpenTelemetryRelay({ spanProcessors });
const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });

const { worker, outcome } = traceWorker(new URL("guest.ts", import.meta.url), receiver, {
  workerData: { images: ["cat", "dog"] },
});
let total = 0;
worker.on("message", (bytes) => {
  total = bytes;
});
const { kind } = await outcome;

printTrace(end());
console.log(`${kind}: the guest made ${total} bytes`);
