/**
 * Runs a program of `tools/`, in that folder. Installs them when they are not there yet.
 *
 *     node scripts/tool.ts biome check ..
 */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { resolve } from "node:path";

const TOOLS = resolve(import.meta.dirname, "../tools");

/** @param inherit whether its output goes to ours; else it is returned */
export function runTool(args: readonly string[], inherit = false): SpawnSyncReturns<string> {
  const result = spawnSync("pnpm", ["--dir", TOOLS, "exec", ...args], {
    encoding: "utf8",
    stdio: inherit ? ["ignore", "inherit", "inherit"] : "pipe",
    // pnpm turns the check of its own workspace off for scripts that it runs; this is another workspace.
    env: { ...process.env, pnpm_config_verify_deps_before_run: "install" },
  });
  if (result.error !== undefined) throw result.error;
  return result;
}

if (import.meta.main) process.exitCode = runTool(process.argv.slice(2), true).status ?? 1;
