/**
 * Checks every package that gets published as its users will install it: packed, then publint (does package.json tell the truth)
 * and attw (do the types resolve as the code does).
 *
 *     node scripts/check-packages.ts
 */
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const tools = join(root, "tools");
const packed = mkdtempSync(join(tmpdir(), "packages-"));

/** Prints what the command said when it failed. */
function run(folder: string, args: readonly string[]): boolean {
  const { status, stdout, stderr } = spawnSync("pnpm", ["--dir", folder, ...args], { encoding: "utf8" });
  if (status !== 0) console.error(`pnpm ${args.join(" ")}: exit code ${status}\n${stdout}${stderr}`);
  return status === 0;
}

try {
  for (const manifest of globSync("packages/**/package.json", { cwd: root, exclude: ["**/node_modules", "**/dist"] }).sort()) {
    const { name, private: isPrivate } = JSON.parse(readFileSync(join(root, manifest), "utf8")) as {
      name: string;
      private?: boolean;
    };
    if (isPrivate === true) continue;
    const folder = join(packed, name.replace("/", "-"));
    mkdirSync(folder);
    let ok = run(join(root, dirname(manifest)), ["pack", "--pack-destination", folder]);
    for (const file of readdirSync(folder)) {
      const tarball = join(folder, file);
      ok = run(tools, ["exec", "publint", "run", "--strict", tarball]) && ok;
      ok = run(tools, ["exec", "attw", "--profile", "esm-only", "--no-emoji", tarball]) && ok;
    }
    console.log(`${name}: ${ok ? "ok" : "failed"}`);
    if (!ok) process.exitCode = 1;
  }
} finally {
  rmSync(packed, { recursive: true });
}
