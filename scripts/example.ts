/**
 * Builds and runs an example. Without a name, lists them.
 *
 *     node scripts/example.ts [name] [argument ...]
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");

/** WASI is experimental, which is no news to who runs an example of it. */
export const NODE_OPTIONS: readonly string[] = ["--disable-warning=ExperimentalWarning"];

/** An example: a folder with a `main.ts` and a README. */
export interface Example {
  readonly name: string;
  readonly folder: string;
  /** Whether its packages are those of `runtimes/`. */
  readonly isRuntime: boolean;
}

/** Every example by its name. */
export function examples(): Example[] {
  const light = globSync("examples/*/main.ts", { cwd: ROOT }).map((path) => ({
    name: basename(dirname(path)),
    folder: join(ROOT, dirname(path)),
    isRuntime: false,
  }));
  const heavy = globSync("runtimes/*/example/main.ts", { cwd: ROOT }).map((path) => ({
    name: basename(dirname(dirname(path))),
    folder: join(ROOT, dirname(path)),
    isRuntime: true,
  }));
  return [...light, ...heavy].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function main([name, ...rest]: readonly string[]): number {
  const all = examples();
  const example = all.find((one) => one.name === name);
  if (example === undefined) {
    if (name !== undefined) console.error(`there is no example ${name}`);
    const list = all.map(({ name, folder }) => `  ${name.padEnd(18)} ${summary(join(folder, "README.md"))}`);
    console.log(["Examples, each run by `npx -y pnpm@12.21.0 example <name>`:", ...list].join("\n"));
    return name === undefined ? 0 : 1;
  }
  const run = (command: string, args: readonly string[], cwd: string): number =>
    spawnSync(command, args, { cwd, stdio: "inherit" }).status ?? 1;
  if (example.isRuntime) run(process.execPath, [join(ROOT, "scripts/runtimes.ts")], ROOT);
  if (hasBuild(example)) {
    const status = run("pnpm", ["--dir", example.folder, "build"], ROOT);
    if (status !== 0) return status;
  }
  return run(process.execPath, [...NODE_OPTIONS, join(example.folder, "main.ts"), ...rest], example.folder);
}

/** Whether its `package.json` has a script `build`. */
export function hasBuild({ folder }: Example): boolean {
  const path = join(folder, "package.json");
  if (!existsSync(path)) return false;
  return "build" in ((JSON.parse(readFileSync(path, "utf8")) as { readonly scripts?: object }).scripts ?? {});
}

/** The title of a README. */
function summary(path: string): string {
  return existsSync(path) ? (/^# (.*)$/m.exec(readFileSync(path, "utf8"))?.[1] ?? "") : "";
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
