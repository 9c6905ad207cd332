import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Outcome } from "../outcome.ts";
import { type TraceWasmOptions, traceWasm, type WasmGuest, type WasmInstance, type WasmMemory } from "../wasm/host.ts";
import { OutputCapture } from "./output-capture.ts";

/** What is used of a host of WASI preview 1: `WASI` of `node:wasi`, or a shim for browsers that has the same. */
export interface WasiHost {
  /** The functions of `wasi_snapshot_preview1`. */
  readonly wasiImport: object;
  /** Run a command to its end. @returns its exit code; without one it is 0 */
  // biome-ignore lint/suspicious/noConfusingVoidType: hosts without exit codes return nothing
  start(instance: object): number | void;
}

/** How a WASI guest is traced. */
export interface TraceWasiOptions extends TraceWasmOptions {
  /**
   * Whether lines that the guest writes to standard output and standard error become events too, of target `stdout` and level info,
   * and of target `stderr` and level warn. Default: no. They belong to the span that the host knows to be entered: exact for guests
   * that send each event at once or have a ring; others should flush before they write.
   */
  readonly captureOutput?: boolean;
}

/** The imports of one instance of a module for WASI, and ways to run it with a receiver. */
export interface WasiGuest extends Pick<WasmGuest, "send" | "stats" | "drain"> {
  /** All imports: those of the tunnel, and those of WASI. */
  readonly imports: WasmGuest["imports"] & { readonly wasi_snapshot_preview1: object };
  /**
   * Run a command, with everything it traces going to `receiver`, and settle the receiver: exit code 0 commits, another one and a trap
   * roll back.
   *
   * @throws TunnelError "guest_busy": another run of this guest has not ended
   */
  start<Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance): Outcome<void, Span>;
  /** For modules without `_start`, which are libraries: as `run` of `traceWasm`. `initialize` them in the first run. */
  readonly run: WasmGuest["run"];
}

/**
 * Host half for one instance of a module for WASI preview 1, command or library. Files, arguments and the like are the business of
 * `wasi`, which has to return from a guest's exit (`returnOnExit` of Node, true by default).
 */
export function traceWasi(wasi: WasiHost, options: TraceWasiOptions = {}): WasiGuest {
  const guest = traceWasm(options);
  let capture: OutputCapture | undefined;

  const { fd_write: write, ...others } = wasi.wasiImport as { readonly fd_write: FdWrite };
  const fd_write: FdWrite = (fd, iovs, iovsLength, written) => {
    const errno = write(fd, iovs, iovsLength, written);
    if (errno === 0 && capture !== undefined) {
      // So that the host knows in which span the guest is.
      guest.drain();
      capture.written(fd, iovs, iovsLength, written);
    }
    return errno;
  };

  const run = <T, Span>(receiver: TracingEventReceiver<Span>, instance: WasmInstance, action: () => T): Outcome<T, Span> =>
    guest.run(receiver, instance, () => {
      if (options.captureOutput !== true) return action();
      const { memory = options.memory } = instance.exports as { readonly memory?: WasmMemory };
      const captured = new OutputCapture(receiver, () => memory?.buffer);
      capture = captured;
      const end = (): void => {
        captured.end();
        capture = undefined;
      };
      let value: T;
      try {
        value = action();
      } catch (error) {
        end();
        throw error;
      }
      if (value instanceof Promise) return value.finally(end) as T;
      end();
      return value;
    });

  return {
    send: guest.send,
    imports: { ...guest.imports, wasi_snapshot_preview1: { ...others, fd_write } },
    get stats() {
      return guest.stats;
    },
    start: (receiver, instance) =>
      run(receiver, instance, () => {
        const exitCode = wasi.start(instance) ?? 0;
        if (exitCode !== 0) throw new Error(`the guest ended with exit code ${exitCode}`);
      }),
    drain: guest.drain,
    run: run as WasmGuest["run"],
  };
}

type FdWrite = (fd: number, iovs: number, iovsLength: number, written: number) => number;
