import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/web-worker";
import { expect, it } from "vitest";
import { TraceRecorder } from "../../test/support/trace-recorder.ts";

it("traceWorker: traces a worker that has no permissions", async () => {
  const code = `
    const { state } = await Deno.permissions.query({ name: "read" });
    spanduct.tracing.event({ name: "may read", fields: ["granted"] }).emit({ granted: state === "granted" });
    self.close();`;
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver({}, {}, [], { relay: trace });
  const url = new URL(`./guest.js?${encodeURIComponent(`(async () => { ${code} })()`)}`, import.meta.url);
  const { outcome } = traceWorker(url, receiver, { deno: { permissions: "none" } } as WorkerOptions);
  expect((await outcome).kind).toBe("committed");
  expect(trace.lines()).toEqual(["· may read granted=false"]);
});
