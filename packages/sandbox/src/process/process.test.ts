import { spawn } from "node:child_process";
import { once } from "node:events";
import { TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { OTHER_RUNTIMES } from "../../../../test/support/other-runtimes.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { connect } from "./guest.ts";
import { type TracedProcess, type TraceProcessOptions, traceProcess } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/process/index.js", import.meta.url).href);
const SENDER = JSON.stringify(import.meta.resolve("@spanduct/sender"));

/** A program whose code finds `spanduct`. */
function script(source: string): string[] {
  const code = `(async () => {
    const { connect } = await import(${GUEST});
    const spanduct = { ...(await import(${SENDER})), tracing: connect({ captureConsole: true }) };
    ${source}
  })()`;
  return ["-e", code];
}

const SILENT: TraceProcessOptions = { stdio: "ignore" };

for (const channel of ["descriptors", "stdio"] as const) {
  sandboxContract(`process, ${channel}`, {
    run(program, receiver, stop) {
      const options = { ...SILENT, channel };
      const { child, outcome } = traceProcess(process.execPath, script(programSource(program)), receiver, options);
      stop.addEventListener("abort", () => child.kill("SIGKILL"));
      return outcome;
    },
  });
}

interface Run extends TracedProcess<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

function start(args: string[], options: TraceProcessOptions = {}, command: string = process.execPath): Run {
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  const run = traceProcess(command, args, receiver, { ...SILENT, ...options });
  onTestFinished(() => void run.child.kill("SIGKILL"));
  return { ...run, trace, receiver };
}

const OPEN = `spanduct.tracing.span({ name: "open" }).enter(); spanduct.tracing.event({ name: "last words" }).emit();`;

describe("traceProcess", { timeout: 60_000 }, () => {
  it("commits a process that ends with process.exit(), after what it has batched", async () => {
    const { outcome, trace } = start(script(`${OPEN} process.exit();`));
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    expect(trace.lines()).toEqual(["open (open)", "  · last words"]);
  });

  it("rolls back a process that ends with another exit code, after what it has batched", async () => {
    const { outcome, trace } = start(script(`${OPEN} process.exit(3);`));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the process ended with exit code 3" } });
    expect(trace.lines()).toEqual(["open (rolled back)", "  · last words", expect.stringContaining("  · exception")]);
  });

  it.each([
    ["an error nobody catches", `setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a promise nobody catches", `Promise.reject(new RangeError("late", { cause: new Error("deep") }));`],
  ])("rolls back a process that ends with %s, which is in the trace with its cause", async (_, source) => {
    const { outcome, trace } = start(script(`${OPEN} ${source}`));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
    expect(errorOf(trace.events.at(-1))).toMatchObject({ type: "RangeError", message: "late", source: { message: "deep" } });
  });

  it("commits a process that deals with its uncaught errors itself", async () => {
    const { outcome } = start(
      script(`process.on("uncaughtException", () => {}); setTimeout(() => { throw new Error("handled"); });`),
    );
    expect((await outcome).kind).toBe("committed");
  });

  it("rolls back a process that a signal ends, with what it had sent", async () => {
    const { outcome, trace } = start(script(`${OPEN} spanduct.tracing.flush(); process.kill(process.pid, "SIGTERM"); for (;;);`));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the process was ended by SIGTERM" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
  });

  it("rolls back a process that uses up its memory", async () => {
    const source = `${OPEN} spanduct.tracing.flush(); const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));`;
    const { outcome, trace } = start(["--max-old-space-size=16", ...script(source)]);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the process was ended by SIGABRT" } });
    expect(trace.lines().slice(0, 2)).toEqual(["open (rolled back)", "  · last words"]);
  });

  it("rolls back what cannot be started", async () => {
    const { outcome } = start([], {}, "/no/such/command");
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code: "ENOENT" } });
  });

  it("commits a process that knows nothing of the tunnel and ends well", async () => {
    const { outcome, receiver } = start(["-e", "1"]);
    expect(await outcome).toMatchObject({ kind: "committed", spans: {} });
    expect(receiver.stats.batches).toBe(0);
  });

  it.each([
    ["text", `console.log("not a batch")`, "malformed"],
    ["another version", `process.stdout.write("spanduct/2\\n")`, "unsupported_version"],
    [
      "a gigabyte announced",
      `process.stdout.write(Buffer.concat([Buffer.from("spanduct/1\\n"), Buffer.from([1, 0, 0, 0, 64])]))`,
      "limit_exceeded",
    ],
  ])("kills a process that writes %s where batches are expected", async (_, source, code) => {
    const { outcome, child } = start(["-e", `${source}; setInterval(() => {}, 1000)`], { channel: "stdio" });
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { code } });
    expect(child.signalCode).toBe("SIGKILL");
  });

  it("rolls back a process of exit code 0 that is gone without a word, in the middle of a batch", async () => {
    const source = `process.stdout.write(Buffer.concat([Buffer.from("spanduct/1\\n"), Buffer.from([1, 9, 0, 0, 0, 1, 2])]))`;
    const { outcome } = start(["-e", source], { channel: "stdio" });
    expect(await outcome).toMatchObject({
      kind: "rolled_back",
      error: { code: "transport_closed", message: expect.stringContaining("2 of 9 bytes of a frame") },
    });
  });

  it("does not wait for what a process leaves behind, which keeps the tunnel open", async () => {
    const source = `
      ${OPEN}
      const { spawn } = require("node:child_process");
      spawn(process.execPath, ["-e", "setTimeout(() => {}, 30_000)"], { stdio: ["ignore", "ignore", "ignore", 4], detached: true }).unref();
    `;
    const started = performance.now();
    const { outcome } = start(script(source));
    expect((await outcome).kind).toBe("committed");
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it("gives the guest its own standard streams, environment and further descriptors", async () => {
    const source = `
      process.stdin.on("data", (text) => require("node:fs").writeSync(3, text + process.env.WHO + process.env.SPANDUCT_CHANNEL));
    `;
    const { child, outcome } = start(script(source), {
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      env: { ...process.env, WHO: "you" },
    });
    child.stdin?.end("hello ");
    const [text] = await once(child.stdio[3] as NodeJS.ReadableStream, "data");
    // Processes that the guest starts are not told of the tunnel.
    expect(String(text)).toBe("hello youundefined");
    expect((await outcome).kind).toBe("committed");
  });

  it("delivers all that was batched at process.exit(), also to a host that is slow", async () => {
    const trace = new TraceRecorder(() => {
      for (const end = performance.now() + 0.1; performance.now() < end; );
    });
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const source = `
      const note = spanduct.tracing.event({ name: "note", fields: ["text"] });
      for (let i = 0; i < 3000; i++) note.emit({ text: "x".repeat(1000) });
      process.exit();
    `;
    const { outcome } = traceProcess(process.execPath, script(source), receiver, SILENT);
    expect((await outcome).kind).toBe("committed");
    expect(trace.events).toHaveLength(3000);
    expect(receiver.stats).toMatchObject({ lostBatches: 0, droppedEvents: 0, refused: {} });
  });

  it("lets a guest end that nobody listens to", async () => {
    const child = spawn(process.execPath, script(`${OPEN} spanduct.tracing.event({ name: "x".repeat(1e6) }).emit();`), {
      env: { ...process.env, SPANDUCT_CHANNEL: "3,4" },
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [exitCode] = await once(child, "exit");
    expect(exitCode).toBe(0);
  });

  it("leaves standard error to a guest whose standard output is the tunnel", async () => {
    const { child, outcome, trace } = start(script(`console.log("out"); console.error("err");`), {
      channel: "stdio",
      stdio: ["ignore", "ignore", "pipe"],
    });
    let text = "";
    child.stderr?.on("data", (chunk) => (text += chunk));
    expect((await outcome).kind).toBe("committed");
    expect(text).toBe("out\nerr\n");
    expect(trace.events.map(({ values }) => values["message"])).toEqual([{ string: "out" }, { string: "err" }]);
  });
});

describe("connect", { timeout: 60_000 }, () => {
  it("gives the same sender at every call, so that spans of several modules fit together", async () => {
    const { outcome, trace } = start(
      script(`
        spanduct.tracing.span({ name: "outer" }).enter();
        connect({ target: "other" }).span({ name: "inner" }).enter().close();
        if (connect() !== spanduct.tracing) throw new Error("another sender");
      `),
    );
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual(["outer (open)", "  inner"]);
  });

  it.each(["3,4", "banana", "", "-1,0", "3"])("gives a sender that is off where %j leads nowhere", async (channel) => {
    const child = spawn(process.execPath, script(`${OPEN} process.exitCode = spanduct.tracing.maxLevel;`), {
      env: { ...process.env, SPANDUCT_CHANNEL: channel },
      stdio: "ignore",
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    expect((await once(child, "exit"))[0]).toBe(0);
  });

  it("gives a sender that is off in a process that nobody traces, and in a worker of one that somebody does", async () => {
    const { outcome, trace } = start([
      "-e",
      `const { Worker } = require("node:worker_threads");
       new Worker(${JSON.stringify(script(OPEN)[1])}, { eval: true });`,
    ]);
    expect((await outcome).kind).toBe("committed");
    expect(trace.lines()).toEqual([]);
    expect(connect().maxLevel).toBe(0);
  });

  for (const { name, command, args, missing } of OTHER_RUNTIMES) {
    const title = `gives a sender that is off, and says so, in a process of ${name}, which cannot read without waiting`;
    if (missing !== undefined) {
      it.skip(`${title} (${missing})`);
      continue;
    }
    it(title, async () => {
      const code = `import { connect } from ${GUEST}; connect().event({ name: "lost" }).emit();`;
      const { child, outcome, receiver } = start([...args, code], { stdio: ["ignore", "ignore", "pipe"] }, command);
      let text = "";
      child.stderr?.on("data", (chunk) => (text += chunk));
      expect((await outcome).kind).toBe("committed");
      expect(text).toContain(`spanduct: nothing is traced, because ${name} cannot`);
      expect(receiver.stats.batches).toBe(0);
    });
  }
});
