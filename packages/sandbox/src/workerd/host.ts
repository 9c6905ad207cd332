import { DecodeError, TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { GuestOptions, GuestStats } from "../guest-runs.ts";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { fromPlainError } from "../plain-error.ts";
import type { TracedAnswer, TracedCall } from "./link.ts";

/** How one call is traced. */
export interface WorkerdRunOptions {
  /** Gives the guest up: the run is rolled back, and what still comes is ignored. The platform ends the call with the host's own. */
  readonly signal?: AbortSignal;
}

/** One call of a guest. */
export interface WorkerdRun<T, Span = unknown> {
  /** What the guest's method returns, as soon as it does: a `Response` can go out while the guest is still at work. */
  readonly value: Promise<T>;
  /**
   * Resolves when the guest is done with everything, also with what it handed to `ctx.waitUntil`; hand this to yours. Never
   * rejects.
   */
  readonly outcome: Promise<Outcome<T, Span>>;
}

/** A Worker that can be called with a receiver, by as many calls at once as one likes. */
export interface WorkerdGuest {
  readonly stats: GuestStats;
  /**
   * Call a method of the guest, with everything it traces going to `receiver`, and settle the receiver: that the guest comes to its
   * end commits; that it throws, there or in something it handed to `ctx.waitUntil`, is given up or cut off by the platform
   * rolls back.
   *
   * @param method `fetch`, or any other of the methods that were given to `traced`
   * @param argument a `Request`, or whatever RPC can carry
   */
  run<T, Span>(
    receiver: TracingEventReceiver<Span>,
    method: string,
    argument: unknown,
    options?: WorkerdRunOptions,
  ): WorkerdRun<T, Span>;
}

interface Remote {
  spanduct(call: TracedCall): Promise<TracedAnswer>;
}

/**
 * Host half in a Worker: calls guests by RPC and gives each call a function of its own to send to, so that batches need neither an
 * address nor a store that another isolate may not have.
 *
 * @param service a Worker whose default export is made by `traced`: a service binding, what `get` of a dispatch namespace gives, the
 *   entrypoint of a Worker that was loaded at run time
 */
export function traceWorkerd(service: object, options: GuestOptions = {}): WorkerdGuest {
  let ignored = 0;
  const ignore = (error: TunnelError): number => {
    ignored++;
    options.onError?.(error);
    return 0;
  };

  return {
    get stats() {
      return { ignored };
    },
    run<T, Span>(
      receiver: TracingEventReceiver<Span>,
      method: string,
      argument: unknown,
      { signal }: WorkerdRunOptions = {},
    ): WorkerdRun<T, Span> {
      let isSettled = false;
      let failure: Error | undefined;
      const tell = (message: unknown): number => {
        if (isSettled) return ignore(new TunnelError("receiver_closed", "a message came after the end of the run"));
        if (message instanceof Uint8Array) return receiver.receiveBatch(message);
        if (typeof message !== "object" || message === null) return ignore(new DecodeError("malformed", "not bytes", 0));
        failure ??= fromPlainError(message);
        return 0;
      };
      const tellAll = (batches: unknown): void => {
        for (const batch of Array.isArray(batches) ? batches : [batches]) tell(batch);
      };

      const { promise: value, resolve, reject } = withResolvers<T>();
      // Whoever reads only the outcome learns of it there.
      value.catch(() => undefined);
      const call = async (): Promise<Outcome<T, Span>> => {
        try {
          const { traceContext } = receiver;
          const traced: TracedCall = { method, argument, control: receiver.control(), traceContext, tell };
          const answer = await unless(signal, () => (service as Remote).spanduct(traced));
          tellAll(answer.batches);
          resolve(answer.value as T);
          const { end } = answer;
          if (end !== undefined) tellAll(await unless(signal, end));
          isSettled = true;
          return commit(receiver, answer.value as T);
        } catch (error) {
          isSettled = true;
          reject(failure ?? error);
          return rollBack(receiver, failure ?? error);
        }
      };
      return { value, outcome: call() };
    },
  };
}

/** What `work` resolves to, unless the signal is aborted before. */
async function unless<T>(signal: AbortSignal | undefined, work: () => PromiseLike<T>): Promise<T> {
  if (signal === undefined) return work();
  signal.throwIfAborted();
  const { promise: aborted, reject } = withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve!: Resolvers<T>["resolve"];
  let reject!: Resolvers<T>["reject"];
  const promise = new Promise<T>((...both) => {
    [resolve, reject] = both;
  });
  return { promise, resolve, reject };
}
