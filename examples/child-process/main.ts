import { fileURLToPath } from "node:url";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceProcess } from "@spanduct/sandbox/process";

const { spanProcessors, parent, end } = hostTracing("ship orders");
const relay = new OpenTelemetryRelay({ spanProcessors });
const guest = fileURLToPath(new URL("guest.ts", import.meta.url));

for (const order of ["1", "2"]) {
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });
  const options = { timeout: 3000, killSignal: "SIGKILL" } as const;
  const outcome = await traceProcess(process.execPath, [guest, order], receiver, options).outcome;
  console.log(outcome.kind === "committed" ? `order ${order} is packed` : `order ${order}: ${outcome.error}`);
}
printTrace(end());
