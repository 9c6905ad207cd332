import { readFileSync } from "node:fs";
import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant, shouldInterruptAfterDeadline } from "quickjs-emscripten-core";

const { spanProcessors, parent, end } = hostTracing("user scripts");
const relay = new OpenTelemetryRelay({ spanProcessors });
const quickJS = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));

for (const file of ["discount.js", "endless.js"]) {
  const context = quickJS.newContext();
  context.runtime.setMemoryLimit(8 << 20);
  context.runtime.setInterruptHandler(shouldInterruptAfterDeadline(Date.now() + 500));
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });

  const script = readFileSync(new URL(`guests/${file}`, import.meta.url), "utf8");
  const outcome = traceQuickJS(context).run(receiver, () => context.evalCode(script, file));

  if (outcome.kind === "committed") outcome.value.consume((value) => console.log(`${file}: ${context.dump(value)}`));
  else console.log(`${file}: ${outcome.error}`);
  context.dispose();
}
printTrace(end());
