import { readFileSync } from "node:fs";
import { createContext, Script } from "node:vm";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceVm } from "@spanduct/sandbox/vm";

const { spanProcessors, parent, end } = hostTracing("check orders");
const relay = new OpenTelemetryRelay({ spanProcessors });

const context = createContext(Object.create(null));
const guest = traceVm(context);
const rule = new Script(readFileSync(new URL("rule.js", import.meta.url), "utf8"), { filename: "rule.js" });

for (const order of [{ id: 1, total: 20 }, { id: 2 }]) {
  context["order"] = JSON.stringify(order);
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });
  const outcome = guest.run(receiver, () => rule.runInContext(context, { timeout: 200, displayErrors: false }) as string);
  console.log(outcome.kind === "committed" ? outcome.value : `order ${order.id} failed: ${outcome.error}`);
}
printTrace(end());
