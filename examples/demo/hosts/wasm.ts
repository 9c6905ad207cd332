import { readFileSync } from "node:fs";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, traceWasm } from "@spanduct/sandbox/wasm";

/** What is used here of the global of this name, which Node's types do not describe. */
declare const WebAssembly: {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ readonly instance: { readonly exports: object } }>;
};

/** What `assembly/hash-files.ts` exports. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  allocate(size: number): number;
  begin(): void;
  hashFile(path: number, pathLength: number, data: number, length: number): number;
  finish(): void;
}

/** A file to hash. */
export interface File {
  readonly path: string;
  readonly content: Uint8Array;
}

/** Hash files in a WASM module. The outcome's value: digests in hexadecimal, in the order of the files. */
export async function hashFiles(receiver: TracingEventReceiver, wasm: URL, files: readonly File[]): Promise<Outcome<string[]>> {
  const guest = traceWasm();
  const { instance } = await WebAssembly.instantiate(readFileSync(wasm), guest.imports);
  const { memory, allocate, begin, hashFile, finish } = instance.exports as Exports;

  const put = (bytes: Uint8Array): number => {
    const at = allocate(bytes.length);
    new Uint8Array(memory.buffer).set(bytes, at);
    return at;
  };
  return guest.run(receiver, instance, () => {
    begin();
    const digests = files.map(({ path, content }) => {
      const name = Buffer.from(path);
      const digest = hashFile(put(name), name.length, put(content), content.length);
      return Buffer.from(memory.buffer, digest, 32).toString("hex");
    });
    finish();
    return digests;
  });
}
