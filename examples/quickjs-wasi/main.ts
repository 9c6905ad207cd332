import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Two processes, one after the other, with nothing in common but a folder.
const folder = mkdtempSync(join(tmpdir(), "spanduct-"));
for (const name of ["first", "second"]) {
  const { status } = spawnSync(process.execPath, ["host.ts", name, folder], { stdio: "inherit" });
  process.exitCode ||= status ?? 1;
}
rmSync(folder, { recursive: true });
