import { resolve } from "node:path";
import { runtimeProcess } from "../../test/support/remote-suite/process.ts";
import { remoteSuite } from "../../test/support/remote-suite/remote-suite.ts";
import { missingRuntime } from "../../test/support/runtimes.ts";

const GUEST = resolve(import.meta.dirname, "../../packages/sandbox/test/worker-guest.ts");
const bun = resolve(import.meta.dirname, "node_modules/bun/bin/bun.exe");

await remoteSuite("Bun", runtimeProcess(bun, ["run"], missingRuntime("bun", "bun")), {
  suite: resolve(import.meta.dirname, "suite.ts"),
  guests: { "guest.js": GUEST },
  platform: "node",
});
for (const suite of ["web-stream-suite.ts", "socket-suite.ts"]) {
  await remoteSuite("Bun", runtimeProcess(bun, ["run"], missingRuntime("bun", "bun")), {
    suite: resolve(import.meta.dirname, "../../packages/transport/test", suite),
    platform: "node",
  });
}
await remoteSuite("Bun", runtimeProcess(bun, ["run"], missingRuntime("bun", "bun")), {
  suite: resolve(import.meta.dirname, "../../packages/sender/test/capture-process-errors-suite.ts"),
  platform: "node",
});
