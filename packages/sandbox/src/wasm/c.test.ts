import { it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import { traceWasm } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  validate(binary: Uint8Array): boolean;
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly [name: string]: () => void } };
}
const { validate, Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const VARIANTS = [
  ["wasm: C", []],
  ["wasm: C with a ring", ["-DSPANDUCT_RING_BYTES=65536"]],
  ["wasm: C with a 64-bit memory and a ring", ["--target=wasm64", "-Wl,-mwasm64", "-DSPANDUCT_RING_BYTES=65536"]],
] as const;

const missing = missingClang();
for (const [name, options] of VARIANTS) {
  const binary = missing === undefined ? compileC("test/contract/c/sandbox-programs.c", ["-O2", ...options]) : undefined;
  if (binary === undefined || !validate(binary)) {
    it.skip(`${name} (${missing ?? "this version of Node has no 64-bit memories"})`, () => undefined);
    continue;
  }
  const programs = new Module(binary);
  sandboxContract(
    name,
    {
      run(program, receiver) {
        const guest = traceWasm();
        const instance = new Instance(programs, guest.imports);
        return guest.run(receiver, instance, instance.exports[program] as () => void);
      },
    },
    [
      { reason: "C has a console only where the host gives it one", programs: ["console"] },
      { reason: "C has no promises", programs: ["rejects"] },
    ],
  );
}
