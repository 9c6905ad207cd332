import type { TracingEventReceiver } from "@spanduct/receiver";
import { performanceClock } from "@spanduct/sender";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";

/** A `WebAssembly.Memory`. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

/** A `WebAssembly.Instance`. */
export interface WasmInstance {
  readonly exports: object;
}

/** How a module is traced. */
export interface TraceWasmOptions extends GuestOptions {
  /** The module's memory where it imports one. Default: what it exports as `memory`. */
  readonly memory?: WasmMemory;
}

/** The imports of one instance of a module, and a way to run it with a receiver. */
export interface WasmGuest {
  /**
   * The narrow function, `(ptr: i32, len: i32) -> i32`: one batch, in the wire form of the receiver's codec. It is
   * `spanduct.send` in `imports`; give it any other name that a module asks for. For a guest built with the genuine Rust crate,
   * which sends each event as JSON, make the receiver with `codec: json`.
   */
  readonly send: (ptr: number, len: number) => number;
  /** For guests that import from `spanduct`: `send`, and `now() -> i64`, nanoseconds since the Unix epoch. */
  readonly imports: { readonly spanduct: { readonly send: WasmGuest["send"]; readonly now: () => bigint } };
  readonly stats: GuestStats;
  /**
   * Call into the instance, with everything it traces going to `receiver`, and settle the receiver: when `action` returns, or
   * its promise resolves, that commits; a trap and whatever else it throws roll back. Either way the export `spanduct_flush`
   * is called first where the module has one.
   *
   * @throws TunnelError "guest_busy": another run of this guest has not ended
   */
  run<T, Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance, action: () => Promise<T>): Promise<Outcome<T, Span>>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance, action: () => T): Outcome<T, Span>;
}

/**
 * Host half for one instance of a WASM module. What the module says about its memory is checked: a range that is not there is
 * "malformed" and counted, and the guest goes on. Outside of `run`, thus also in the module's start function, it sends in vain.
 */
export function traceWasm(options: TraceWasmOptions = {}): WasmGuest {
  let exports: { readonly memory?: WasmMemory; readonly spanduct_flush?: () => void } = {};
  const runs = new GuestRuns(options, { end: () => exports.spanduct_flush?.() });

  const send = (ptr: number, len: number): number => {
    const buffer: unknown = (options.memory ?? exports.memory)?.buffer;
    if (!(buffer instanceof ArrayBuffer) && !isShared(buffer)) return runs.malformed("the module has no memory", 0);
    // Numbers of a guest with a 64-bit memory are bigints; those of others are signed.
    const start = typeof ptr === "bigint" ? Number(ptr) : ptr >>> 0;
    const length = typeof len === "bigint" ? Number(len) : len >>> 0;
    if (start < 0 || length < 0 || start + length > buffer.byteLength) {
      return runs.malformed(`${length} bytes are not inside of ${buffer.byteLength} bytes of memory`, start);
    }
    const bytes = new Uint8Array(buffer, start, length);
    // Other threads of the guest can write to shared memory while it is read.
    return runs.receiveBatch(buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  };

  return {
    send,
    imports: { spanduct: { send, now: () => performanceClock(performance).start() } },
    get stats() {
      return runs.stats;
    },
    run: (<T, Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance, action: () => T): Outcome<T, Span> => {
      return runs.run(receiver, () => {
        exports = instance.exports;
        return action();
      });
    }) as WasmGuest["run"],
  };
}

/** Not `instanceof`: where pages are not isolated there is no such class. */
function isShared(buffer: unknown): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}
