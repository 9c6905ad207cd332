import { TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { QuickJSContext, QuickJSHandle, QuickJSRuntime, SuccessOrFail } from "quickjs-emscripten-core";
import { GUEST_BUNDLE } from "../guest-bundle.js";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";

/** How a context is traced. */
export interface TraceQuickJSOptions extends GuestOptions {
  /** The guest's time: milliseconds since the Unix epoch, with fractions. Default: the host's `performance`. */
  readonly now?: () => number;
}

/** A context that can be run with a receiver. */
export interface QuickJSGuest {
  readonly stats: GuestStats;
  /**
   * Run guest code, with everything it traces going to `receiver`, and settle the receiver: a value commits; an error, also
   * that of an interrupt or a limit, and an exception of `action` roll back. What the guest has batched is delivered first.
   * A handle in the outcome is the caller's to dispose of.
   *
   * @param action calls the guest: `() => context.evalCode(code)`; for asynchronous code a promise, see `context.resolvePromise`
   * @throws TunnelError "guest_busy": another run of this guest has not ended
   */
  run<T, Span>(
    receiver: TracingEventReceiver<Span>,
    action: () => Promise<SuccessOrFail<T, QuickJSHandle>>,
  ): Promise<Outcome<T, Span>>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => SuccessOrFail<T, QuickJSHandle>): Outcome<T, Span>;
}

/**
 * Load the guest half into a context. Scripts then find the global `spanduct`, see `SpanductGlobal`; `console` is there, and
 * what is written to it becomes events too. Numbers and copies of bytes are all that crosses, and nothing has to be disposed of.
 *
 * @throws TunnelError "transport_failed": the guest half does not load, for instance because the context is traced already
 */
export function traceQuickJS(context: QuickJSContext, options: TraceQuickJSOptions = {}): QuickJSGuest {
  const { performance } = globalThis;
  const { now = () => performance.timeOrigin + performance.now() } = options;
  /** Whether the guest's code of this run ended by an error, which may be that there is no memory left. */
  let failed = false;
  const runs = new GuestRuns(options, {
    begin: (word, traceContext) => {
      failed = false;
      const args = [context.newNumber(word), ...(traceContext ? [context.newString(JSON.stringify(traceContext))] : [])];
      callGuest(context, "__spanduct_begin", ...args);
      for (const arg of args) arg.dispose();
    },
    end() {
      const flush = (): void => callGuest(context, "__spanduct_flush");
      if (failed) withoutMemoryLimit(context.runtime, flush);
      else flush();
    },
  });

  define(context, "__spanduct_now", () => context.newNumber(now()));
  define(context, "__spanduct_send", (batch) => context.newNumber(receive(context, batch, runs)));
  const loaded = context.evalCode(GUEST_BUNDLE, "spanduct");
  if (loaded.error !== undefined) {
    const cause = hostError(context, loaded.error);
    loaded.dispose();
    throw new TunnelError("transport_failed", "the guest half does not load", { cause });
  }
  loaded.dispose();

  const unwrap = <T>(result: SuccessOrFail<T, QuickJSHandle>): T => {
    if (result.error === undefined) return result.value;
    failed = true;
    const error = hostError(context, result.error);
    result.error.dispose();
    throw error;
  };
  return {
    get stats() {
      return runs.stats;
    },
    run: (<T, Span>(receiver: TracingEventReceiver<Span>, action: () => SuccessOrFail<T, QuickJSHandle>): Outcome<T, Span> =>
      runs.run(receiver, () => {
        const result = action();
        return result instanceof Promise ? result.then(unwrap) : unwrap(result);
      }) as Outcome<T, Span>) as QuickJSGuest["run"],
  };
}

/** Neither listed nor changeable, so that a script that tidies up does not cut the tunnel. */
function define(context: QuickJSContext, name: string, call: (...args: QuickJSHandle[]) => QuickJSHandle): void {
  context.newFunction(name, call).consume((value) => {
    context.defineProp(context.global, name, { value, configurable: false, enumerable: false });
  });
}

function receive(context: QuickJSContext, batch: QuickJSHandle | undefined, runs: GuestRuns): number {
  let bytes: ReturnType<QuickJSContext["getArrayBuffer"]>;
  try {
    bytes = context.getArrayBuffer(batch as QuickJSHandle);
  } catch (cause) {
    return runs.malformed("not an ArrayBuffer", 0, cause);
  }
  // A copy, because what the receiver's relay does may make the memory of QuickJS grow, which takes the view away.
  return runs.receiveBatch(bytes.consume((view) => view.value.slice()));
}

function callGuest(context: QuickJSContext, name: string, ...args: QuickJSHandle[]): void {
  context.getProp(context.global, name).consume((call) => context.callFunction(call, context.undefined, ...args).dispose());
}

/** What can be said only in words, for where there is no memory left there is none for an object that says it either. */
const MEMORY_LIMIT = /malloc limit: (\d+)/;

/** For the guest's last batch. */
function withoutMemoryLimit(runtime: QuickJSRuntime, action: () => void): void {
  const limit = MEMORY_LIMIT.exec(runtime.dumpMemoryUsage())?.[1];
  if (limit === undefined) return action();
  runtime.setMemoryLimit(-1);
  try {
    action();
  } finally {
    runtime.setMemoryLimit(Number(limit));
  }
}

const MAX_CAUSES = 16;

/** What the guest threw, with its causes, as an error of the host's. Never throws itself. */
function hostError(context: QuickJSContext, thrown: QuickJSHandle, depth: number = MAX_CAUSES): Error {
  const read = <T>(key: string, convert: (value: QuickJSHandle) => T | undefined): T | undefined => {
    const value = context.getProp(thrown, key);
    try {
      return convert(value);
    } finally {
      value.dispose();
    }
  };
  const text = (value: QuickJSHandle): string | undefined =>
    context.typeof(value) === "string" ? context.getString(value) : undefined;
  const deeper = (cause: QuickJSHandle): Error | undefined =>
    depth > 1 && context.typeof(cause) !== "undefined" ? hostError(context, cause, depth - 1) : undefined;

  if (context.typeof(thrown) !== "object" || context.sameValue(thrown, context.null)) return new Error(describe(context, thrown));
  const cause = read("cause", deeper);
  const error = new Error(read("message", text) ?? describe(context, thrown), cause && { cause });
  error.name = read("name", text) ?? "Error";
  error.stack = `${error.name}: ${error.message}\n${read("stack", text) ?? ""}`.trimEnd();
  return error;
}

function describe(context: QuickJSContext, value: QuickJSHandle): string {
  try {
    const copy: unknown = context.dump(value);
    return typeof copy === "object" ? JSON.stringify(copy) : String(copy);
  } catch {
    return "something that cannot be read";
  }
}
