import { fileURLToPath } from "node:url";
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { hostTracing, printTrace, skipExample } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { traceTemporal } from "@spanduct/sandbox/temporal";

const { DefaultLogger, NativeConnection, Runtime, Worker } = await import("@temporalio/worker").catch(() =>
  skipExample("Temporal is not installed in runtimes/"),
);
// In place of Temporal's own server, which has to be downloaded; and what webpack needs where packages are links.
const { FakeServer } = await import("../fake-server.ts");
const { linked } = await import("../isolate.ts");

Runtime.install({ logger: new DefaultLogger("ERROR"), telemetryOptions: { logging: { filter: "ERROR" } } });
const run = { runId: "7a1f4c9e-0000-4000-8000-000000000001", workflowType: "order", args: ["bicycle"], at: Date.UTC(2026, 0, 1) };
await using server = await FakeServer.start(run);

async function work(name: string, body: () => Promise<void>): Promise<void> {
  const { spanProcessors, end } = hostTracing(name);
  const relay = new OpenTelemetryRelay({ spanProcessors });
  const tracing = traceTemporal({ relay: (attempt) => relay.execution({ parent: ROOT_CONTEXT, ...attempt }) });
  const connection = await NativeConnection.connect({ address: server.address });
  const worker = await Worker.create({
    connection,
    taskQueue: "tasks",
    workflowsPath: fileURLToPath(new URL("workflows.ts", import.meta.url)),
    bundlerOptions: { webpackConfigHook: linked },
    plugins: [tracing],
  });
  await worker.runUntil(body);
  await connection.close();
  printTrace(end());
}

await work("worker on Monday", async () => {
  await server.begin();
});
await work("worker on Tuesday", async () => {
  await server.fire(24 * 60 * 60 * 1000);
  await server.signal("approve", "ada");
});
