import { resolve } from "node:path";
import { runtimeProcess } from "../../test/support/remote-suite/process.ts";
import { remoteSuite } from "../../test/support/remote-suite/remote-suite.ts";
import { missingRuntime } from "../../test/support/runtimes.ts";

const HERE = import.meta.dirname;
const SUITES = resolve(HERE, "../../packages/sandbox/test");
const PERMISSIONS = resolve(HERE, "permissions-suite.ts");
const deno = runtimeProcess(
  resolve(HERE, "node_modules/deno/deno"),
  ["run", "--allow-all", "--unstable-worker-options"],
  missingRuntime("deno", "deno"),
);

await remoteSuite("Deno", deno, {
  suite: resolve(HERE, "worker-suite.ts"),
  guests: { "guest.js": resolve(SUITES, "worker-guest.ts") },
  platform: "node",
});
for (const suite of [...["web-worker-suite.ts", "web-worker-ring-suite.ts"].map((file) => resolve(SUITES, file)), PERMISSIONS]) {
  await remoteSuite("Deno", deno, {
    suite,
    guests: { "guest.js": resolve(SUITES, "web-worker-guest.ts") },
    platform: "node",
  });
}
await remoteSuite("Deno", deno, {
  suite: resolve(HERE, "../../packages/sender/test/capture-errors-suite.ts"),
  platform: "node",
});
