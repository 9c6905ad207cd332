import { traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant } from "quickjs-emscripten-core";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";

const quickJS = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));

sandboxContract("QuickJS", {
  run(program, receiver, stop) {
    const deadline = performance.now() + 20_000;
    using runtime = quickJS.newRuntime({ interruptHandler: () => stop.aborted || performance.now() > deadline });
    using context = runtime.newContext();
    const outcome = traceQuickJS(context).run(receiver, () => context.evalCode(programSource(program), `${program}.js`));
    if (outcome.kind === "committed") outcome.value.dispose();
    return outcome;
  },
});
