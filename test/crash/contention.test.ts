import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { memoryStore } from "@spanduct/store/memory";
import { describe, expect, it } from "vitest";
import type { SpanData } from "../contract/opentelemetry/span-data.ts";
import { missingPostgres, startPostgres } from "../support/postgres.ts";
import { contents, isRolledBack, ScriptedHost, workflow } from "../support/scripted-executions.ts";
import { openAddress } from "./address.ts";

const missing = missingPostgres();
if (missing !== undefined) process.stderr.write(`SKIPPED: contention on PostgreSQL, ${missing}\n`);

const HOSTS = 4;
const EXECUTIONS = 1000;
const LEASE_MS = 300;

describe.skipIf(missing !== undefined)(`PostgreSQL${missing === undefined ? "" : ` (SKIPPED: ${missing})`}`, () => {
  it("four hosts on 1000 executions, killed at random and paused for longer than their leases: all of it, each once", {
    timeout: 600_000,
  }, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const server = await startPostgres({ fsync: "off" });
    const folder = mkdtempSync(join(tmpdir(), "contention-"));
    const address = `postgres:contention:${server.address}`;
    const exportPath = join(folder, "exported.jsonl");
    let [kills, pauses, conflicts, hosts] = [0, 0, 0, 0];

    /** A host, and after its death the next, until one comes to the end. */
    async function host(): Promise<void> {
      for (;;) {
        const values = [address, seed + hosts++ * 7919, EXECUTIONS, LEASE_MS, exportPath].map(String);
        const child = spawn(process.execPath, ["--no-warnings", join(import.meta.dirname, "contention-child.ts"), ...values], {
          stdio: ["ignore", "pipe", "inherit"],
        });
        createInterface({ input: child.stdout }).on("line", (line) => {
          if (line === "paused") {
            pauses++;
            setTimeout(() => child.kill("SIGCONT"), 2 * LEASE_MS);
          } else {
            conflicts++;
          }
        });
        const ended = await new Promise((resolve) => child.on("close", (code, signal) => resolve(signal ?? code)));
        if (ended === 0) return;
        if (ended !== "SIGKILL") throw new Error(`a host ended with ${ended}`);
        kills++;
      }
    }

    try {
      await Promise.all(Array.from({ length: HOSTS }, host));
      // What dead hosts had claimed.
      const last = new ScriptedHost(openAddress(address), { environment: { nowMs: () => Date.now() + 3_600_000 } });
      await last.executions.drain();
      let done = 0;
      for await (const { status, backlog, revision } of last.executions.list()) {
        expect([status, backlog, revision]).toEqual(["done", 0, 2]);
        done++;
      }
      expect(done).toBe(EXECUTIONS);
      await last.executions.close();

      const alone = new ScriptedHost(memoryStore());
      const script = workflow(2, 1);
      for (let i = 0; i < EXECUTIONS; i++) await alone.finish(`order ${i}`, script);
      await alone.executions.drain();
      await alone.executions.close();
      expect(existsSync(exportPath)).toBe(true);
      const lines = readFileSync(exportPath, "utf8").split("\n").slice(0, -1);
      const exported = [...lines.map((line) => JSON.parse(line) as SpanData), ...JSON.parse(JSON.stringify(last.exported))];
      contents(exported);
      const committed = contents(exported.filter((span) => !isRolledBack(span)));
      const expected = JSON.parse(JSON.stringify(alone.committed)) as { [identity: string]: SpanData };
      expect(Object.keys(committed).sort()).toEqual(Object.keys(expected).sort());
      for (const [identity, span] of Object.entries(expected)) expect(committed[identity]).toEqual(span);
      // That it was hard for them.
      expect(kills).toBeGreaterThan(5);
      expect(pauses).toBeGreaterThan(3);
      expect(conflicts).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(`seed ${seed}, ${kills} kills, ${pauses} pauses, ${conflicts} conflicts: ${error}`, { cause: error });
    } finally {
      await server.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
