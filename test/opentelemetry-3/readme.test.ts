import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

it("README.md of @spanduct/opentelemetry: the example runs and exports its span", () => {
  const readme = readFileSync(join(import.meta.dirname, "../../packages/opentelemetry/README.md"), "utf8");
  const [, code] = /```ts\n([\s\S]*?)```/.exec(readme) ?? [];
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module-typescript"], {
    input: code ?? "",
    cwd: import.meta.dirname,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(stdout).toMatch(/name: 'render'/);
  expect(stdout).toMatch(/page: 'index.md'/);
});
