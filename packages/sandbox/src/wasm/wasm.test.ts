import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileAssemblyScript } from "../../../../test/support/assemblyscript.ts";
import { traceWasm } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  compile(binary: Uint8Array): Promise<object>;
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly [name: string]: unknown } };
}
const { compile, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const abort = "~lib/@spanduct/guest-assemblyscript/assembly/index/traceAbort";
const programs = await compile(await compileAssemblyScript("contract/assembly/sandbox-programs.ts", ["--use", `abort=${abort}`]));

sandboxContract(
  "WASM",
  {
    run(program, receiver) {
      const guest = traceWasm();
      const instance = new Instance(programs, guest.imports);
      return guest.run(receiver, instance, () => (instance.exports[program] as () => void)());
    },
  },
  [{ reason: "AssemblyScript has a console only where the host gives it one", programs: ["console"] }],
);
