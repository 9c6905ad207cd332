import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWasi } from "@spanduct/sandbox/wasi";

/** What is used here of the global of this name, which Node's types do not describe. */
declare const WebAssembly: {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ readonly instance: { readonly exports: object } }>;
};

const { spanProcessors, parent, end } = hostTracing("commands");
const relay = new OpenTelemetryRelay({ spanProcessors });
const wasm = readFileSync(new URL("dist/greet.wasm", import.meta.url));

for (const names of [["Ada", "Grace"], []]) {
  // What the command writes to standard error goes to standard output here, too.
  const wasi = new WASI({ version: "preview1", args: ["greet", ...names], stderr: 1 });
  const guest = traceWasi(wasi, { captureOutput: true });
  const { instance } = await WebAssembly.instantiate(wasm, guest.imports);
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });
  const outcome = guest.start(receiver, instance);
  console.log(outcome.kind === "committed" ? "went well" : `failed: ${outcome.error}`);
}
printTrace(end());
