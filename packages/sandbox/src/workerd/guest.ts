import { type ConsoleLike, type ConsoleMethod, captureConsole, TracingEventSender, uncaughtErrors } from "@spanduct/sender";
import { GuestCall, type GuestCallOptions } from "./guest-call.ts";
import { ERROR_TYPE, HEADER, type HttpGreeting, type Tell, type TracedAnswer, type TracedCall } from "./link.ts";

/** How a Worker is traced. */
export interface TracedOptions extends GuestCallOptions {
  /**
   * With it, what is written to `console` and promises that fail with nobody waiting for them become events too. A Worker serves many
   * calls at once and has one console: only an `AsyncLocalStorage`, of `node:async_hooks` with the compatibility flag `nodejs_als`,
   * knows which of them it was.
   */
  readonly storage?: AsyncStorage<CallScope>;
  /** Name of the service binding by which a host outside of workerd is reached. Default `SPANDUCT`. */
  readonly binding?: string;
}

/** What belongs to one call. */
export interface CallScope {
  readonly console: ConsoleLike;
  uncaught(error: unknown): void;
}

/** What is used of an `AsyncLocalStorage`. */
export interface AsyncStorage<T> {
  run<R>(store: T, callback: () => R): R;
  getStore(): T | undefined;
}

/** A method of a Worker, with the tracing of the call as one parameter more than the runtime gives. */
export type TracedMethod = (argument: never, env: never, ctx: never, tracing: TracingEventSender) => unknown;

/** The methods of a Worker, by name. */
export interface TracedMethods {
  fetch?(request: Request, env: never, ctx: never, tracing: TracingEventSender): Response | Promise<Response>;
  readonly [name: string]: TracedMethod | undefined;
}

/** The same methods as the runtime calls them, and the one that hosts call. */
export type TracedWorker<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends TracedMethod
    ? (...args: Untraced<Parameters<Methods[Name]>>) => Promise<Awaited<ReturnType<Methods[Name]>>>
    : never;
} & { spanduct(call: TracedCall, env: unknown, ctx: object): Promise<TracedAnswer> };

type Untraced<Args extends readonly unknown[]> = Args extends readonly [...infer Rest, TracingEventSender] ? Rest : Args;

/** What the runtime gives to a method. */
interface Env {
  readonly [name: string]: unknown;
}

/**
 * The default export of a Worker: `export default traced({ fetch(request, env, ctx, tracing) { … } })`. Methods of its own, for RPC,
 * are traced as well; they take one argument, then `env`, `ctx` and `tracing`.
 *
 * Each call has a sender of its own, for it is an execution of its own: it has a host's span above it, spans that no other call sees,
 * and an I/O context that no other call may use. So declare call sites inside of the method. The clock is the runtime's, which
 * stands still between I/O. A call that comes from no host half has a sender that is off.
 */
export function traced<Methods extends TracedMethods>(methods: Methods, options: TracedOptions = {}): TracedWorker<Methods> {
  const { storage, binding = "SPANDUCT" } = options;
  if (storage !== undefined) route(storage);

  const call = (name: string, argument: unknown, env: unknown, ctx: unknown, tracing: TracingEventSender): unknown => {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (method === undefined) throw new TypeError(`the Worker has no method ${name}`);
    const run = () => method.call(methods, argument as never, env as never, ctx as never, tracing);
    return storage === undefined ? run() : storage.run(scopeOf(tracing), run);
  };

  const spanduct = async (traced: TracedCall, env: unknown, ctx: object): Promise<TracedAnswer> => {
    const stub: Stub = traced.tell;
    const tell = stub.dup?.() ?? stub;
    const guest = new GuestCall(traced, tell, options);
    const tasks: Promise<unknown>[] = [];
    const settled = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        const value = await work();
        if (tasks.length === 0) tell[Symbol.dispose]?.();
        return value;
      } catch (error) {
        await guest.failed(error);
        tell[Symbol.dispose]?.();
        throw error;
      }
    };
    return settled(async () => {
      const value = await call(traced.method, traced.argument, env, withTasks(ctx, tasks), guest.tracing);
      if (storage !== undefined) tasks.push(turn());
      const batches = await guest.last();
      if (tasks.length === 0) return { value, batches };
      const end = (): Promise<readonly Uint8Array[]> =>
        settled(async () => {
          while (tasks.length > 0) await Promise.all(tasks.splice(0));
          return guest.last();
        });
      return { value, batches, end };
    });
  };

  /** From a host outside of workerd: everything is told before the response goes out. */
  const fetchTraced = async (request: Request, env: Env, ctx: unknown): Promise<unknown> => {
    const host = env[binding] as Fetcher | undefined;
    const greeting = host && readGreeting(request.headers.get(HEADER));
    if (greeting === undefined) return call("fetch", request, env, ctx, untraced());
    const guest = new GuestCall(greeting, overHttp(host as Fetcher, greeting.run), options);
    try {
      const response = await call("fetch", request, env, ctx, guest.tracing);
      if (storage !== undefined) await turn();
      await guest.flushed();
      return response;
    } catch (error) {
      await guest.failed(error);
      throw error;
    }
  };

  const worker: { [name: string]: unknown } = { spanduct };
  for (const name of Object.keys(methods)) {
    worker[name] = (argument: unknown, env: Env, ctx: unknown) => call(name, argument, env, ctx, untraced());
  }
  if ("fetch" in worker) worker["fetch"] = fetchTraced;
  return worker as TracedWorker<Methods>;
}

