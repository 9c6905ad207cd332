import { resolve } from "node:path";
import { build } from "esbuild";
import type { WorkerOptions } from "miniflare";
import type { RemoteRuntime } from "../../test/support/remote-suite/remote-suite.ts";
import { missingRuntime } from "../../test/support/runtimes.ts";

/** Of every Worker here. */
export const COMPATIBILITY = { compatibilityDate: "2026-07-01", compatibilityFlags: ["nodejs_als"] };

const RUNNER = `
import { run } from "./suite.js";

export default {
  async fetch(request, env, ctx) {
    globalThis.workerd = { env, ctx };
    return Response.json(await run(Number(new URL(request.url).pathname.slice(1))));
  },
};
`;

/** A Worker as one module. */
export async function bundleWorker(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [resolve(import.meta.dirname, file)],
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    external: ["node:*", "cloudflare:*"],
    write: false,
  });
  return outputFiles[0]?.text as string;
}

/** A Worker of workerd that runs the suite, with service bindings to the Workers `guest.ts` and `hostile.ts`, and one to load Workers with. */
export const missingMiniflare: string | undefined = missingRuntime("workerd", "miniflare");

export const workerd: RemoteRuntime = {
  missing: missingMiniflare,
  async load(modules) {
    const { Miniflare } = await import("miniflare");
    const worker = (name: string, files: readonly (readonly [path: string, contents: string])[]): WorkerOptions => ({
      ...COMPATIBILITY,
      name,
      modules: files.map(([path, contents]) => ({ type: "ESModule", path, contents })),
    });
    const guest = await bundleWorker("guest.ts");
    const miniflare = new Miniflare({
      // What the guests write to their console.
      handleRuntimeStdio: () => undefined,
      workers: [
        {
          ...worker("host", [["runner.js", RUNNER], ...modules]),
          serviceBindings: { GUEST: "guest", HOSTILE: "hostile" },
          workerLoaders: { LOADER: {} },
          bindings: { GUEST_CODE: guest },
        },
        worker("guest", [["guest.js", guest]]),
        worker("hostile", [["hostile.js", await bundleWorker("hostile.ts")]]),
      ],
    });
    await miniflare.ready;
    return {
      async run(index) {
        const response = await miniflare.dispatchFetch(`http://localhost/${index}`);
        return (await response.json()) as never;
      },
      [Symbol.asyncDispose]: () => miniflare.dispose(),
    };
  },
};
