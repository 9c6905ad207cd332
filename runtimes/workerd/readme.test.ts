import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleWorker, COMPATIBILITY, missingMiniflare } from "./suite-runtime.ts";

/** Where the README says "for instance". */
const TRACING = `
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

export const exporter = new InMemorySpanExporter();
export const spanProcessors = [new SimpleSpanProcessor({ exporter })];
`;

/** The host of the README, with a second path to what it exported. */
const HOST = `
import host from "./workerd-host.ts";
import { exporter } from "./tracing.ts";

export default {
  async fetch(request, env, ctx) {
    const response = await host.fetch(request, env, ctx);
    return request.url.endsWith("/spans") ? Response.json(exporter.getFinishedSpans().map(({ name, attributes }) => [name, attributes.path])) : response;
  },
};
`;

const why = missingMiniflare === undefined ? "" : ` (${missingMiniflare})`;

describe.skipIf(why !== "")(`README of the sandboxes, Workers${why}`, { timeout: 60_000 }, () => {
  /** Inside of the package, so that the code finds what a user's would find. */
  let folder: string;
  beforeAll(() => {
    const parent = resolve(import.meta.dirname, "node_modules/.cache");
    mkdirSync(parent, { recursive: true });
    folder = mkdtempSync(join(parent, "readme-"));
    const readme = readFileSync(resolve(import.meta.dirname, "../../packages/sandbox/README.md"), "utf8");
    for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (\S+\.ts)\n(.*?)```/gs))
      writeFileSync(join(folder, name as string), code as string);
    writeFileSync(join(folder, "tracing.ts"), TRACING);
    writeFileSync(join(folder, "host.ts"), HOST);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("the host's Worker calls the guest's, whose spans arrive", async () => {
    const { Miniflare } = await import("miniflare");
    const worker = async (name: string, file: string) => ({
      ...COMPATIBILITY,
      name,
      modules: true as const,
      script: await bundleWorker(join(folder, file)),
    });
    const miniflare = new Miniflare({
      workers: [
        { ...(await worker("host", "host.ts")), serviceBindings: { GUEST: "guest" } },
        await worker("guest", "workerd-guest.ts"),
      ],
    });
    try {
      expect(await (await miniflare.dispatchFetch("http://localhost/first")).text()).toBe("hello");
      expect(await (await miniflare.dispatchFetch("http://localhost/spans")).json()).toEqual([
        ["greet", "/first"],
        ["greet", "/spans"],
      ]);
    } finally {
      await miniflare.dispose();
    }
  });

  it("the host in Node.js calls the guest's Worker, whose spans arrive", async () => {
    writeFileSync(join(folder, "guest.js"), await bundleWorker(join(folder, "workerd-guest.ts")));
    const before = process.cwd();
    process.chdir(folder);
    try {
      const { settled } = await import(/* @vite-ignore */ join(folder, "workerd-node-host.ts"));
      const { exporter } = await import(/* @vite-ignore */ join(folder, "tracing.ts"));
      expect(settled.kind).toBe("committed");
      expect(exporter.getFinishedSpans().map(({ name }: { name: string }) => name)).toEqual(["greet"]);
    } finally {
      process.chdir(before);
    }
  });
});
