import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { TracingEventReceiver } from "@spanduct/receiver";
import type { ByteStream } from "@spanduct/transport/stream";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { type ProgramName, programSource } from "../../../../test/contract/sandbox-programs.ts";
import { OTHER_RUNTIMES } from "../../../../test/support/other-runtimes.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import type { TracedRemote, TraceRemoteOptions } from "../remote.ts";
import { connect } from "./guest.ts";
import { traceStream } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/stream/index.js", import.meta.url).href);
const SENDER = JSON.stringify(import.meta.resolve("@spanduct/sender"));
const folder = mkdtempSync(join(tmpdir(), "spanduct-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A process that connects to its host and runs a program. */
function startGuest(address: string | number, program: ProgramName): ChildProcess {
  const code = `(async () => {
    const { connect } = await import(${GUEST});
    const socket = require("node:net").connect(${JSON.stringify(address)});
    const guest = await connect(socket, { captureConsole: true });
    process.on("uncaughtExceptionMonitor", (error) => void guest.close({ error }));
    const spanduct = { ...(await import(${SENDER})), tracing: guest.tracing };
    await ${programSource(program, "new Promise(setImmediate)")}
    // What was thrown and forgotten shows first.
    await new Promise(setImmediate);
    await guest.close();
  })()`;
  return spawn(process.execPath, ["-e", code], { stdio: "ignore" });
}

let servers = 0;

async function listen(address: string | number): Promise<Server> {
  const server = createServer();
  await once(server.listen(address), "listening");
  return server;
}

const KINDS: readonly (readonly [name: string, address: () => string | number, wrap: (socket: Socket) => ByteStream])[] = [
  ["stream, unix socket", () => join(folder, `${++servers}.sock`), (socket) => socket],
  ["stream, TCP socket read as a web stream", () => 0, (socket) => Duplex.toWeb(socket) as unknown as ByteStream],
];

for (const [name, addressOf, wrap] of KINDS) {
  sandboxContract(name, {
    async run(program, receiver, stop) {
      const server = await listen(addressOf());
      const address = server.address() as string | { port: number };
      const connection = once(server, "connection") as Promise<[Socket]>;
      const child = startGuest(typeof address === "string" ? address : address.port, program);
      stop.addEventListener("abort", () => child.kill("SIGKILL"));
      const [socket] = await connection;
      server.close();
      return await traceStream(wrap(socket), receiver).outcome;
    },
  });
}

interface Host extends TracedRemote<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
  /** The guest's end. */
  readonly socket: Socket;
}

async function start(options: TraceRemoteOptions = {}): Promise<Host> {
  const server = await listen(join(folder, `${++servers}.sock`));
  const connection = once(server, "connection") as Promise<[Socket]>;
  const socket = createConnection(server.address() as string);
  const [accepted] = await connection;
  server.close();
  onTestFinished(() => {
    socket.destroy();
    accepted.destroy();
  });
  socket.on("error", () => undefined);
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  return { ...traceStream(accepted, receiver, options), trace, receiver, socket };
}

describe("traceStream", () => {
  it("commits when the guest closes, with what it has open, and the guest knows that all has arrived", async () => {
    const { outcome, trace, socket } = await start();
    const guest = await connect(socket);
    guest.tracing.span({ name: "open" }).enter();
    guest.tracing.event({ name: "last words" }).emit();
    expect(await guest.close()).toBe(0);
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it("rolls back when the guest closes with a failure, which is in the trace with its causes", async () => {
    const { outcome, trace, socket } = await start();
    const guest = await connect(socket);
    guest.tracing.span({ name: "open" }).enter();
    await guest.close({ error: new RangeError("late", { cause: new Error("deep") }) });
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(trace.lines()).toEqual(["open (rolled back)", expect.stringContaining("  · exception")]);
    expect(errorOf(trace.events.at(-1))).toMatchObject({ type: "RangeError", message: "late", source: { message: "deep" } });
  });

  it.each<[string, unknown, object]>([
    ["nothing", undefined, { message: "undefined" }],
    ["text", "out of paper", { message: "out of paper" }],
    [
      "an error that is larger than a frame",
      new Error("€".repeat(1e6), { cause: new Error("€".repeat(1e6)) }),
      { name: "Error" },
    ],
    ["an error that is its own cause", Object.assign(new Error("again"), { cause: null }), { message: "again" }],
  ])("hands on %s as what ended the guest", async (_, error, expected) => {
    const { outcome, socket } = await start();
    const guest = await connect(socket);
    expect(await guest.close({ error })).toBe(0);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: expected });
  });

  it("rolls back a guest that is gone without a word, after what it had sent", async () => {
    const { outcome, trace, socket } = await start();
    const guest = await connect(socket);
    guest.tracing.span({ name: "open" }).enter();
    guest.tracing.flush();
    socket.destroy();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "transport_closed" } });
    expect(trace.lines()[0]).toBe("open (rolled back)");
  });

  it.each([
    ["nothing at all", "", "transport_closed"],
    ["another protocol", "GET / HTTP/1.1\r\n\r\n", "malformed"],
    ["half of a batch", "spanduct/1\n\u{1}\u{9}\0\0\0\0", "transport_closed"],
    ["an end that is no JSON", "spanduct/1\n\u{2}\u{1}\0\0\0{", undefined],
    ["an end of other JSON", "spanduct/1\n\u{2}\u{4}\0\0\0[[]]", undefined],
  ])("rolls back a peer that sends %s", async (_, bytes, code) => {
    const { outcome, socket } = await start();
    socket.end(bytes);
    const { kind, error } = (await outcome) as { readonly kind: string; readonly error: unknown };
    expect(kind).toBe("rolled_back");
    expect(error).toMatchObject(code === undefined ? { name: "Error" } : { code });
  });

  it("rolls back a guest that announces more than it may send", async () => {
    const { outcome, socket } = await start({ maxBatchBytes: 1000 });
    const guest = await connect(socket);
    guest.tracing.event({ name: "x".repeat(1000) }).emit();
    guest.tracing.flush();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "limit_exceeded" } });
  });

  it("close: rolls the guest back, which counts what it sends from then on as lost", async () => {
    const { outcome, close, socket } = await start();
    const guest = await connect(socket);
    close();
    await new Promise((resolve) => socket.on("close", resolve));
    expect((await outcome).kind).toBe("rolled_back");
    guest.tracing.event({ name: "lost" }).emit();
    guest.tracing.flush();
    // The event, and its call site.
    expect(guest.tracing.droppedEvents).toBe(2);
    expect(await guest.close()).toBe(0);
  });
});

