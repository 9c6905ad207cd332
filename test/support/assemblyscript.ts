import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** What is used here of `assemblyscript/asc`, whose own types redeclare globals of Node for whoever imports them. */
interface Compiler {
  main(
    argv: readonly string[],
    files: {
      readFile(path: string): string | null;
      writeFile(path: string, contents: string | Uint8Array): void;
      listFiles(): string[];
    },
  ): Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>;
}

const COMPILER: string = "assemblyscript/asc";

/** `test/`, whose `node_modules` has the packages that AssemblyScript sources import. */
const FOLDER = resolve(import.meta.dirname, "..");

/**
 * Compile AssemblyScript to WASM.
 *
 * @param entry relative to `test/`
 * @param options of the command `asc`
 * @param sources files that are not there, by path relative to `test/`
 */
export async function compileAssemblyScript(
  entry: string,
  options: readonly string[] = [],
  sources: { readonly [path: string]: string } = {},
): Promise<Uint8Array> {
  const { main } = (await import(COMPILER)) as Compiler;
  let binary: string | Uint8Array | undefined;
  const { error, stderr } = await main([entry, "--outFile", "guest.wasm", "--optimize", ...options], {
    readFile(path) {
      if (sources[path] !== undefined) return sources[path];
      const file = join(FOLDER, path);
      return existsSync(file) ? readFileSync(file, "utf8") : null;
    },
    writeFile(_path, contents) {
      binary = contents;
    },
    listFiles: () => [],
  });
  if (error !== null) throw new Error(`${entry} does not compile: ${stderr.toString()}`, { cause: error });
  return binary as Uint8Array;
}
