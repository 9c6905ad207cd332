import { inspect, types } from "node:util";
import { type Context, Script } from "node:vm";
import { TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { GUEST_BUNDLE } from "../guest-bundle.js";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";
import { prototypeChain } from "./prototype-chain.ts";
import type { VmRejections } from "./rejections.ts";

/** How a context is traced. */
export interface TraceVmOptions extends GuestOptions {
  /** The guest's time: milliseconds since the Unix epoch, with fractions. Default: the host's `performance`. */
  readonly now?: () => number;
  /**
   * Sees to rejections that the guest does not handle. An asynchronous run then ends one turn of the event loop after its promise,
   * so that those are in it; of a synchronous one they come too late, and are reported to `onError`. Default: Node ends the process.
   */
  readonly rejections?: VmRejections;
}

/** A context that can be run with a receiver. */
export interface VmGuest {
  readonly stats: GuestStats;
  /**
   * Run guest code, with everything it traces going to `receiver`, and settle the receiver: a value commits; what the guest
   * throws, a `timeout` of its script and an exception of `action` roll back. What the guest has batched is delivered first, in
   * a second at most. The error in the outcome is of the host's realm, a value is as the guest returned it.
   *
   * @param action calls the guest: `() => script.runInContext(context, { timeout, displayErrors: false }) as number`. Without
   *   `displayErrors: false` Node reads what the guest throws, outside of the timeout. A promise of the guest's is to be returned, not
   *   awaited: `await` hands functions of the host's to it
   * @throws TunnelError "guest_busy": another run of this guest has not ended
   */
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => Promise<T>): Promise<Outcome<T, Span>>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T): Outcome<T, Span>;
}

/**
 * Load the guest half into a context of `node:vm`. Scripts then find the global `spanduct`, see `SpanductGlobal`; `console` is
 * there, and what is written to it becomes events too. Numbers and copies of bytes are all that crosses.
 *
 * Where the host has to do with objects of the guest's, that has a second: a guest that makes it endless gets less. A timeout, the
 * caller's too, may end the host's own code in the middle of a batch, span processors included.
 *
 * @param context what `createContext` returned
 * @throws TunnelError "transport_failed": the guest half does not load, for instance because the context is traced already
 */
export function traceVm(context: Context, options: TraceVmOptions = {}): VmGuest {
  const { performance } = globalThis;
  const { now = () => performance.timeOrigin + performance.now(), rejections } = options;
  // A guest that tampered with its realm may make even these scripts endless. Errors are not decorated: that runs getters.
  const runScript = (script: Script): unknown => script.runInContext(context, { timeout: TURN_TIMEOUT_MS, displayErrors: false });
  /** Have the host's code run where the timeout of a script ends it, and what it runs of the guest's. */
  const inTime = <T>(action: () => T): T => {
    let result: { readonly value: T } | undefined;
    const value = (): void => {
      result = { value: action() };
    };
    Object.defineProperty(context, CALL, { value, configurable: true });
    runScript(CALL_SCRIPT);
    return (result as unknown as { readonly value: T }).value;
  };
  const hostError = (thrown: unknown): Error => {
    if (isOfHost(thrown)) return thrown;
    try {
      return inTime(() => toHostError(thrown, true));
    } catch {
      return toHostError(thrown, false);
    }
  };
  const evaluate = (code: string): unknown => {
    try {
      return runScript(new Script(code, { filename: "spanduct" }));
    } catch (thrown) {
      throw hostError(thrown);
    }
  };
  const flush = (): unknown => evaluate("__spanduct_flush()");
  const runs = new GuestRuns(options, {
    begin: (word, traceContext) => {
      evaluate(`__spanduct_begin(${word}, ${traceContext && JSON.stringify(JSON.stringify(traceContext))})`);
    },
    end: flush,
  });

  let subscribe: Subscribe;
  try {
    const wall = evaluate(WALL) as Wall;
    subscribe = inTime(() => wall((batch) => receive(batch, runs), now));
    rejections?.add(evaluate("Promise.prototype") as object, (reason) => runs.uncaught(hostError(reason), flush));
    evaluate(GUEST_BUNDLE);
  } catch (thrown) {
    throw new TunnelError("transport_failed", "the guest half does not load", { cause: hostError(thrown) });
  }

  /** Boxed, because a value of the guest's that has a `then` would be called with functions of the host's. */
  const boxed = <T>(action: () => T): Box<T> | Promise<Box<T>> => {
    let value: T;
    try {
      value = action();
    } catch (thrown) {
      throw hostError(thrown);
    }
    if (!types.isPromise(value)) return { value };
    const promise = value as Promise<T>;
    return new Promise((resolve, reject) => {
      // Node tells of rejections once there is nothing else left to do in this turn.
      const settle = (call: () => void): void => void (rejections === undefined ? call() : setImmediate(call));
      const fulfilled = (value: T): void => settle(() => resolve({ value }));
      const rejected = (thrown: unknown): void => settle(() => reject(hostError(thrown)));
      try {
        if (promise instanceof Promise) promise.then(fulfilled, rejected);
        else {
          inTime(() => subscribe(promise, fulfilled as (value: unknown) => void, rejected));
          // A context with a queue of microtasks of its own gets to them at the end of a script only.
          evaluate("0");
        }
      } catch (thrown) {
        rejected(thrown);
      }
    });
  };
  const opened = <T, Span>(outcome: Outcome<Box<T>, Span>): Outcome<T, Span> =>
    outcome.kind === "committed" ? { ...outcome, value: outcome.value.value } : outcome;
  return {
    get stats() {
      return runs.stats;
    },
    run: (<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T): Outcome<T, Span> | Promise<Outcome<T, Span>> => {
      const outcome = runs.run(receiver, () => boxed(action)) as Outcome<Box<T>, Span> | Promise<Outcome<Box<T>, Span>>;
      return outcome instanceof Promise ? outcome.then(opened) : opened(outcome);
    }) as VmGuest["run"],
  };
}

