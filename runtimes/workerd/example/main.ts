import { createInterface } from "node:readline";
import { skipExample } from "@spanduct/example-support";
import { build } from "esbuild";

const { Miniflare } = await import("miniflare").catch(() => skipExample("miniflare is not installed in runtimes/"));

async function worker(name: string): Promise<{ name: string; modules: true; script: string; compatibilityDate: string }> {
  const entryPoints = [`${import.meta.dirname}/${name}.ts`];
  const external = ["node:*"];
  const { outputFiles } = await build({ entryPoints, bundle: true, format: "esm", target: "es2022", external, write: false });
  return { name, modules: true, script: outputFiles[0]?.text as string, compatibilityDate: "2026-07-01" };
}

let output: AsyncIterator<string> | undefined;
const miniflare = new Miniflare({
  workers: [
    // The flag is for what prints.
    { ...(await worker("host")), serviceBindings: { GUEST: "guest" }, compatibilityFlags: ["nodejs_compat"] },
    await worker("guest"),
  ],
  handleRuntimeStdio(stdout: NodeJS.ReadableStream) {
    output = createInterface({ input: stdout })[Symbol.asyncIterator]();
  },
});
await miniflare.ready;

for (const item of ["bicycle", "unicorn"]) {
  const response = await miniflare.dispatchFetch(`http://localhost/?item=${item}`);
  console.log(`${response.status} ${await response.text()}`);
  // What the host prints, up to its verdict.
  for (let line = ""; !/^(committed|rolled_back)$/.test(line); ) {
    line = (await output?.next())?.value;
    console.log(line);
  }
}
await miniflare.dispose();
