import type { TracingEventReceiver } from "@spanduct/receiver";
import { performanceClock } from "@spanduct/sender";
import { type GuestOptions, GuestRuns, type GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";
import { traceContextText } from "../trace-context-text.ts";

/** What is used of Extism's `CallContext`: blocks of memory that host and plug-in share, by their offsets. */
export interface ExtismContext {
  read(offset: bigint): { bytes(): Uint8Array } | null;
  store(input: string): bigint;
}

/** What is used of Extism's `Plugin`. */
export interface ExtismPlugin {
  functionExists(name: string): Promise<boolean>;
  call(name: string): Promise<unknown>;
}

/** Host functions for one plug-in, and a way to run it with a receiver. */
export interface ExtismGuest {
  /** For the option `functions` of `createPlugin`, beside those of your own. */
  readonly functions: {
    readonly "extism:host/user": {
      /** The narrow function, `(offset: i64) -> i32`: a block that is one batch; returns the control word. */
      readonly spanduct_send: (context: ExtismContext, offset: bigint) => number;
      /** `() -> i64`: nanoseconds since the Unix epoch. */
      readonly spanduct_now: () => bigint;
      /** `() -> i64`: a block with the trace context of the run at hand, as text (see `proto/README.md`); 0 where there is none. */
      readonly spanduct_trace_context: (context: ExtismContext) => bigint;
    };
  };
  readonly stats: GuestStats;
  /**
   * Call the plug-in, with everything it traces going to `receiver`, and settle the receiver: when the promise of `action` resolves,
   * that commits; an error, a trap and whatever else it rejects with roll back. Where the plug-in has them, its functions
   * `spanduct_begin` and `spanduct_flush` are called before and after `action`, the latter also after a trap.
   *
   * @param action calls the plug-in: `() => plugin.call("greet", "world")`
   * @throws TunnelError "guest_busy", before anything else: another run of this guest has not ended
   */
  run<T, Span>(receiver: TracingEventReceiver<Span>, plugin: ExtismPlugin, action: () => Promise<T>): Promise<Outcome<T, Span>>;
}

/**
 * Host half for one plug-in of Extism, on the host's thread or, with `runInWorker`, on another. What the plug-in says about its
 * memory is checked: a block that is not there is "malformed" and counted, and the plug-in goes on.
 */
export function traceExtism(options: GuestOptions = {}): ExtismGuest {
  const runs = new GuestRuns(options, { end: () => undefined });

  /** Nothing of the guest's own: it may have none, be beyond reach, or busy on another thread. */
  const tell = async (plugin: ExtismPlugin, name: string): Promise<void> => {
    try {
      if (await plugin.functionExists(name)) await plugin.call(name);
    } catch {
      // What it did not send is lost. The run ends the way it was about to end.
    }
  };

  return {
    functions: {
      "extism:host/user": {
        spanduct_send(context, offset) {
          const block = context.read(offset);
          return block === null ? runs.malformed(`there is no block ${offset}`, 0) : runs.receiveBatch(block.bytes());
        },
        spanduct_now: () => performanceClock(performance).start(),
        spanduct_trace_context(context) {
          const { traceContext } = runs;
          return traceContext === undefined ? 0n : context.store(traceContextText(traceContext));
        },
      },
    },
    get stats() {
      return runs.stats;
    },
    run: (receiver, plugin, action) =>
      runs.run(receiver, async () => {
        await tell(plugin, "spanduct_begin");
        try {
          return await action();
        } catch (error) {
          throw fromWorker(error);
        } finally {
          await tell(plugin, "spanduct_flush");
        }
      }),
  };
}

/** What a plug-in in a worker throws arrives as an object with `message` and `originalStack`. */
function fromWorker(thrown: unknown): unknown {
  if (typeof thrown !== "object" || thrown === null || thrown instanceof Error) return thrown;
  const { message, originalStack } = thrown as { readonly message?: unknown; readonly originalStack?: unknown };
  const error = new Error(String(message));
  const stack = String(originalStack);
  error.name = /^\w+(?=:)/.exec(stack)?.[0] ?? error.name;
  error.stack = stack;
  return error;
}
