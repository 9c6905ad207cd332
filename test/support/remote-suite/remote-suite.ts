import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, it } from "vitest";
import { bundleSuite, type SuiteModules, type SuiteSources } from "./bundle.ts";
import type { RemoteResult, RemoteTest } from "./stand-in.ts";

/** A runtime that has loaded a suite. */
export interface RemoteRun extends AsyncDisposable {
  run(index: number): Promise<RemoteResult>;
}

/** A runtime that suites can run in. */
export interface RemoteRuntime {
  /** Why it is not to be had on this machine. */
  readonly missing?: string | undefined;
  load(modules: SuiteModules): Promise<RemoteRun>;
}

const LOAD_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 60_000;

/**
 * Run a suite in another runtime, each of its tests as one of vitest's. They are gathered here, so that a machine without the
 * runtime lists them as skipped, with the reason.
 */
export async function remoteSuite(name: string, runtime: RemoteRuntime, sources: SuiteSources): Promise<void> {
  const modules = await bundleSuite(sources);
  const tests = await testsOf(modules);
  const { missing } = runtime;
  if (missing !== undefined) {
    describe.skip(`${name} (${missing})`, () => {
      for (const { path, title } of tests) it([...path, title].join(" > "), () => undefined);
    });
    return;
  }
  describe(name, () => {
    let remote: RemoteRun;
    beforeAll(async () => {
      remote = await runtime.load(modules);
    }, LOAD_TIMEOUT_MS);
    afterAll(() => remote?.[Symbol.asyncDispose]());

    tests.forEach(({ path, title, skipped, timeoutMs = TEST_TIMEOUT_MS }, index) => {
      const test = skipped ? it.skip : it;
      test([...path, title].join(" > "), { timeout: timeoutMs }, async () => {
        const { failure } = await remote.run(index);
        if (failure !== undefined) throw Object.assign(new Error(failure.message), failure);
      });
    });
  });
}

/** Load the suite without running any of it. */
async function testsOf(modules: SuiteModules): Promise<readonly RemoteTest[]> {
  const folder = mkdtempSync(join(tmpdir(), "remote-suite-"));
  try {
    const path = join(folder, "suite.mjs");
    writeFileSync(path, modules.get("suite.js") as string);
    const suite = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as { tests(): readonly RemoteTest[] };
    return suite.tests();
  } finally {
    rmSync(folder, { recursive: true });
  }
}
