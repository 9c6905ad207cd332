import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import asc from "assemblyscript/asc";

/** `test/`, whose `node_modules` has the packages that AssemblyScript sources import. */
const FOLDER = resolve(import.meta.dirname, "..");

/** Compile AssemblyScript to WASM. @param entry relative to `test/` @param options of the command `asc` */
export async function compileAssemblyScript(entry: string, options: readonly string[] = []): Promise<Uint8Array> {
  let binary: string | Uint8Array | undefined;
  const { error, stderr } = await asc.main([entry, "--outFile", "guest.wasm", "--optimize", ...options], {
    readFile(path) {
      const file = join(FOLDER, path);
      return existsSync(file) ? readFileSync(file, "utf8") : null;
    },
    writeFile(_name, contents) {
      binary = contents;
    },
    listFiles: () => [],
  });
  if (error !== null) throw new Error(`${entry} does not compile: ${stderr.toString()}`, { cause: error });
  return binary as Uint8Array;
}
