import { TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { JSValueHandle, QuickJS } from "quickjs-wasi";
import { GUEST_BUNDLE } from "../guest-bundle.js";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";

/** How a VM is traced. */
export interface TraceQuickJSWasiOptions extends GuestOptions {
  /** The guest's time: milliseconds since the Unix epoch, with fractions. Default: the host's `performance`. */
  readonly now?: () => number;
}

/** A VM that can be run with a receiver. */
export interface QuickJSWasiGuest {
  readonly stats: GuestStats;
  /**
   * Run guest code, with everything it traces going to `receiver`, and settle the receiver: when `action` returns, or its promise
   * resolves to a `value`, that commits; an exception of the guest's, also that of an interrupt or a limit, any other exception
   * of `action`, and an `error` roll back. What the guest has batched is delivered first. A handle in the outcome is the
   * caller's to dispose of.
   *
   * When it has returned, nothing of the tunnel is half-done in the VM: that is the moment for a snapshot.
   *
   * @param action calls the guest: `() => vm.evalCode(code)`; for asynchronous code a promise, see `vm.resolvePromise`
   * @throws TunnelError "guest_busy": another run of this guest has not ended
   */
  run<T, Span>(
    receiver: TracingEventReceiver<Span>,
    action: () => Promise<{ readonly value: T } | { readonly error: JSValueHandle }>,
  ): Promise<Outcome<T, Span>>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T): Outcome<T, Span>;
  /**
   * Takes what the VM's `onUnhandledRejection` is told, which has to be given when the VM is made: what nobody has handled when a
   * run ends becomes an event `exception`. Throws nothing.
   */
  rejected(promise: JSValueHandle, reason: JSValueHandle, isHandled: boolean): void;
}

/**
 * Load the guest half into a VM. Scripts then find the global `spanduct`, see `SpanductGlobal`; `console` is there, and what is
 * written to it becomes events too. Numbers and copies of bytes are all that crosses, and nothing has to be disposed of.
 *
 * A VM that was restored from the snapshot of a traced one has the guest half already, with its open spans, and goes on with it:
 * call this before any of its code runs, and give `run` a receiver made from the state that was persisted with the snapshot.
 *
 * @throws TunnelError "transport_failed": the guest half does not load, for instance because this very VM is traced already
 */
export function traceQuickJSWasi(vm: QuickJS, options: TraceQuickJSWasiOptions = {}): QuickJSWasiGuest {
  const { performance } = globalThis;
  const { now = () => performance.timeOrigin + performance.now() } = options;
  const runs = new GuestRuns(options, {
    begin: (word, traceContext) => {
      const args = [vm.newNumber(word), ...(traceContext ? [vm.newString(JSON.stringify(traceContext))] : [])];
      callGuest(vm, "__spanduct_begin", ...args);
      for (const arg of args) arg.dispose();
    },
    end: () => callGuest(vm, "__spanduct_flush"),
  });

  try {
    const isRestored = vm.global.getProp("__spanduct_flush").consume((flush) => flush.isFunction);
    define(vm, isRestored, "__spanduct_now", now);
    define(vm, isRestored, "__spanduct_send", (batch) => receive(batch, runs));
    if (!isRestored) vm.evalCode(GUEST_BUNDLE, "spanduct").dispose();
  } catch (error) {
    throw new TunnelError("transport_failed", "the guest half does not load", { cause: hostError(vm, error) });
  }

  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw hostError(vm, error);
    }
  };
  return {
    get stats() {
      return runs.stats;
    },
    run: (<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T): Outcome<unknown, Span> => {
      return runs.run(receiver, () => {
        const result = attempt(action);
        if (!(result instanceof Promise)) return result;
        return result.then(
          (settled: { readonly value: T } | { readonly error: JSValueHandle }) => {
            if ("error" in settled) throw settled.error.consume((thrown) => guestError(thrown));
            return settled.value;
          },
          (error: unknown) => {
            throw hostError(vm, error);
          },
        );
      }) as Outcome<unknown, Span>;
    }) as QuickJSWasiGuest["run"],
    rejected(promise, reason, isHandled) {
      try {
        callGuest(vm, "__spanduct_rejected", promise, reason, isHandled ? vm.true : vm.false);
      } catch {
        // The guest is at the end of its memory or its stack.
      }
    },
  };
}