/** How long the guest half may take to load, and to deliver what is batched. */
const TURN_TIMEOUT_MS = 1000;

const CALL = "__spanduct_call";
/** Calls the host's function of this name, which is gone before any code of the guest's can run. */
const CALL_SCRIPT = new Script(`{ const call = this.${CALL}; delete this.${CALL}; call(); }`, { filename: "spanduct" });

interface Box<T> {
  readonly value: T;
}

type Subscribe = (promise: object, fulfilled: (value: unknown) => void, rejected: (thrown: unknown) => void) => void;
type Wall = (receive: (batch: unknown) => number, now: () => number) => Subscribe;

/**
 * Makes functions of the guest's realm to stand in front of the host's. A function or an exception of the host's leads to the
 * host's `Function` and from there to everything; also running out of stack in a call of the host's throws one of its realm.
 *
 * What the caller put into the context as its `console` stays as it is, and a console of the guest's writes to it.
 */
const WALL = `"use strict";
(receive, now) => {
  const define = (name, value) => Object.defineProperty(globalThis, name, { value });
  define("__spanduct_send", (batch) => { try { return receive(batch); } catch { return 0; } });
  define("__spanduct_now", () => { try { return now(); } catch { return 0; } });
  if (globalThis.console) globalThis.console = Object.create(globalThis.console);
  const { apply } = Reflect;
  const { then } = Promise.prototype;
  return (promise, fulfilled, rejected) => {
    const quietly = (call) => (value) => { try { call(value); } catch {} };
    apply(then, promise, [quietly(fulfilled), quietly(rejected)]);
  };
}`;

function receive(batch: unknown, runs: GuestRuns): number {
  let bytes: Uint8Array;
  try {
    if (!types.isArrayBuffer(batch)) throw new TypeError("an ArrayBuffer is wanted");
    bytes = new Uint8Array(batch).slice();
  } catch (cause) {
    return runs.malformed("not an ArrayBuffer", 0, cause);
  }
  return runs.receiveBatch(bytes);
}

const MAX_CAUSES = 16;
const UNREADABLE = "something that cannot be read";

/**
 * What the guest threw, with its causes, as an error of the host's. Never throws.
 *
 * @param isWhole also what runs getters and proxies of the guest's, who can make it endless: stacks, and objects that are no errors
 */
function toHostError(thrown: unknown, isWhole: boolean, depth: number = MAX_CAUSES): Error {
  if (isOfHost(thrown)) return thrown;
  if (!types.isNativeError(thrown)) return new Error(isWhole || Object(thrown) !== thrown ? describe(thrown) : UNREADABLE);
  const text = (key: string): string | undefined => {
    const value = read(thrown, key);
    return typeof value === "string" ? value : undefined;
  };
  const cause = read(thrown, "cause");
  const message = text("message") ?? "";
  const error = new Error(
    message,
    depth > 1 && cause !== undefined ? { cause: toHostError(cause, isWhole, depth - 1) } : undefined,
  );
  error.name = text("name") ?? "Error";
  error.stack = (isWhole ? stackOf(thrown) : undefined) ?? `${error.name}: ${message}`;
  const code = text("code");
  return code === undefined ? error : Object.assign(error, { code });
}

/** `instanceof Error`, but running no proxy. */
function isOfHost(thrown: unknown): thrown is Error {
  if (typeof thrown !== "object" || thrown === null) return false;
  for (const object of prototypeChain(thrown)) if (object === Error.prototype) return true;
  return false;
}

/** A property as it lies in the object or its prototypes. */
function read(object: object, key: string): unknown {
  for (const holder of prototypeChain(object)) {
    const property = Reflect.getOwnPropertyDescriptor(holder, key);
    if (property !== undefined) return property.value;
  }
  return undefined;
}

/** V8 has it as a value, or behind an accessor that each realm has of its own. */
function stackOf(thrown: Error): string | undefined {
  try {
    const getter = Reflect.getOwnPropertyDescriptor(new Error("of this realm"), "stack")?.get;
    const stack: unknown = getter === undefined ? read(thrown, "stack") : getter.call(thrown);
    return typeof stack === "string" ? stack : undefined;
  } catch {
    // Of a guest's `Error.prepareStackTrace`.
    return undefined;
  }
}

function describe(value: unknown): string {
  try {
    if (typeof value !== "object" && typeof value !== "function") return String(value);
    return inspect(value, { customInspect: false, showProxy: true, depth: 1, breakLength: Number.POSITIVE_INFINITY });
  } catch {
    return UNREADABLE;
  }
}
