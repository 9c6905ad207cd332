import { readFileSync } from "node:fs";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { json } from "@spanduct/protocol/json";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWasm } from "@spanduct/sandbox/wasm";

/** What is used here of the global of this name, which Node's types do not describe. */
declare const WebAssembly: {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ readonly instance: { readonly exports: object } }>;
};

const { spanProcessors, parent, end } = hostTracing("sequences");
const relay = new OpenTelemetryRelay({ spanProcessors });
const wasm = readFileSync(new URL("guest/target/wasm32-unknown-unknown/release/spanduct_example_guest.wasm", import.meta.url));

for (const start of [7, 159_487]) {
  const guest = traceWasm();
  const { instance } = await WebAssembly.instantiate(wasm, { tracing: { send_event: guest.send } });
  const { collatz } = instance.exports as { collatz(start: number): number };
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }), codec: json });
  const outcome = guest.run(receiver, instance, () => collatz(start));
  console.log(outcome.kind === "committed" ? `${start}: ${outcome.value} steps` : `${start}: ${outcome.error}`);
}
printTrace(end());
