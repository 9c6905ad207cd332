import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WASI } from "node:wasi";
import { json } from "@spanduct/protocol/json";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type ReceiverOptions, TracingEventReceiver } from "@spanduct/receiver";
import { afterAll, describe, expect, it } from "vitest";
import { type Exception, sandboxContract } from "../../../../test/contract/sandbox.ts";
import { buildRust } from "../../../../test/interop/cargo.ts";
import { compileWasi, missingWasiLibc } from "../../../../test/support/clang.ts";
import { type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import type { Outcome } from "../outcome.ts";
import { type TraceWasiOptions, traceWasi, type WasiHost } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly [name: string]: () => void } };
}
const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

// The functions that a Rust panic goes through on WASI are as many as a stack has lines by default.
Error.stackTraceLimit = 50;

const scratch = mkdtempSync(join(tmpdir(), "wasi-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A guest's own standard output and standard error, in files. */
function outputs(): { readonly stdout: number; readonly stderr: number } {
  return { stdout: openSync(join(scratch, "stdout"), "w"), stderr: openSync(join(scratch, "stderr"), "w") };
}

/** Run a command. */
function start<Span>(
  module: object,
  program: string,
  receiver: TracingEventReceiver<Span>,
  options?: TraceWasiOptions,
): Outcome<void, Span> {
  const guest = traceWasi(new WASI({ version: "preview1", args: ["command", program], ...outputs() }), options);
  // As a host of the genuine crate mounts it.
  const instance = new Instance(module, { ...guest.imports, tracing: { send_event: guest.send } });
  return guest.start(receiver, instance);
}

const COMMON: readonly Exception[] = [
  { reason: "what commands print is text of no more structure than lines", programs: ["console"] },
  { reason: "there are no promises", programs: ["rejects"] },
];

const TARGET = "wasm32-wasip1";
const FOLDER = resolve(import.meta.dirname, "../../../../test/interop/wasm-guest");
const LANGUAGES = [
  {
    name: "C",
    codec: protobuf,
    missing: missingWasiLibc(),
    compile: () => compileWasi("test/contract/c/sandbox-programs.c"),
    exceptions: COMMON,
  },
  {
    name: "C with a ring",
    codec: protobuf,
    missing: missingWasiLibc(),
    compile: () => compileWasi("test/contract/c/sandbox-programs.c", ["-O2", "-DSPANDUCT_RING_BYTES=65536"]),
    exceptions: COMMON,
  },
  {
    name: "Rust with the genuine crate",
    codec: json,
    missing: buildRust(FOLDER, ["--release", "--bin", "command"], TARGET),
    compile: () => readFileSync(`${FOLDER}/target/${TARGET}/release/command.wasm`),
    exceptions: [
      { reason: "the crate's errors have no type", programs: ["failure"] },
      {
        reason: "the crate sends each event by itself, without a number and a count of drops",
        programs: ["many", "drops", "heals"],
      },
      { reason: "the crate's guests do not ask for the ids of their spans", programs: ["propagates"] },
      ...COMMON,
    ] satisfies Exception[],
  },
] as const;

for (const { name, codec, missing, compile, exceptions } of LANGUAGES) {
  if (missing !== undefined) {
    it.skip(`wasi: ${name} (${missing})`, () => undefined);
    continue;
  }
  const module = new Module(compile());
  sandboxContract(`wasi: ${name}`, { run: (program, receiver) => start(module, program, receiver), codec }, exceptions);

  describe(`traceWasi: a command in ${name}`, () => {
    function receiverOf(relay: TraceRecorder, options: Partial<ReceiverOptions<RecordedSpan>> = {}) {
      return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay, codec, ...options });
    }

    it("start: another exit code than 0 rolls back", () => {
      const trace = new TraceRecorder();
      const outcome = start(module, "no such program", receiverOf(trace));
      expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "the guest ended with exit code 3" } });
      expect(trace.ending).toBe("rollback");
    });

    it("captureOutput: lines become events in the span that the guest is in, and are written as ever", () => {
      const trace = new TraceRecorder();
      expect(start(module, "console", receiverOf(trace), { captureOutput: true }).kind).toBe("committed");
      expect(trace.spans).toMatchObject([
        {
          name: "talking",
          children: [
            { target: "stdout", level: "info", values: { message: { string: "hello" } } },
            { target: "stderr", level: "warn", values: { message: { string: "it broke" } } },
          ],
        },
      ]);
      expect(readFileSync(join(scratch, "stdout"), "utf8")).toBe("hello\n");
      expect(readFileSync(join(scratch, "stderr"), "utf8")).toBe("it broke\n");
    });

    it("captureOutput: without it no line becomes an event, and the host's level filters them with it", () => {
      const [silent, filtered] = [new TraceRecorder(), new TraceRecorder()];
      start(module, "console", receiverOf(silent));
      expect(silent.events).toEqual([]);
      start(module, "console", receiverOf(filtered, { maxLevel: 2 }), { captureOutput: true });
      expect(filtered.events.map(({ target }) => target)).toEqual(["stderr"]);
    });
  });
}

