/**
 * Installs `runtimes/`, the workspace of sandboxes whose own packages are heavy. Never fails: what cannot be installed is told by
 * the tests that are skipped for it. Then runs the command that it is given, if all is installed.
 *
 *     node scripts/runtimes.ts [command [argument ...]]
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const { status } = spawnSync("pnpm", ["--dir", resolve(import.meta.dirname, "../runtimes"), "install", "--frozen-lockfile"], {
  stdio: ["ignore", "inherit", "inherit"],
  // Else pnpm takes the settings of the workspace that runs this script for those of the other.
  env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm|pnpm)_config_/i.test(name))),
});
const [command, ...args] = process.argv.slice(2);
if (status !== 0) console.warn("runtimes/ is not installed: the tests that need it are skipped");
else if (command !== undefined) process.exitCode = spawnSync(command, args, { stdio: "inherit" }).status ?? 1;
