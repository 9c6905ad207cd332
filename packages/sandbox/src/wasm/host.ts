import { isTunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { performanceClock } from "@spanduct/sender";
import { RingReader } from "@spanduct/transport/ring";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";
import { traceContextText } from "../trace-context-text.ts";

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
  /** For guests that import from `spanduct`. */
  readonly imports: {
    readonly spanduct: {
      readonly send: WasmGuest["send"];
      /** `() -> i64`: nanoseconds since the Unix epoch. */
      readonly now: () => bigint;
      /**
       * `(ptr: i32, capacity: i32) -> i32`: write the trace context of the run at hand, as many of its bytes as there is room for.
       * In ASCII, with a line feed behind the first and the second: `traceparent` (55 bytes), `spanKey` (32 bytes or none),
       * `tracestate` (may be empty). Returns the length of all of it; 0 where there is no context.
       */
      readonly trace_context: (ptr: number, capacity: number) => number;
    };
  };
  readonly stats: GuestStats;
  /**
   * Take in what the guest has written into its ring so far, also while it is in a call of the host's. Happens by itself when the
   * guest sends and when a run ends; besides, an asynchronous run may want it, and a host that turned the level.
   */
  readonly drain: () => void;
  /**
   * Call into the instance, with everything it traces going to `receiver`, and settle the receiver: when `action` returns, or
   * its promise resolves, that commits; a trap and whatever else it throws roll back. Where the module has them, the exports
   * `spanduct_begin(control: i32)`, with a control word, and `spanduct_flush()` are called before and after `action`, the latter
   * also after a trap. Before that, a module that exports `spanduct_ring() -> i32` is asked for the ring that it has in its memory
   * (see `proto/README.md`): what is in there when the run ends is taken in, whatever ended it.
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
  let exports: Exports = {};
  let ring: ModuleRing | undefined;
  const runs = new GuestRuns(options, {
    end() {
      // First, because a guest that has trapped may make a mess of it.
      drain();
      try {
        exports.spanduct_flush?.();
      } finally {
        drain();
        ring = undefined;
      }
    },
  });

  /** A range of the module's memory; `undefined` where there is none, which is reported. @param len default: to the end */
  const range = (ptr: number, len?: number): Uint8Array | undefined => {
    const buffer: unknown = (options.memory ?? exports.memory)?.buffer;
    if (!(buffer instanceof ArrayBuffer) && !isShared(buffer)) {
      runs.malformed("the module has no memory", 0);
      return undefined;
    }
    const start = unsigned(ptr);
    const length = len === undefined ? Math.max(buffer.byteLength - start, 0) : unsigned(len);
    if (start < 0 || length < 0 || start + length > buffer.byteLength) {
      runs.malformed(`${length} bytes are not inside of ${buffer.byteLength} bytes of memory`, start);
      return undefined;
    }
    return new Uint8Array(buffer, start, length);
  };

  const openRing = (receiver: TracingEventReceiver): void => {
    const at = unsigned(exports.spanduct_ring?.() ?? 0);
    const memory = at === 0 ? undefined : range(at);
    if (memory === undefined) return;
    try {
      ring = { at, buffer: memory.buffer, reader: new RingReader(memory) };
      ring.reader.control(receiver.control());
    } catch (error) {
      giveUpRing(error);
    }
  };

  const giveUpRing = (error: unknown): void => {
    // What the relay throws is not the ring's fault.
    if (!isTunnelError(error)) throw error;
    ring = undefined;
    runs.ignore(error);
  };

  const drain = (): void => {
    if (ring === undefined) return;
    const { at, reader } = ring;
    const memory = range(at);
    if (memory === undefined) {
      ring = undefined;
      return;
    }
    try {
      // It has grown.
      if (memory.buffer !== ring.buffer) reader.moved(memory);
      ring.buffer = memory.buffer;
      reader.look();
      for (let batch = reader.take(); batch !== undefined; batch = reader.take()) reader.control(runs.receiveBatch(batch));
      reader.control(runs.control());
    } catch (error) {
      giveUpRing(error);
    }
  };

  const send = (ptr: number, len: number): number => {
    drain();
    const bytes = range(ptr, len);
    if (bytes === undefined) return 0;
    // A guest that wants its ring to be read.
    if (ring !== undefined && bytes.length === 0) return 0;
    // Other threads of the guest can write to shared memory while it is read.
    return runs.receiveBatch(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  };

  const trace_context = (ptr: number, capacity: number): number => {
    const { traceContext } = runs;
    if (traceContext === undefined) return 0;
    const bytes = range(ptr, capacity);
    if (bytes === undefined) return 0;
    const text = traceContextText(traceContext);
    for (let i = 0; i < Math.min(text.length, bytes.length); i++) bytes[i] = text.charCodeAt(i);
    return text.length;
  };

  return {
    send,
    imports: { spanduct: { send, now: () => performanceClock(performance).start(), trace_context } },
    get stats() {
      return runs.stats;
    },
    drain,
    run: (<T, Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance, action: () => T): Outcome<T, Span> => {
      return runs.run(receiver, () => {
        exports = instance.exports;
        openRing(receiver);
        exports.spanduct_begin?.(receiver.control());
        return action();
      });
    }) as WasmGuest["run"],
  };
}

/** What a module may export for its host half. */
interface Exports {
  readonly memory?: WasmMemory;
  readonly spanduct_begin?: (control: number) => void;
  readonly spanduct_flush?: () => void;
  readonly spanduct_ring?: () => number;
}

interface ModuleRing {
  readonly at: number;
  buffer: ArrayBufferLike;
  readonly reader: RingReader;
}

/** Numbers of a guest with a 64-bit memory are bigints; those of others are signed. */
function unsigned(number: number): number {
  return typeof number === "bigint" ? Number(number) : number >>> 0;
}

/** Not `instanceof`: where pages are not isolated there is no such class. */
function isShared(buffer: unknown): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}