describe("connect", () => {
  it("rejects where there is no host", async () => {
    const socket = createConnection(join(folder, "nobody.sock"));
    await expect(connect(socket)).rejects.toMatchObject({ code: "transport_closed", cause: { code: "ENOENT" } });
  });

  it("rejects a peer that is no host", async () => {
    const server = await listen(join(folder, `${++servers}.sock`));
    onTestFinished(() => void server.close());
    server.on("connection", (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const socket = createConnection(server.address() as string);
    await expect(connect(socket)).rejects.toMatchObject({ code: "transport_closed", cause: { code: "malformed" } });
  });
});

for (const { name, command, args, missing } of OTHER_RUNTIMES) {
  const title = `connect: a guest in ${name} is traced through a socket`;
  if (missing !== undefined) {
    it.skip(`${title} (${missing})`);
    continue;
  }
  it(title, { timeout: 60_000 }, async () => {
    const server = await listen(join(folder, `${++servers}.sock`));
    const connection = once(server, "connection") as Promise<[Socket]>;
    const code = `
      import { connect as dial } from "node:net";
      import { connect } from ${GUEST};
      const { tracing, close } = await connect(dial(${JSON.stringify(server.address())}));
      const item = tracing.span({ name: "item", fields: ["i"] });
      tracing.span({ name: "all" }).run(undefined, () => { for (let i = 0; i < 5000; i++) item.enter({ i }).close(); });
      const unanswered = await close();
      process.exit(unanswered);
    `;
    const child = spawn(command, [...args, code], { stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    const exit = once(child, "exit");
    const [socket] = await connection;
    server.close();
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    expect((await traceStream(socket, receiver).outcome).kind).toBe("committed");
    expect(trace.spans).toHaveLength(5001);
    expect(trace.spans.every(({ state }) => state === "closed")).toBe(true);
    expect((await exit)[0]).toBe(0);
  });
}
