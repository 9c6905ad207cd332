import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

/** What the README leaves to the reader. */
const RECEIVER = `
import { TracingEventReceiver } from "@spanduct/receiver";

const relay = {
  newSpan: () => ({}), record() {}, recordFollowsFrom() {}, enter() {}, exit() {}, tryClose() {},
  event: ({ data }) => console.log("event", data.name),
};
export const receiver = new TracingEventReceiver({}, {}, [], { relay });
`;

let folder: string;

beforeAll(() => {
  const out = join(ROOT, "test/out");
  mkdirSync(out, { recursive: true });
  folder = mkdtempSync(join(out, "transport-readme-"));
  const readme = readFileSync(join(ROOT, "packages/transport/README.md"), "utf8");
  for (const [, name, code] of readme.matchAll(/```ts\n\/\/ (\S+\.ts)\n(.*?)```/gs)) {
    writeFileSync(join(folder, name as string), code as string);
  }
  writeFileSync(join(folder, "receiver.ts"), RECEIVER);
});

afterAll(() => rmSync(folder, { recursive: true }));

async function run(file: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { cwd: folder, timeout: 30_000 });
  expect(stderr).toBe("");
  return stdout;
}

it("README: a worker's events arrive, and the host ends", { timeout: 60_000 }, async () => {
  expect(await run("worker-host.ts")).toBe("event from a worker\n1\n");
});

it("README: a guest's events arrive through a socket, and both ends know that all has", { timeout: 60_000 }, async () => {
  const host = run("socket-host.ts");
  while (!existsSync(join(folder, "tunnel.sock"))) await new Promise(setImmediate);
  expect(await run("socket-guest.ts")).toBe("not answered: 0\n");
  expect(await host).toBe("event from a socket\nfinished 1\n");
});
