/**
 * Every check of this repository, in the order of how soon it says something. All run, whatever fails.
 *
 *     node scripts/verify.ts
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Scripts of package.json. */
const STEPS = ["lint", "layers", "types", "packages", "proto", "size", "test", "demo"];

/** The part of vitest's JSON report that is read here. */
interface TestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const root = resolve(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "verify-"));
const reportPath = join(scratch, "tests.json");
const summary: string[] = [];
let failed = false;
for (const step of STEPS) {
  console.log(`\n=== ${step}`);
  const begin = performance.now();
  const more = step === "test" ? ["--reporter=default", "--reporter=json", `--outputFile.json=${reportPath}`] : [];
  const { status } = spawnSync("pnpm", ["run", step, ...more], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) failed = true;
  summary.push(`${status === 0 ? "ok    " : "FAILED"} ${step} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
}

console.log(`\n=== summary\n${summary.join("\n")}`);
const report = readReport();
if (report === undefined) {
  failed = true;
  console.log("the tests did not run to their end");
} else {
  for (const { name, status, assertionResults } of report.testResults) {
    if (status === "failed" && assertionResults.length === 0) console.log(`failed to load: ${name}`);
    for (const test of assertionResults) {
      if (test.status !== "passed" && test.status !== "failed") console.log(`skipped: ${test.fullName}`);
    }
  }
  console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed`);
}
if (failed) process.exitCode = 1;

function readReport(): TestReport | undefined {
  try {
    return JSON.parse(readFileSync(reportPath, "utf8")) as TestReport;
  } catch {
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