describe("traceWasi", () => {
  const PAGE = 65_536;
  const memory = { buffer: new ArrayBuffer(4 * PAGE) };
  const view = new DataView(memory.buffer);

  /** A host that believes everything, and a run in which `write` calls its `fd_write`. @returns the messages of the events */
  function captured(write: (fdWrite: (...args: number[]) => number) => void): string[] {
    new Uint8Array(memory.buffer).fill(0);
    const wasi: WasiHost = { wasiImport: { fd_write: () => 0 }, start: () => undefined };
    const guest = traceWasi(wasi, { captureOutput: true });
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const { fd_write } = guest.imports.wasi_snapshot_preview1 as { readonly fd_write: (...args: number[]) => number };
    expect(guest.run(receiver, { exports: { memory } }, () => write(fd_write)).kind).toBe("committed");
    expect(receiver.stats.refused).toEqual({});
    expect(fd_write(1, 0, 1, 64)).toBe(0);
    return trace.events.map(({ target, values }) => `${target}: ${Object.values(values["message"] as object)[0]}`);
  }

  /** Puts pieces of text at 1024 and their list at 0. @returns arguments behind the first */
  function pieces(texts: readonly (string | Uint8Array)[], claimed?: number): [number, number, number] {
    let at = 1024;
    texts.forEach((text, i) => {
      const bytes = Buffer.from(text);
      new Uint8Array(memory.buffer).set(bytes, at);
      view.setUint32(8 * i, at, true);
      view.setUint32(8 * i + 4, bytes.length, true);
      at += bytes.length;
    });
    view.setUint32(512, claimed ?? at - 1024, true);
    return [0, texts.length, 512];
  }

  it("captureOutput: lines and characters may be cut anywhere, the last line need not end", () => {
    const lines = captured((write) => {
      const [first, second] = [Buffer.from("naïve\r\n\n日本").subarray(0, 3), Buffer.from("naïve\r\n\n日本").subarray(3)];
      write(1, ...pieces(["one\ntw", "o\nthr"]));
      write(2, ...pieces(["a warning"]));
      write(1, ...pieces(["ee\n", first]));
      write(1, ...pieces([second]));
      write(3, ...pieces(["a file\n"]));
    });
    expect(lines).toEqual(["stdout: one", "stdout: two", "stdout: three", "stdout: naïve", "stdout: 日本", "stderr: a warning"]);
  });

  it("captureOutput: what was not written is no event, and long lines are several", () => {
    expect(captured((write) => write(1, ...pieces(["half of it\nand more\n"], 5)))).toEqual(["stdout: half "]);
    const lines = captured((write) => write(1, ...pieces(["x".repeat(100_000)])));
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.map((line) => line.slice("stdout: ".length)).join("")).toBe("x".repeat(100_000));
  });

  it("captureOutput: pieces that are not inside of the memory are no events, and the guest goes on", () => {
    const size = memory.buffer.byteLength;
    const lines = captured((write) => {
      for (const [at, count, writtenAt] of [
        [size, 1, 512],
        [-1, 1, 512],
        [0, -1, 512],
        [0, 1, size - 2],
        [0, 1, -4],
        [0, 0, 512],
      ] as const) {
        pieces([""], 0xffff_ffff);
        write(1, at, count, writtenAt);
      }
      view.setUint32(0, size - 4, true);
      view.setUint32(4, 100, true);
      view.setUint32(512, 100, true);
      write(1, 0, 1, 512);
      write(1, ...pieces(["still here\n"]));
    });
    expect(lines).toEqual(["stdout: still here"]);
  });

  it("run: settles an asynchronous run of a library when its promise does, and captures until then", async () => {
    const guest = traceWasi({ wasiImport: { fd_write: () => 0 }, start: () => undefined }, { captureOutput: true, memory });
    const { fd_write } = guest.imports.wasi_snapshot_preview1 as { readonly fd_write: (...args: number[]) => number };
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const outcome = guest.run(receiver, { exports: {} }, async () => {
      await Promise.resolve();
      return fd_write(1, ...pieces(["later"]));
    });
    expect(await outcome).toMatchObject({ kind: "committed", value: 0 });
    expect(trace.events).toMatchObject([{ target: "stdout", values: { message: { string: "later" } } }]);
  });

  it("start: a host whose start returns nothing means exit code 0", () => {
    const guest = traceWasi({ wasiImport: {}, start: () => undefined });
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: new TraceRecorder() });
    expect(guest.start(receiver, { exports: {} })).toMatchObject({ kind: "committed", value: undefined });
  });
});
