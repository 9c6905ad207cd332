import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StateStore } from "@spanduct/store";
import { memoryStore } from "@spanduct/store/memory";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SpanData } from "../contract/opentelemetry/span-data.ts";
import { contents, isRolledBack } from "../support/scripted-executions.ts";
import { FIRST_MS, SCRIPTS, SECOND_MS, Worker } from "./task.ts";

/** Data that hosts die on. */
export interface CrashBackend {
  /** What `child.ts` is told to open it with. */
  readonly address: string;
  open(): StateStore;
  /** Throws when the database itself is damaged. */
  check(): void | Promise<void>;
  dispose(): void | Promise<void>;
}

const CHILD = join(import.meta.dirname, "child.ts");
/** Hosts that die at a time. */
const PARALLEL = 2;

interface Death {
  readonly places: number;
  readonly killed: boolean;
}

/** One host that is killed at its nth place, or lives to its end. */
function liveAndDie(address: string, killAt: number, exportPath: string): Promise<Death> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--no-warnings", CHILD, address, String(killAt), exportPath], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    let failed = "";
    child.stdout.on("data", (chunk) => {
      printed += chunk;
    });
    child.stderr.on("data", (chunk) => {
      failed += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") resolve({ places: killAt, killed: true });
      else if (code === 0) resolve({ places: Number(printed), killed: false });
      else reject(new Error(`the host ended with ${code ?? signal}: ${failed}`));
    });
  });
}

/** Kill hosts at every place, and at two; whoever comes next finishes their work, and nothing is lost, doubled or different. */
export function crashMatrix(name: string, setUp: () => CrashBackend | Promise<CrashBackend>): void {
  describe(name, () => {
    let folder: string;
    let undisturbed: { [identity: string]: SpanData };
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "crash-matrix-"));
      const worker = new Worker(memoryStore(), FIRST_MS);
      await worker.work();
      await worker.executions.close();
      undisturbed = JSON.parse(JSON.stringify(worker.committed));
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    let cases = 0;
    /** Hosts die at these places, one after the other; then one lives. @returns what the first came to */
    async function survive(...killAt: readonly number[]): Promise<Death> {
      const backend = await setUp();
      const exportPath = join(folder, `${cases++}.jsonl`);
      try {
        let first: Death | undefined;
        for (const at of killAt) {
          const death = await liveAndDie(backend.address, at, exportPath);
          first ??= death;
        }
        await backend.check();
        const last = new Worker(backend.open(), SECOND_MS);
        await last.work();
        await last.executions.drain();
        const ends: unknown[] = [];
        for await (const { id, status, backlog, revision } of last.executions.list()) ends.push([id, status, backlog, revision]);
        await last.executions.close();
        expect(last.errors).toEqual([]);
        expect(ends).toEqual([
          ["linked", "done", 0, SCRIPTS["linked"]?.length],
          ["plain", "done", 0, SCRIPTS["plain"]?.length],
        ]);
        const lines = existsSync(exportPath) ? readFileSync(exportPath, "utf8").split("\n").slice(0, -1) : [];
        const exported = [...lines.map((line) => JSON.parse(line) as SpanData), ...JSON.parse(JSON.stringify(last.exported))];
        // Two contents of one identity throw, also where one of them is flagged.
        contents(exported);
        expect(contents(exported.filter((span: SpanData) => !isRolledBack(span)))).toEqual(undisturbed);
        return first as Death;
      } catch (error) {
        throw new Error(`after SIGKILL at ${killAt.join(" and ")}: ${error}`, { cause: error });
      } finally {
        await backend.dispose();
      }
    }

    it("SIGKILL at every store operation, in it, and between every two", { timeout: 600_000 }, async () => {
      const { places, killed } = await survive(0);
      expect(killed).toBe(false);
      expect(places).toBeGreaterThan(80);
      const left = Array.from({ length: places }, (_, i) => i + 1);
      let kills = 0;
      const kill = async (): Promise<void> => {
        for (let at = left.shift(); at !== undefined; at = left.shift()) if ((await survive(at)).killed) kills++;
      };
      await Promise.all(Array.from({ length: PARALLEL }, kill));
      // How the export in the background falls between the rest differs a little from run to run.
      expect(kills).toBeGreaterThan(places * 0.9);
    });

    it("SIGKILL at any two places, one host after the other", { timeout: 600_000 }, async () => {
      const place = fc.integer({ min: 1, max: 100 });
      await fc.assert(
        fc.asyncProperty(place, place, async (first, second) => {
          await survive(first, second);
        }),
        { numRuns: 8, endOnFailure: true },
      );
    });
  });
}
