import { resolve } from "node:path";
import { build } from "esbuild";
import { expect, it } from "vitest";

/** Files of this package and modules of the platform's that `import` comes to on a platform. */
async function loadedBy(platform: "browser" | "node", specifier: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: `export * from ${JSON.stringify(specifier)}`, resolveDir: import.meta.dirname },
    bundle: true,
    write: false,
    format: "esm",
    platform,
    metafile: true,
    absWorkingDir: resolve(import.meta.dirname, "../.."),
  });
  const imported = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  return [...Object.keys(metafile.inputs), ...imported].filter((path) => /^dist\/(web-)?worker\/index\.js$|^node:/.test(path));
}

it("@spanduct/sandbox/worker is that of the platform, and loads nothing of the other one's", async () => {
  expect(await loadedBy("browser", "@spanduct/sandbox/worker")).toEqual(["dist/web-worker/index.js"]);
  expect(await loadedBy("node", "@spanduct/sandbox/web-worker")).toEqual(["dist/web-worker/index.js"]);
  expect(await loadedBy("node", "@spanduct/sandbox/worker")).toContain("dist/worker/index.js");
});

it("@spanduct/sandbox/iframe needs a browser only", async () => {
  expect(await loadedBy("browser", "@spanduct/sandbox/iframe")).toEqual([]);
});
