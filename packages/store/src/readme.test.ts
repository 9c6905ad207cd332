import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";

const PACKAGE = resolve(import.meta.dirname, "..");

it("README shows an example that prints what it says", () => {
  const readme = readFileSync(resolve(PACKAGE, "README.md"), "utf8");
  const [, code, printed] = /```ts\n(.*?)```\n+```text\n(.*?)```/s.exec(readme) ?? [];
  expect(
    execFileSync(process.execPath, ["--input-type=module-typescript", "-"], { cwd: PACKAGE, input: code, encoding: "utf8" }),
  ).toBe(printed);
});
