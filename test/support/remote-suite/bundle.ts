import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";

/** A suite for another runtime, and what it needs there. */
export interface SuiteSources {
  /** File of the suite, which imports `vitest` as ever. */
  readonly suite: string;
  /** Modules that it finds beside itself, as in `new URL("./guest.js", import.meta.url)`: their files, by name. */
  readonly guests?: { readonly [name: string]: string };
  readonly platform: "browser" | "node";
}

/** Modules that need nothing but the runtime, by name. `suite.js` exports `tests` and `run` of `stand-in.ts`. */
export type SuiteModules = ReadonlyMap<string, string>;

export async function bundleSuite({ suite, guests = {}, platform }: SuiteSources): Promise<SuiteModules> {
  const standIn = join(import.meta.dirname, "stand-in.ts");
  const bundle = async (entry: BuildOptions): Promise<string> => {
    const options: BuildOptions = { bundle: true, format: "esm", target: "es2022", platform, write: false, logLevel: "warning" };
    const { outputFiles } = await build({ ...options, alias: { vitest: standIn }, ...entry });
    return outputFiles?.[0]?.text ?? "";
  };
  const contents = `import ${JSON.stringify(suite)}; export { run, tests } from ${JSON.stringify(standIn)};`;
  // A suite is nothing but side effects, also in a package that says it has none.
  const entry: BuildOptions = { stdin: { contents, resolveDir: import.meta.dirname }, ignoreAnnotations: true };
  const modules = new Map([["suite.js", await bundle(entry)]]);
  for (const [name, file] of Object.entries(guests)) modules.set(name, await bundle({ entryPoints: [file] }));
  return modules;
}
