import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceIframe } from "@spanduct/sandbox/iframe";

const { spanProcessors, parent, end } = hostTracing("page");
const relay = new OpenTelemetryRelay({ spanProcessors });

for (const city of ["Oslo", "Atlantis"]) {
  const frame = document.createElement("iframe");
  // No origin of its own, no access to this page, nothing but scripts.
  frame.sandbox.add("allow-scripts");
  frame.src = `widget.html?${city}`;
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });
  const { outcome } = traceIframe(frame, receiver, { origin: "null" });
  document.body.append(frame);

  const settled = await outcome;
  console.log(`${city}: ${settled.kind === "committed" ? "there it is" : settled.error}`);
}
printTrace(end());
document.title = "done";
