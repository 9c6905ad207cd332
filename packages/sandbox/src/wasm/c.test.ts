import { it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import { traceWasm } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly [name: string]: () => void } };
}
const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const missing = missingClang();
if (missing !== undefined) {
  it.skip(`wasm: C (${missing})`, () => undefined);
} else {
  for (const [name, options] of [
    ["wasm: C", ["-O2"]],
    ["wasm: C with a ring", ["-O2", "-DSPANDUCT_RING_BYTES=65536"]],
  ] as const) {
    const programs = new Module(compileC("test/contract/c/sandbox-programs.c", options));
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
}
