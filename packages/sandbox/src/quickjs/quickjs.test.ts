import variant from "@jitl/quickjs-wasmfile-release-sync";
import { traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant } from "quickjs-emscripten-core";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";

const quickJS = await newQuickJSWASMModuleFromVariant(variant);

sandboxContract("QuickJS", {
  run(program, receiver, stop) {
    using runtime = quickJS.newRuntime({ interruptHandler: () => stop.aborted });
    using context = runtime.newContext();
    const outcome = traceQuickJS(context).run(receiver, () => context.evalCode(programSource(program), `${program}.js`));
    if (outcome.kind === "committed") outcome.value.dispose();
    return outcome;
  },
});
