/**
 * Installs `runtimes/`, the workspace of sandboxes whose own packages are heavy. Never fails: what cannot be installed is told by
 * the tests that are skipped for it.
 *
 *     node scripts/runtimes.ts
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const { status } = spawnSync("pnpm", ["--dir", resolve(import.meta.dirname, "../runtimes"), "install", "--frozen-lockfile"], {
  stdio: ["ignore", "inherit", "inherit"],
  // Else pnpm takes the settings of the workspace that runs this script for those of the other.
  env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm|pnpm)_config_/i.test(name))),
});
if (status !== 0) console.warn("runtimes/ is not installed: the tests that need it are skipped");
