import { readFileSync } from "node:fs";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant, shouldInterruptAfterDeadline } from "quickjs-emscripten-core";

/** A file as a user's script gets it. */
export interface Document {
  readonly path: string;
  readonly text: string;
}

/** Run a user's script over files in a QuickJS VM, with bounds on time and memory. */
export async function runScript(
  receiver: TracingEventReceiver,
  script: string,
  documents: readonly Document[],
): Promise<Outcome<unknown>> {
  const quickJS = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));
  using runtime = quickJS.newRuntime({
    interruptHandler: shouldInterruptAfterDeadline(Date.now() + 5000),
    memoryLimitBytes: 64 * 1024 * 1024,
  });
  using context = runtime.newContext();
  const guest = traceQuickJS(context);
  context.evalCode(`globalThis.documents = ${JSON.stringify(documents)}`).dispose();
  const outcome = guest.run(receiver, () => context.evalCode(readFileSync(script, "utf8"), script.replace(/^.*\//, "")));
  if (outcome.kind === "committed") outcome.value.dispose();
  return outcome;
}
