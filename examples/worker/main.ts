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
worker.on("message", (total) => console.log(`the guest made ${total} bytes`));
const { kind } = await outcome;

printTrace(end());
console.log(kind);
