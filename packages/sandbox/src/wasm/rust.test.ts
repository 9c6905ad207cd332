import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { json } from "@spanduct/protocol/json";
import { TracingEventReceiver } from "@spanduct/receiver";
import { expect, it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { buildRust } from "../../../../test/interop/cargo.ts";
import { TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { traceWasm } from "./host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly [name: string]: () => void } };
}
const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const TARGET = "wasm32-unknown-unknown";
const FOLDER = resolve(import.meta.dirname, "../../../../test/interop/wasm-guest");

const missing = buildRust(FOLDER, ["--release", "--lib"], TARGET);
if (missing !== undefined) {
  it.skip(`wasm: Rust with the genuine crate (${missing})`, () => undefined);
} else {
  const programs = new Module(readFileSync(`${FOLDER}/target/${TARGET}/release/spanduct_wasm_guest.wasm`));
  const run = (program: string, receiver: TracingEventReceiver) => {
    const guest = traceWasm();
    const instance = new Instance(programs, { tracing: { send_event: guest.send } });
    return guest.run(receiver, instance, instance.exports[program] as () => void);
  };

  sandboxContract("wasm: Rust with the genuine crate", { run, codec: json }, [
    { reason: "the crate's errors have no type", programs: ["failure"] },
    {
      reason: "the crate sends each event by itself, without a number and a count of drops",
      programs: ["many", "drops", "heals"],
    },
    { reason: "the crate's guests do not ask for the ids of their spans", programs: ["propagates"] },
    { reason: "Rust has a console only where the host gives it one", programs: ["console"] },
    { reason: "Rust has no promises", programs: ["rejects"] },
  ]);

  it("run: ten thousand spans of the genuine crate arrive, each once and in order", () => {
    const trace = new TraceRecorder();
    const receiver = new TracingEventReceiver({}, {}, [], { relay: trace, codec: json });
    expect(run("many", receiver).kind).toBe("committed");
    const [batch, ...items] = trace.spans;
    expect(batch?.name).toBe("batch");
    expect(items.map(({ values }) => values["i"])).toEqual(Array.from({ length: 10_000 }, (_, i) => ({ int: i })));
    expect(receiver.stats).toMatchObject({ refused: {}, liveSpans: 0 });
  });

  it("run: the error of the genuine crate arrives with its cause", () => {
    const trace = new TraceRecorder();
    run("failure", new TracingEventReceiver({}, {}, [], { relay: trace, codec: json }));
    expect(trace.events).toMatchObject([
      {
        name: "failed",
        level: "error",
        target: "spanduct_wasm_guest",
        values: { error: { error: { message: "cannot render", source: { message: "no such file", source: null } } } },
      },
    ]);
  });
}
