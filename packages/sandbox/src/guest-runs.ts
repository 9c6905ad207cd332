import { DecodeError, type TraceContext, TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { commit, type Outcome, rollBack, traceError } from "./outcome.ts";

/** How the host half of a guest that shares the host's thread is set up. */
export interface GuestOptions {
  /** Told of what reached no receiver, see `GuestStats.ignored`. Must not throw. */
  readonly onError?: (error: TunnelError) => void;
}

/** Counts of a host half since it was made. What receivers refused is in their own `stats`. */
export interface GuestStats {
  /** Calls of the narrow function that were no batch ("malformed"), and what came outside of a run ("receiver_closed"). */
  readonly ignored: number;
}

/** What the host asks of its guest. */
export interface Turns {
  /** A run begins. @param word control word to begin with; @param traceContext where the guest's spans will be in the host's trace */
  begin?(word: number, traceContext: TraceContext | undefined): void;
  /** A run ends: deliver what is batched. */
  end(): void;
}

/** Directs what one guest sends to the receiver of the run at hand. */
export class GuestRuns {
  readonly #onError: ((error: TunnelError) => void) | undefined;
  readonly #turns: Turns;
  #receiver: TracingEventReceiver | undefined;
  #hasRun = false;
  #ignored = 0;

  constructor(options: GuestOptions, turns: Turns) {
    this.#onError = options.onError;
    this.#turns = turns;
  }

  get stats(): GuestStats {
    return { ignored: this.#ignored };
  }

  /** That of the run at hand. */
  get traceContext(): TraceContext | undefined {
    return this.#receiver?.traceContext;
  }

  /** The control word of the run at hand, or 0. */
  control(): number {
    return this.#receiver?.control() ?? 0;
  }

  /** The narrow function. @returns the control word, or 0 which says nothing */
  receiveBatch(bytes: Uint8Array): number {
    if (this.#receiver !== undefined) return this.#receiver.receiveBatch(bytes);
    return this.ignore(new TunnelError("receiver_closed", `${bytes.length} bytes came outside of a run`));
  }

  /** Something was thrown that nobody caught, and that does not end the run. @param flush has the guest deliver what it traced before */
  uncaught(error: Error, flush: () => void): void {
    if (this.#receiver === undefined) {
      this.ignore(new TunnelError("receiver_closed", "an uncaught error came outside of a run", { cause: error }));
      return;
    }
    quietly(flush);
    traceError(this.#receiver, error);
  }

  /** The narrow function was called with something else. */
  malformed(reason: string, offset: number, cause?: unknown): number {
    return this.ignore(new DecodeError("malformed", reason, offset, { cause }));
  }

  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => Promise<T>): Promise<Outcome<T, Span>>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T): Outcome<T, Span>;
  run<T, Span>(receiver: TracingEventReceiver<Span>, action: () => T | Promise<T>): Outcome<T, Span> | Promise<Outcome<T, Span>> {
    if (this.#receiver !== undefined) throw new TunnelError("guest_busy", "the guest is in a run with another receiver");
    this.#receiver = receiver;
    if (this.#hasRun) receiver.joinGuest();
    this.#hasRun = true;
    const end = (settle: () => Outcome<T, Span>): Outcome<T, Span> => {
      quietly(() => this.#turns.end());
      this.#receiver = undefined;
      return settle();
    };
    const failed = (error: unknown): Outcome<T, Span> => end(() => rollBack(receiver, error));
    try {
      this.#turns.begin?.(receiver.control(), receiver.traceContext);
      const value = action();
      if (value instanceof Promise) return value.then((value) => end(() => commit(receiver, value)), failed);
      return end(() => commit(receiver, value));
    } catch (error) {
      return failed(error);
    }
  }

  /** Count what reached no receiver. @returns the control word that says nothing */
  ignore(error: TunnelError): number {
    this.#ignored++;
    this.#onError?.(error);
    return 0;
  }
}

/** The guest may be beyond reach, and what it did not send lost. */
function quietly(call: () => void): void {
  try {
    call();
  } catch {
    // The run ends the way it was about to end, or goes on.
  }
}
