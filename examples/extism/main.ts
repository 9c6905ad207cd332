import { createPlugin } from "@extism/extism";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceExtism } from "@spanduct/sandbox/extism";

const { spanProcessors, parent, end } = hostTracing("plug-ins");
const relay = new OpenTelemetryRelay({ spanProcessors });

const guest = traceExtism();
const wasm = new URL("dist/plugin.wasm", import.meta.url).pathname;
const plugin = await createPlugin(wasm, { functions: guest.functions });

let metadata = {};
for (const text of ["Hello, world!", "naïve"]) {
  const receiver = new TracingEventReceiver(metadata, {}, [], { relay: relay.execution({ parent }) });
  const outcome = await guest.run(receiver, plugin, () => plugin.call("count_vowels", text));
  // The plug-in announces its call sites once.
  metadata = receiver.persistMetadata();
  console.log(`${text}:`, outcome.kind === "committed" ? outcome.value?.text() : `${outcome.error}`);
}
await plugin.close();
printTrace(end());
