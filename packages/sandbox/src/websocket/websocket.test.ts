import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { TracingEventReceiver } from "@spanduct/receiver";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocketServer, WebSocket as WsSocket } from "ws";
import { findChromium, launchChromium, serveSite } from "../../../../examples/support/chromium.ts";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { type ProgramName, programSource } from "../../../../test/contract/sandbox-programs.ts";
import { type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import type { TracedRemote } from "../remote.ts";
import { connect } from "./guest.ts";
import { traceWebSocket } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/websocket/index.js", import.meta.url).href);
const GUEST_FILE = JSON.stringify(fileURLToPath(new URL("../../dist/websocket/index.js", import.meta.url)));
const SENDER = JSON.stringify(import.meta.resolve("@spanduct/sender"));

/** Each guest has a path of its own. */
const waiting = new Map<string, (socket: WsSocket) => void>();
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 4 * 1024 * 1024 + 1 });
server.on("connection", (socket, { url = "" }) => waiting.get(url)?.(socket));
let guests = 0;

beforeAll(async () => {
  if (server.address() === null) await once(server, "listening");
});
afterAll(() => {
  for (const client of server.clients) client.terminate();
  server.close();
});

/** An address, and the host's end of the connection that is made to it. */
function expectGuest(): [url: string, socket: Promise<WsSocket>] {
  const path = `/${++guests}`;
  const socket = new Promise<WsSocket>((resolve) => waiting.set(path, resolve));
  return [`ws://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, socket];
}

/** A process that connects to its host and runs a program. */
function startGuest(url: string, program: ProgramName): ChildProcess {
  const code = `(async () => {
    const { connect } = await import(${GUEST});
    const guest = await connect(${JSON.stringify(url)}, { captureConsole: true });
    const spanduct = { ...(await import(${SENDER})), tracing: guest.tracing };
    const failed = (error) => guest.close({ error }).then(() => process.exit(1));
    process.on("uncaughtException", failed);
    await ${programSource(program, "new Promise(setImmediate)")}
    // What was thrown and forgotten shows first.
    await new Promise(setImmediate);
    await guest.close();
  })()`;
  return spawn(process.execPath, ["-e", code], { stdio: "ignore" });
}

const hasGlobal = "WebSocket" in globalThis;
if (!hasGlobal) it.skip("WebSocket: what every sandbox does (this Node.js has no WebSocket)");
else
  sandboxContract("WebSocket", {
    async run(program, receiver, stop) {
      const [url, socket] = expectGuest();
      const child = startGuest(url, program);
      stop.addEventListener("abort", () => child.kill("SIGKILL"));
      return await traceWebSocket(await socket, receiver).outcome;
    },
  });

interface Host extends TracedRemote<RecordedSpan> {
  readonly trace: TraceRecorder;
}

function trace(socket: WsSocket): Host {
  const recorder = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: recorder });
  return { ...traceWebSocket(socket, receiver), trace: recorder };
}

describe("traceWebSocket", () => {
  it.each<[string, (url: string) => Parameters<typeof connect>[0]]>([
    ...(hasGlobal ? [["an address", (url: string) => url] as [string, (url: string) => string]] : []),
    ["a socket", (url) => new WsSocket(url, "spanduct.v1")],
  ])("commits when a guest that was given %s closes, and the guest knows that all has arrived", async (_, to) => {
    const [url, socket] = expectGuest();
    const guest = connect(to(url));
    const host = trace(await socket);
    const { tracing, close } = await guest;
    tracing.span({ name: "open" }).enter();
    expect(await close()).toBe(0);
    expect(await host.outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    expect(host.trace.lines()).toEqual(["open (open)"]);
  });

  it("rolls back a guest that closes with a failure, and one that is gone without a word", async () => {
    for (const isWord of [true, false]) {
      const [url, socket] = expectGuest();
      const ours = new WsSocket(url, "spanduct.v1");
      const guest = connect(ours);
      const host = trace(await socket);
      const { tracing, close } = await guest;
      tracing.span({ name: "open" }).enter();
      tracing.flush();
      if (isWord) await close({ error: new RangeError("late") });
      else ours.terminate();
      expect(await host.outcome).toMatchObject({
        kind: "rolled_back",
        error: isWord ? { name: "RangeError" } : { code: "transport_closed" },
      });
      expect(host.trace.lines()[0]).toBe("open (rolled back)");
    }
  });

  it("rolls back who sends something else", async () => {
    const [url, socket] = expectGuest();
    const ours = new WsSocket(url, "spanduct.v1");
    const host = trace(await socket);
    await once(ours, "open");
    ours.send(new Uint8Array(10));
    expect(await host.outcome).toMatchObject({ kind: "rolled_back", error: { code: "malformed" } });
  });
});

it("connect: rejects where there is no host", async () => {
  const socket = new WsSocket("ws://127.0.0.1:1", "spanduct.v1");
  await expect(connect(socket)).rejects.toMatchObject({ code: "transport_closed" });
});

const noChromium = findChromium() === undefined ? " (there is no Chromium)" : "";
it.skipIf(noChromium !== "")(`connect: a page is traced into a host on Node${noChromium}`, { timeout: 120_000 }, async () => {
  const { outputFiles } = await build({
    stdin: { contents: `export { connect } from ${GUEST_FILE};`, resolveDir: import.meta.dirname },
    bundle: true,
    format: "esm",
    write: false,
  });
  await using site = await serveSite(new Map([["/guest.js", outputFiles[0]?.text ?? ""]]));
  const browser = await launchChromium();
  onTestFinished(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`http://localhost:${site.port}/`);
  const [url, socket] = expectGuest();
  // As text, for vitest takes every import() that it sees for one of its own.
  const unanswered = page.evaluate(`(async () => {
    const { connect } = await import("/guest.js");
    const { tracing, close } = await connect(${JSON.stringify(url)}, { captureConsole: true });
    const item = tracing.span({ name: "item", fields: ["i"] });
    tracing.span({ name: "page" }).run(undefined, () => {
      for (let i = 0; i < 5000; i++) item.enter({ i }).close();
      console.log("done");
    });
    return close();
  })()`);
  const host = trace(await socket);
  expect((await host.outcome).kind).toBe("committed");
  expect(await unanswered).toBe(0);
  expect(host.trace.spans).toHaveLength(5001);
  expect(host.trace.events.map(({ values }) => values["message"])).toEqual([{ string: "done" }]);
});
