import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { FlushedSpanProcessor, OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { traceQuickJSWasi } from "@spanduct/sandbox/quickjs-wasi";
import { Executions } from "@spanduct/store";
import { sqliteStore } from "@spanduct/store/sqlite";
import { QuickJS } from "quickjs-wasi";
import { FileExporter } from "./file-exporter.ts";

const [name, folder = ".", dieIn] = process.argv.slice(2);
const wasm = readFileSync(fileURLToPath(import.meta.resolve("quickjs-wasi/quickjs.wasm")));
const script = readFileSync(new URL("agent.js", import.meta.url), "utf8");

/** What the guest cannot do: each takes a while. */
const tools: { readonly [tool: string]: () => unknown } = {
  search: () => "tower.md",
  read: () => 85,
  calculate: () => 500,
};
async function replyTo(vm: QuickJS): Promise<unknown> {
  await setTimeout(20);
  return tools[vm.evalCode("request.tool").consume((tool) => tool.toString())]?.();
}

const executions = new Executions({
  store: sqliteStore(join(folder, "state.db")),
  relay: new OpenTelemetryRelay({ spanProcessors: [new FlushedSpanProcessor(new FileExporter(join(folder, "spans.jsonl")))] }),
  leaseMs: 500,
});

for (let isDone = false; !isDone; ) {
  const { done } = await executions.run("question-1", "agent@1", async ({ receiver, snapshot, revision }) => {
    const step = `step ${revision + 1}`;
    using vm = snapshot ? await QuickJS.restore(QuickJS.deserializeSnapshot(snapshot), { wasm }) : await QuickJS.create({ wasm });
    const guest = traceQuickJSWasi(vm);
    const code = snapshot ? `reply(${JSON.stringify(await replyTo(vm))})` : script;
    const outcome = guest.run(receiver, () => {
      vm.evalCode(code).dispose();
      vm.executePendingJobs();
    });
    if (outcome.kind === "rolled_back") throw outcome.error;
    if (String(revision + 1) === dieIn) process.kill(process.pid, "SIGKILL");
    console.log(`${name}: ${step}, ${Object.keys(outcome.spans).length} spans open`);
    const done = vm.evalCode("request").consume((request) => request.isUndefined);
    return { snapshot: QuickJS.serializeSnapshot(vm.snapshot()), done };
  });
  isDone = done;
}
await executions.drain();
await executions.close();
