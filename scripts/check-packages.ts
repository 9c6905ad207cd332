/**
 * Checks every package that gets published as its users will install it: packed, then publint (does package.json tell the truth)
 * and attw (do the types resolve as the code does).
 *
 *     node scripts/check-packages.ts
 */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { runTool } from "./tool.ts";

const root = resolve(import.meta.dirname, "..");
const packed = mkdtempSync(join(tmpdir(), "packages-"));

/** Prints what a command said when it failed. */
function passed(what: string, { status, stdout, stderr }: SpawnSyncReturns<string>): boolean {
  if (status !== 0) console.error(`${what}: exit code ${status}\n${stdout}${stderr}`);
  return status === 0;
}

try {
  for (const path of globSync("packages/**/package.json", { cwd: root, exclude: ["**/node_modules", "**/dist"] }).sort()) {
    const manifest = JSON.parse(readFileSync(join(root, path), "utf8")) as { name: string; private?: boolean };
    if (manifest.private === true) continue;
    const folder = join(packed, manifest.name.replace("/", "-"));
    mkdirSync(folder);
    const pack = ["--dir", join(root, dirname(path)), "pack", "--pack-destination", folder];
    let ok = passed("pnpm pack", spawnSync("pnpm", pack, { encoding: "utf8" }));
    for (const file of readdirSync(folder)) {
      const tarball = join(folder, file);
      ok = passed("publint", runTool(["publint", "run", "--strict", tarball])) && ok;
      ok = passed("attw", runTool(["attw", "--profile", "esm-only", "--no-emoji", tarball])) && ok;
    }
    console.log(`${manifest.name}: ${ok ? "ok" : "failed"}`);
    if (!ok) process.exitCode = 1;
  }
} finally {
  rmSync(packed, { recursive: true });
}
