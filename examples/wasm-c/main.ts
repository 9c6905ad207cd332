import { readFileSync } from "node:fs";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWasm } from "@spanduct/sandbox/wasm";

/** What is used here of the global of this name, which Node's types do not describe. */
declare const WebAssembly: {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ readonly instance: { readonly exports: object } }>;
};

const { spanProcessors, parent, end } = hostTracing("statistics");
const relay = new OpenTelemetryRelay({ spanProcessors });

const guest = traceWasm();
const { instance } = await WebAssembly.instantiate(readFileSync(new URL("dist/guest.wasm", import.meta.url)), guest.imports);
const { memory, numbers, average } = instance.exports as {
  readonly memory: { readonly buffer: ArrayBuffer };
  numbers(): number;
  average(from: number, count: number): number;
};
new Int32Array(memory.buffer, numbers(), 3).set([10, -4, 6]);

let metadata = {};
for (const from of [numbers(), -4]) {
  const receiver = new TracingEventReceiver(metadata, {}, [], { relay: relay.execution({ parent }) });
  const outcome = guest.run(receiver, instance, () => average(from, 3));
  // The module announces its call sites once.
  metadata = receiver.persistMetadata();
  console.log(outcome.kind === "committed" ? `average: ${outcome.value}` : `failed: ${outcome.error}`);
}
printTrace(end());
