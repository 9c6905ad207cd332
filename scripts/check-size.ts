/**
 * Holds what guests load: bundles each entry as an application would, and checks its size against a budget, that nothing is left
 * to import, and that it is plain ASCII (it gets embedded in other files).
 *
 *     node scripts/check-size.ts
 */
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

export interface Budget {
  readonly name: string;
  /** A module at the root of the repository; what it exports is what is used. */
  readonly source: string;
  /** A module that is part of it and is there anyway: only what comes on top counts. */
  readonly beyond?: string;
  /** Minified for ES2022 and gzipped (level 9). */
  readonly maxGzipBytes: number;
}

const CORE = 'export { TracingEventSender, batches } from "./packages/sender/dist/index.js";';

export const BUDGETS: readonly Budget[] = [
  {
    name: "@spanduct/sender core",
    source: 'export { TracingEventSender } from "./packages/sender/dist/index.js";',
    maxGzipBytes: 2680,
  },
  {
    name: "@spanduct/sender core with protobuf batches",
    source: CORE,
    // Not a target: what it is, so that it does not grow unseen.
    maxGzipBytes: 4560,
  },
  {
    name: "@spanduct/sender/otel beyond the core",
    source: `${CORE} export * from "./packages/sender/dist/otel/index.js";`,
    beyond: CORE,
    maxGzipBytes: 3248,
  },
  {
    name: "@spanduct/sandbox guest half as a script",
    source: 'import { install } from "./packages/sandbox/dist/guest-script.js"; install(globalThis);',
    maxGzipBytes: 7168,
  },
  {
    name: "@spanduct/sandbox/web-worker guest half, with its ring",
    source: 'export { connect, disconnect } from "./packages/sandbox/dist/web-worker/index.js";',
    maxGzipBytes: 9728,
  },
  {
    name: "@spanduct/sandbox/iframe guest half",
    source: 'export { connect, connected, disconnect } from "./packages/sandbox/dist/iframe/index.js";',
    maxGzipBytes: 8192,
  },
];

export interface Size {
  readonly name: string;
  readonly minifiedBytes: number;
  readonly gzipBytes: number;
  readonly maxGzipBytes: number;
  /** Empty when all is well. */
  readonly problems: readonly string[];
}

/** @param folder what relative imports of the entry count from */
export async function measure({ name, source, beyond, maxGzipBytes }: Budget, folder: string): Promise<Size> {
  const there = beyond === undefined ? undefined : await measure({ name, source: beyond, maxGzipBytes }, folder);
  const external: string[] = [];
  const bundle = await build({
    stdin: { contents: source, resolveDir: folder, sourcefile: "entry.js" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    // As it was written, so that the check below sees it.
    charset: "utf8",
    // A guest has no Node modules; an import of one stays and is reported below.
    platform: "neutral",
    mainFields: ["module", "main"],
    external: ["node:*"],
    write: false,
    metafile: true,
    logLevel: "silent",
  });
  for (const { imports } of Object.values(bundle.metafile.outputs)) external.push(...imports.map(({ path }) => path));
  const bytes = bundle.outputFiles[0]?.contents ?? new Uint8Array();
  const minifiedBytes = bytes.length - (there?.minifiedBytes ?? 0);
  const gzipBytes = gzipSync(bytes, { level: 9 }).length - (there?.gzipBytes ?? 0);
  const problems: string[] = [];
  if (gzipBytes > maxGzipBytes) problems.push(`${gzipBytes - maxGzipBytes} bytes over budget`);
  if (external.length > 0) problems.push(`imports ${external.join(", ")}`);
  if (bytes.some((byte) => byte > 0x7e)) problems.push("is not ASCII");
  return { name, minifiedBytes, gzipBytes, maxGzipBytes, problems };
}

if (import.meta.main) {
  for (const budget of BUDGETS) {
    const { name, minifiedBytes, gzipBytes, maxGzipBytes, problems } = await measure(budget, resolve(import.meta.dirname, ".."));
    const verdict = problems.length === 0 ? "ok" : problems.join("; ");
    console.log(`${name}: ${minifiedBytes} bytes minified, ${gzipBytes} of ${maxGzipBytes} gzip: ${verdict}`);
    if (problems.length > 0) process.exitCode = 1;
  }
}