/**
 * A function of the host's that returns numbers: neither listed nor changeable, so that a script that tidies up does not cut the
 * tunnel. A restored VM has it, and finds the host's part by its name.
 */
function define(vm: QuickJS, isRestored: boolean, name: string, call: (argument: JSValueHandle | undefined) => number): void {
  // What a function returns is copied after it has returned, and nobody disposes of it.
  let returned: JSValueHandle | undefined;
  const value = vm.newFunction(name, (argument) => {
    const number = call(argument);
    returned?.dispose();
    returned = vm.newNumber(number);
    return returned;
  });
  value.consume((value) => {
    if (!isRestored) vm.defineProp(vm.global, name, value);
  });
}

function receive(batch: JSValueHandle | undefined, runs: GuestRuns): number {
  try {
    if (batch?.isArrayBuffer !== true) return runs.malformed("not an ArrayBuffer", 0);
    return runs.receiveBatch(batch.toUint8Array());
  } catch (cause) {
    return runs.malformed("an ArrayBuffer that cannot be read", 0, cause);
  }
}

function callGuest(vm: QuickJS, name: string, ...args: JSValueHandle[]): void {
  vm.global.getProp(name).consume((call) => vm.callFunction(call, vm.undefined, ...args).dispose());
}

/** A `JSException` of this VM as an error of the host's; anything else as it is. Never throws itself. */
function hostError(vm: QuickJS, error: unknown): unknown {
  // Not `instanceof`: that would load the library, which only those have who use it.
  const thrown = (error as { readonly handle?: JSValueHandle } | undefined)?.handle;
  return thrown?.vm === vm ? thrown.consume((thrown) => guestError(thrown)) : error;
}

const MAX_CAUSES = 16;

/** What the guest threw, with its causes, as an error of the host's. Never throws itself. */
function guestError(thrown: JSValueHandle, depth: number = MAX_CAUSES): Error {
  try {
    if (thrown.typeof !== "object" || thrown.isNull) return new Error(describe(thrown));
    const text = (key: string): string | undefined =>
      thrown.getProp(key).consume((value) => (value.isString ? value.toString() : undefined));
    const cause =
      depth > 1
        ? thrown.getProp("cause").consume((cause) => (cause.isUndefined ? undefined : guestError(cause, depth - 1)))
        : undefined;
    const error = new Error(text("message") ?? describe(thrown), cause && { cause });
    error.name = text("name") ?? "Error";
    error.stack = `${error.name}: ${error.message}\n${text("stack") ?? ""}`.trimEnd();
    return error;
  } catch (cause) {
    // The VM is disposed of, or out of memory.
    return new Error("something that cannot be read", { cause });
  }
}

const MAX_DESCRIBED_KEYS = 16;

/** In a few words, without running the guest's code. */
function describe(value: JSValueHandle): string {
  if (!value.isObject) return String(primitive(value));
  // What has elements may have billions of them.
  if (value.isProxy || value.className !== "Object") return `[${value.isProxy ? "Proxy" : value.className}]`;
  const read = (key: string): unknown => value.getOwnPropertyDescriptor(key)?.value?.consume(primitive);
  const keys = value.keys().slice(0, MAX_DESCRIBED_KEYS);
  return JSON.stringify(Object.fromEntries(keys.map((key) => [key, read(key)])));
}

/** What goes into JSON. */
function primitive(value: JSValueHandle): unknown {
  if (value.isObject) return `[${value.className}]`;
  if (value.isSymbol) return "[Symbol]";
  return value.isBigInt ? String(value.toBigInt()) : value.vm.dump(value);
}
