import { createRequire } from "node:module";
import { resolve } from "node:path";

const RUNTIMES = resolve(import.meta.dirname, "../../runtimes");

/** Why a package of `runtimes/<member>` cannot be used here; `undefined` when it can. */
export function missingRuntime(member: string, name: string): string | undefined {
  try {
    createRequire(resolve(RUNTIMES, member, "package.json")).resolve(`${name}/package.json`);
    return undefined;
  } catch (error) {
    // A package that does not export its manifest is there all the same.
    if ((error as NodeJS.ErrnoException).code === "ERR_PACKAGE_PATH_NOT_EXPORTED") return undefined;
    return `${name} is not installed in runtimes/`;
  }
}
