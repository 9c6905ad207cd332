import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { missingTemporal } from "./isolate.ts";

/** Where the README says "for instance". Prints what there is at the end. */
const TRACING = `
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

const exporter = new InMemorySpanExporter();
export const spanProcessors = [new SimpleSpanProcessor({ exporter })];
process.on("exit", () => {
  for (const { name, attributes, duration } of exporter.getFinishedSpans()) console.log(name, attributes.item, duration[0]);
});
`;

const why = missingTemporal === undefined ? "" : ` (${missingTemporal})`;

describe.skipIf(why !== "")(`README of the sandboxes, Temporal${why}`, { timeout: 60_000 }, () => {
  it("a worker serves a workflow, and exports its span", async () => {
    const { FakeServer } = await import("./fake-server.ts");
    const parent = resolve(import.meta.dirname, "dist");
    mkdirSync(parent, { recursive: true });
    const folder = mkdtempSync(join(parent, "readme-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const readme = readFileSync(resolve(import.meta.dirname, "../../packages/sandbox/README.md"), "utf8");
    for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (temporal-\S+\.ts)\n(.*?)```/gs)) {
      // Here the package is a link, and does not see what is installed.
      const linked = `bundlerOptions: { webpackConfigHook: (await import("../../isolate.ts")).linked }, plugins:`;
      writeFileSync(join(folder, name as string), (code as string).replace("plugins:", linked));
    }
    writeFileSync(join(folder, "tracing.ts"), TRACING);

    const run = {
      runId: "of the README",
      workflowType: "order",
      args: ["bicycle"],
      at: Date.UTC(2026, 0, 1),
      taskQueue: "orders",
    };
    await using server = await FakeServer.start(run);
    const env = { ...process.env, TEMPORAL_ADDRESS: server.address };
    const worker = spawn(process.execPath, ["temporal-worker.ts"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    onTestFinished(() => void worker.kill("SIGKILL"));
    let output = "";
    let log = "";
    worker.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    worker.stderr.setEncoding("utf8").on("data", (text) => (log += text));
    const closed = once(worker, "close");
    const served = async (): Promise<void> => {
      expect(await server.begin()).toBe("completed");
      expect(await server.fire(86_400_000)).toBe("completed");
    };
    await Promise.race([served(), closed.then(() => expect.fail(log))]);
    worker.kill("SIGTERM");
    await closed;
    expect(output).toBe("order bicycle 86400\n");
  });
});
