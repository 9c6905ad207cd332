import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStore } from "@spanduct/store/memory";
import { expect, it } from "vitest";
import { isRolledBack, ScriptedHost, workflow } from "../support/scripted-executions.ts";
import { openAddress } from "./address.ts";

/** How large a file may become for the host in the child process: 1 KiB each. */
const BLOCKS = 2000;

it("SQLite on a disk that is full: rolled back, store_failed, and it goes on from the last commit when there is room", async () => {
  const folder = mkdtempSync(join(tmpdir(), "disk-full-"));
  try {
    const address = `sqlite:${join(folder, "state.db")}`;
    // The system refuses to make a file larger, with an error instead of a signal.
    const command = `trap '' XFSZ; ulimit -f ${BLOCKS}; exec "$0" --no-warnings "$1" "$2"`;
    const child = join(import.meta.dirname, "disk-full-child.ts");
    const { stdout, stderr, status } = spawnSync("bash", ["-c", command, process.execPath, child, address], { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const { finished, code, exported } = JSON.parse(stdout) as { finished: number; code: string; exported: number };
    expect(code).toBe("store_failed");
    expect(finished).toBeGreaterThan(3);
    expect(exported).toBe(0);

    const alone = new ScriptedHost(memoryStore());
    const last = new ScriptedHost(openAddress(address), { environment: { nowMs: () => Date.now() + 3_600_000 } });
    const script = workflow(2, 20);
    const done: string[] = [];
    for await (const { id, status } of last.executions.list()) if (status === "done") done.push(id);
    expect(done).toHaveLength(finished);
    for (const host of [alone, last]) for (let i = 0; i <= finished; i++) await host.finish(`order ${i}`, script);
    await alone.executions.drain();
    await last.executions.drain();
    expect(last.exported.filter((span) => !isRolledBack(span))).toHaveLength(alone.exported.length);
    expect(last.committed).toEqual(alone.committed);
    await last.executions.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
