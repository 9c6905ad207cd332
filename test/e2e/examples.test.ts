import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { expect, it } from "vitest";
import { type Example, examples, hasBuild, NODE_OPTIONS } from "../../scripts/example.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** Its output has times in it, and a test of its own. */
const WITH_OWN_TEST = new Set(["demo"]);
/** What differs from run to run. */
const DURATION = / *\+?\d+(\.\d+)? (ns|µs|ms|s)\b/g;
/** Exit code of an example that needs something that is not there. */
const SKIPPED = 77;

interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

for (const example of examples().filter(({ name }) => !WITH_OWN_TEST.has(name))) {
  it(`example ${example.name}: prints what its README shows`, { timeout: 180_000 }, async ({ skip }) => {
    const expected = /```text\n(.*?)```/s.exec(readFileSync(join(example.folder, "README.md"), "utf8"))?.[1];
    const { exitCode, stdout, stderr } = await runExample(example);
    if (exitCode === SKIPPED) skip(stderr.trim());
    const printed = stdout.replaceAll(DURATION, "");
    expect({ exitCode, stderr, printed }).toEqual({ exitCode: 0, stderr: "", printed: expected?.replaceAll(DURATION, "") });
  });
}

async function runExample(example: Example): Promise<Run> {
  if (hasBuild(example)) {
    const built = await run("npm", ["run", "--silent", "build"], example.folder);
    if (built.exitCode !== 0) return built;
  }
  return run(process.execPath, [...NODE_OPTIONS, "main.ts"], example.folder);
}

function run(command: string, args: readonly string[], cwd: string): Promise<Run> {
  const bin = [join(cwd, "node_modules/.bin"), join(ROOT, "node_modules/.bin"), process.env["PATH"]].join(delimiter);
  const { FORCE_COLOR: _, ...env } = process.env;
  const child = spawn(command, args, { cwd, env: { ...env, PATH: bin }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (exitCode) => done({ exitCode, stdout, stderr }));
  });
}
