import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const FETCH_TIMEOUT_MS = 120_000;

/**
 * Fetch what a Rust project needs, and build it. What cannot be had on this machine is a reason to skip; what does not build then is
 * an error.
 *
 * @param folder of the project; `target/` in it receives what is built
 * @param target a triple; without one, this machine's
 * @returns why it cannot be built here, `undefined` when it was
 */
export function buildRust(folder: string, options: readonly string[] = [], target?: string): string | undefined {
  const missing = target === undefined ? undefined : missingTarget(folder, target);
  if (missing !== undefined) return missing;
  const fetched = run(folder, "cargo", ["fetch", "--locked"]);
  if (fetched.error !== undefined) return `cargo does not run here: ${fetched.error.message}`;
  if (fetched.status !== 0) return `cargo fetch --locked failed: ${reason(fetched.stderr)}`;
  const triple = target === undefined ? [] : ["--target", target];
  const built = run(folder, "cargo", ["build", "--locked", "--offline", "--quiet", ...options, ...triple]);
  if (built.status !== 0) throw new Error(`cargo build failed:\n${built.stderr}`);
  return undefined;
}

/** Whether there is a standard library for `target`: compiling for it would fail with hundreds of errors. */
function missingTarget(folder: string, target: string): string | undefined {
  // Not by compiling something to /dev/null: for root, rustc puts a file in its place.
  const { error, status, stdout } = run(folder, "rustc", ["--target", target, "--print", "target-libdir"]);
  if (error !== undefined) return `rustc does not run here: ${error.message}`;
  return status === 0 && existsSync(stdout.trim()) ? undefined : `there is no Rust standard library for ${target} here`;
}

function run(
  cwd: string,
  command: string,
  parameters: readonly string[],
): { status: number | null; stdout: string; stderr: string; error?: Error } {
  // Its own folder for what is built, whatever the user has set.
  const env = { ...process.env, CARGO_TARGET_DIR: join(cwd, "target") };
  return spawnSync(command, parameters, { cwd, encoding: "utf8", env, timeout: FETCH_TIMEOUT_MS });
}

/** What went wrong, and at the root of it. */
function reason(stderr: string): string {
  const error = /^error:? .*$/m.exec(stderr)?.[0] ?? "no reason given";
  const [, cause] = /\n *Caused by:\n(?:.*\n)*? *(\S.*)\n*$/.exec(stderr) ?? [];
  return cause === undefined ? error : `${error}; ${cause}`;
}