function untraced(): TracingEventSender {
  return new TracingEventSender(() => undefined, { maxLevel: "off" });
}

/** A function of the host's: good until the call returns, a duplicate until it is disposed of. */
type Stub = Tell & { dup?(): Stub; [Symbol.dispose]?(): void };

/** The same `ctx`, noting what the call leaves behind. */
function withTasks(ctx: object, tasks: Promise<unknown>[]): object {
  return new Proxy(ctx, {
    get(ctx, key) {
      const member: unknown = Reflect.get(ctx, key, ctx);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (key === "waitUntil") tasks.push(Promise.resolve(args[0]));
        return member.apply(ctx, args);
      };
    },
  });
}

/** What is used of a service binding. */
interface Fetcher {
  fetch(url: string, init: RequestInit): Promise<Response>;
}

/** One request after the other, or they would pass each other on the way. */
function overHttp(host: Fetcher, run: string): Tell {
  let last: Promise<unknown> = Promise.resolve();
  return (message) => {
    const post = async (): Promise<number> => {
      const init: RequestInit =
        message instanceof Uint8Array
          ? { body: message as Uint8Array<ArrayBuffer> }
          : { body: JSON.stringify(message), headers: { "content-type": ERROR_TYPE } };
      const response = await host.fetch(`http://spanduct/${run}`, { method: "POST", ...init });
      return Number(await response.text());
    };
    const answer = last.then(post, post);
    last = answer;
    return answer;
  };
}

/** What a header says, which may be anybody's. */
function readGreeting(header: string | null): HttpGreeting | undefined {
  if (header === null) return undefined;
  try {
    const { run, control, traceContext } = JSON.parse(header) as Partial<HttpGreeting>;
    if (typeof run !== "string" || !/^[\w-]+$/.test(run) || typeof control !== "number") return undefined;
    const context = typeof traceContext?.traceparent === "string" ? traceContext : undefined;
    return { run, control, traceContext: context };
  } catch {
    return undefined;
  }
}

const CONSOLE_METHODS: readonly ConsoleMethod[] = ["error", "warn", "info", "log", "debug", "trace"];

/** From now on the global scope tells the call at hand. The console goes on to write. */
function route(storage: AsyncStorage<CallScope>): void {
  for (const method of CONSOLE_METHODS) {
    const original = console[method];
    console[method] = (...args: unknown[]) => {
      original.apply(console, args);
      storage.getStore()?.console[method]?.(...args);
    };
  }
  addEventListener("unhandledrejection", ({ reason }) => storage.getStore()?.uncaught(reason));
}

function scopeOf(tracing: TracingEventSender): CallScope {
  const silent: ConsoleLike = Object.fromEntries(CONSOLE_METHODS.map((method) => [method, () => undefined]));
  captureConsole(tracing, silent);
  return { console: silent, uncaught: uncaughtErrors(tracing) };
}

/** A turn of the event loop, after which the runtime has told of promises that failed. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
